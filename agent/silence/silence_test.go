package silence_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/edge-eventer/edge-eventer/agent/event"
	"github.com/edge-eventer/edge-eventer/agent/incident"
	"github.com/edge-eventer/edge-eventer/agent/matcher"
	"github.com/edge-eventer/edge-eventer/agent/silence"
	"github.com/edge-eventer/edge-eventer/notify"
	"github.com/edge-eventer/edge-eventer/spool"
)

var noon = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)

func matchers(t *testing.T, text string) matcher.List {
	t.Helper()
	list, err := matcher.ParseList(text)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func moving(t *testing.T) *silence.Silence {
	t.Helper()
	return &silence.Silence{
		Matchers: matchers(t, `reason=BackOff, namespace=~"shop|kiosk"`), StartsAt: noon, EndsAt: noon.Add(2 * time.Hour),
		CreatedBy: "pi", Comment: "moving",
	}
}

// holding returns the silence of the set that holds the subject.
func holding(set *silence.Set, subject *matcher.Subject, now time.Time) *silence.Silence {
	for _, one := range set.All() {
		if one.State(now) == silence.Active && one.Covers(subject) {
			return one
		}
	}
	return nil
}

func backOff(namespace string) *matcher.Subject {
	return &matcher.Subject{
		Incident: &incident.Incident{
			Event:    event.Event{Reason: "BackOff", InvolvedObject: event.Reference{Kind: "Pod", Namespace: namespace, Name: "web-1"}},
			Workload: "web", Occurrences: 10, Told: 3, Last: noon,
		},
		Severity: notify.Warning,
	}
}

func open(t *testing.T, path string) *spool.Spool {
	t.Helper()
	s, err := spool.Open(spool.Options{Path: path, MaxBytes: 4 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func add(t *testing.T, s *spool.Spool, one *silence.Silence, now time.Time) error {
	t.Helper()
	return s.Update(func(tx *spool.Tx) error { return silence.Add(tx, one, now) })
}

func load(t *testing.T, s *spool.Spool) *silence.Set {
	t.Helper()
	var set silence.Set
	if err := s.View(func(tx *spool.Tx) error { return set.Load(tx) }); err != nil {
		t.Fatal(err)
	}
	return &set
}

func TestSilenceOutlivesARestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "spool.db")
	s := open(t, path)
	one := moving(t)
	if err := add(t, s, one, noon); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	set := load(t, open(t, path))
	if len(set.All()) != 1 {
		t.Fatalf("%d silences after the restart", len(set.All()))
	}
	got := set.All()[0]
	if diff := cmp.Diff(one, got, cmp.AllowUnexported(matcher.Matcher{}), cmp.Comparer(func(a, b matcher.List) bool { return a.String() == b.String() })); diff != "" {
		t.Errorf("(-added +read):\n%s", diff)
	}
	if holding(set, backOff("shop"), noon) == nil || holding(set, backOff("office"), noon) != nil {
		t.Error("it does not hold what its matchers match, after the restart")
	}
}

func TestSilenceHoldsFromItsStartUpToItsEnd(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "spool.db"))
	one := moving(t)
	one.StartsAt = noon.Add(time.Hour)
	if err := add(t, s, one, noon); err != nil {
		t.Fatal(err)
	}
	set := load(t, s)
	for _, tt := range []struct {
		after time.Duration
		state string
		holds bool
	}{
		{time.Hour - 1, silence.Pending, false},
		{time.Hour, silence.Active, true},
		{2*time.Hour - 1, silence.Active, true},
		{2 * time.Hour, silence.Expired, false},
	} {
		at := noon.Add(tt.after)
		if got := set.All()[0].State(at); got != tt.state {
			t.Errorf("after %s it is %s, want %s", tt.after, got, tt.state)
		}
		if got := holding(set, backOff("shop"), at) != nil; got != tt.holds {
			t.Errorf("after %s it holds: %v, want %v", tt.after, got, tt.holds)
		}
	}
}

