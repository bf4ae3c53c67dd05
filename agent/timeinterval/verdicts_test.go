package timeinterval_test

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"
	_ "time/tzdata" // The zones are known on every machine.

	theirs "github.com/prometheus/alertmanager/timeinterval"
	yaml3 "go.yaml.in/yaml/v3"
	yaml2 "gopkg.in/yaml.v2"

	"github.com/edge-eventer/edge-eventer/agent/timeinterval"
	"github.com/edge-eventer/edge-eventer/internal/seed"
)

// zones have each kind of clock change: none, an hour, half an hour, a day that is left out, at midnight.
var zones = []string{"", "Asia/Shanghai", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia", "Africa/Cairo"}

// TestVerdictsAgreeWithAlertmanager draws intervals, right ones and wrong ones, and instants, half of them within two hours of a
// change of the zone's clock or of a month. EDGE_EVENTER_SEED explores others than those of CI.
func TestVerdictsAgreeWithAlertmanager(t *testing.T) {
	r := seed.New(t)
	taken, refused, inside, compared := 0, 0, 0, 0
	for taken < 1000 {
		text := draw(r)
		interval, their, ok := both(t, text)
		if !ok {
			refused++
			continue
		}
		taken++
		for range 20 {
			at := instant(r)
			want := their.ContainsTime(at.UTC())
			if got := interval.Contains(at); got != want {
				t.Fatalf("%s\nat %s: Alertmanager %v, edge-eventer %v", text, at.Format(time.RFC3339), want, got)
			}
			compared++
			if want {
				inside++
			}
		}
	}
	t.Logf("%d intervals agreed at %d instants, %d of them inside; %d wrong ones refused by both", taken, compared, inside, refused)
	if refused < 100 || inside < 1000 || compared-inside < 1000 {
		t.Error("the draw is one-sided and proves little")
	}
}

// TestNextIsWhereTheVerdictOfAlertmanagerChanges asks Alertmanager for each minute up to the change that Next foretells, of at most two
// days: delivery sleeps until then.
func TestNextIsWhereTheVerdictOfAlertmanagerChanges(t *testing.T) {
	const look = 2 * 24 * time.Hour
	r := seed.New(t)
	changes, none := 0, 0
	for changes < 200 || none < 20 {
		text := draw(r)
		interval, their, ok := both(t, text)
		if !ok {
			continue
		}
		from := instant(r).Truncate(time.Second)
		now := their.ContainsTime(from.UTC())
		next, ok := interval.Next(from)
		end := from.Add(look)
		switch {
		case !ok:
			none++
		case next.Before(end):
			changes++
			end = next
			if their.ContainsTime(next.UTC()) == now {
				t.Fatalf("%s\nafter %s: nothing changes at %s", text, from.Format(time.RFC3339), next.Format(time.RFC3339))
			}
		}
		for at := from; at.Before(end); at = at.Add(time.Minute).Truncate(time.Minute) {
			if their.ContainsTime(at.UTC()) != now {
				t.Fatalf("%s\nafter %s: Next says %s, %v, but the verdict changes by %s", text, from.Format(time.RFC3339),
					next.Format(time.RFC3339), ok, at.Format(time.RFC3339))
			}
		}
	}
	t.Logf("%d changes, and %d times none for 400 days", changes, none)
}

// both reads a list of one entry with both packages. It reports false where they refuse it, which they must do together.
func both(t *testing.T, text string) (*timeinterval.Interval, *theirs.TimeInterval, bool) {
	t.Helper()
	var their []theirs.TimeInterval
	theirErr := yaml2.UnmarshalStrict([]byte(text), &their)
	var specs []timeinterval.Spec
	if err := yaml3.Unmarshal([]byte(text), &specs); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	interval, err := timeinterval.New(specs)
	if (theirErr == nil) != (err == nil) {
		t.Fatalf("%s\nAlertmanager: %v\nedge-eventer: %v", text, theirErr, err)
	}
	if err != nil {
		return nil, nil, false
	}
	return interval, &their[0], true
}

// instant lies between 2011 and 2031, half of the time close to where verdicts change.
func instant(r *rand.Rand) time.Time {
	at := time.Date(2011, 12, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(r.Int64N(int64(20 * 365 * 24 * time.Hour))))
	near := func() time.Duration { return time.Duration(r.Int64N(int64(4*time.Hour))) - 2*time.Hour }
	switch r.IntN(4) {
	case 0:
		return time.Date(at.Year(), at.Month(), 1, 0, 0, 0, 0, time.UTC).Add(near())
	case 1:
		location, err := time.LoadLocation(zones[r.IntN(len(zones))])
		if err != nil {
			panic(err)
		}
		_, end := at.In(location).ZoneBounds()
		if !end.IsZero() {
			return end.Add(near())
		}
	}
	return at
}

// draw writes a time_intervals list of one entry. One in five may hold a mistake somewhere.
func draw(r *rand.Rand) string {
	var b strings.Builder
	wrong := r.IntN(5) == 0
	b.WriteString("- location: " + strconv.Quote(zones[r.IntN(len(zones))]) + "\n")
	if r.IntN(2) == 0 {
		b.WriteString("  times:\n")
		for range 1 + r.IntN(2) {
			from, to := r.IntN(1440), 1+r.IntN(1440)
			if from >= to && !wrong {
				from, to = to-1, from+1
			}
			fmt.Fprintf(&b, "  - {start_time: \"%02d:%02d\", end_time: \"%02d:%02d\"}\n", from/60, from%60, to/60, to%60)
		}
	}
	list := func(key string, least, most int, write func(n int) string) {
		if r.IntN(3) != 0 {
			return
		}
		b.WriteString("  " + key + ":\n")
		for range 1 + r.IntN(2) {
			from, to := least+r.IntN(most-least+1), least+r.IntN(most-least+1)
			if from > to && !wrong {
				from, to = to, from
			}
			if r.IntN(3) == 0 {
				fmt.Fprintf(&b, "  - %q\n", write(from))
				continue
			}
			fmt.Fprintf(&b, "  - %q\n", write(from)+":"+write(to))
		}
	}
	list("weekdays", 0, 6, func(n int) string { return strings.ToLower(time.Weekday(n).String()) })
	list("months", 1, 12, func(n int) string {
		if r.IntN(2) == 0 {
			return strconv.Itoa(n)
		}
		return strings.ToLower(time.Month(n).String())
	})
	list("years", 2012, 2031, strconv.Itoa)
	days := func(n int) string {
		if n == 0 && !wrong {
			n = 1
		}
		return strconv.Itoa(n)
	}
	switch r.IntN(3) {
	case 0:
		list("days_of_month", 1, 31, days)
	case 1:
		list("days_of_month", -31, -1, days)
	default:
		list("days_of_month", -5, 31, days)
	}
	return b.String()
}
