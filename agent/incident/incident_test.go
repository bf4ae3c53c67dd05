package incident

import (
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/edge-eventer/edge-eventer/agent/event"
	"github.com/edge-eventer/edge-eventer/internal/seed"
	"github.com/edge-eventer/edge-eventer/notify"
)

var start = time.Date(2026, 11, 21, 5, 0, 0, 0, time.UTC)

var incidents = Policy{
	GroupWait:      5 * time.Second,
	GroupInterval:  5 * time.Minute,
	RepeatInterval: 4 * time.Hour,
	ResolveAfter:   30 * time.Minute,
}

var events = Policy{PerEvent: true, GroupWait: 5 * time.Second}

func observation(at time.Time, observed uint32) *Observation {
	return &Observation{
		Event: event.Event{
			ObjectMeta:     event.ObjectMeta{Name: "web.1", Namespace: "shop", UID: "u-1", ResourceVersion: "7"},
			InvolvedObject: event.Reference{Kind: "Pod", Namespace: "shop", Name: "web-7d9f8c6b5d-x2x4z"},
			Reason:         "BackOff",
			Message:        "Back-off restarting failed container",
			FirstTimestamp: start,
			LastTimestamp:  at,
			Count:          int32(observed),
		},
		Workload: "web",
		New:      observed,
		At:       at,
	}
}

func TestFirstOccurrenceLeavesAfterGroupWait(t *testing.T) {
	in, due, ok := incidents.Fold(nil, observation(start, 1))
	if !ok || !due.Equal(start.Add(5*time.Second)) || in.Untold() != 1 {
		t.Fatalf("due %v, untold %d, ok %v", due, in.Untold(), ok)
	}
	in, due, _ = incidents.Fold(in, observation(start.Add(3*time.Second), 4))
	if !due.Equal(start.Add(5 * time.Second)) {
		t.Errorf("a second observation moved the due time to %v", due)
	}
	if in.Occurrences != 5 || in.Untold() != 5 {
		t.Errorf("occurrences %d, untold %d, want 5 and 5", in.Occurrences, in.Untold())
	}
}

func TestRepeatsAreToldInGrowingSteps(t *testing.T) {
	at := start
	in, due, _ := incidents.Fold(nil, observation(at, 1))
	var told []time.Duration
	for at.Before(start.Add(24 * time.Hour)) {
		if !at.Before(due) && in.Untold() > 0 {
			told = append(told, at.Sub(start))
			var keep bool
			if in, _, keep = incidents.ToldUntil(in, in, at); !keep {
				t.Fatal("an active incident was forgotten")
			}
		}
		at = at.Add(time.Minute)
		in, due, _ = incidents.Fold(in, observation(at, 1))
	}
	for i := range told {
		told[i] = told[i].Round(10 * time.Minute)
	}
	minutes := func(n time.Duration) time.Duration { return n * time.Minute }
	want := []time.Duration{0, minutes(10), minutes(20), minutes(40), minutes(80), minutes(160), minutes(320), minutes(560), minutes(800), minutes(1040), minutes(1280)}
	if diff := cmp.Diff(want, told); diff != "" {
		t.Errorf("a problem that repeats each minute for a day is told at (-want +got):\n%s", diff)
	}
	if in.Occurrences != 24*60+1 {
		t.Errorf("occurrences = %d, want %d", in.Occurrences, 24*60+1)
	}
}

func TestQuietIncidentStartsAfresh(t *testing.T) {
	in, _, _ := incidents.Fold(nil, observation(start, 3))
	in, due, _ := incidents.ToldUntil(in, in, start.Add(5*time.Second))
	if want := start.Add(30 * time.Minute); !due.Equal(want) {
		t.Errorf("a told incident wants attention at %v, want %v", due, want)
	}
	if incidents.Over(in, start.Add(29*time.Minute)) || !incidents.Over(in, start.Add(30*time.Minute)) {
		t.Error("an incident is over after 30 quiet minutes, not before")
	}
	again := start.Add(31 * time.Minute)
	in, due, _ = incidents.Fold(in, observation(again, 1))
	if in.Occurrences != 1 || !due.Equal(again.Add(5*time.Second)) || !in.ToldAt.IsZero() {
		t.Errorf("occurrences %d, due %v, told at %v: want a new incident", in.Occurrences, due, in.ToldAt)
	}
}

