package intake_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/edge-eventer/edge-eventer/agent/agenttest"
	"github.com/edge-eventer/edge-eventer/agent/event"
	"github.com/edge-eventer/edge-eventer/agent/filter"
	"github.com/edge-eventer/edge-eventer/agent/intake"
	"github.com/edge-eventer/edge-eventer/agent/ledger"
	"github.com/edge-eventer/edge-eventer/agent/watch"
	"github.com/edge-eventer/edge-eventer/notify"
	"github.com/edge-eventer/edge-eventer/spool"
)

func TestRelistNeitherLosesNorRepeats(t *testing.T) {
	agenttest.Bubble(t, func(t *testing.T, h *agenttest.Pipeline, r *agenttest.Receiver) {
		now := time.Now()
		events := []event.Event{agenttest.Warning("a", 10, 1, now), agenttest.Warning("b", 11, 1, now), agenttest.Warning("c", 12, 1, now)}
		h.List("12", false, events...)
		h.Show(agenttest.Warning("d", 13, 1, now))
		agenttest.Pass(time.Minute)
		events = append(events, agenttest.Warning("d", 13, 1, now), agenttest.Warning("e", 14, 1, now))
		h.List("20", false, events...)
		h.List("30", false, events...)
		agenttest.Pass(time.Minute)
		agenttest.WantTold(t, r, map[string]int{"a": 1, "b": 1, "c": 1, "d": 1, "e": 1})
	})
}

func TestCountThatJumpsIsCountedInFull(t *testing.T) {
	agenttest.Bubble(t, func(t *testing.T, h *agenttest.Pipeline, r *agenttest.Receiver) {
		now := time.Now()
		h.Show(agenttest.Warning("web", 10, 1, now), agenttest.Warning("web", 11, 2, now), agenttest.Warning("web", 20, 60, now))
		agenttest.Pass(time.Minute)
		if got := r.Messages()[0].Incidents[0].Occurrences; got != 60 {
			t.Errorf("occurrences = %d, want 60", got)
		}
	})
}

func TestFirstStartTakesOnlyYoungEvents(t *testing.T) {
	agenttest.Bubble(t, func(t *testing.T, h *agenttest.Pipeline, r *agenttest.Receiver) {
		now := time.Now()
		old := agenttest.Warning("old", 5, 9, now.Add(-61*time.Minute))
		h.List("12", false, old, agenttest.Warning("young", 10, 1, now.Add(-59*time.Minute)))
		agenttest.Pass(time.Minute)
		agenttest.WantTold(t, r, map[string]int{"young": 1})
		if n := h.LedgerLen(); n != 2 {
			t.Errorf("%d events in the ledger, want 2: an old event's next observation is news", n)
		}
		old.Count, old.ResourceVersion, old.LastTimestamp = 10, "13", now
		h.Show(old)
		agenttest.Pass(time.Minute)
		agenttest.WantTold(t, r, map[string]int{"young": 1, "old": 1})
		messages := r.Messages()
		if got := messages[len(messages)-1].Incidents[0].Occurrences; got != 1 {
			t.Errorf("occurrences = %d, want the new one only", got)
		}
		// The agent was listed before: what it missed while it was down is news, however old.
		h.List("40", false, agenttest.Warning("missed", 20, 1, now.Add(-5*time.Hour)))
		agenttest.Pass(time.Minute)
		agenttest.WantTold(t, r, map[string]int{"young": 1, "old": 1, "missed": 1})
	})
}

func TestRestoredDatastoreNeitherLosesNorRepeats(t *testing.T) {
	agenttest.Bubble(t, func(t *testing.T, h *agenttest.Pipeline, r *agenttest.Receiver) {
		now := time.Now()
		h.List("1000", false, agenttest.Warning("a", 900, 3, now), agenttest.Warning("b", 950, 2, now))
		agenttest.Pass(time.Minute)
		// The backup that was restored is older: its resourceVersions are lower, and one count too.
		h.List("500", true, agenttest.Warning("a", 400, 3, now), agenttest.Warning("b", 450, 1, now), agenttest.Warning("c", 460, 1, now))
		agenttest.Pass(10 * time.Minute)
		agenttest.WantTold(t, r, map[string]int{"a": 1, "b": 1, "c": 1})
		// What comes now has lower numbers than before the restoration, and is news.
		h.Show(agenttest.Warning("a", 510, 4, now))
		agenttest.Pass(20 * time.Minute)
		agenttest.WantTold(t, r, map[string]int{"a": 2, "b": 1, "c": 1})
	})
}

