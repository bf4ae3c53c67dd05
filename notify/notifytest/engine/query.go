package engine

import (
	"bytes"
	"encoding/json"
	"net/url"
	"strings"
	"testing"
)

// Logs asks VictoriaLogs in LogsQL and returns its rows. What was stored before is seen.
func (s *Server) Logs(t testing.TB, query string) []map[string]string {
	t.Helper()
	s.Get(t, "/internal/force_flush", nil)
	var rows []map[string]string
	for line := range bytes.Lines(s.Get(t, "/select/logsql/query", url.Values{"query": {query}})) {
		row := make(map[string]string)
		if err := json.Unmarshal(line, &row); err != nil {
			t.Fatalf("a row of VictoriaLogs: %v in %.300s", err, line)
		}
		rows = append(rows, row)
	}
	return rows
}

// Sample is a value of a series.
type Sample struct {
	// Labels are those of the series, __name__ among them.
	Labels map[string]string
	Value  float64
	// Milliseconds since 1970.
	Milliseconds int64
}

// Samples returns every sample that VictoriaMetrics keeps of the series that match, repeats too. What was stored before is seen.
func (s *Server) Samples(t testing.TB, match string) []Sample {
	t.Helper()
	s.Get(t, "/internal/force_flush", nil)
	var samples []Sample
	decoder := json.NewDecoder(bytes.NewReader(s.Get(t, "/api/v1/export", url.Values{"match[]": {match}})))
	for decoder.More() {
		var series struct {
			Metric     map[string]string `json:"metric"`
			Values     []float64         `json:"values"`
			Timestamps []int64           `json:"timestamps"`
		}
		if err := decoder.Decode(&series); err != nil {
			t.Fatalf("a series of VictoriaMetrics: %v", err)
		}
		for i, value := range series.Values {
			samples = append(samples, Sample{Labels: series.Metric, Value: value, Milliseconds: series.Timestamps[i]})
		}
	}
	return samples
}

// Alert is what vmalert says of a rule that holds.
type Alert struct {
	Name        string            `json:"name"`
	State       string            `json:"state"`
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
}

// Alerts returns the alerts of vmalert that are pending or firing.
func (s *Server) Alerts(t testing.TB) []Alert {
	t.Helper()
	var answer struct {
		Data struct {
			Alerts []Alert `json:"alerts"`
		} `json:"data"`
	}
	if err := json.Unmarshal(s.Get(t, "/api/v1/alerts", nil), &answer); err != nil {
		t.Fatalf("the alerts of vmalert: %v", err)
	}
	return answer.Data.Alerts
}

// Metric returns the sum of a metric of the server itself over all its label values that hold what each of labels says, such as
// `reason="too_small_timestamp"`.
func (s *Server) Metric(t testing.TB, name string, labels ...string) float64 {
	t.Helper()
	sum := 0.0
	for line := range strings.Lines(string(s.Get(t, "/metrics", nil))) {
		line = strings.TrimSpace(line)
		// Values of labels have spaces too.
		at := strings.LastIndexByte(line, ' ')
		if own, _, _ := strings.Cut(line, "{"); at < 0 || own != name && line[:at] != name {
			continue
		}
		series, text := line[:at], line[at+1:]
		matches := true
		for _, label := range labels {
			matches = matches && strings.Contains(series, label)
		}
		if matches {
			var value float64
			if err := json.Unmarshal([]byte(text), &value); err != nil {
				t.Fatalf("a metric: %v in %q", err, line)
			}
			sum += value
		}
	}
	return sum
}
