package deliver_test

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/agenttest"
	"github.com/edge-eventer/edge-eventer/agent/deliver"
	"github.com/edge-eventer/edge-eventer/agent/inbox"
	"github.com/edge-eventer/edge-eventer/agent/incident"
	"github.com/edge-eventer/edge-eventer/notify"
	"github.com/edge-eventer/edge-eventer/spool"
)

// TestEvictedWhileItsMessageIsOnItsWayIsCountedOnce: delivered where the receiver takes the message, lost where it does not; also when
// the problem came back meanwhile, which is told as news.
func TestEvictedWhileItsMessageIsOnItsWayIsCountedOnce(t *testing.T) {
	for _, c := range []struct {
		taken, back, digest bool
	}{{true, false, false}, {false, false, false}, {true, true, false}, {true, false, true}} {
		t.Run(fmt.Sprintf("%+v", c), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, err := spool.Open(spool.Options{Path: filepath.Join(t.TempDir(), "spool.db"), MaxBytes: 2 << 20})
				if err != nil {
					t.Fatal(err)
				}
				r := &agenttest.Receiver{Bounds: notify.Limits{Batch: 50, BatchBytes: 256 << 10, Digest: c.digest}}
				h := agenttest.NewOn(t, s, map[string]notify.Receiver{"ops": r})
				incidents := 1
				if c.digest {
					incidents = 30
				}
				first := true
				r.Fits = 10
				r.Answer = func(context.Context, *notify.Message, notify.Form) error {
					if !first {
						return nil
					}
					first = false
					// The last one goes last: all of them are gone.
					h.Flood("ops", fmt.Sprintf("web%d", incidents-1))
					if c.back {
						h.Show(agenttest.Warning("web0", 100, 8, time.Now()))
						<-time.After(2 * time.Second)
					}
					if !c.taken {
						return agenttest.ErrUnreachable
					}
					return nil
				}
				h.Start()
				defer h.Close()
				for i := range incidents {
					h.Show(agenttest.Warning(fmt.Sprintf("web%d", i), 10+i, 5, time.Now()))
				}
				agenttest.Pass(time.Hour)
				lost, delivered := h.TotalLoss("ops"), h.Deliveries["ops"].Status().Delivered
				want := uint64(5 * incidents)
				if c.back {
					want += 3
				}
				if lost+delivered+h.Untold("ops") != want {
					t.Errorf("%d events delivered, %d lost, %d waiting: want %d in all", delivered, lost, h.Untold("ops"), want)
				}
				if c.taken != (lost == 0) {
					t.Errorf("the message was taken: %v, and %d events are counted as lost", c.taken, lost)
				}
				if n := h.UntoldLoss("ops"); c.taken && n != 0 {
					t.Errorf("a loss of %d events that were delivered is to be told", n)
				}
			})
		})
	}
}

// TestIncidentThatBeganAnewWhileItsMessageWasOnItsWayIsNews: the yes was to the one before.
func TestIncidentThatBeganAnewWhileItsMessageWasOnItsWayIsNews(t *testing.T) {
	for _, refused := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			r := &agenttest.Receiver{}
			h := agenttest.New(t, map[string]notify.Receiver{"ops": r})
			first := true
			r.Answer = func(_ context.Context, _ *notify.Message, _ notify.Form) error {
				if !first {
					return nil
				}
				first = false
				<-time.After(time.Second)
				err := h.Spool.Update(func(tx *spool.Tx) error {
					q := tx.Queue("ops")
					if err := q.Delete(incident.Key("shop", "Pod", "web", "BackOff")); err != nil {
						return err
					}
					o := agenttest.Observation(agenttest.Warning("web", 11, 1, time.Now()), time.Now())
					_, err := inbox.Fold(q, agenttest.Policy(), &o)
					return err
				})
				if err != nil {
					t.Error(err)
				}
				if refused {
					return &notify.Error{Outcome: notify.BadPayload, Status: 400, Reason: "refused"}
				}
				return nil
			}
			h.Make()
			if refused {
				// The message is the simplest form of one that was refused.
				deliver.TrySimply(h.Deliveries["ops"], incident.Key("shop", "Pod", "web", "BackOff"))
				o := agenttest.Observation(agenttest.Warning("web", 10, 4, time.Now()), time.Now())
				if err := h.Spool.Update(func(tx *spool.Tx) error { _, err := inbox.Fold(tx.Queue("ops"), agenttest.Policy(), &o); return err }); err != nil {
					t.Fatal(err)
				}
			}
			h.Start()
			defer h.Close()
			if !refused {
				h.Show(agenttest.Warning("web", 10, 4, time.Now()))
			}
			agenttest.Pass(time.Hour)
			if n := h.Dead("ops"); n != 0 {
				t.Errorf("refused %v: %d dead letters, though the new incident was never sent", refused, n)
			}
			messages := r.Messages()
			if len(messages) == 0 || messages[len(messages)-1].Incidents[0].Occurrences != 1 {
				t.Errorf("refused %v: the new incident is not told: %d messages", refused, len(messages))
			}
			if n := h.Untold("ops"); n != 0 {
				t.Errorf("refused %v: %d untold", refused, n)
			}
		})
	}
}

// TestDroppedWhileItsMessageIsOnItsWayTakesNoEarlierLossAway: what an operator drops is no loss that a delivery could take back.
func TestDroppedWhileItsMessageIsOnItsWayTakesNoEarlierLossAway(t *testing.T) {
	for _, digest := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			r := &agenttest.Receiver{Bounds: notify.Limits{Batch: 50, BatchBytes: 256 << 10, Digest: digest}}
			h := agenttest.New(t, map[string]notify.Receiver{"ops": r})
			r.Answer = func(context.Context, *notify.Message, notify.Form) error {
				err := h.Spool.Update(func(tx *spool.Tx) error {
					return tx.Queue("ops").Delete(incident.Key("shop", "Pod", "web0", "BackOff"))
				})
				if err != nil {
					t.Error(err)
				}
				return nil
			}
			h.Lose("ops", 50)
			h.Start()
			defer h.Close()
			for i := range 20 {
				h.Show(agenttest.Warning(fmt.Sprintf("web%d", i), 10+i, 5, time.Now()))
			}
			agenttest.Pass(time.Minute)
			if n := h.TotalLoss("ops"); n != 50 {
				t.Errorf("digest %v: %d events are lost, want the 50 of before", digest, n)
			}
		})
	}
}
