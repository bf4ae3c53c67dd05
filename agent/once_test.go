package agent

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/incident"
	"github.com/edge-eventer/edge-eventer/notify"
	"github.com/edge-eventer/edge-eventer/spool"
)

// gone reports whether the queue has no record of the workload.
func (h *house) gone(receiver, workload string) (gone bool) {
	h.t.Helper()
	err := h.spool.View(func(tx *spool.Tx) error {
		_, ok := tx.Queue(receiver).Get(incident.Key("shop", "Pod", workload, "BackOff"))
		gone = !ok
		return nil
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return gone
}

// totalLoss returns how many events were ever lost to a receiver.
func (h *house) totalLoss(receiver string) (n uint64) {
	h.t.Helper()
	err := h.spool.View(func(tx *spool.Tx) error {
		for _, l := range tx.Queue(receiver).TotalLosses() {
			n += l.Events
		}
		return nil
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return n
}

// flood fills the spool with what waits for another receiver until the record of the workload is evicted.
func (h *house) flood(receiver, workload string) {
	for i := 0; i < 2000 && !h.gone(receiver, workload); i++ {
		err := h.spool.Update(func(tx *spool.Tx) error {
			return tx.Queue("other").Put(spool.Record{Key: fmt.Append(nil, i), Due: time.Now().Add(time.Hour), Untold: 1, Body: make([]byte, 8<<10)})
		})
		if err != nil {
			h.t.Error(err)
			return
		}
	}
	if !h.gone(receiver, workload) {
		h.t.Error("the record is not evicted")
	}
}

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
				r := &scripted{limits: notify.Limits{Batch: 50, BatchBytes: 256 << 10, Digest: c.digest}}
				h := newHouseOn(t, s, map[string]notify.Receiver{"ops": r})
				incidents := 1
				if c.digest {
					incidents = 30
				}
				first := true
				r.fits = 10
				r.answer = func(context.Context, *notify.Message, notify.Form) error {
					if !first {
						return nil
					}
					first = false
					// The last one goes last: all of them are gone.
					h.flood("ops", fmt.Sprintf("web%d", incidents-1))
					if c.back {
						h.show(warning("web0", 100, 8, time.Now()))
						<-time.After(2 * time.Second)
					}
					if !c.taken {
						return errUnreachable
					}
					return nil
				}
				h.start()
				defer h.close()
				for i := range incidents {
					h.show(warning(fmt.Sprintf("web%d", i), 10+i, 5, time.Now()))
				}
				pass(time.Hour)
				lost, delivered := h.totalLoss("ops"), h.deliveries["ops"].Status().Delivered
				want := uint64(5 * incidents)
				if c.back {
					want += 3
				}
				if lost+delivered+h.untold("ops") != want {
					t.Errorf("%d events delivered, %d lost, %d waiting: want %d in all", delivered, lost, h.untold("ops"), want)
				}
				if c.taken != (lost == 0) {
					t.Errorf("the message was taken: %v, and %d events are counted as lost", c.taken, lost)
				}
				if n := h.untoldLoss("ops"); c.taken && n != 0 {
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
			r := &scripted{}
			h := newHouse(t, map[string]notify.Receiver{"ops": r})
			first := true
			r.answer = func(_ context.Context, _ *notify.Message, _ notify.Form) error {
				if !first {
					return nil
				}
				first = false
				<-time.After(time.Second)
				err := h.spool.Update(func(tx *spool.Tx) error {
					q := tx.Queue("ops")
					if err := q.Delete(incident.Key("shop", "Pod", "web", "BackOff")); err != nil {
						return err
					}
					o := observationOf(warning("web", 11, 1, time.Now()), time.Now())
					_, err := foldInto(q, testPolicy, &o)
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
			d := h.deliveries["ops"]
			if refused {
				// The message is the simplest form of one that was refused.
				d.form = notify.Simple
				d.narrow.suspects, d.narrow.most = [][]byte{incident.Key("shop", "Pod", "web", "BackOff")}, 1
				o := observationOf(warning("web", 10, 4, time.Now()), time.Now())
				if err := h.spool.Update(func(tx *spool.Tx) error { _, err := foldInto(tx.Queue("ops"), testPolicy, &o); return err }); err != nil {
					t.Fatal(err)
				}
			}
			h.start()
			defer h.close()
			if !refused {
				h.show(warning("web", 10, 4, time.Now()))
			}
			pass(time.Hour)
			if n := h.dead("ops"); n != 0 {
				t.Errorf("refused %v: %d dead letters, though the new incident was never sent", refused, n)
			}
			messages := r.messages()
			if len(messages) == 0 || messages[len(messages)-1].Incidents[0].Occurrences != 1 {
				t.Errorf("refused %v: the new incident is not told: %d messages", refused, len(messages))
			}
			if n := h.untold("ops"); n != 0 {
				t.Errorf("refused %v: %d untold", refused, n)
			}
		})
	}
}

// TestDroppedWhileItsMessageIsOnItsWayTakesNoEarlierLossAway: what an operator drops is no loss that a delivery could take back.
func TestDroppedWhileItsMessageIsOnItsWayTakesNoEarlierLossAway(t *testing.T) {
	for _, digest := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			r := &scripted{limits: notify.Limits{Batch: 50, BatchBytes: 256 << 10, Digest: digest}}
			h := newHouse(t, map[string]notify.Receiver{"ops": r})
			r.answer = func(context.Context, *notify.Message, notify.Form) error {
				err := h.spool.Update(func(tx *spool.Tx) error {
					return tx.Queue("ops").Delete(incident.Key("shop", "Pod", "web0", "BackOff"))
				})
				if err != nil {
					t.Error(err)
				}
				return nil
			}
			h.lose("ops", 50)
			h.start()
			defer h.close()
			for i := range 20 {
				h.show(warning(fmt.Sprintf("web%d", i), 10+i, 5, time.Now()))
			}
			pass(time.Minute)
			if n := h.totalLoss("ops"); n != 50 {
				t.Errorf("digest %v: %d events are lost, want the 50 of before", digest, n)
			}
		})
	}
}
