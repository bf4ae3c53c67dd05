package timeinterval_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/edge-eventer/edge-eventer/agent/timeinterval"
)

func TestEveryMistakeIsNamedWithItsPath(t *testing.T) {
	_, err := timeinterval.New([]timeinterval.Spec{
		{Times: []timeinterval.TimeRange{{Start: "22:00", End: "06:00"}, {Start: "7:00", End: "08:00"}, {Start: "07:00"}}},
		{Weekdays: []string{"saturday:monday", "weekend"}, DaysOfMonth: []string{"0", "-1:1"}, Months: []string{"13"}},
		{Years: []string{"2026:2025"}, Location: "Mars/Base", Weekdays: []string{}},
		{Months: make([]string, 65)},
	})
	mistakes, ok := errors.AsType[timeinterval.Mistakes](err)
	if !ok {
		t.Fatalf("got %v, want the mistakes", err)
	}
	var paths []string
	for _, m := range mistakes {
		paths = append(paths, m.Path)
	}
	want := []string{
		"[0].times[0]", "[0].times[1].start_time", "[0].times[2].end_time",
		"[1].weekdays[0]", "[1].weekdays[1]", "[1].days_of_month[0]", "[1].days_of_month[1]", "[1].months[0]",
		"[2].weekdays", "[2].years[0]", "[2].location",
		"[3].months",
	}
	if diff := cmp.Diff(want, paths); diff != "" {
		t.Errorf("paths (-want +got):\n%s", diff)
	}
	if !strings.Contains(err.Error(), `[0].times[0]: the start must lie before the end; a night is two ranges`) {
		t.Errorf("the error does not say what to write: %v", err)
	}
}

func TestAnIntervalHasOneToThirtyTwoEntries(t *testing.T) {
	for _, n := range []int{0, 33, 100_000} {
		if _, err := timeinterval.New(make([]timeinterval.Spec, n)); err == nil {
			t.Errorf("%d entries are taken", n)
		}
	}
}

func BenchmarkNext(b *testing.B) {
	night, err := timeinterval.New([]timeinterval.Spec{{
		Times:    []timeinterval.TimeRange{{Start: "22:00", End: "24:00"}, {Start: "00:00", End: "06:00"}},
		Location: "Europe/Berlin",
	}})
	if err != nil {
		b.Fatal(err)
	}
	at := time.Date(2026, 3, 28, 12, 0, 0, 0, time.UTC)
	for b.Loop() {
		night.Next(at)
	}
}
