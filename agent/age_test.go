package agent

import (
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/config"
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
				r := &scripted{}
				h := newHouseOn(t, s, map[string]notify.Receiver{"ops": r})
				h.start()
				defer h.close()
				h.list("9", false)
				begin := time.Now()
				for i := range c.events {
					e := warning("web", 10+i, 1+i, begin)
					e.LastTimestamp = time.Now()
					h.show(e)
					pass(5 * time.Minute)
				}
				pass(testPolicy.RepeatInterval + time.Hour)
				told, openings := 0, make(map[time.Time]bool)
				for _, m := range r.messages() {
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
				if n := h.untold("ops"); n != 0 {
					t.Errorf("%d wait", n)
				}
			})
		})
	}
}

func TestHeldRepeatsAreNotGivenUpForTheirAge(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"spool: {maxAge: 1h}\nreceivers: [{name: ops, type: stdout}]":                       5 * time.Hour,
		"spool: {maxAge: 12h}\nreceivers: [{name: ops, type: stdout}]":                      12 * time.Hour,
		"spool: {maxAge: 12h}\nreceivers: [{name: ops, type: stdout, repeatInterval: 24h}]": 25 * time.Hour,
	} {
		c, err := config.Parse([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if got := leastAge(c); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}