func TestLedgerHoldsOnlyWhatTheAPIServerHolds(t *testing.T) {
	agenttest.Bubble(t, func(t *testing.T, h *agenttest.Pipeline, r *agenttest.Receiver) {
		now := time.Now()
		var events []event.Event
		for i := range 50 {
			events = append(events, agenttest.Warning(fmt.Sprintf("web%d", i), 10+i, 1, now))
		}
		h.List("100", false, events...)
		if n := h.LedgerLen(); n != 50 {
			t.Fatalf("%d events in the ledger, want 50", n)
		}
		h.List("200", false, events[:20]...)
		if n := h.LedgerLen(); n != 20 {
			t.Errorf("%d events in the ledger after a list of 20, want 20", n)
		}
		if err := h.Intake.Watched(context.Background(), watch.Change{Event: events[0], Deleted: true}); err != nil {
			t.Fatal(err)
		}
		h.Show(agenttest.Warning("next", 201, 1, now))
		agenttest.Pass(time.Minute)
		if n := h.LedgerLen(); n != 20 {
			t.Errorf("%d events in the ledger, want 20: one expired, one came", n)
		}
		_ = r
	})
}

// In a soak of two hours the API server held more events than the ledger, since its datastore was killed now and then, which gave
// them a new life: each list took those that had no room again.
func TestListOfMoreEventsThanTheLedgerHoldsIsNoNews(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := spool.Open(spool.Options{Path: filepath.Join(t.TempDir(), "spool.db"), MaxBytes: 256 << 10})
		if err != nil {
			t.Fatal(err)
		}
		h := agenttest.NewOn(t, s, map[string]notify.Receiver{"ops": &agenttest.Receiver{}})
		h.Start()
		defer h.Close()
		now := time.Now()
		var events []event.Event
		for i := range 2500 {
			e := agenttest.Warning(fmt.Sprintf("web%d", i), 10+i, 1, now)
			e.CreationTimestamp = now.Add(time.Duration(i/10-250) * time.Second)
			events = append(events, e)
		}
		committed := func() uint64 { return h.Intake.Status().Committed }
		h.List("5000", false, events...)
		if n := committed(); n != 2500 || h.LedgerLen() >= 2500 {
			t.Fatalf("%d events committed, %d in the ledger", n, h.LedgerLen())
		}
		h.List("5000", false, events...)
		// One changed, and one came, while nobody watched.
		events[0].ResourceVersion = "5001"
		h.List("6000", false, append(events, agenttest.Warning("new", 5002, 1, now))...)
		if n := committed() - 2500; n != 2 {
			t.Errorf("%d events of later lists are taken for news, want 2", n)
		}
	})
}

func TestListThatBreaksOffKeepsThePosition(t *testing.T) {
	agenttest.Bubble(t, func(t *testing.T, h *agenttest.Pipeline, r *agenttest.Receiver) {
		now := time.Now()
		h.List("12", false, agenttest.Warning("a", 10, 1, now))
		page := watch.Page{First: true, ResourceVersion: "99", Events: []event.Event{agenttest.Warning("b", 50, 1, now)}}
		if err := h.Intake.List(context.Background(), page); err != nil {
			t.Fatal(err)
		}
		if position, err := h.Intake.Position(""); err != nil || position != "12" {
			t.Errorf("position %q, %v: a list that did not end must not move it", position, err)
		}
		agenttest.Pass(time.Minute)
		agenttest.WantTold(t, r, map[string]int{"a": 1, "b": 1})
	})
}

func TestExpiredEventsAreForgottenWithoutACommitOfTheirOwn(t *testing.T) {
	agenttest.Bubble(t, func(t *testing.T, h *agenttest.Pipeline, _ *agenttest.Receiver) {
		now := time.Now()
		h.List("12", false, agenttest.Warning("a", 10, 1, now), agenttest.Warning("b", 11, 1, now))
		agenttest.Pass(time.Minute)
		before := h.Intake.Status().Commits
		for i := range 100 {
			e := agenttest.Warning(fmt.Sprintf("gone%d", i), 20+i, 1, now)
			if err := h.Intake.Watched(context.Background(), watch.Change{Event: e, Deleted: true}); err != nil {
				t.Fatal(err)
			}
		}
		agenttest.Pass(time.Hour)
		if commits := h.Intake.Status().Commits - before; commits != 0 {
			t.Errorf("%d commits for expired events alone, want none", commits)
		}
	})
}

