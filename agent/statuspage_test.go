package agent

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/agenttest"
	"github.com/edge-eventer/edge-eventer/agent/config"
	"github.com/edge-eventer/edge-eventer/agent/inbox"
	"github.com/edge-eventer/edge-eventer/agent/page"
	"github.com/edge-eventer/edge-eventer/spool"
)

// looking is an agent that does not run, on a spool with n incidents of usual size for ops.
func looking(tb testing.TB, n int) *Agent {
	tb.Helper()
	s, err := spool.Open(spool.Options{Path: filepath.Join(tb.TempDir(), "spool.db")})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = s.Close() })
	for begin := 0; begin < n; begin += 500 {
		err := s.Update(func(tx *spool.Tx) error {
			for i := begin; i < min(n, begin+500); i++ {
				e := agenttest.Warning(fmt.Sprintf("web%d", i), i+1, 1, time.Now())
				e.Message = strings.Repeat("Back-off restarting failed container ", 5)
				o := agenttest.Observation(e, time.Now())
				if _, err := inbox.Fold(tx.Queue("ops"), agenttest.Policy, &o); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			tb.Fatal(err)
		}
	}
	c, err := config.Parse([]byte("receivers: [{name: ops, type: stdout}]"))
	if err != nil {
		tb.Fatal(err)
	}
	a, err := New(c, Options{})
	if err != nil {
		tb.Fatal(err)
	}
	a.seen.stages = &stages{spool: s}
	return a
}

func TestStatusPageReadsNoMoreThanItsBound(t *testing.T) {
	a := looking(t, maxLooked+200)
	n := 0
	if err := a.eachIncident(func(page.Incident) bool { n++; return true }); err != nil {
		t.Fatal(err)
	}
	if n != maxLooked {
		t.Errorf("%d incidents were read, want %d", n, maxLooked)
	}
}

// BenchmarkStatusPage is the figure at maxLooked.
func BenchmarkStatusPage(b *testing.B) {
	a := looking(b, maxLooked)
	b.ReportAllocs()
	for b.Loop() {
		if err := a.eachIncident(func(in page.Incident) bool { return in.Occurrences > 0 }); err != nil {
			b.Fatal(err)
		}
	}
}
