package deliver_test

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/agenttest"
	"github.com/edge-eventer/edge-eventer/agent/inbox"
	"github.com/edge-eventer/edge-eventer/notify"
	"github.com/edge-eventer/edge-eventer/spool"
)

func TestBacklogOfANightComesInFewMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := agenttest.Outage(6*time.Hour, 60)
		h := agenttest.New(t, map[string]notify.Receiver{"ops": r})
		h.Start()
		defer h.Close()
		const incidents, each = 2000, 25
		begin, version := time.Now(), 10
		for round := range each {
			for i := range incidents {
				version++
				e := agenttest.Warning(fmt.Sprintf("web%d", i), version, round+1, begin)
				e.LastTimestamp = time.Now()
				h.Show(e)
			}
			agenttest.Pass(10 * time.Minute)
		}
		agenttest.Pass(6 * time.Hour)
		messages := r.Messages()
		if len(messages) == 0 || len(messages) > inbox.MaxDigestMessages {
			t.Fatalf("%d incidents came in %d messages, want 1 to %d", incidents, len(messages), inbox.MaxDigestMessages)
		}
		named := 0
		for _, m := range messages {
			named += len(m.Incidents)
		}
		d := messages[0].Digest
		if d == nil || d.Incidents != incidents || d.Events != incidents*each {
			t.Fatalf("digest %+v, want %d incidents with %d events", d, incidents, incidents*each)
		}
		if away := messages[0].Now.Sub(d.AwaySince); away < 5*time.Hour+50*time.Minute || away > 6*time.Hour+10*time.Minute {
			t.Errorf("the link is said to have been away for %v, it was 6h", away)
		}
		if named+r.Unnamed != incidents {
			t.Errorf("%d named and %d counted, want %d together", named, r.Unnamed, incidents)
		}
		if r.UnnamedEvents != uint64(r.Unnamed)*each {
			t.Errorf("%d events counted for %d incidents, want %d", r.UnnamedEvents, r.Unnamed, r.Unnamed*each)
		}
		if n := h.Untold("ops"); n != 0 {
			t.Errorf("%d observations are still to be told", n)
		}
	})
}

// TestDigestHoldsNoBacklogInMemory: what it only counts costs it a key and two counts, however long the messages are.
func TestDigestHoldsNoBacklogInMemory(t *testing.T) {
	held := func(incidents int) int64 {
		h := agenttest.New(t, map[string]notify.Receiver{"ops": &agenttest.Receiver{}})
		defer h.Close()
		at := time.Now().Add(-time.Hour)
		for from := 0; from < incidents; from += 500 {
			if err := h.Spool.Update(func(tx *spool.Tx) error {
				for i := from; i < from+500; i++ {
					e := agenttest.Warning(fmt.Sprintf("web%d", i), 10+i, 1, at)
					e.Message = strings.Repeat("Back-off restarting failed container. ", 16)
					o := agenttest.Observation(e, at)
					if _, err := inbox.Fold(tx.Queue("ops"), agenttest.Policy(), &o); err != nil {
						return err
					}
				}
				return nil
			}); err != nil {
				t.Fatal(err)
			}
		}
		live := func() int64 {
			var m runtime.MemStats
			// The second collection takes what the first one's finalizers held.
			runtime.GC()
			runtime.GC()
			runtime.ReadMemStats(&m)
			return int64(m.HeapAlloc)
		}
		before := live()
		in := &inbox.Inbox{Spool: h.Spool, Receiver: "ops", Policy: agenttest.Policy(), Severity: agenttest.SeverityOf}
		var g *inbox.Digest
		none := func([]byte) bool { return false }
		if _, err := in.Read(time.Now(), func(r *inbox.Reading) (err error) { g, err = r.Digest(none); return err }); err != nil {
			t.Fatal(err)
		}
		after := live()
		if n := g.Summary().Incidents; n != incidents || len(g.Rows) != inbox.MaxDigestRows {
			t.Fatalf("%d incidents, %d of them named", n, len(g.Rows))
		}
		return after - before
	}
	small, large := held(1000), held(9000)
	t.Logf("1,000 incidents: %d bytes, 9,000: %d bytes", small, large)
	if each := (large - small) / 8000; each > 150 {
		t.Errorf("each further incident costs %d bytes, want 150 at most", each)
	}
}

func TestDigestNamesTheWorstFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := agenttest.Outage(time.Hour, 5)
		h := agenttest.New(t, map[string]notify.Receiver{"ops": r})
		h.Start()
		defer h.Close()
		node := agenttest.Warning("pi-1", 9, 1, time.Now())
		node.Reason = "NodeNotReady"
		h.Show(node)
		for i := range 40 {
			h.Show(agenttest.Warning(fmt.Sprintf("web%d", i), 10+i, 1, time.Now().Add(time.Duration(i)*time.Second)))
		}
		agenttest.Pass(2 * time.Hour)
		var order []string
		for _, m := range r.Messages() {
			for _, i := range m.Incidents {
				order = append(order, i.Workload)
			}
		}
		if len(order) != 5*inbox.MaxDigestMessages || order[0] != "pi-1" || order[1] != "web39" || order[2] != "web38" {
			t.Errorf("named %v: want the node first, then the newest", order)
		}
	})
}

func TestWhatComesWhileADigestIsSentIsNotSwallowedByIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &agenttest.Receiver{Bounds: notify.Limits{Batch: 50, BatchBytes: 256 << 10, Digest: true}, Fits: 3}
		r.Answer = func(context.Context, *notify.Message, notify.Form) error {
			<-time.After(10 * time.Second)
			return nil
		}
		h := agenttest.New(t, map[string]notify.Receiver{"ops": r})
		h.Start()
		defer h.Close()
		for i := range 30 {
			h.Show(agenttest.Warning(fmt.Sprintf("web%d", i), 10+i, 1, time.Now()))
		}
		agenttest.Pass(8 * time.Second)
		// The first message of the digest is under way: web0 is only counted in it, and observed again.
		h.Show(agenttest.Warning("web0", 100, 4, time.Now()), agenttest.Warning("web29", 101, 2, time.Now()))
		agenttest.Pass(10 * time.Hour)
		told := 0
		for _, m := range r.Messages() {
			for _, i := range m.Incidents {
				told += i.Untold
			}
		}
		if want := 30 + 3 + 1; told+int(r.UnnamedEvents) != want {
			t.Errorf("%d observations named and %d counted, want %d together", told, r.UnnamedEvents, want)
		}
		if n := h.Untold("ops"); n != 0 {
			t.Errorf("%d observations are still to be told", n)
		}
	})
}

func TestArchiveGetsFullRecordsInsteadOfADigest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := agenttest.Outage(time.Hour, 0)
		r.Bounds.Digest = false
		h := agenttest.New(t, map[string]notify.Receiver{"archive": r})
		h.Start()
		defer h.Close()
		for i := range 200 {
			h.Show(agenttest.Warning(fmt.Sprintf("web%d", i), 10+i, 1, time.Now()))
		}
		agenttest.Pass(2 * time.Hour)
		for _, m := range r.Messages() {
			if m.Digest != nil {
				t.Fatal("an archive was sent a digest")
			}
		}
		if n := len(r.Workloads()); n != 200 {
			t.Errorf("%d of 200 incidents were told", n)
		}
	})
}
