package fleet

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/status"
)

// site is a document with something in every part.
func site() *status.Document {
	now := time.Now()
	d := &status.Document{
		Agent: status.Agent{Version: "0.1.0", Cluster: "shop-17", Started: now.Add(-time.Hour), Now: now},
		Link:  status.Link{LinkState: "up", Outages: 3},
		Watch: []status.Watch{{Namespace: "secret-namespace", State: "watching", LastAnswer: now}},
		Spool: status.Spool{Used: 3 << 20, Max: 16 << 20, Gaps: 1},
		Receivers: []status.Receiver{
			{
				Name: "secret-name", Type: "feishu", Sending: status.Sending{State: "backoff", LastError: "secret answer"},
				Queue: status.Queue{Untold: 69, Held: 9, Dead: 2, Oldest: now.Add(-time.Minute), Losses: []status.Loss{{Cause: "expired", Events: 12}}},
			},
			{
				Name: "engine", Type: "otlp", Sending: status.Sending{State: "idle"},
				Queue: status.Queue{Untold: 1, Oldest: now.Add(-2 * time.Minute), Losses: []status.Loss{{Cause: "expired", Events: 1}, {Cause: "evicted", Events: 2}}},
			},
		},
		Budget: &status.Budget{Level: status.Frugal, Day: 900, DayMax: 1000, Month: 2000},
	}
	d.Judge()
	return d
}

func TestRecordSaysHowTheSiteStands(t *testing.T) {
	got := string(Of(site()).JSON())
	want := `{"version":"0.1.0","up":3600,"ready":true,"watch":"up","link":"up","outages":3,"queue":70,"due":61,"oldest":120,"dead":2,"failing":1,` +
		`"lost":15,"lostBy":{"evicted":2,"expired":13},"gaps":1,` +
		`"spoolBytes":3145728,"spoolMaxBytes":16777216,"budget":"frugal","dayBytes":900,"dayMaxBytes":1000,"monthBytes":2000,"monthMaxBytes":0}`
	if got != want {
		t.Errorf("the record is\n%s\nwant\n%s", got, want)
	}
	if strings.Contains(got, "secret") {
		t.Errorf("it says what is nobody's business: %s", got)
	}
}

// TestRecordIsBounded gives it the largest numbers, every cause of loss and words of others as causes.
func TestRecordIsBounded(t *testing.T) {
	d := site()
	d.Version = strings.Repeat("v", 500)
	d.Spool.Used, d.Spool.Max, d.Spool.Gaps, d.Outages = math.MaxInt64, math.MaxInt64, math.MaxUint64, math.MaxUint64
	*d.Budget = status.Budget{Level: status.CriticalOnly, Day: math.MaxInt64, DayMax: math.MaxInt64, Month: math.MaxInt64, MonthMax: math.MaxInt64}
	d.Receivers = d.Receivers[:1]
	q := &d.Receivers[0].Queue
	q.Untold, q.Held, q.Dead, q.Oldest = math.MaxUint64, 0, math.MaxInt32, time.Unix(0, 0)
	q.Losses = nil
	sum := uint64(0)
	for i, cause := range []string{"evicted", "expired", "refused", "damaged", "unseen", "undecodable", "dropped", strings.Repeat("x", 32)} {
		n := uint64(1+i) << 58
		q.Losses = append(q.Losses, status.Loss{Cause: cause, Events: n})
		sum += n
	}
	text := Of(d).JSON()
	if len(text) > MaxBytes {
		t.Errorf("%d bytes: %s", len(text), text)
	}
	var r Record
	if err := json.Unmarshal(text, &r); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	by := uint64(0)
	for _, n := range r.LostBy {
		by += n
	}
	if r.LostBy[other] == 0 || by != sum || r.Lost != sum {
		t.Errorf("%d of %d losses have a cause: %v", by, sum, r.LostBy)
	}
}
