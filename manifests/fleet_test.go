package manifests_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"github.com/edge-eventer/edge-eventer/agent/config"
	"github.com/edge-eventer/edge-eventer/agent/event"
	"github.com/edge-eventer/edge-eventer/agent/fleet"
	"github.com/edge-eventer/edge-eventer/notify"
	"github.com/edge-eventer/edge-eventer/notify/notifytest/engine"
)

const (
	fleetRules = "fleet/vmalert.yaml"
	fleetSites = 500
)

// simulated is a site: the sender that its configuration makes, and what it says of itself.
type simulated struct {
	name     string
	receiver notify.Receiver
	record   fleet.Record
}

// newSites makes a fleet of which each site has the configuration that the example has, but for the address.
func newSites(t *testing.T, url string) []*simulated {
	t.Helper()
	sites := make([]*simulated, fleetSites)
	for i := range sites {
		name := fmt.Sprintf("shop-%03d", i)
		c, err := config.Parse(fmt.Appendf(nil, "cluster: %s\nreceivers:\n- {name: fleet, type: otlp, url: %s/insert/opentelemetry, headers: {VL-Stream-Fields: k8s.cluster.name}}\n", name, url))
		if err != nil {
			t.Fatal(err)
		}
		receiver, err := c.Receivers[0].New(c.Receivers[0].Common(c))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(receiver.Close)
		sites[i] = &simulated{name: name, receiver: receiver, record: fleet.Record{
			Version: "0.1.0", Up: 86400, Ready: true, Watch: "up", Link: "up", Lost: uint64(i % 7),
			Usage: fleet.Usage{Spool: 1 << 20, SpoolMax: 16 << 20, Budget: "free", DayMax: 1 << 20},
		}}
	}
	return sites
}

// tell sends a record as one message for each time, and a Warning event with it.
func (s *simulated) tell(ctx context.Context, at ...time.Time) error {
	m := &notify.Message{Now: time.Now()}
	for _, when := range at {
		for _, what := range []event.Event{
			{Reason: fleet.Reason, Message: string(s.record.JSON()), Type: "Normal", InvolvedObject: event.Reference{Kind: "EdgeEventer", Name: s.name}},
			{Reason: "BackOff", Message: "Back-off restarting failed container", Type: "Warning",
				InvolvedObject: event.Reference{Kind: "Pod", Namespace: "shop", Name: "web-7d9f8c6b5d-x2x4z"}},
		} {
			m.Incidents = append(m.Incidents, notify.Incident{
				Event: what, ID: fmt.Sprintf("%s-%d", what.Reason, when.UnixNano()), Cluster: s.name, Severity: notify.Warning,
				Occurrences: 1, Untold: 1, FirstSeen: when, LastSeen: when, Own: what.Reason == fleet.Reason,
			})
		}
	}
	request, err := s.receiver.Render(m, notify.Full)
	if err != nil {
		return err
	}
	if request.Incidents != len(m.Incidents) {
		return fmt.Errorf("%d of %d incidents are in the request", request.Incidents, len(m.Incidents))
	}
	return s.receiver.Send(ctx, request)
}

// tellAll is tell for many sites, a few at a time.
func tellAll(t *testing.T, sites []*simulated, at func(*simulated) []time.Time) {
	t.Helper()
	var running sync.WaitGroup
	next := make(chan *simulated)
	for range 8 {
		running.Go(func() {
			for s := range next {
				if err := s.tell(t.Context(), at(s)...); err != nil {
					t.Errorf("%s: %v", s.name, err)
				}
			}
		})
	}
	for _, s := range sites {
		next <- s
	}
	close(next)
	running.Wait()
}

