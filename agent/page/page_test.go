package page

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/status"
)

func newPage(incidents ...Incident) *Page {
	now := time.Now()
	h := new(History)
	for i := range maxSamples {
		h.Add(Sample{At: now.Add(time.Duration(i-maxSamples) * Step), Warning: uint64(i * 3), Critical: uint64(i / 9), Watch: "up", Link: "up"})
	}
	return &Page{
		Document: func() (status.Document, error) {
			d := status.Document{
				Agent:     status.Agent{Cluster: "shop-1", Version: "v1", Now: now, Started: now},
				Link:      status.Link{LinkState: "up"},
				Watch:     []status.Watch{{State: "watching", LastAnswer: now}},
				Intake:    status.Intake{Committed: 1000},
				Receivers: []status.Receiver{{Name: "ops", Type: "feishu", Sending: status.Sending{State: "backoff", LastError: "HTTP status 503"}}},
				Budget:    &status.Budget{Day: 300 << 10, DayMax: 1 << 20},
				Deliveries: []status.Delivery{{
					At: now, First: now.Add(-2 * time.Minute), Receiver: "ops", Incidents: 2, Events: 1, Outcome: "retry", Attempts: 3,
				}},
			}
			d.Judge()
			return d, nil
		},
		Incidents: func(yield func(Incident) bool) error {
			for _, in := range incidents {
				if !yield(in) {
					break
				}
			}
			return nil
		},
		History: h,
	}
}

func get(t *testing.T, p *Page, method, path string) (*http.Response, string) {
	t.Helper()
	mux := http.NewServeMux()
	p.Register(mux)
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), method, path, nil))
	answer := w.Result()
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer, string(body)
}

func TestPageIsSmallAndSelfContained(t *testing.T) {
	answer, body := get(t, newPage(), "GET", "/")
	if answer.StatusCode != http.StatusOK || len(body) >= 30<<10 {
		t.Errorf("status %d, %d bytes; want 200 and less than 30 KiB", answer.StatusCode, len(body))
	}
	// The namespace of SVG is a name, not an address that is asked.
	for _, outside := range []string{"https://", "src=", "href=", "@import", "url(", "innerHTML", "style=", "onclick"} {
		if strings.Contains(body, outside) {
			t.Errorf("the page has %s", outside)
		}
	}
	t.Logf("%d bytes", len(body))
}

// TestReceiversAndTheReasonStandAboveTheIncidents reads the page in the order in which a person does.
func TestReceiversAndTheReasonStandAboveTheIncidents(t *testing.T) {
	_, body := get(t, newPage(), "GET", "/")
	before := -1
	for _, id := range []string{`id="verdict"`, `id="problems"`, `id="receivers"`, `id="incidents"`} {
		at := strings.Index(body, id)
		if at <= before {
			t.Errorf("%s does not stand where it should", id)
		}
		before = at
	}
}

// TestEveryWordOfThePageHasBothLanguages reads the words where the page uses them.
func TestEveryWordOfThePageHasBothLanguages(t *testing.T) {
	_, table, _ := strings.Cut(html, "const ZH = {")
	table, rest, _ := strings.Cut(table, "};")
	chinese := make(map[string]bool)
	for _, m := range regexp.MustCompile(`"([^"]+)": "([^"]+)"`).FindAllStringSubmatch(table, -1) {
		chinese[m[1]] = true
	}
	words := regexp.MustCompile(`data-t>([^<]+)<|aria-label="([^"]+)"|\bt\("([^"]+)"\)|\bnum\([^"()]*, "([^"]+)"\)|: \["(?:ok|warn|bad)", "([^"]+)"\]`)
	// What a receiver does, and the states of a band, are words of the document.
	for _, state := range []string{"retrying", "no address or secret", "refuses every message", "idle", "link down", "waiting", "sending", "up", "down", "unknown"} {
		if !chinese[state] {
			t.Errorf("%q has no Chinese", state)
		}
	}
	n := 0
	for _, m := range words.FindAllStringSubmatch(html[:strings.Index(html, "<script>")]+rest, -1) {
		n++
		if word := strings.Join(m[1:], ""); !chinese[word] {
			t.Errorf("%q has no Chinese", word)
		}
	}
	if n < 55 {
		t.Errorf("only %d words were found", n)
	}
}

