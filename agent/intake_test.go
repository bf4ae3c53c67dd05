package agent

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

	"github.com/edge-eventer/edge-eventer/agent/event"
	"github.com/edge-eventer/edge-eventer/agent/filter"
	"github.com/edge-eventer/edge-eventer/agent/incident"
	"github.com/edge-eventer/edge-eventer/agent/watch"
	"github.com/edge-eventer/edge-eventer/notify"
	"github.com/edge-eventer/edge-eventer/spool"
)

func observationOf(e event.Event, at time.Time) incident.Observation {
	return incident.Observation{
		Event: e, Workload: event.Workload(e.InvolvedObject.Kind, e.InvolvedObject.Name), New: uint32(e.Observed()), At: at,
	}
}

// list lets the watch see a list in pages of two.
func (h *house) list(resourceVersion string, replaced bool, events ...event.Event) {
	h.t.Helper()
	page := watch.Page{First: true, ResourceVersion: resourceVersion, Replaced: replaced}
	for {
		n := min(2, len(events))
		page.Events, events = events[:n], events[n:]
		page.Last = len(events) == 0
		if err := h.intake.List(context.Background(), page); err != nil {
			h.t.Fatal(err)
		}
		if page.Last {
			return
		}
		page.First = false
	}
}

func (h *house) ledger() (n int) {
	h.t.Helper()
	if err := h.spool.View(func(tx *spool.Tx) error { n = tx.LedgerLen(); return nil }); err != nil {
		h.t.Fatal(err)
	}
	return n
}

// bubble runs f with a house in a synctest bubble.
func bubble(t *testing.T, f func(t *testing.T, h *house, r *scripted)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := &scripted{}
		h := newHouse(t, map[string]notify.Receiver{"ops": r})
		h.start()
		defer h.close()
		f(t, h, r)
	})
}

func TestRelistNeitherLosesNorRepeats(t *testing.T) {
	bubble(t, func(t *testing.T, h *house, r *scripted) {
		now := time.Now()
		events := []event.Event{warning("a", 10, 1, now), warning("b", 11, 1, now), warning("c", 12, 1, now)}
		h.list("12", false, events...)
		h.show(warning("d", 13, 1, now))
		pass(time.Minute)
		events = append(events, warning("d", 13, 1, now), warning("e", 14, 1, now))
		h.list("20", false, events...)
		h.list("30", false, events...)
		pass(time.Minute)
		wantTold(t, r, map[string]int{"a": 1, "b": 1, "c": 1, "d": 1, "e": 1})
	})
}

func TestCountThatJumpsIsCountedInFull(t *testing.T) {
	bubble(t, func(t *testing.T, h *house, r *scripted) {
		now := time.Now()
		h.show(warning("web", 10, 1, now), warning("web", 11, 2, now), warning("web", 20, 60, now))
		pass(time.Minute)
		if got := r.messages()[0].Incidents[0].Occurrences; got != 60 {
			t.Errorf("occurrences = %d, want 60", got)
		}
	})
}

func TestFirstStartTakesOnlyYoungEvents(t *testing.T) {
	bubble(t, func(t *testing.T, h *house, r *scripted) {
		now := time.Now()
		old := warning("old", 5, 9, now.Add(-61*time.Minute))
		h.list("12", false, old, warning("young", 10, 1, now.Add(-59*time.Minute)))
		pass(time.Minute)
		wantTold(t, r, map[string]int{"young": 1})
		if n := h.ledger(); n != 2 {
			t.Errorf("%d events in the ledger, want 2: an old event's next observation is news", n)
		}
		old.Count, old.ResourceVersion, old.LastTimestamp = 10, "13", now
		h.show(old)
		pass(time.Minute)
		wantTold(t, r, map[string]int{"young": 1, "old": 1})
		messages := r.messages()
		if got := messages[len(messages)-1].Incidents[0].Occurrences; got != 1 {
			t.Errorf("occurrences = %d, want the new one only", got)
		}
		// The agent was listed before: what it missed while it was down is news, however old.
		h.list("40", false, warning("missed", 20, 1, now.Add(-5*time.Hour)))
		pass(time.Minute)
		wantTold(t, r, map[string]int{"young": 1, "old": 1, "missed": 1})
	})
}