func TestABurstIsCommittedInBatches(t *testing.T) {
	agenttest.Bubble(t, func(t *testing.T, h *agenttest.Pipeline, _ *agenttest.Receiver) {
		for i := range 2000 {
			h.Show(agenttest.Warning(fmt.Sprintf("web%d", i%40), 10+i, 1+i/40, time.Now()))
		}
		agenttest.Pass(agenttest.Policy().GroupWait - 100*time.Millisecond/2)
		if commits := h.Intake.Status().Commits; commits > 2000/intake.MaxBatch+2 {
			t.Errorf("%d commits for a burst of 2000 events, want at most %d", commits, 2000/intake.MaxBatch+2)
		}
		if n := h.Untold("ops"); n != 2000 {
			t.Errorf("%d observations wait, want 2000", n)
		}
	})
}

// TestRepeatsAreCommittedOnceAMinute: a commit costs the same 50 KB of flash for one repeat as for hundreds.
func TestRepeatsAreCommittedOnceAMinute(t *testing.T) {
	agenttest.Bubble(t, func(t *testing.T, h *agenttest.Pipeline, r *agenttest.Receiver) {
		begin, rounds := time.Now(), 0
		show := func() {
			rounds++
			for i := range 10 {
				e := agenttest.Warning(fmt.Sprintf("web%d", i), 10*rounds+i, rounds, begin)
				e.LastTimestamp = time.Now()
				h.Show(e)
			}
		}
		show()
		agenttest.Pass(10 * time.Second)
		before := h.Intake.Status().Commits
		for range 10 * 60 {
			agenttest.Pass(time.Second)
			show()
		}
		// Ten minutes with one minute more: the repeats are told after five, and committed right before.
		if commits := h.Intake.Status().Commits - before; commits > 11 {
			t.Errorf("%d commits in ten minutes, want one a minute", commits)
		}
		h.Stop()
		total := int(h.Untold("ops"))
		for _, m := range r.Messages() {
			for _, in := range m.Incidents {
				total += in.Untold
			}
		}
		if total != 10*rounds {
			t.Errorf("%d observations told or on disk after the stop, want %d", total, 10*rounds)
		}
	})
}

func TestArchiveIsWrittenOnceAGroupWait(t *testing.T) {
	agenttest.BubbleWith(t, agenttest.PerEvent, func(t *testing.T, h *agenttest.Pipeline, r *agenttest.Receiver) {
		for i := range 600 {
			h.Show(agenttest.Warning(fmt.Sprintf("web%d", i), 10+i, 1, time.Now()))
			agenttest.Pass(100 * time.Millisecond)
		}
		if commits := h.Intake.Status().Commits; commits > 13 {
			t.Errorf("%d commits in a minute, want one each %s", commits, agenttest.Policy().GroupWait)
		}
		agenttest.Pass(10 * time.Second)
		if n := len(r.Workloads()); n != 600 {
			t.Errorf("%d of 600 events arrived", n)
		}
	})
}

func TestNewsIsOnDiskWithinTheCommitInterval(t *testing.T) {
	agenttest.Bubble(t, func(t *testing.T, h *agenttest.Pipeline, _ *agenttest.Receiver) {
		h.List("9", false)
		h.Show(agenttest.Warning("web", 10, 1, time.Now()))
		agenttest.Pass(10 * time.Second)
		for i := range 20 {
			// News among repeats takes them along.
			h.Show(agenttest.Warning("web", 20+2*i, 2+i, time.Now()), agenttest.Warning(fmt.Sprintf("new%d", i), 21+2*i, 1, time.Now()))
			agenttest.Pass(time.Second + time.Millisecond)
			if n, err := h.Intake.Position(""); err != nil || n != fmt.Sprint(21+2*i) {
				t.Fatalf("position %s, %v, want %d", n, err, 21+2*i)
			}
		}
	})
}

