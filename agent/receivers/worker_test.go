package receivers

import (
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/agenttest"
	"github.com/edge-eventer/edge-eventer/agent/config"
	"github.com/edge-eventer/edge-eventer/agent/dial"
	"github.com/edge-eventer/edge-eventer/agent/dial/budget"
	"github.com/edge-eventer/edge-eventer/agent/inbox"
	"github.com/edge-eventer/edge-eventer/agent/recent"
)

func TestConfiguredDeliveryReachesTheDelivery(t *testing.T) {
	c, err := config.Parse([]byte(`receivers:
  - {name: ops, type: stdout, timeout: 7s, maxBackoff: 8s, digestAfter: 9, digestAge: 11m, groupWait: 1s, groupInterval: 2m, repeatInterval: 3h, resolveAfter: 4m}
`))
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(c, "", Options{Logger: slog.New(slog.DiscardHandler), Budget: budget.New(budget.Options{}), Dialer: dial.New(budget.New(budget.Options{}), nil), Recent: new(recent.Deliveries)})
	if err != nil {
		t.Fatal(err)
	}
	o := s.deliveryOptions(c, &c.Receivers[0], &agenttest.Receiver{})
	if o.Timeout != 7*time.Second || o.MaxBackoff != 8*time.Second || o.Backlog != (inbox.Backlog{After: 9, Age: 11 * time.Minute}) {
		t.Errorf("timeout %v, maxBackoff %v, backlog %+v", o.Timeout, o.MaxBackoff, o.Backlog)
	}
	p := o.Policy
	if p.GroupWait != time.Second || p.GroupInterval != 2*time.Minute || p.RepeatInterval != 3*time.Hour || p.ResolveAfter != 4*time.Minute {
		t.Errorf("policy %+v", p)
	}
}

func TestWhatNeedsARestartIsSaid(t *testing.T) {
	a, b := config.Default(), config.Default()
	b.Spool.MaxAge, b.Server.Listen = time.Hour, ":9"
	want := []string{"spool changed in the configuration: restart the agent to put it to use", "server changed in the configuration: restart the agent to put it to use"}
	if got := needRestart(a, b); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
