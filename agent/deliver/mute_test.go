package deliver_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/agenttest"
	"github.com/edge-eventer/edge-eventer/agent/event"
	"github.com/edge-eventer/edge-eventer/agent/matcher"
	"github.com/edge-eventer/edge-eventer/agent/mute"
	"github.com/edge-eventer/edge-eventer/agent/silence"
	"github.com/edge-eventer/edge-eventer/agent/status"
	"github.com/edge-eventer/edge-eventer/agent/timeinterval"
	"github.com/edge-eventer/edge-eventer/notify"
	"github.com/edge-eventer/edge-eventer/spool"
)

// night is from 22:00 to 06:00 UTC. A bubble's clock begins at midnight UTC.
func night(t *testing.T) mute.Named {
	t.Helper()
	interval, err := timeinterval.New([]timeinterval.Spec{{
		Times: []timeinterval.TimeRange{{Start: "22:00", End: "24:00"}, {Start: "00:00", End: "06:00"}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	return mute.Named{Name: "night", Interval: interval}
}

func person() *agenttest.Receiver {
	return &agenttest.Receiver{Bounds: notify.Limits{Batch: 50, BatchBytes: 256 << 10, Digest: true}}
}

// mutedPipeline runs f with a pipeline whose only receiver, ops, is muted as m says.
func mutedPipeline(t *testing.T, m *mute.Muter, f func(t *testing.T, h *agenttest.Pipeline, r *agenttest.Receiver)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := person()
		h := agenttest.New(t, map[string]notify.Receiver{"ops": r})
		h.Options["ops"].Muter = m
		h.Start()
		defer h.Close()
		f(t, h, r)
	})
}

func nodeNotReady(name string, version int) event.Event {
	e := agenttest.Warning(name, version, 1, time.Now())
	e.Reason, e.InvolvedObject = "NodeNotReady", event.Reference{Kind: "Node", Name: name}
	return e
}

func TestWhatCameAtNightIsOneDigestInTheMorning(t *testing.T) {
	mutedPipeline(t, &mute.Muter{Mute: []mute.Named{night(t)}}, func(t *testing.T, h *agenttest.Pipeline, r *agenttest.Receiver) {
		morning := time.Now().Add(6 * time.Hour)
		for i := range 5 {
			h.Show(agenttest.Warning(fmt.Sprintf("web%d", i), 10+i, 3, time.Now()))
			agenttest.Pass(50 * time.Minute)
		}
		if n := r.Tries(); n != 0 {
			t.Fatalf("%d messages at night", n)
		}
		h.Show(nodeNotReady("pi-4", 100))
		agenttest.Pass(10 * time.Second)
		agenttest.WantTold(t, r, map[string]int{"pi-4": 1})
		want := []status.Muted{{Reason: "time interval", Name: "night", Incidents: 5, Events: 15}}
		if got := h.Deliveries["ops"].Status().Muted; len(got) != 1 || got[0] != want[0] {
			t.Errorf("the status says that %+v are held back, want %+v", got, want)
		}
		agenttest.Pass(time.Until(morning.Add(10 * time.Second)))
		messages := r.Messages()
		if len(messages) != 2 || messages[1].Digest == nil || messages[1].Digest.Incidents != 5 || messages[1].Digest.Events != 15 {
			t.Fatalf("in the morning there were %d messages, the last %+v, want one digest of 5 incidents", len(messages)-1, messages[len(messages)-1].Digest)
		}
		if late := messages[1].Now.Sub(morning); late < 0 || late > time.Second {
			t.Errorf("the digest left %s after the night", late)
		}
		if n := h.Untold("ops"); n != 0 || len(h.Deliveries["ops"].Status().Muted) != 0 {
			t.Errorf("%d observations wait, the status says %+v", n, h.Deliveries["ops"].Status().Muted)
		}
		agenttest.Pass(time.Hour)
		h.Show(agenttest.Warning("day", 200, 1, time.Now()))
		agenttest.Pass(10 * time.Second)
		if r.Workloads()["day"] != 1 {
			t.Error("what comes by day is not told at once")
		}
	})
}

func TestCriticalIncidentsWaitWhereTheReceiverSaysSo(t *testing.T) {
	mutedPipeline(t, &mute.Muter{Mute: []mute.Named{night(t)}, Critical: true}, func(t *testing.T, h *agenttest.Pipeline, r *agenttest.Receiver) {
		h.Show(nodeNotReady("pi-4", 100))
		agenttest.Pass(6*time.Hour - time.Second)
		agenttest.WantTold(t, r, map[string]int{})
		agenttest.Pass(2 * time.Second)
		agenttest.WantTold(t, r, map[string]int{"pi-4": 1})
	})
}

func TestReceiverIsMutedOutsideOfItsActiveIntervals(t *testing.T) {
	mutedPipeline(t, &mute.Muter{Active: []mute.Named{night(t)}}, func(t *testing.T, h *agenttest.Pipeline, r *agenttest.Receiver) {
		h.Show(agenttest.Warning("night", 10, 1, time.Now()))
		agenttest.Pass(7 * time.Hour)
		h.Show(agenttest.Warning("day", 11, 1, time.Now()))
		agenttest.Pass(15*time.Hour - time.Second)
		agenttest.WantTold(t, r, map[string]int{"night": 1})
		agenttest.Pass(2 * time.Second)
		agenttest.WantTold(t, r, map[string]int{"night": 1, "day": 1})
	})
}

// TestRepeatsAtNightMakeNoMessageOfTheirOwn: an incident that goes on all night is told once in the morning, with all its occurrences.
func TestRepeatsAtNightMakeNoMessageOfTheirOwn(t *testing.T) {
	mutedPipeline(t, &mute.Muter{Mute: []mute.Named{night(t)}}, func(t *testing.T, h *agenttest.Pipeline, r *agenttest.Receiver) {
		begin := time.Now()
		for i := range 71 {
			e := agenttest.Warning("web", 10+i, 1+i, begin)
			e.LastTimestamp = time.Now()
			h.Show(e)
			agenttest.Pass(5 * time.Minute)
		}
		agenttest.Pass(6 * time.Minute)
		if messages := r.Messages(); len(messages) != 1 || messages[0].Digest != nil || messages[0].Incidents[0].Untold != 71 {
			t.Errorf("%d messages, the first %+v", len(messages), messages)
		}
	})
}

// silenced adds a silence to the pipeline's spool, and takes it up as the agent does.
func silenced(t *testing.T, h *agenttest.Pipeline, set *silence.Set, text string, length time.Duration, change func(*silence.Silence)) *silence.Silence {
	t.Helper()
	list, err := matcher.ParseList(text)
	if err != nil {
		t.Fatal(err)
	}
	s := &silence.Silence{Matchers: list, StartsAt: time.Now(), EndsAt: time.Now().Add(length), CreatedBy: "pi", Comment: "moving"}
	if change != nil {
		change(s)
	}
	err = h.Spool.Update(func(tx *spool.Tx) error {
		if err := silence.Add(tx, s, time.Now()); err != nil {
			return err
		}
		return set.Load(tx)
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestEndOfASilenceTellsWhatItHeld: what was quiet by then is told by one line, what goes on is told on its own, and all that was seen is
// told or counted.
func TestEndOfASilenceTellsWhatItHeld(t *testing.T) {
	var set silence.Set
	mutedPipeline(t, &mute.Muter{Silences: &set}, func(t *testing.T, h *agenttest.Pipeline, r *agenttest.Receiver) {
		s := silenced(t, h, &set, `reason=BackOff, workload=~"web.*"`, 2*time.Hour, nil)
		for i := range 300 {
			h.Show(agenttest.Warning(fmt.Sprintf("web%d", i), 10+i, 2, time.Now()))
		}
		h.Show(agenttest.Warning("db", 9, 1, time.Now()), nodeNotReady("web-node", 8))
		agenttest.Pass(110 * time.Minute)
		agenttest.WantTold(t, r, map[string]int{"db": 1, "web-node": 1})
		if got := h.Deliveries["ops"].Status().Muted; len(got) != 1 || got[0] != (status.Muted{Reason: "silence", Name: s.ID, Incidents: 300, Events: 600}) {
			t.Errorf("the status says that %+v are held back", got)
		}
		h.Show(agenttest.Warning("web7", 1000, 5, time.Now()), agenttest.Warning("web-new", 1001, 1, time.Now()))
		agenttest.Pass(10*time.Minute + 10*time.Second)
		told := r.Workloads()
		if len(told) != 5 || told["web7"] != 1 || told["web-new"] != 1 || told[s.Short()] != 1 {
			t.Errorf("told are %v, want the line and the two that go on", told)
		}
		line := lineAbout(r, s)
		for _, want := range []string{"held back 301 incidents with 606 events", "the worst: warning BackOff of shop web", "2 of them still go on", "moving"} {
			if !strings.Contains(line, want) {
				t.Errorf("the line does not say %q: %s", want, line)
			}
		}
		if n := h.Untold("ops"); n != 0 || h.TotalLoss("ops") != 0 {
			t.Errorf("%d observations wait, %d are lost", n, h.TotalLoss("ops"))
		}
		agenttest.Pass(24 * time.Hour)
		if n := r.Workloads()[s.Short()]; n != 1 {
			t.Errorf("the line was told %d times", n)
		}
	})
}

// TestDigestTellsNothingThatIsSilenced: what is silenced waits beside a backlog that is summed up, and is neither named nor counted in it.
func TestDigestTellsNothingThatIsSilenced(t *testing.T) {
	var set silence.Set
	mutedPipeline(t, &mute.Muter{Silences: &set}, func(t *testing.T, h *agenttest.Pipeline, r *agenttest.Receiver) {
		silenced(t, h, &set, `workload=~"web.*"`, 2*time.Hour, nil)
		for i := range 20 {
			h.Show(agenttest.Warning(fmt.Sprintf("web%d", i), 10+i, 2, time.Now()), agenttest.Warning(fmt.Sprintf("db%d", i), 100+i, 1, time.Now()))
		}
		agenttest.Pass(time.Minute)
		messages := r.Messages()
		if len(messages) != 1 || messages[0].Digest == nil || messages[0].Digest.Incidents != 20 || messages[0].Digest.Events != 20 {
			t.Fatalf("%d messages: %+v, want one digest of 20 incidents", len(messages), messages)
		}
		for name := range r.Workloads() {
			if strings.HasPrefix(name, "web") {
				t.Errorf("%s is silenced and was told", name)
			}
		}
		if n := h.Untold("ops"); n != 40 {
			t.Errorf("%d observations wait, want the 40 that are silenced", n)
		}
	})
}

// lineAbout returns what was told of a silence.
func lineAbout(r *agenttest.Receiver, s *silence.Silence) string {
	for _, m := range r.Messages() {
		for _, in := range m.Incidents {
			if in.Reason == "SilenceEnded" && in.Workload == s.Short() {
				return in.Message
			}
		}
	}
	return ""
}

// TestEndOfASilenceIsToldAfterARestart: it ended while no agent ran, and is told once by the two starts that follow.
func TestEndOfASilenceIsToldAfterARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := t.TempDir() + "/spool.db"
		var first, second *silence.Silence
		told := make(map[string]int)
		for run := range 3 {
			var set silence.Set
			r := person()
			h := agenttest.NewAt(t, path, map[string]notify.Receiver{"ops": r})
			h.Options["ops"].Muter = &mute.Muter{Silences: &set}
			if err := h.Spool.View(func(tx *spool.Tx) error { return set.Load(tx) }); err != nil {
				t.Fatal(err)
			}
			h.Start()
			if run == 0 {
				first = silenced(t, h, &set, "workload=web", time.Hour, nil)
				second = silenced(t, h, &set, "workload=db", time.Hour, nil)
				h.Show(agenttest.Warning("web", 10, 4, time.Now()), agenttest.Warning("db", 11, 5, time.Now()))
			}
			agenttest.Pass(time.Minute)
			h.Close()
			for workload, n := range r.Workloads() {
				told[workload] += n
			}
			<-time.After(3 * time.Hour)
		}
		if len(told) != 2 || told[first.Short()] != 1 || told[second.Short()] != 1 {
			t.Errorf("told are %v, want one line about each silence", told)
		}
	})
}

func TestSilenceThatIsExpiredLetsGoAtOnce(t *testing.T) {
	var set silence.Set
	mutedPipeline(t, &mute.Muter{Silences: &set}, func(t *testing.T, h *agenttest.Pipeline, r *agenttest.Receiver) {
		s := silenced(t, h, &set, "severity=critical", 10*time.Hour, func(s *silence.Silence) { s.Critical = true })
		h.Show(nodeNotReady("pi-4", 10))
		agenttest.Pass(time.Minute)
		agenttest.WantTold(t, r, map[string]int{})
		err := h.Spool.Update(func(tx *spool.Tx) error {
			if _, err := silence.Expire(tx, s.ID, time.Now()); err != nil {
				return err
			}
			return set.Load(tx)
		})
		if err != nil {
			t.Fatal(err)
		}
		h.Deliveries["ops"].Wake()
		agenttest.Pass(10 * time.Second)
		agenttest.WantTold(t, r, map[string]int{"pi-4": 1, s.Short(): 1})
		if line := lineAbout(r, s); !strings.Contains(line, "1 incident with 1 event, the worst: critical NodeNotReady") {
			t.Errorf("the line says %s", line)
		}
	})
}