// TestWithoutGroupWaitNewsLeavesAtOnce: the first of a quiet time is not held for commitInterval, which then bounds the
// commits all the same.
func TestWithoutGroupWaitNewsLeavesAtOnce(t *testing.T) {
	agenttest.Bubble(t, func(t *testing.T, h *agenttest.Pipeline, r *agenttest.Receiver) {
		routes := slices.Clone(h.Intake.Routes())
		routes[0].Policy.GroupWait = 0
		h.Intake.Reroute(intake.Rules{Filter: new(filter.Filter), Routes: routes})
		agenttest.Pass(time.Minute)
		h.Show(agenttest.Warning("web", 10, 1, time.Now()))
		agenttest.Pass(time.Millisecond)
		agenttest.WantTold(t, r, map[string]int{"web": 1})
		before := h.Intake.Status().Commits
		for i := range 100 {
			h.Show(agenttest.Warning(fmt.Sprintf("new%d", i), 11+i, 1, time.Now()))
			agenttest.Pass(100 * time.Millisecond)
		}
		if commits := h.Intake.Status().Commits - before; commits > 12 {
			t.Errorf("%d commits in ten seconds, want one a second", commits)
		}
	})
}

// smallCommits has a page committed in several transactions.
func smallCommits(h *agenttest.Pipeline) { h.IntakeOptions.MaxCommit = 2000 }

func TestPageLargerThanACommitIsTakenInParts(t *testing.T) {
	agenttest.BubbleWith(t, smallCommits, func(t *testing.T, h *agenttest.Pipeline, r *agenttest.Receiver) {
		page := watch.Page{First: true, Last: true, ResourceVersion: "99"}
		want := map[string]int{}
		for i := range 40 {
			name := fmt.Sprintf("web%d", i)
			page.Events = append(page.Events, agenttest.Warning(name, 10+i, 1, time.Now()))
			want[name] = 1
		}
		if err := h.Intake.List(context.Background(), page); err != nil {
			t.Fatal(err)
		}
		if commits := h.Intake.Status().Commits; commits < 10 {
			t.Errorf("%d commits for 40 events of more than 512 bytes, want at least 10", commits)
		}
		if position, err := h.Intake.Position(""); err != nil || position != "99" {
			t.Errorf("position %q, %v, want 99", position, err)
		}
		if n := h.LedgerLen(); n != 40 {
			t.Errorf("%d events in the ledger, want 40: a part must not sweep the others", n)
		}
		agenttest.Pass(time.Minute)
		agenttest.WantTold(t, r, want)
	})
}

func TestLostPositionIsNoFirstStart(t *testing.T) {
	agenttest.Bubble(t, func(t *testing.T, h *agenttest.Pipeline, r *agenttest.Receiver) {
		h.List("12", false, agenttest.Warning("a", 10, 1, time.Now()))
		agenttest.Pass(time.Minute)
		if err := h.Spool.Update(func(tx *spool.Tx) error { return tx.SetPosition("", "") }); err != nil {
			t.Fatal(err)
		}
		h.List("40", false, agenttest.Warning("missed", 20, 1, time.Now().Add(-5*time.Hour)))
		agenttest.Pass(time.Minute)
		agenttest.WantTold(t, r, map[string]int{"a": 1, "missed": 1})
	})
}