func TestSilenceNeverHoldsCriticalUnlessToldSo(t *testing.T) {
	one := moving(t)
	critical := backOff("shop")
	critical.Severity = notify.Critical
	if one.Covers(critical) {
		t.Error("it covers a critical incident")
	}
	one.Critical = true
	if !one.Covers(critical) {
		t.Error("it does not cover a critical incident though it was told to")
	}
	critical.Incident.Own = true
	if one.Covers(critical) {
		t.Error("it covers what the agent tells of itself")
	}
}

func TestSilenceThatMeansTooMuchOrNothingIsRefused(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "spool.db"))
	for want, change := range map[string]func(*silence.Silence){
		"no matchers specified":                  func(s *silence.Silence) { s.Matchers = nil },
		"at least one matcher must not match":    func(s *silence.Silence) { s.Matchers = matchers(t, `reason!="x"`) },
		"must have at most 16 matchers, not 17":  func(s *silence.Silence) { s.Matchers = matchers(t, strings.Repeat("kind=Pod,", 17)) },
		"cannot end before it starts":            func(s *silence.Silence) { s.StartsAt = s.EndsAt.Add(time.Second) },
		"cannot end in the past":                 func(s *silence.Silence) { s.StartsAt, s.EndsAt = noon.Add(-2*time.Hour), noon.Add(-time.Hour) },
		"comment required":                       func(s *silence.Silence) { s.Comment = " " },
		"the comment must be one line of text":   func(s *silence.Silence) { s.Comment = "a\nb" },
		"the comment must be at most 1024 bytes": func(s *silence.Silence) { s.Comment = strings.Repeat("a", 1025) },
		"the creator must be one line of text":   func(s *silence.Silence) { s.CreatedBy = "\x1b[31m" },
		"must end by the year 9999":              func(s *silence.Silence) { s.EndsAt = noon.AddDate(8000, 0, 0) },
		"bytes, more than 4096": func(s *silence.Silence) {
			s.Matchers = matchers(t, strings.Repeat("name=~"+strings.Repeat("a", 400)+",", 12))
		},
	} {
		one := moving(t)
		change(one)
		if err := add(t, s, one, noon); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	if n := len(load(t, s).All()); n != 0 {
		t.Errorf("%d were stored all the same", n)
	}
}