func TestRestoredDatastoreNeitherLosesNorRepeats(t *testing.T) {
	bubble(t, func(t *testing.T, h *house, r *scripted) {
		now := time.Now()
		h.list("1000", false, warning("a", 900, 3, now), warning("b", 950, 2, now))
		pass(time.Minute)
		// The backup that was restored is older: its resourceVersions are lower, and one count too.
		h.list("500", true, warning("a", 400, 3, now), warning("b", 450, 1, now), warning("c", 460, 1, now))
		pass(10 * time.Minute)
		wantTold(t, r, map[string]int{"a": 1, "b": 1, "c": 1})
		// What comes now has lower numbers than before the restoration, and is news.
		h.show(warning("a", 510, 4, now))
		pass(20 * time.Minute)
		wantTold(t, r, map[string]int{"a": 2, "b": 1, "c": 1})
	})
}

func TestLedgerHoldsOnlyWhatTheAPIServerHolds(t *testing.T) {
	bubble(t, func(t *testing.T, h *house, r *scripted) {
		now := time.Now()
		var events []event.Event
		for i := range 50 {
			events = append(events, warning(fmt.Sprintf("web%d", i), 10+i, 1, now))
		}
		h.list("100", false, events...)
		if n := h.ledger(); n != 50 {
			t.Fatalf("%d events in the ledger, want 50", n)
		}
		h.list("200", false, events[:20]...)
		if n := h.ledger(); n != 20 {
			t.Errorf("%d events in the ledger after a list of 20, want 20", n)
		}
		if err := h.intake.Watched(context.Background(), watch.Change{Event: events[0], Deleted: true}); err != nil {
			t.Fatal(err)
		}
		h.show(warning("next", 201, 1, now))
		pass(time.Minute)
		if n := h.ledger(); n != 20 {
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
		h := newHouseOn(t, s, map[string]notify.Receiver{"ops": &scripted{}})
		h.start()
		defer h.close()
		now := time.Now()
		var events []event.Event
		for i := range 2500 {
			e := warning(fmt.Sprintf("web%d", i), 10+i, 1, now)
			e.CreationTimestamp = now.Add(time.Duration(i/10-250) * time.Second)
			events = append(events, e)
		}
		committed := func() uint64 { return h.intake.stats.committed.Load() }
		h.list("5000", false, events...)
		if n := committed(); n != 2500 || h.ledger() >= 2500 {
			t.Fatalf("%d events committed, %d in the ledger", n, h.ledger())
		}
		h.list("5000", false, events...)
		// One changed, and one came, while nobody watched.
		events[0].ResourceVersion = "5001"
		h.list("6000", false, append(events, warning("new", 5002, 1, now))...)
		if n := committed() - 2500; n != 2 {
			t.Errorf("%d events of later lists are taken for news, want 2", n)
		}
	})
}

func TestListThatBreaksOffKeepsThePosition(t *testing.T) {
	bubble(t, func(t *testing.T, h *house, r *scripted) {
		now := time.Now()
		h.list("12", false, warning("a", 10, 1, now))
		page := watch.Page{First: true, ResourceVersion: "99", Events: []event.Event{warning("b", 50, 1, now)}}
		if err := h.intake.List(context.Background(), page); err != nil {
			t.Fatal(err)
		}
		if position, err := h.intake.Position(""); err != nil || position != "12" {
			t.Errorf("position %q, %v: a list that did not end must not move it", position, err)
		}
		pass(time.Minute)
		wantTold(t, r, map[string]int{"a": 1, "b": 1})
	})
}

func TestExpiredEventsAreForgottenWithoutACommitOfTheirOwn(t *testing.T) {
	bubble(t, func(t *testing.T, h *house, _ *scripted) {
		now := time.Now()
		h.list("12", false, warning("a", 10, 1, now), warning("b", 11, 1, now))
		pass(time.Minute)
		before := h.intake.stats.commits.Load()
		for i := range 100 {
			e := warning(fmt.Sprintf("gone%d", i), 20+i, 1, now)
			if err := h.intake.Watched(context.Background(), watch.Change{Event: e, Deleted: true}); err != nil {
				t.Fatal(err)
			}
		}
		pass(time.Hour)
		if commits := h.intake.stats.commits.Load() - before; commits != 0 {
			t.Errorf("%d commits for expired events alone, want none", commits)
		}
	})
}

func TestABurstIsCommittedInBatches(t *testing.T) {
	bubble(t, func(t *testing.T, h *house, _ *scripted) {
		for i := range 2000 {
			h.show(warning(fmt.Sprintf("web%d", i%40), 10+i, 1+i/40, time.Now()))
		}
		pass(testPolicy.GroupWait - commitAhead/2)
		if commits := h.intake.stats.commits.Load(); commits > 2000/maxBatch+2 {
			t.Errorf("%d commits for a burst of 2000 events, want at most %d", commits, 2000/maxBatch+2)
		}
		if n := h.untold("ops"); n != 2000 {
			t.Errorf("%d observations wait, want 2000", n)
		}
	})
}

// TestRepeatsAreCommittedOnceAMinute: a commit costs the same 50 KB of flash for one repeat as for hundreds.
func TestRepeatsAreCommittedOnceAMinute(t *testing.T) {
	bubble(t, func(t *testing.T, h *house, r *scripted) {
		begin, rounds := time.Now(), 0
		show := func() {
			rounds++
			for i := range 10 {
				e := warning(fmt.Sprintf("web%d", i), 10*rounds+i, rounds, begin)
				e.LastTimestamp = time.Now()
				h.show(e)
			}
		}
		show()
		pass(10 * time.Second)
		before := h.intake.stats.commits.Load()
		for range 10 * 60 {
			pass(time.Second)
			show()
		}
		// Ten minutes with one minute more: the repeats are told after five, and committed right before.
		if commits := h.intake.stats.commits.Load() - before; commits > 11 {
			t.Errorf("%d commits in ten minutes, want one a minute", commits)
		}
		h.stop()
		h.done.Wait()
		total := int(h.untold("ops"))
		for _, m := range r.messages() {
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
	bubble(t, func(t *testing.T, h *house, r *scripted) {
		routes := slices.Clone(h.intake.routing())
		routes[0].policy.PerEvent = true
		h.intake.reroute(new(filter.Filter), routes, false)
		h.deliveries["ops"].policy.PerEvent = true
		for i := range 600 {
			h.show(warning(fmt.Sprintf("web%d", i), 10+i, 1, time.Now()))
			pass(100 * time.Millisecond)
		}
		if commits := h.intake.stats.commits.Load(); commits > 13 {
			t.Errorf("%d commits in a minute, want one each %s", commits, testPolicy.GroupWait)
		}
		pass(10 * time.Second)
		if n := len(r.workloads()); n != 600 {
			t.Errorf("%d of 600 events arrived", n)
		}
	})
}

func TestNewsIsOnDiskWithinTheCommitInterval(t *testing.T) {
	bubble(t, func(t *testing.T, h *house, _ *scripted) {
		h.list("9", false)
		h.show(warning("web", 10, 1, time.Now()))
		pass(10 * time.Second)
		for i := range 20 {
			// News among repeats takes them along.
			h.show(warning("web", 20+2*i, 2+i, time.Now()), warning(fmt.Sprintf("new%d", i), 21+2*i, 1, time.Now()))
			pass(h.intake.commitInterval + time.Millisecond)
			if n, err := h.intake.Position(""); err != nil || n != fmt.Sprint(21+2*i) {
				t.Fatalf("position %s, %v, want %d", n, err, 21+2*i)
			}
		}
	})
}

// TestWithoutGroupWaitNewsLeavesAtOnce: the first of a quiet time is not held for commitInterval, which then bounds the
// commits all the same.
func TestWithoutGroupWaitNewsLeavesAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T, h *house, r *scripted) {
		routes := slices.Clone(h.intake.routing())
		routes[0].policy.GroupWait = 0
		h.intake.reroute(new(filter.Filter), routes, false)
		pass(time.Minute)
		h.show(warning("web", 10, 1, time.Now()))
		pass(time.Millisecond)
		wantTold(t, r, map[string]int{"web": 1})
		before := h.intake.stats.commits.Load()
		for i := range 100 {
			h.show(warning(fmt.Sprintf("new%d", i), 11+i, 1, time.Now()))
			pass(100 * time.Millisecond)
		}
		if commits := h.intake.stats.commits.Load() - before; commits > 12 {
			t.Errorf("%d commits in ten seconds, want one a second", commits)
		}
	})
}

func TestPageLargerThanACommitIsTakenInParts(t *testing.T) {
	bubble(t, func(t *testing.T, h *house, r *scripted) {
		h.intake.maxCommit = 2000
		page := watch.Page{First: true, Last: true, ResourceVersion: "99"}
		want := map[string]int{}
		for i := range 40 {
			name := fmt.Sprintf("web%d", i)
			page.Events = append(page.Events, warning(name, 10+i, 1, time.Now()))
			want[name] = 1
		}
		if err := h.intake.List(context.Background(), page); err != nil {
			t.Fatal(err)
		}
		if commits := h.intake.stats.commits.Load(); commits < 10 {
			t.Errorf("%d commits for 40 events of more than 512 bytes, want at least 10", commits)
		}
		if position, err := h.intake.Position(""); err != nil || position != "99" {
			t.Errorf("position %q, %v, want 99", position, err)
		}
		if n := h.ledger(); n != 40 {
			t.Errorf("%d events in the ledger, want 40: a part must not sweep the others", n)
		}
		pass(time.Minute)
		wantTold(t, r, want)
	})
}

func TestLostPositionIsNoFirstStart(t *testing.T) {
	bubble(t, func(t *testing.T, h *house, r *scripted) {
		h.list("12", false, warning("a", 10, 1, time.Now()))
		pass(time.Minute)
		if err := h.spool.Update(func(tx *spool.Tx) error { return tx.SetPosition("", "") }); err != nil {
			t.Fatal(err)
		}
		h.list("40", false, warning("missed", 20, 1, time.Now().Add(-5*time.Hour)))
		pass(time.Minute)
		wantTold(t, r, map[string]int{"a": 1, "missed": 1})
	})
}

// TestEventsThatCannotBeReadAreALossThatIsTold: nobody knows what was in them, so every receiver is told that they were there, once
// each, however often they are listed and whatever ends in between.
func TestEventsThatCannotBeReadAreALossThatIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path, r := filepath.Join(t.TempDir(), "spool.db"), &scripted{}
		h := newHouseAt(t, path, map[string]notify.Receiver{"ops": r})
		h.start()
		now := time.Now()
		listed := event.ObjectMeta{Name: "huge", UID: "u-huge", ResourceVersion: "11", CreationTimestamp: now}
		ancient := event.ObjectMeta{Name: "old", UID: "u-old", ResourceVersion: "5", CreationTimestamp: now.Add(-3 * time.Hour)}
		nameless := event.ObjectMeta{UID: "unreadable-77"}
		list := func(version string) {
			t.Helper()
			page := watch.Page{First: true, Last: true, ResourceVersion: version, Unreadable: []event.ObjectMeta{listed, ancient, nameless}}
			if err := h.intake.List(context.Background(), page); err != nil {
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
			if err := h.intake.Watched(context.Background(), c); err != nil {
				t.Fatal(err)
			}
		}
		pass(2 * h.intake.commitInterval)
		if position, err := h.intake.Position(""); err != nil || position != "14" {
			t.Errorf("position %s, %v, want 14", position, err)
		}
		h.close()
		h = newHouseAt(t, path, map[string]notify.Receiver{"ops": r})
		h.start()
		defer h.close()
		listed = watched
		list("20")
		h.show(warning("web", 21, 1, time.Now()))
		pass(time.Minute)
		want := []notify.Loss{{Cause: spool.Undecodable, Events: 3, Since: now}}
		if diff := cmp.Diff(want, r.messages()[0].Losses, cmpopts.EquateApproxTime(time.Second)); diff != "" {
			t.Errorf("told (-want +got):\n%s", diff)
		}
	})
}

