package receivers

import (
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/agenttest"
	"github.com/edge-eventer/edge-eventer/agent/config"
	"github.com/edge-eventer/edge-eventer/agent/dial"
	"github.com/edge-eventer/edge-eventer/agent/dial/budget"
	"github.com/edge-eventer/edge-eventer/agent/event"
	"github.com/edge-eventer/edge-eventer/agent/inbox"
	"github.com/edge-eventer/edge-eventer/agent/recent"
	"github.com/edge-eventer/edge-eventer/agent/silence"
	"github.com/edge-eventer/edge-eventer/spool"
)

func parsed(t *testing.T, text string) *config.Config {
	t.Helper()
	c, err := config.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestOpenIncidentsOfTheQueuesHoldOthersBackAfterARestart finds them again in a real spool, and forgets them where the rules are switched off.
func TestOpenIncidentsOfTheQueuesHoldOthersBackAfterARestart(t *testing.T) {
	const receiver = "receivers: [{name: ops, type: stdout}]\n"
	c := parsed(t, receiver)
	sp := agenttest.OpenSpool(t, filepath.Join(t.TempDir(), "spool.db"))
	defer sp.Close()
	node := agenttest.Warning("pi-4", 10, 1, time.Now())
	node.Reason, node.InvolvedObject = "NodeNotReady", event.Reference{Kind: "Node", Name: "pi-4"}
	o := agenttest.Observation(node, time.Now())
	err := sp.Update(func(tx *spool.Tx) error {
		_, err := inbox.Fold(tx.Queue("ops"), agenttest.Policy(), &o)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	s := &Set{options: Options{Logger: slog.New(slog.DiscardHandler)}, spool: sp, config: c}
	s.recallSources(c)
	if n := s.sources.Len(time.Now()); n != 1 {
		t.Errorf("%d sources are open after the restart, want 1", n)
	}
	off := parsed(t, receiver+"inhibitBuiltIn: false\n")
	if sameInhibition(c, off) || !sameInhibition(c, parsed(t, receiver)) {
		t.Error("a reload does not see whether the rules changed")
	}
	s.recallSources(off)
	if n := s.sources.Len(time.Now()); n != 0 {
		t.Errorf("%d sources are open though the built-in rules are off", n)
	}
}

// TestArchiveIsNotSilenced: a receiver of every event has no use for silences and inhibition, and keeps its time intervals.
func TestArchiveIsNotSilenced(t *testing.T) {
	c := parsed(t, `timeIntervals: [{name: night, time_intervals: [{times: [{start_time: "22:00", end_time: "24:00"}]}]}]
receivers:
  - {name: ops, type: stdout, muteTimeIntervals: [night], activeTimeIntervals: [night], muteCritical: true}
  - {name: archive, type: stdout, fold: event, muteTimeIntervals: [night]}
`)
	set := &silence.Set{}
	s, err := New(c, "", Options{
		Logger: slog.New(slog.DiscardHandler), Budget: budget.New(budget.Options{}), Dialer: dial.New(budget.New(budget.Options{}), nil),
		Recent: new(recent.Deliveries), Silences: set,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ops, archive := s.muterOf(c, &c.Receivers[0]), s.muterOf(c, &c.Receivers[1])
	if ops.Silences != set || ops.Sources == nil || len(ops.Mute) != 1 || len(ops.Active) != 1 || ops.Mute[0].Interval == nil || !ops.Critical {
		t.Errorf("ops is muted by %+v", ops)
	}
	if archive.Silences != nil || archive.Sources != nil || len(archive.Mute) != 1 {
		t.Errorf("the archive is muted by %+v", archive)
	}
}
