package selfreport_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/agenttest"
	"github.com/edge-eventer/edge-eventer/agent/config"
	"github.com/edge-eventer/edge-eventer/notify"
	"github.com/edge-eventer/edge-eventer/spool"
)

// sites counts the records that were made, and says whether the budget is used up.
type sites struct {
	made   int
	scarce bool
}

func (s *sites) record() (string, bool, error) {
	s.made++
	return fmt.Sprintf(`{"n":%d}`, s.made), s.scarce, nil
}

// engineOf is a configuration in which ops is an engine and chat is none.
func engineOf(c *config.Config) {
	c.Receivers = []config.Receiver{{Name: "ops", Type: "otlp"}, {Name: "chat", Type: "feishu"}}
}

// recordsOf returns what a receiver was told of the site, with how often each ID came.
func recordsOf(t *testing.T, r *agenttest.Receiver) (texts []string, ids map[string]int) {
	t.Helper()
	ids = make(map[string]int)
	for _, m := range r.Messages() {
		for _, in := range m.Incidents {
			if in.Reason != notify.SiteStatus || in.Type != "Normal" || !in.Own {
				t.Errorf("it was told %s %s, own %t", in.Type, in.Reason, in.Own)
			}
			texts = append(texts, in.Message)
			ids[in.ID]++
		}
	}
	return texts, ids
}

// TestEnginesAreToldHowTheSiteStands has an engine and a chat, an hour in which the engine is away, and an engine that takes every event.
func TestEnginesAreToldHowTheSiteStands(t *testing.T) {
	for _, perEvent := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			ops, chat := new(agenttest.Receiver), new(agenttest.Receiver)
			var away atomic.Bool
			ops.Answer = func(context.Context, *notify.Message, notify.Form) error {
				if away.Load() {
					return &notify.Error{Outcome: notify.Retry, Reason: "away"}
				}
				return nil
			}
			h := agenttest.New(t, map[string]notify.Receiver{"ops": ops, "chat": chat})
			policy := agenttest.Policy()
			policy.PerEvent = perEvent
			h.SetPolicy("ops", policy)
			h.Start()
			defer h.Close()
			site := new(sites)
			stop := background(t, func(ctx context.Context) error { return reporterOf(h).Site(ctx, settings(engineOf), site.record) })
			agenttest.Pass(time.Hour)
			texts, ids := recordsOf(t, ops)
			if len(texts) != 4 || len(ids) != 4 || texts[3] != `{"n":4}` {
				t.Errorf("in an hour the engine was told %q with the IDs %v", texts, ids)
			}
			away.Store(true)
			agenttest.Pass(time.Hour)
			err := h.Spool.View(func(tx *spool.Tx) error {
				if n := tx.Queue("ops").Untold(); n != 1 && perEvent || tx.Queue("ops").Len() != 1 {
					t.Errorf("%d records with %d observations wait, want the last one", tx.Queue("ops").Len(), n)
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			away.Store(false)
			agenttest.Pass(6 * time.Minute)
			stop()
			if texts, _ := recordsOf(t, ops); texts[len(texts)-1] != fmt.Sprintf(`{"n":%d}`, site.made) {
				t.Errorf("after the outage it was told %q, and %d were made", texts, site.made)
			}
			if texts, _ := recordsOf(t, chat); len(texts) != 0 {
				t.Errorf("a chat was told %q", texts)
			}
		})
	}
}

func TestScarceBudgetMakesOneRecordAnHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := agenttest.New(t, map[string]notify.Receiver{"ops": new(agenttest.Receiver)})
		h.Start()
		defer h.Close()
		site := &sites{scarce: true}
		stop := background(t, func(ctx context.Context) error { return reporterOf(h).Site(ctx, settings(engineOf), site.record) })
		agenttest.Pass(10 * time.Hour)
		stop()
		if site.made < 9 || site.made > 11 {
			t.Errorf("%d records in ten hours", site.made)
		}
	})
}

func TestSiteWithoutAnEngineMakesNoRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := agenttest.New(t, map[string]notify.Receiver{"ops": new(agenttest.Receiver)})
		h.Start()
		defer h.Close()
		for _, change := range []func(*config.Config){
			func(c *config.Config) { c.Receivers = []config.Receiver{{Name: "ops", Type: "feishu"}} },
			func(c *config.Config) { engineOf(c); c.Fleet.Every = 0 },
		} {
			site := new(sites)
			stop := background(t, func(ctx context.Context) error { return reporterOf(h).Site(ctx, settings(change), site.record) })
			agenttest.Pass(3 * time.Hour)
			stop()
			if site.made != 0 {
				t.Errorf("%d records were made", site.made)
			}
		}
	})
}