func TestHeldBackRepeatsAreToldAtOnceWhenTheProblemReturns(t *testing.T) {
	in, _, _ := incidents.Fold(nil, observation(start, 1))
	in, _, _ = incidents.ToldUntil(in, in, start)
	in.Step = 4 * time.Hour
	in, due, _ := incidents.Fold(in, observation(start.Add(time.Minute), 1))
	if want := start.Add(4 * time.Hour); !due.Equal(want) {
		t.Fatalf("due %v, want %v", due, want)
	}
	in, due, _ = incidents.Fold(in, observation(start.Add(40*time.Minute), 1))
	if due.After(start.Add(41 * time.Minute)) {
		t.Errorf("returned after 39 quiet minutes, but is told only at %v", due)
	}
	if in.Untold() != 2 {
		t.Errorf("untold = %d, want 2: the held back repeat is part of it", in.Untold())
	}
}

// shown is an observation of the given version, of an event with the given time, that arrives at another.
func shown(version int, seen, arrives time.Time, message string) *Observation {
	o := observation(arrives, 1)
	o.Event.ResourceVersion, o.Event.Message = strconv.Itoa(version), message
	o.Event.FirstTimestamp, o.Event.LastTimestamp = seen, seen
	return o
}

// TestTheNewestArrivalIsTheSampleWhateverItsTimesSay: a node's clock ran an hour ahead and was set. What comes then is the news.
func TestTheNewestArrivalIsTheSampleWhateverItsTimesSay(t *testing.T) {
	for name, p := range map[string]Policy{"incident": incidents, "event": events} {
		in, _, _ := p.Fold(nil, shown(7, start.Add(time.Hour), start, "old"))
		seen, err := Decode(in.Append(nil))
		if err != nil {
			t.Fatal(err)
		}
		in, _, _ = p.Fold(in, shown(8, start.Add(time.Minute), start.Add(time.Minute), "new"))
		if in.Event.Message != "new" || !in.Last.Equal(start.Add(time.Minute)) || !in.First.Equal(start.Add(time.Minute)) {
			t.Errorf("%s: sample %q, %s to %s", name, in.Event.Message, in.First, in.Last)
		}
		// The first was in flight when the second came.
		in, _, keep := p.ToldUntil(in, seen, start.Add(2*time.Minute))
		if !keep || in.Untold() != 1 {
			t.Errorf("%s: kept %t with %d untold, want the update to wait", name, keep, in.Untold())
		}
	}
}

// TestAListIsOrderedByResourceVersion: it comes in the order of names. Against a sample of another history no version says anything.
func TestAListIsOrderedByResourceVersion(t *testing.T) {
	listed := func(version int, list uint64, message string) *Observation {
		o := shown(version, start, start, message)
		o.List = list
		return o
	}
	for name, c := range map[string]struct {
		sample string
		next   *Observation
		want   string
	}{
		"older of a list":               {"70", listed(69, 100, "next"), "sample"},
		"newer of a list":               {"70", listed(71, 100, "next"), "next"},
		"older by text, newer by value": {"70", listed(100, 100, "next"), "next"},
		"sample of another history":     {"101", listed(69, 100, "next"), "next"},
		"the agent's own sample":        {"none", listed(69, 100, "next"), "next"},
		"older, but watched":            {"70", listed(69, 0, "next"), "next"},
	} {
		in, _, _ := incidents.Fold(nil, shown(1, start, start, "sample"))
		in.Event.ResourceVersion = c.sample
		in, _, _ = incidents.Fold(in, c.next)
		if in.Event.Message != c.want || in.Occurrences != 2 {
			t.Errorf("%s: sample %q of %d occurrences, want %q of 2", name, in.Event.Message, in.Occurrences, c.want)
		}
	}
	// One event is taken only once per version, so what is taken of it is news.
	in, _, _ := events.Fold(nil, shown(70, start, start, "sample"))
	if in, _, _ = events.Fold(in, listed(69, 100, "next")); in.Event.Message != "next" {
		t.Error("an event's update was left out")
	}
}