// 200 silences fit, whatever else the spool's values hold; those that are over make room first.
func TestSilencesAreBounded(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "spool.db"))
	err := s.Update(func(tx *spool.Tx) error {
		for i := range 200 {
			one := moving(t)
			one.EndsAt = one.EndsAt.Add(time.Duration(i) * time.Second)
			if err := silence.Add(tx, one, noon); err != nil {
				return fmt.Errorf("silence %d: %w", i, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := add(t, s, moving(t), noon); !errors.Is(err, silence.ErrFull) {
		t.Errorf("silence 201: %v", err)
	}
	first := load(t, s).All()[0]
	late := moving(t)
	late.EndsAt = noon.Add(24 * time.Hour)
	if err := add(t, s, late, first.EndsAt); err != nil {
		t.Errorf("one that is over makes no room: %v", err)
	}
	if all := load(t, s).All(); len(all) != 200 || all[0].ID == first.ID {
		t.Errorf("%d silences, the first is %s", len(all), all[0].ID)
	}
	last := moving(t)
	last.StartsAt, last.EndsAt = noon.Add(1000*time.Hour), noon.Add(1001*time.Hour)
	if err := add(t, s, last, noon.Add(200*time.Hour)); err != nil {
		t.Fatal(err)
	}
	if n := len(load(t, s).All()); n != 1 {
		t.Errorf("%d silences are kept for more than 120 hours", n-1)
	}
}

func TestExpireTakesTheBeginningOfAnID(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "spool.db"))
	active, pending := moving(t), moving(t)
	pending.StartsAt = noon.Add(time.Hour)
	for _, one := range []*silence.Silence{active, pending} {
		if err := add(t, s, one, noon); err != nil {
			t.Fatal(err)
		}
	}
	expire := func(id string, now time.Time) error {
		return s.Update(func(tx *spool.Tx) error {
			_, err := silence.Expire(tx, id, now)
			return err
		})
	}
	if err := expire("zzzz", noon); !errors.Is(err, silence.ErrNotFound) {
		t.Errorf("an unknown id: %v", err)
	}
	if err := expire(active.ID[:3], noon); !errors.Is(err, silence.ErrNotFound) {
		t.Errorf("three characters: %v", err)
	}
	soon := noon.Add(time.Minute)
	if err := errors.Join(expire(active.ID[:13], soon), expire(pending.ID, soon), expire(active.ID, soon.Add(time.Minute))); err != nil {
		t.Fatal(err)
	}
	for _, one := range load(t, s).All() {
		if one.State(soon) != silence.Expired || !one.EndsAt.Equal(soon) || one.StartsAt.After(one.EndsAt) {
			t.Errorf("%s runs from %s to %s and is %s", one.Short(), one.StartsAt, one.EndsAt, one.State(soon))
		}
	}
}

func TestEndOfASilenceSaysWhatItHeld(t *testing.T) {
	one := moving(t)
	one.ID = "b3ede22e-ca14-4aa0-932c-ca2f3445f926"
	one.Critical = true
	var tally silence.Tally
	for i := range 14 {
		held := backOff("shop")
		held.Incident.Last = noon.Add(time.Duration(i) * time.Minute)
		tally.Add(held)
	}
	worst := backOff("kiosk")
	worst.Incident.Event.Reason, worst.Severity = "OOMKilling", notify.Critical
	tally.Add(worst)
	tally.StillOn = 2
	for language, want := range map[string]string{
		"en": `The silence b3ede22e is over (reason="BackOff" namespace=~"shop|kiosk"; moving). It held back 15 incidents with 105 events, ` +
			`the worst: critical OOMKilling of kiosk web. 2 of them still go on and are told on their own.`,
		"zh": `静默 b3ede22e 已结束（reason="BackOff" namespace=~"shop|kiosk"；moving）。期间压住了 15 个故障、105 个事件，` +
			`最严重的是 critical：OOMKilling（kiosk web）。其中 2 个仍在继续，另行通知。`,
	} {
		if diff := cmp.Diff(want, one.Ended(&tally, language)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
	single := silence.Tally{}
	held := backOff("shop")
	held.Incident.Told = 9
	single.Add(held)
	if text := one.Ended(&single, "en"); !strings.Contains(text, "1 incident with 1 event,") || strings.Contains(text, "still") {
		t.Errorf("one of one: %s", text)
	}
}

func TestSilenceThatCannotBeReadHoldsNothingAndNoOtherBack(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "spool.db"))
	one := moving(t)
	err := s.Update(func(tx *spool.Tx) error {
		for i, text := range []string{`{}x`, `{"matchers":[{"name":"colour","value":"red"}],"startsAt":"2026-11-25T12:00:00Z","endsAt":"2027-11-25T12:00:00Z"}`} {
			if err := tx.SetValue(fmt.Sprintf("silence/%036d", i), []byte(text)); err != nil {
				return err
			}
		}
		return silence.Add(tx, one, noon)
	})
	if err != nil {
		t.Fatal(err)
	}
	var set silence.Set
	err = s.View(func(tx *spool.Tx) error { return set.Load(tx) })
	if err == nil || strings.Count(err.Error(), "decode silence/") != 2 {
		t.Errorf("the error is %v", err)
	}
	if held := holding(&set, backOff("shop"), noon); held == nil || held.ID != one.ID {
		t.Error("what can be read holds nothing")
	}
}
