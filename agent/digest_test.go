package agent

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edge-eventer/edge-eventer/notify"
	"github.com/edge-eventer/edge-eventer/spool"
)

// outage is a person's receiver that cannot be reached for d.
func outage(d time.Duration, fits int) *scripted {
	up := time.Now().Add(d)
	return &scripted{
		limits: notify.Limits{Batch: 50, BatchBytes: 256 << 10, Digest: true},
		fits:   fits,
		answer: func(context.Context, *notify.Message, notify.Form) error {
			if time.Now().Before(up) {
				return errUnreachable
			}
			return nil
		},
	}
}

func TestBacklogOfANightComesInFewMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := outage(6*time.Hour, 60)
		h := newHouse(t, map[string]notify.Receiver{"ops": r})
		h.start()
		defer h.close()
		const incidents, each = 2000, 25
		begin, version := time.Now(), 10
		for round := range each {
			for i := range incidents {
				version++
				e := warning(fmt.Sprintf("web%d", i), version, round+1, begin)
				e.LastTimestamp = time.Now()
				h.show(e)
			}
			pass(10 * time.Minute)
		}
		pass(6 * time.Hour)
		messages := r.messages()
		if len(messages) == 0 || len(messages) > maxDigestMessages {
			t.Fatalf("%d incidents came in %d messages, want 1 to %d", incidents, len(messages), maxDigestMessages)
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
		if named+r.unnamed != incidents {
			t.Errorf("%d named and %d counted, want %d together", named, r.unnamed, incidents)
		}
		if r.unnamedEvents != uint64(r.unnamed)*each {
			t.Errorf("%d events counted for %d incidents, want %d", r.unnamedEvents, r.unnamed, r.unnamed*each)
		}
		if n := h.untold("ops"); n != 0 {
			t.Errorf("%d observations are still to be told", n)
		}
	})
}

// TestDigestHoldsNoBacklogInMemory: what it only counts costs it a key and two counts, however long the messages are.
func TestDigestHoldsNoBacklogInMemory(t *testing.T) {
	held := func(incidents int) int64 {
		h := newHouse(t, map[string]notify.Receiver{"ops": &scripted{}})
		defer h.close()
		at := time.Now().Add(-time.Hour)
		for from := 0; from < incidents; from += 500 {
			if err := h.spool.Update(func(tx *spool.Tx) error {
				for i := from; i < from+500; i++ {
					e := warning(fmt.Sprintf("web%d", i), 10+i, 1, at)
					e.Message = strings.Repeat("Back-off restarting failed container. ", 16)
					o := observationOf(e, at)
					if _, err := foldInto(tx.Queue("ops"), testPolicy, &o); err != nil {
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
		var g *digest
		if err := h.spool.View(func(tx *spool.Tx) (err error) {
			g, err = h.deliveries["ops"].collect(tx.Queue("ops"), time.Now())
			return err
		}); err != nil {
			t.Fatal(err)
		}
		after := live()
		if g.incidents != incidents || len(g.rows) != maxDigestRows {
			t.Fatalf("%d incidents, %d of them named", g.incidents, len(g.rows))
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
		r := outage(time.Hour, 5)
		h := newHouse(t, map[string]notify.Receiver{"ops": r})
		h.start()
		defer h.close()
		node := warning("pi-1", 9, 1, time.Now())
		node.Reason = "NodeNotReady"
		h.show(node)
		for i := range 40 {
			h.show(warning(fmt.Sprintf("web%d", i), 10+i, 1, time.Now().Add(time.Duration(i)*time.Second)))
		}
		pass(2 * time.Hour)
		var order []string
		for _, m := range r.messages() {
			for _, i := range m.Incidents {
				order = append(order, i.Workload)
			}
		}
		if len(order) != 5*maxDigestMessages || order[0] != "pi-1" || order[1] != "web39" || order[2] != "web38" {
			t.Errorf("named %v: want the node first, then the newest", order)
		}
	})
}

func TestWhatComesWhileADigestIsSentIsNotSwallowedByIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &scripted{limits: notify.Limits{Batch: 50, BatchBytes: 256 << 10, Digest: true}, fits: 3}
		r.answer = func(context.Context, *notify.Message, notify.Form) error {
			<-time.After(10 * time.Second)
			return nil
		}
		h := newHouse(t, map[string]notify.Receiver{"ops": r})
		h.start()
		defer h.close()
		for i := range 30 {
			h.show(warning(fmt.Sprintf("web%d", i), 10+i, 1, time.Now()))
		}
		pass(8 * time.Second)
		// The first message of the digest is under way: web0 is only counted in it, and observed again.
		h.show(warning("web0", 100, 4, time.Now()), warning("web29", 101, 2, time.Now()))
		pass(10 * time.Hour)
		told := 0
		for _, m := range r.messages() {
			for _, i := range m.Incidents {
				told += i.Untold
			}
		}
		if want := 30 + 3 + 1; told+int(r.unnamedEvents) != want {
			t.Errorf("%d observations named and %d counted, want %d together", told, r.unnamedEvents, want)
		}
		if n := h.untold("ops"); n != 0 {
			t.Errorf("%d observations are still to be told", n)
		}
	})
}

func TestArchiveGetsFullRecordsInsteadOfADigest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := outage(time.Hour, 0)
		r.limits.Digest = false
		h := newHouse(t, map[string]notify.Receiver{"archive": r})
		h.start()
		defer h.close()
		for i := range 200 {
			h.show(warning(fmt.Sprintf("web%d", i), 10+i, 1, time.Now()))
		}
		pass(2 * time.Hour)
		for _, m := range r.messages() {
			if m.Digest != nil {
				t.Fatal("an archive was sent a digest")
			}
		}
		if n := len(r.workloads()); n != 200 {
			t.Errorf("%d of 200 incidents were told", n)
		}
	})
}