func TestTimesFromTheFutureAreBoundedForShow(t *testing.T) {
	in, _, _ := incidents.Fold(nil, shown(7, start.Add(48*time.Hour), start, "ahead"))
	if first, last := in.Span(start.Add(time.Minute)); !first.Equal(start.Add(time.Minute)) || !last.Equal(first) {
		t.Errorf("shown from %s to %s at %s", first, last, start.Add(time.Minute))
	}
	if !in.Event.LastTimestamp.Equal(start.Add(48 * time.Hour)) {
		t.Error("the event itself was changed")
	}
	in, _, _ = incidents.Fold(in, shown(8, start, start, "set"))
	if first, last := in.Span(start.Add(time.Minute)); !first.Equal(start) || !last.Equal(start) {
		t.Errorf("shown from %s to %s", first, last)
	}
}

func TestWhatComesWhileAMessageIsOnItsWayStaysUntold(t *testing.T) {
	in, _, _ := incidents.Fold(nil, observation(start, 2))
	seen, err := Decode(in.Append(nil))
	if err != nil {
		t.Fatal(err)
	}
	in, _, _ = incidents.Fold(in, observation(start.Add(time.Second), 3))
	in, due, keep := incidents.ToldUntil(in, seen, start.Add(2*time.Second))
	if !keep || in.Untold() != 3 || !due.Equal(start.Add(2*time.Second+5*time.Minute)) {
		t.Errorf("keep %v, untold %d, due %v", keep, in.Untold(), due)
	}
}

func TestClockThatWasPutBackHoldsNothing(t *testing.T) {
	in, _, _ := incidents.Fold(nil, observation(start.AddDate(10, 0, 0), 1))
	id := in.Alert(incidents, "", notify.Warning).ID
	if due := incidents.Rebase(in, start); !due.Equal(start) {
		t.Errorf("due %v, want %v", due, start)
	}
	if now := in.Alert(incidents, "", notify.Warning).ID; now != id {
		t.Errorf("the ID %s became %s: a receiver that took it without the agent hearing so counts it twice", id, now)
	}
	in, _, _ = incidents.ToldUntil(in, in, start.Add(5*time.Second))
	if !incidents.Over(in, start.Add(31*time.Minute)) {
		t.Error("the incident is not over after 31 quiet minutes")
	}
}

// TestOpeningsWithinAMillisecondHaveIDsOfTheirOwn: a Pi that starts in 1970 each time passes the same milliseconds again and again,
// and a receiver that knows the ID would take the second opening for a repeat of the first.
func TestOpeningsWithinAMillisecondHaveIDsOfTheirOwn(t *testing.T) {
	ids := make(map[string]bool)
	for i := range 3 {
		in, _, _ := incidents.Fold(nil, observation(time.Unix(7, 0).Add(time.Duration(i)*time.Microsecond), 1))
		ids[in.Alert(incidents, "", notify.Warning).ID] = true
	}
	if len(ids) != 3 {
		t.Errorf("three openings have %d IDs", len(ids))
	}
}

func TestUpdateWithoutObservationIsNoNews(t *testing.T) {
	if _, _, ok := incidents.Fold(nil, observation(start, 0)); ok {
		t.Error("an event that was told and only changed its metadata became an incident")
	}
	in, _, _ := incidents.Fold(nil, observation(start, 1))
	in, _, _ = incidents.ToldUntil(in, in, start)
	in, due, _ := incidents.Fold(in, observation(start.Add(time.Minute), 0))
	if in.Untold() != 0 || !due.Equal(start.Add(30*time.Minute)) {
		t.Errorf("untold %d, due %v", in.Untold(), due)
	}
}

func TestArchiveGetsEveryUpdateOfAnEvent(t *testing.T) {
	o := observation(start, 1)
	in, due, _ := events.Fold(nil, o)
	if !due.Equal(start.Add(5*time.Second)) || in.Untold() != 1 {
		t.Fatalf("due %v, untold %d", due, in.Untold())
	}
	seen := *in
	if _, _, keep := events.ToldUntil(in, &seen, start); keep {
		t.Error("a told event was kept")
	}
	newer := observation(start.Add(time.Minute), 5)
	newer.Event.ResourceVersion = "8"
	in, _, _ = events.Fold(in, newer)
	in, _, keep := events.ToldUntil(in, &seen, start)
	if !keep || in.Occurrences != 5 {
		t.Errorf("keep %v, occurrences %d: the update that came meanwhile was lost", keep, in.Occurrences)
	}
}