// alerts are those that vmalert fires, as NAME SITE, once it has evaluated each rule after its start.
func alerts(t *testing.T, logs *engine.Server) []string {
	t.Helper()
	logs.Get(t, "/internal/force_flush", nil)
	vmalert := engine.Vmalert(t, fleetRules, "-datasource.url="+logs.URL, "-group.maxStartDelay=1ms", "-rule.evalDelay=0s")
	defer vmalert.Stop(t)
	engine.Until(t, time.Minute, "vmalert has evaluated its rules", func() bool {
		return vmalert.Metric(t, "vmalert_iteration_duration_seconds_count") >= 1
	})
	if n := vmalert.Metric(t, "vmalert_execution_errors_total") + vmalert.Metric(t, "vmalert_alerting_rules_errors_total"); n > 0 {
		t.Fatalf("%v rules could not be evaluated: %s", n, vmalert.Get(t, "/api/v1/rules", nil))
	}
	var firing []string
	for _, a := range vmalert.Alerts(t) {
		if a.State != "firing" || !strings.Contains(a.Annotations["summary"], a.Labels["k8s.cluster.name"]) {
			t.Errorf("%+v", a)
		}
		firing = append(firing, a.Name+" "+a.Labels["k8s.cluster.name"])
	}
	slices.Sort(firing)
	return firing
}

// TestFleetOfFiveHundredSitesAlertsForExactlyThoseInTrouble: ten sites go silent, three lose events, five more are silent in an outage that was
// announced. Then two of the silent ones come back, one with a full spool and one over its budget.
func TestFleetOfFiveHundredSitesAlertsForExactlyThoseInTrouble(t *testing.T) {
	logs := engine.VictoriaLogs(t)
	sites := newSites(t, logs.URL)
	// vmalert asks for what is older than the second that has begun.
	now := time.Now().Add(-2 * time.Second)
	silent, announced, losing := sites[40:50], sites[50:55], sites[60:63]
	tellAll(t, sites, func(s *simulated) []time.Time {
		at := []time.Time{now.Add(-26 * time.Hour), now.Add(-3 * time.Hour)}
		if !slices.Contains(silent, s) && !slices.Contains(announced, s) {
			at = append(at, now.Add(-40*time.Minute))
		}
		return at
	})
	sites[70].record.Failing = 1
	for i, s := range losing {
		if s.record.Lost += uint64(100 * i); i == 0 {
			// Nobody knows how many.
			s.record.Gaps++
		}
	}
	running := slices.Concat(sites[:40], sites[55:])
	tellAll(t, running, func(*simulated) []time.Time { return []time.Time{now} })
	for _, s := range announced {
		announce(t, logs, s.name, now)
	}

	var want []string
	for _, s := range silent {
		want = append(want, "SiteSilent "+s.name)
	}
	for _, s := range losing {
		want = append(want, "SiteLostEvents "+s.name)
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, alerts(t, logs)); diff != "" {
		t.Errorf("alerts (-want +got):\n%s", diff)
	}

	checkDashboard(t, logs, sites[0].name)

	silent[0].record.Spool = 12 << 20
	silent[1].record.Budget = "critical-only"
	tellAll(t, silent[:2], func(*simulated) []time.Time { return []time.Time{now} })
	want = slices.DeleteFunc(want, func(a string) bool {
		return strings.HasSuffix(a, silent[0].name) || strings.HasSuffix(a, silent[1].name)
	})
	want = append(want, "SiteSpoolFills "+silent[0].name, "SiteOverBudget "+silent[1].name)
	slices.Sort(want)
	if diff := cmp.Diff(want, alerts(t, logs)); diff != "" {
		t.Errorf("alerts after two are back (-want +got):\n%s", diff)
	}
}

// announce says as FLEET.md does that a site will be away.
func announce(t *testing.T, logs *engine.Server, site string, at time.Time) {
	t.Helper()
	line, err := json.Marshal(map[string]string{"service.name": "edge-eventer-outage", "k8s.cluster.name": site, "_msg": "power works", "_time": at.Format(time.RFC3339)})
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.Post(logs.URL+"/insert/jsonline?_stream_fields=k8s.cluster.name", "application/stream+json", strings.NewReader(string(line)))
	if err != nil {
		t.Fatal(err)
	}
	if resp.Body.Close(); resp.StatusCode != http.StatusOK {
		t.Fatalf("announce: %s", resp.Status)
	}
}