// TestPageSaysTheVerdictOfTheStatus keeps the page from judging by itself.
func TestPageSaysTheVerdictOfTheStatus(t *testing.T) {
	_, body := get(t, newPage(), "GET", "/page.json")
	if !strings.Contains(body, `"verdict":{"level":"degraded","headline":"WORKING, not delivering: ops"`) {
		t.Errorf("it shows %.600s", body)
	}
	_, page := get(t, newPage(), "GET", "/")
	for _, own := range []string{"orking, not", "link away", "s.ready"} {
		if strings.Contains(page, own) {
			t.Errorf("the page judges by itself: %s", own)
		}
	}
}

func TestPolicyAllowsNothingFromElsewhere(t *testing.T) {
	answer, body := get(t, newPage(), "GET", "/")
	policy := answer.Header.Get("Content-Security-Policy")
	if !strings.HasPrefix(policy, "default-src 'none'; connect-src 'self';") || strings.Contains(policy, "unsafe") {
		t.Errorf("the policy is %s", policy)
	}
	if strings.Count(body, "<script>") != 1 || strings.Count(body, "<style>") != 1 {
		t.Error("the hashes of the policy cover one script and one style")
	}
}

func TestPageChangesNothing(t *testing.T) {
	for _, path := range []string{"/", "/page.json"} {
		for _, method := range []string{"POST", "PUT", "DELETE", "PATCH"} {
			if answer, _ := get(t, newPage(), method, path); answer.StatusCode != http.StatusMethodNotAllowed {
				t.Errorf("%s %s: status %d, want 405", method, path, answer.StatusCode)
			}
		}
	}
}

func TestNewestIncidentsAreShownAndNoMore(t *testing.T) {
	var many []Incident
	for i := range 5000 {
		many = append(many, Incident{Workload: "w", Message: strings.Repeat("é", 1000), Last: time.Unix(int64(i), 0)})
	}
	_, body := get(t, newPage(many...), "GET", "/page.json")
	var d document
	if err := json.Unmarshal([]byte(body), &d); err != nil {
		t.Fatal(err)
	}
	if len(d.Incidents) != maxIncidents || d.Incidents[0].Last.Unix() != 4999 || len(d.Incidents[0].Message) > maxText {
		t.Errorf("%d incidents, the first of %s with %d bytes", len(d.Incidents), d.Incidents[0].Last, len(d.Incidents[0].Message))
	}
	if len(d.Samples) != maxSamples+1 {
		t.Errorf("%d samples, want %d", len(d.Samples), maxSamples+1)
	}
	if len(body) > 80<<10 {
		t.Errorf("%d bytes, want less than 80 KiB", len(body))
	}
}

func TestIncidentsAreNotReadForEachBrowser(t *testing.T) {
	p := newPage()
	reads := 0
	p.Incidents = func(func(Incident) bool) error { reads++; return nil }
	for range 20 {
		get(t, p, "GET", "/page.json")
	}
	if reads > 5 {
		t.Errorf("20 requests read the spool %d times", reads)
	}
}

func TestTroubleIsShown(t *testing.T) {
	p := newPage()
	p.Document = func() (status.Document, error) { return status.Document{}, errors.New("the spool is not open yet") }
	if _, body := get(t, p, "GET", "/page.json"); !strings.Contains(body, `"error":"the spool is not open yet"`) {
		t.Errorf("it shows %.300s", body)
	}
}

func TestHistoryIsBounded(t *testing.T) {
	h := new(History)
	for i := range 3 * maxSamples {
		h.Add(Sample{Untold: uint64(i)})
	}
	s := h.Samples()
	if len(s) != maxSamples || s[len(s)-1].Untold != 3*maxSamples-1 || s[0].Untold != 2*maxSamples {
		t.Errorf("%d samples from %d to %d", len(s), s[0].Untold, s[len(s)-1].Untold)
	}
}
