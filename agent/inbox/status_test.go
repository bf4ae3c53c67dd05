package inbox_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/agenttest"
	"github.com/edge-eventer/edge-eventer/agent/inbox"
	"github.com/edge-eventer/edge-eventer/agent/incident"
	"github.com/edge-eventer/edge-eventer/spool"
)

// backlog is a spool with n incidents of usual size for ops.
func backlog(tb testing.TB, n int) *spool.Spool {
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
				if _, err := inbox.Fold(tx.Queue("ops"), agenttest.Policy(), &o); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			tb.Fatal(err)
		}
	}
	return s
}

func TestLookAtAQueueReadsNoMoreThanItsBound(t *testing.T) {
	err := backlog(t, inbox.MaxLooked+200).View(func(tx *spool.Tx) error {
		n := 0
		err := inbox.Incidents(tx.Queue("ops"), func(*incident.Incident) bool { n++; return true })
		if n != inbox.MaxLooked {
			t.Errorf("%d incidents were read, want %d", n, inbox.MaxLooked)
		}
		// All of what is looked at is due by then, and what is behind it counts as due.
		if q := inbox.Status(tx.Queue("ops"), time.Now().Add(time.Hour)); q.Records != inbox.MaxLooked+200 || q.Held != 0 || q.Due() != inbox.MaxLooked+200 {
			t.Errorf("the status is %+v", q)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// BenchmarkIncidents is the figure at MaxLooked.
func BenchmarkIncidents(b *testing.B) {
	s := backlog(b, inbox.MaxLooked)
	b.ReportAllocs()
	for b.Loop() {
		err := s.View(func(tx *spool.Tx) error {
			return inbox.Incidents(tx.Queue("ops"), func(in *incident.Incident) bool { return in.Occurrences > 0 })
		})
		if err != nil {
			b.Fatal(err)
		}
	}
}