// TestEventsThatCannotBeReadAreALossThatIsTold: nobody knows what was in them, so every receiver is told that they were there, once
// each, however often they are listed and whatever ends in between.
func TestEventsThatCannotBeReadAreALossThatIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path, r := filepath.Join(t.TempDir(), "spool.db"), &agenttest.Receiver{}
		h := agenttest.NewAt(t, path, map[string]notify.Receiver{"ops": r})
		h.Start()
		now := time.Now()
		listed := event.ObjectMeta{Name: "huge", UID: "u-huge", ResourceVersion: "11", CreationTimestamp: now}
		ancient := event.ObjectMeta{Name: "old", UID: "u-old", ResourceVersion: "5", CreationTimestamp: now.Add(-3 * time.Hour)}
		nameless := event.ObjectMeta{UID: "unreadable-77"}
		list := func(version string) {
			t.Helper()
			page := watch.Page{First: true, Last: true, ResourceVersion: version, Unreadable: []event.ObjectMeta{listed, ancient, nameless}}
			if err := h.Intake.List(context.Background(), page); err != nil {
				t.Fatal(err)
			}
		}
		list("12")
		watched := listed
		watched.ResourceVersion = "13"
		for _, c := range []watch.Change{
			{Unreadable: true, Event: event.Event{ObjectMeta: watched}},
			{Unreadable: true, Event: event.Event{ObjectMeta: nameless}},
			{Unreadable: true, Deleted: true, Event: event.Event{ObjectMeta: event.ObjectMeta{UID: "u-gone", ResourceVersion: "14"}}},
		} {
			if err := h.Intake.Watched(context.Background(), c); err != nil {
				t.Fatal(err)
			}
		}
		agenttest.Pass(2 * time.Second)
		if position, err := h.Intake.Position(""); err != nil || position != "14" {
			t.Errorf("position %s, %v, want 14", position, err)
		}
		h.Close()
		h = agenttest.NewAt(t, path, map[string]notify.Receiver{"ops": r})
		h.Start()
		defer h.Close()
		listed = watched
		list("20")
		h.Show(agenttest.Warning("web", 21, 1, time.Now()))
		agenttest.Pass(time.Minute)
		want := []notify.Loss{{Cause: spool.Undecodable, Events: 3, Since: now}}
		if diff := cmp.Diff(want, r.Messages()[0].Losses, cmpopts.EquateApproxTime(time.Second)); diff != "" {
			t.Errorf("told (-want +got):\n%s", diff)
		}
	})
}

// TestAnUpdateWithAnEarlierTimeReachesTheArchive: the node's clock was an hour ahead and is set while the first version is on its way.
func TestAnUpdateWithAnEarlierTimeReachesTheArchive(t *testing.T) {
	agenttest.BubbleWith(t, agenttest.PerEvent, func(t *testing.T, h *agenttest.Pipeline, r *agenttest.Receiver) {
		update := agenttest.Warning("web", 11, 2, time.Now())
		update.Message = "after the clock was set"
		first := true
		r.Answer = func(context.Context, *notify.Message, notify.Form) error {
			if first {
				first = false
				h.Show(update)
				<-time.After(90 * time.Second)
			}
			return nil
		}
		ahead := agenttest.Warning("web", 10, 1, time.Now())
		ahead.LastTimestamp = time.Now().Add(time.Hour)
		h.Show(ahead)
		agenttest.Pass(10 * time.Minute)
		var got []string
		for _, m := range r.Messages() {
			for _, in := range m.Incidents {
				got = append(got, in.ResourceVersion+" "+in.Message)
				if in.LastSeen.After(m.Now) {
					t.Errorf("version %s is shown as seen at %s, in %s", in.ResourceVersion, in.LastSeen, in.LastSeen.Sub(m.Now))
				}
			}
		}
		if want := []string{"10 " + ahead.Message, "11 " + update.Message}; !slices.Equal(got, want) {
			t.Errorf("the archive got %q, want %q", got, want)
		}
	})
}

// TestOfFewListsThatHaveNotEndedItIsRememberedWhatTheyShowed: what that takes is bounded, and a list whose memory went begins anew
// rather than making the ledger forget what its first part showed.
func TestOfFewListsThatHaveNotEndedItIsRememberedWhatTheyShowed(t *testing.T) {
	agenttest.Bubble(t, func(t *testing.T, h *agenttest.Pipeline, _ *agenttest.Receiver) {
		ctx, refused := context.Background(), 0
		name := func(i int) string { return fmt.Sprintf("ns-%02d", i) }
		events := func(i, part int) []event.Event {
			e := agenttest.Warning(fmt.Sprintf("%s-%d", name(i), part), 10+i, 1, time.Now())
			e.Namespace = name(i)
			return []event.Event{e}
		}
		for i := range 10 {
			if err := h.Intake.List(ctx, watch.Page{Namespace: name(i), First: true, ResourceVersion: "50", Events: events(i, 0)}); err != nil {
				t.Fatal(err)
			}
		}
		for i := range 10 {
			err := h.Intake.List(ctx, watch.Page{Namespace: name(i), Last: true, ResourceVersion: "50", Events: events(i, 1)})
			if errors.Is(err, ledger.ErrAnew) {
				refused++
			} else if err != nil {
				t.Fatal(err)
			}
		}
		if refused != 10-ledger.MaxLists {
			t.Errorf("%d of 10 lists begin anew, want all but %d, of which it is remembered what they showed", refused, ledger.MaxLists)
		}
		if n := h.LedgerLen(); n != 10+ledger.MaxLists {
			t.Errorf("%d events in the ledger, want %d", n, 10+ledger.MaxLists)
		}
	})
}