// TestEventFoldedWhileItWaitsIsCountedInFull: an archive is told an event once for all its updates, and what it was not told,
// a loss among it, has to be all of them.
func TestEventFoldedWhileItWaitsIsCountedInFull(t *testing.T) {
	version := 6
	see := func(in *Incident, count, isNew uint32) *Incident {
		version++
		o := observation(start, count)
		o.Event.ResourceVersion, o.New = strconv.Itoa(version), isNew
		in, _, _ = events.Fold(in, o)
		return in
	}
	want := func(in *Incident, n uint32) {
		t.Helper()
		if in.Untold() != n {
			t.Errorf("%d observations untold, want %d", in.Untold(), n)
		}
	}
	in := see(nil, 3, 3)
	sent := *in
	in = see(in, 7, 4)
	want(in, 7)
	in = see(in, 7, 0)
	want(in, 7)
	in, _, keep := events.ToldUntil(in, &sent, start)
	if !keep {
		t.Fatal("the updates that came while the message was on its way are forgotten")
	}
	want(in, 4)
	sent = *in
	in = see(in, 7, 0)
	if in, _, keep = events.ToldUntil(in, &sent, start); !keep {
		t.Fatal("an update that observed nothing new is forgotten, and an archive wants each")
	}
	want(in, 1)
}

func TestAffectedObjectsAreBounded(t *testing.T) {
	var in *Incident
	for i := range 200 {
		o := observation(start, 1)
		o.Event.InvolvedObject.Name = "web-" + time.Duration(i).String()
		in, _, _ = incidents.Fold(in, o)
	}
	if len(in.Objects) != maxObjects || in.Objects[0] != "web-199ns" {
		t.Errorf("objects %v", in.Objects)
	}
	if in.ObjectCount() != maxObjectHashes {
		t.Errorf("object count %d, want %d", in.ObjectCount(), maxObjectHashes)
	}
}

func TestIDChangesWithTheContentAndNotWithTheTry(t *testing.T) {
	in, _, _ := incidents.Fold(nil, observation(start, 1))
	first := in.Alert(incidents, "shop-1", notify.Warning).ID
	if again := in.Alert(incidents, "shop-1", notify.Warning).ID; again != first {
		t.Errorf("ids of one content differ: %s, %s", first, again)
	}
	in, _, _ = incidents.Fold(in, observation(start.Add(time.Second), 1))
	if changed := in.Alert(incidents, "shop-1", notify.Warning).ID; changed == first {
		t.Errorf("one id for two contents: %s", first)
	}
	event, _, _ := events.Fold(nil, observation(start, 1))
	if got, want := event.Alert(events, "", notify.Warning).ID, "u-1.7"; got != want {
		t.Errorf("id of an event = %s, want %s", got, want)
	}
}

// TestNoObservationIsForgotten folds and tells at random, with a clock that jumps, and compares the sums.
func TestNoObservationIsForgotten(t *testing.T) {
	random := seed.New(t)
	for range 200 {
		var in *Incident
		var taken, told uint64
		at := start
		for range 100 {
			at = at.Add(time.Duration(random.Int64N(int64(time.Hour))))
			if random.IntN(20) == 0 {
				at = at.Add(time.Duration(random.Int64N(int64(48*time.Hour))) - 24*time.Hour)
			}
			switch {
			case in == nil || random.IntN(3) > 0:
				n := random.Uint32N(5)
				if folded, _, ok := incidents.Fold(in, observation(at, n)); ok {
					in = folded
				}
				taken += uint64(n)
			case in.Untold() > 0:
				told += uint64(in.Untold())
				var keep bool
				if in, _, keep = incidents.ToldUntil(in, in, at); !keep {
					in = nil
				}
			case incidents.Over(in, at):
				in = nil
			}
		}
		if in != nil {
			told += uint64(in.Untold())
		}
		if taken != told {
			t.Fatalf("took %d observations, told or hold %d", taken, told)
		}
	}
}

func TestRecordKeepsEveryField(t *testing.T) {
	in := full()
	got, err := Decode(in.Append(nil))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(in, got, cmp.AllowUnexported(Incident{})); diff != "" {
		t.Errorf("decoded incident differs (-want +got):\n%s", diff)
	}
}