// TestAnUpdateWithAnEarlierTimeReachesTheArchive: the node's clock was an hour ahead and is set while the first version is on its way.
func TestAnUpdateWithAnEarlierTimeReachesTheArchive(t *testing.T) {
	bubble(t, func(t *testing.T, h *house, r *scripted) {
		routes := slices.Clone(h.intake.routing())
		routes[0].policy.PerEvent = true
		h.intake.reroute(new(filter.Filter), routes, false)
		h.deliveries["ops"].policy.PerEvent = true
		update := warning("web", 11, 2, time.Now())
		update.Message = "after the clock was set"
		first := true
		r.answer = func(context.Context, *notify.Message, notify.Form) error {
			if first {
				first = false
				h.show(update)
				<-time.After(90 * time.Second)
			}
			return nil
		}
		ahead := warning("web", 10, 1, time.Now())
		ahead.LastTimestamp = time.Now().Add(time.Hour)
		h.show(ahead)
		pass(10 * time.Minute)
		var got []string
		for _, m := range r.messages() {
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
	bubble(t, func(t *testing.T, h *house, _ *scripted) {
		ctx, refused := context.Background(), 0
		name := func(i int) string { return fmt.Sprintf("ns-%02d", i) }
		events := func(i, part int) []event.Event {
			e := warning(fmt.Sprintf("%s-%d", name(i), part), 10+i, 1, time.Now())
			e.Namespace = name(i)
			return []event.Event{e}
		}
		for i := range 10 {
			if err := h.intake.List(ctx, watch.Page{Namespace: name(i), First: true, ResourceVersion: "50", Events: events(i, 0)}); err != nil {
				t.Fatal(err)
			}
		}
		for i := range 10 {
			err := h.intake.List(ctx, watch.Page{Namespace: name(i), Last: true, ResourceVersion: "50", Events: events(i, 1)})
			if errors.Is(err, errNoRoom) {
				refused++
			} else if err != nil {
				t.Fatal(err)
			}
		}
		if refused != 10-maxLists || len(h.intake.alive) > maxLists {
			t.Errorf("%d lists begin anew, of %d it is remembered what they showed", refused, len(h.intake.alive))
		}
		if n := h.ledger(); n != 10+maxLists {
			t.Errorf("%d events in the ledger, want %d", n, 10+maxLists)
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
		h := newHouseOn(t, s, map[string]notify.Receiver{"ops": &scripted{}})
		h.start()
		defer h.close()
		created := func(name string, version int, ago time.Duration) event.Event {
			e := warning(name, version, 1, time.Now())
			e.CreationTimestamp = time.Now().Add(-ago)
			return e
		}
		var events []event.Event
		for i := range 2500 {
			events = append(events, created(fmt.Sprintf("web%d", i%40), 10+i, time.Duration(2500-i)*time.Second))
			events[i].UID = fmt.Sprintf("uid-%d", i)
		}
		h.list("5000", false, events...)
		if h.ledger() >= 2500 {
			t.Fatal("the ledger had room for all")
		}
		before := h.intake.stats.committed.Load()
		h.list("400", true, created("fresh", 300, 2490*time.Second))
		if n := h.intake.stats.committed.Load() - before; n != 1 {
			t.Errorf("%d events of the new history are taken for news, want 1", n)
		}
	})
}

// TestACountThatFallsBackIsOneMore: the reporter began to count again.
func TestACountThatFallsBackIsOneMore(t *testing.T) {
	bubble(t, func(t *testing.T, h *house, r *scripted) {
		now := time.Now()
		h.show(warning("web", 10, 5, now), warning("web", 11, 2, now), warning("web", 12, 4, now))
		pass(time.Minute)
		if n := r.told(); n != 8 {
			t.Errorf("%d occurrences were told, want 5, 1 and 2", n)
		}
	})
}

func TestManyExpiredEventsAreForgottenAfterAll(t *testing.T) {
	bubble(t, func(t *testing.T, h *house, _ *scripted) {
		var events []event.Event
		for i := range 2 * maxForgets {
			events = append(events, warning(fmt.Sprintf("web%d", i), 10+i, 1, time.Now()))
		}
		h.list("5000", false, events...)
		for i, e := range events {
			e.ResourceVersion = fmt.Sprint(5001 + i)
			if err := h.intake.Watched(context.Background(), watch.Change{Event: e, Deleted: true}); err != nil {
				t.Fatal(err)
			}
		}
		pass(time.Minute)
		if n := h.ledger(); n >= maxForgets {
			t.Errorf("%d of %d expired events are still in the ledger", n, 2*maxForgets)
		}
	})
}

// TestOnlyTheLastPartOfAPageEndsTheList: what the parts behind it show is not forgotten before they are there.
func TestOnlyTheLastPartOfAPageEndsTheList(t *testing.T) {
	bubble(t, func(t *testing.T, h *house, _ *scripted) {
		h.intake.maxCommit = 2000
		page := watch.Page{First: true, Last: true, ResourceVersion: "99"}
		for i := range 40 {
			page.Events = append(page.Events, warning(fmt.Sprintf("web%d", i), 10+i, 1, time.Now()))
		}
		for range 2 {
			if err := h.intake.List(context.Background(), page); err != nil {
				t.Fatal(err)
			}
		}
		if n := h.intake.stats.committed.Load(); n != 40 {
			t.Errorf("%d events were taken for news, want 40: the second list showed the same", n)
		}
	})
}