// TestRestoredDatastoreHasNewsThatTheLedgerCannotHaveForgotten: the ledger had no room for some events of the old history. What the new
// one shows below the old position was never taken, however old it is.
func TestRestoredDatastoreHasNewsThatTheLedgerCannotHaveForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := spool.Open(spool.Options{Path: filepath.Join(t.TempDir(), "spool.db"), MaxBytes: 256 << 10})
		if err != nil {
			t.Fatal(err)
		}
		h := agenttest.NewOn(t, s, map[string]notify.Receiver{"ops": &agenttest.Receiver{}})
		h.Start()
		defer h.Close()
		created := func(name string, version int, ago time.Duration) event.Event {
			e := agenttest.Warning(name, version, 1, time.Now())
			e.CreationTimestamp = time.Now().Add(-ago)
			return e
		}
		var events []event.Event
		for i := range 2500 {
			events = append(events, created(fmt.Sprintf("web%d", i%40), 10+i, time.Duration(2500-i)*time.Second))
			events[i].UID = fmt.Sprintf("uid-%d", i)
		}
		h.List("5000", false, events...)
		if h.LedgerLen() >= 2500 {
			t.Fatal("the ledger had room for all")
		}
		before := h.Intake.Status().Committed
		h.List("400", true, created("fresh", 300, 2490*time.Second))
		if n := h.Intake.Status().Committed - before; n != 1 {
			t.Errorf("%d events of the new history are taken for news, want 1", n)
		}
	})
}

// TestACountThatFallsBackIsOneMore: the reporter began to count again.
func TestACountThatFallsBackIsOneMore(t *testing.T) {
	agenttest.Bubble(t, func(t *testing.T, h *agenttest.Pipeline, r *agenttest.Receiver) {
		now := time.Now()
		h.Show(agenttest.Warning("web", 10, 5, now), agenttest.Warning("web", 11, 2, now), agenttest.Warning("web", 12, 4, now))
		agenttest.Pass(time.Minute)
		if n := r.Told(); n != 8 {
			t.Errorf("%d occurrences were told, want 5, 1 and 2", n)
		}
	})
}

func TestManyExpiredEventsAreForgottenAfterAll(t *testing.T) {
	agenttest.Bubble(t, func(t *testing.T, h *agenttest.Pipeline, _ *agenttest.Receiver) {
		var events []event.Event
		for i := range 2 * intake.MaxForgets {
			events = append(events, agenttest.Warning(fmt.Sprintf("web%d", i), 10+i, 1, time.Now()))
		}
		h.List("5000", false, events...)
		for i, e := range events {
			e.ResourceVersion = fmt.Sprint(5001 + i)
			if err := h.Intake.Watched(context.Background(), watch.Change{Event: e, Deleted: true}); err != nil {
				t.Fatal(err)
			}
		}
		agenttest.Pass(time.Minute)
		if n := h.LedgerLen(); n >= intake.MaxForgets {
			t.Errorf("%d of %d expired events are still in the ledger", n, 2*intake.MaxForgets)
		}
	})
}

// TestOnlyTheLastPartOfAPageEndsTheList: what the parts behind it show is not forgotten before they are there.
func TestOnlyTheLastPartOfAPageEndsTheList(t *testing.T) {
	agenttest.BubbleWith(t, smallCommits, func(t *testing.T, h *agenttest.Pipeline, _ *agenttest.Receiver) {
		page := watch.Page{First: true, Last: true, ResourceVersion: "99"}
		for i := range 40 {
			page.Events = append(page.Events, agenttest.Warning(fmt.Sprintf("web%d", i), 10+i, 1, time.Now()))
		}
		for range 2 {
			if err := h.Intake.List(context.Background(), page); err != nil {
				t.Fatal(err)
			}
		}
		if n := h.Intake.Status().Committed; n != 40 {
			t.Errorf("%d events were taken for news, want 40: the second list showed the same", n)
		}
	})
}
