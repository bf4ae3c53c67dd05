package deliver_test

import (
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/agenttest"
	"github.com/edge-eventer/edge-eventer/notify"
	"github.com/edge-eventer/edge-eventer/spool"
)

// TestMaxAgeExpiresNothingOfAHealthyReceiver has a pod that crash-loops: every occurrence is told, none is counted as lost, and the
// incident stays one.
func TestMaxAgeExpiresNothingOfAHealthyReceiver(t *testing.T) {
	for _, c := range []struct {
		maxAge time.Duration
		events int
	}{
		{12 * time.Hour, 864},
		{168 * time.Hour, 8 * 24 * 12},
	} {
		t.Run(c.maxAge.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, err := spool.Open(spool.Options{Path: filepath.Join(t.TempDir(), "spool.db"), MaxAge: c.maxAge})
				if err != nil {
					t.Fatal(err)
				}
				r := &agenttest.Receiver{}
				h := agenttest.NewOn(t, s, map[string]notify.Receiver{"ops": r})
				h.Start()
				defer h.Close()
				h.List("9", false)
				begin := time.Now()
				for i := range c.events {
					e := agenttest.Warning("web", 10+i, 1+i, begin)
					e.LastTimestamp = time.Now()
					h.Show(e)
					agenttest.Pass(5 * time.Minute)
				}
				agenttest.Pass(agenttest.Policy().RepeatInterval + time.Hour)
				told, openings := 0, make(map[time.Time]bool)
				for _, m := range r.Messages() {
					if len(m.Losses) > 0 {
						t.Errorf("told of losses %v", m.Losses)
					}
					for _, in := range m.Incidents {
						told += in.Untold
						openings[in.FirstSeen] = true
					}
				}
				if told != c.events || len(openings) != 1 {
					t.Errorf("%d of %d occurrences were told, in %d incidents", told, c.events, len(openings))
				}
				if n := h.Untold("ops"); n != 0 {
					t.Errorf("%d wait", n)
				}
			})
		})
	}
}
