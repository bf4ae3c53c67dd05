package elasticsearch_test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/edge-eventer/edge-eventer/notify"
	"github.com/edge-eventer/edge-eventer/notify/elasticsearch"
	"github.com/edge-eventer/edge-eventer/notify/notifytest"
)

func start(t *testing.T) (*notifytest.Elasticsearch, notify.Receiver) {
	t.Helper()
	engine := &notifytest.Elasticsearch{Index: "edge-eventer"}
	server := notifytest.Start(notifytest.New(engine))
	t.Cleanup(server.Close)
	settings := elasticsearch.Defaults().(*elasticsearch.Config)
	settings.URL = notify.SecretValue(server.URL())
	r, err := settings.New(notify.Common{Name: "search", Cluster: "shop-1"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return engine, r
}

func message(n int) *notify.Message {
	m := notify.Sample("shop-1", time.Now())
	in := m.Incidents[0]
	m.Incidents = nil
	for i := range n {
		in.ID = fmt.Sprintf("incident-%d", i)
		m.Incidents = append(m.Incidents, in)
	}
	return m
}

func send(t *testing.T, r notify.Receiver, m *notify.Message) error {
	t.Helper()
	request, err := r.Render(m, notify.Full)
	if err != nil {
		t.Fatal(err)
	}
	return r.Send(t.Context(), request)
}

func TestRepeatIsNoDuplicate(t *testing.T) {
	engine, r := start(t)
	m := message(10)
	m.Losses = []notify.Loss{{Cause: "evicted", Incidents: 2, Events: 7, Since: m.Now}}
	for range 3 {
		if err := send(t, r, m); err != nil {
			t.Fatal(err)
		}
	}
	if got := len(engine.Documents()); got != 11 {
		t.Errorf("%d documents of 10 incidents and a loss that were sent three times", got)
	}
	m.Losses[0].Events++
	if err := send(t, r, m); err != nil {
		t.Fatal(err)
	}
	if got := len(engine.Documents()); got != 12 {
		t.Errorf("%d documents after the loss grew, want 12", got)
	}
}

func TestOneBadDocumentHoldsNoOther(t *testing.T) {
	for _, c := range []struct {
		name    string
		status  map[string]int
		outcome notify.Outcome
		refused []int
	}{
		{"one cannot be parsed", map[string]int{"incident-3": 400}, notify.BadPayload, []int{3}},
		{"one waits", map[string]int{"incident-3": 429}, notify.Retry, []int{3}},
		{"one waits, one cannot be parsed", map[string]int{"incident-3": 400, "incident-7": 503}, notify.Retry, []int{3, 7}},
		{"one is forbidden", map[string]int{"incident-0": 403}, notify.BadTarget, []int{0}},
	} {
		t.Run(c.name, func(t *testing.T) {
			engine, r := start(t)
			engine.RefuseItems(func(id string) (int, string) { return c.status[id], "refused" })
			err := send(t, r, message(10))
			e, ok := errors.AsType[*notify.Error](err)
			if !ok || e.Outcome != c.outcome || !slices.Equal(e.Refused, c.refused) {
				t.Fatalf("%+v, want %s of %v", err, c.outcome, c.refused)
			}
			if got := len(engine.Documents()); got != 10-len(c.refused) {
				t.Errorf("%d documents are stored", got)
			}
		})
	}
}

func TestMissingIndexIsTheTargetsFault(t *testing.T) {
	engine, r := start(t)
	engine.Index = "another"
	err := send(t, r, message(1))
	if e, ok := errors.AsType[*notify.Error](err); !ok || e.Outcome != notify.BadTarget || e.Status != http.StatusNotFound {
		t.Errorf("%v, want bad target", err)
	}
}

// TestServerWithoutIndexesIsAskedWithoutOne: VictoriaLogs takes bulk requests at /insert/elasticsearch/_bulk, and answers 400 to any
// index before it.
func TestServerWithoutIndexesIsAskedWithoutOne(t *testing.T) {
	for index, want := range map[string]string{"": "/insert/elasticsearch/_bulk", "events": "/insert/elasticsearch/events/_bulk"} {
		server := notifytest.Start(notifytest.New(&notifytest.Elasticsearch{}))
		t.Cleanup(server.Close)
		settings := elasticsearch.Defaults().(*elasticsearch.Config)
		settings.URL, settings.Index = notify.SecretValue(server.URL()+"/insert/elasticsearch/?_stream_fields=cluster"), index
		settings.Check(func(key, format string, args ...any) { t.Errorf("%s: "+format, append([]any{key}, args...)...) })
		r, err := settings.New(notify.Common{Name: "search", Cluster: "shop-1"})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(r.Close)
		if err := send(t, r, message(1)); err != nil {
			t.Fatalf("index %q: %v", index, err)
		}
		path, query, _ := strings.Cut(server.Received()[0].Path, "?")
		if path != want || !strings.Contains(query, "_stream_fields=cluster") {
			t.Errorf("index %q: asked at %s?%s, want %s", index, path, query, want)
		}
	}
}