func TestFleetRulesAreReadByVmalert(t *testing.T) {
	if err := engine.CheckRules(t, fleetRules); err != nil {
		t.Error(err)
	}
}

// checkDashboard asks the engine each question of the dashboard, as Grafana's data source does, for one site. Each has an answer.
func checkDashboard(t *testing.T, logs *engine.Server, site string) {
	t.Helper()
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr, QueryType string }
		}
		Templating struct{ List []struct{ Name string } }
	}
	if err := json.Unmarshal([]byte(readText(t, "grafana/fleet.json")), &dashboard); err != nil {
		t.Fatal(err)
	}
	end := time.Now()
	span := url.Values{"start": {end.Add(-48 * time.Hour).Format(time.RFC3339)}, "end": {end.Format(time.RFC3339)}, "step": {"1h"}}
	asked := 0
	for _, p := range dashboard.Panels {
		for _, target := range p.Targets {
			asked++
			query := maps.Clone(span)
			query.Set("query", strings.ReplaceAll(target.Expr, "$site", fmt.Sprintf("%q", site)))
			path := map[string]string{"instant": "query", "stats": "stats_query", "statsRange": "stats_query_range"}[target.QueryType]
			answer := string(logs.Get(t, "/select/logsql/"+path, query))
			// A number that is 0 is an answer too; a list that is empty is none.
			if !strings.Contains(answer, `"value`) && !strings.Contains(answer, `"_msg"`) && strings.Count(answer, "\n") == 0 {
				t.Errorf("%s: %s has the answer %.300q", p.Title, query.Get("query"), answer)
			}
		}
	}
	if asked < 10 || len(dashboard.Templating.List) != 2 {
		t.Errorf("%d questions, variables %v: the test sees nothing", asked, dashboard.Templating.List)
	}
	for expression, want := range map[string]string{"Sites": "500", "Silent sites": "15", "Sites that lost events": "3", "Sites that do not deliver": "1"} {
		for _, p := range dashboard.Panels {
			if p.Title != expression || p.Targets[0].QueryType != "stats" {
				continue
			}
			var answer struct {
				Data struct{ Result []struct{ Value [2]any } }
			}
			body := logs.Get(t, "/select/logsql/stats_query", url.Values{"query": {p.Targets[0].Expr}})
			if err := json.Unmarshal(body, &answer); err != nil || len(answer.Data.Result) != 1 || answer.Data.Result[0].Value[1] != want {
				t.Errorf("%s: %s, %v; want %s", p.Title, body, err, want)
			}
		}
	}
}

// TestFleetRulesOfLokiSayWhatThoseOfVmalertSay: the same alerts with the same texts but for the way in which a label is named. Loki itself
// reads them nowhere here.
func TestFleetRulesOfLokiSayWhatThoseOfVmalertSay(t *testing.T) {
	type group struct {
		Name, Type, Interval string
		Aligned              *bool `yaml:"eval_alignment"`
		Rules                []struct {
			Alert, Expr         string
			Labels, Annotations map[string]string
		}
	}
	read := func(path string) (rules []string) {
		var file struct{ Groups []group }
		decoder := yaml.NewDecoder(strings.NewReader(readText(t, path)))
		decoder.KnownFields(true)
		if err := decoder.Decode(&file); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		for _, g := range file.Groups {
			for _, r := range g.Rules {
				if !strings.Contains(r.Expr, fleet.Reason) || strings.Count(r.Expr, "(") != strings.Count(r.Expr, ")") {
					t.Errorf("%s: %s", path, r.Expr)
				}
				text := r.Alert + " " + r.Labels["severity"] + " " + r.Annotations["summary"] + " " + r.Annotations["description"]
				rules = append(rules, strings.NewReplacer(`{{ index $labels "k8s.cluster.name" }}`, "SITE", "{{ $labels.k8s_cluster_name }}", "SITE").Replace(text))
			}
		}
		return rules
	}
	if diff := cmp.Diff(read(fleetRules), read("fleet/loki.yaml")); diff != "" {
		t.Errorf("rules (-vmalert +Loki):\n%s", diff)
	}
}