func full() *Incident {
	return &Incident{
		Event: event.Event{
			ObjectMeta:          event.ObjectMeta{Name: "n", Namespace: "ns", UID: "u", ResourceVersion: "12", CreationTimestamp: start},
			InvolvedObject:      event.Reference{Kind: "Pod", Namespace: "ns", Name: "p", UID: "pu", APIVersion: "v1", ResourceVersion: "3", FieldPath: "spec"},
			Reason:              "BackOff",
			Message:             "two\nlines, 日本",
			Source:              event.Source{Component: "kubelet", Host: "pi"},
			FirstTimestamp:      start.Add(time.Second),
			LastTimestamp:       start.Add(2 * time.Second),
			Count:               4,
			Type:                "Warning",
			EventTime:           start.Add(123456 * time.Microsecond),
			Series:              &event.Series{Count: 9, LastObservedTime: start.Add(time.Minute)},
			Action:              "Binding",
			Related:             &event.Reference{Kind: "Node", Name: "pi"},
			ReportingController: "c",
			ReportingInstance:   "i",
		},
		Workload: "w", First: start, Last: start.Add(time.Hour), Opened: start.Add(time.Minute), Active: start.Add(2 * time.Minute),
		Occurrences: 77, Told: 70, ToldAt: time.Unix(-5, 0).UTC(), Step: 5 * time.Minute,
		Objects: []string{"a", "b"}, Own: true, objectHashes: []uint32{1, 1<<32 - 1},
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(full().Append(nil))
	f.Add((&Incident{}).Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		in, err := Decode(b)
		if err != nil {
			return
		}
		again, err := Decode(in.Append(nil))
		if err != nil {
			t.Fatalf("cannot decode what was decoded and encoded: %v", err)
		}
		if diff := cmp.Diff(in, again, cmp.AllowUnexported(Incident{})); diff != "" {
			t.Error(diff)
		}
	})
}

func BenchmarkFold(b *testing.B) {
	in, _, _ := incidents.Fold(nil, observation(start, 1))
	record := in.Append(nil)
	o := observation(start.Add(time.Second), 1)
	b.ReportAllocs()
	for b.Loop() {
		in, err := Decode(record)
		if err != nil {
			b.Fatal(err)
		}
		in, _, _ = incidents.Fold(in, o)
		record = in.Append(record[:0])
	}
}

// TestAnIncidentThatBeganAnewIsNotToldByTheMessageOfTheOneBefore: the old one was over or dropped while its message was on its way.
func TestAnIncidentThatBeganAnewIsNotToldByTheMessageOfTheOneBefore(t *testing.T) {
	seen, _, _ := incidents.Fold(nil, observation(start, 5))
	in, _, _ := incidents.Fold(nil, observation(start.Add(time.Hour), 2))
	in, due, keep := incidents.ToldUntil(in, seen, start.Add(time.Hour+time.Second))
	if !keep || in.Untold() != 2 || !in.ToldAt.IsZero() || !due.Equal(start.Add(time.Hour+incidents.GroupWait)) {
		t.Errorf("kept %t with %d untold, told at %s, due %s", keep, in.Untold(), in.ToldAt, due)
	}
}

func TestALateConfirmationTakesNothingBack(t *testing.T) {
	early, _, _ := incidents.Fold(nil, observation(start, 5))
	late, err := Decode(early.Append(nil))
	if err != nil {
		t.Fatal(err)
	}
	late, _, _ = incidents.Fold(late, observation(start.Add(time.Second), 3))
	late, _, _ = incidents.ToldUntil(late, late, start.Add(2*time.Second))
	if late, _, _ = incidents.ToldUntil(late, early, start.Add(3*time.Second)); late.Untold() != 0 {
		t.Errorf("%d are untold again", late.Untold())
	}
}

func TestCountsStopAtWhatKubernetesCountsIn(t *testing.T) {
	in, _, _ := incidents.Fold(nil, observation(start, maxOccurrences))
	in, _, _ = incidents.Fold(in, observation(start, 1<<32-1))
	if in.Occurrences != maxOccurrences {
		t.Errorf("%d occurrences, want %d", in.Occurrences, maxOccurrences)
	}
	if _, err := Decode(in.Append(nil)); err != nil {
		t.Error(err)
	}
}
