package budget

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// clock is a wall clock that can jump.
type clock struct{ now time.Time }

func (c *clock) read() time.Time { return c.now }

func at(text string) time.Time {
	t, err := time.ParseInLocation("2006-01-02 15:04", text, zone)
	if err != nil {
		panic(err)
	}
	return t
}

// zone has dates of its own: 8 hours before UTC's.
var zone = time.FixedZone("Shanghai", 8*3600)

func start(t *testing.T, text string, daily, monthly int64) (*Budget, *clock) {
	t.Helper()
	c := &clock{now: at(text)}
	return New(Options{Daily: daily, Monthly: monthly, Location: zone, Now: c.read}), c
}

func totals(b *Budget) [2]uint64 {
	u := b.Used()
	return [2]uint64{u.Day.Total(), u.Month.Total()}
}

func want(t *testing.T, b *Budget, day, month uint64) {
	t.Helper()
	if diff := cmp.Diff([2]uint64{day, month}, totals(b)); diff != "" {
		t.Errorf("used by day and month (-want +got):\n%s", diff)
	}
}

func TestPeriodsEndByLocalDate(t *testing.T) {
	b, c := start(t, "2026-11-29 23:59", 0, 0)
	b.Add("ops", Count{In: 1, Out: 2})
	want(t, b, 3, 3)
	c.now = at("2026-11-30 00:00")
	want(t, b, 0, 3)
	b.Add("ops", Count{In: 10})
	// 16:00 UTC on the 30th is midnight in the zone.
	c.now = time.Date(2026, 11, 30, 15, 59, 59, 0, time.UTC)
	want(t, b, 10, 13)
	c.now = time.Date(2026, 11, 30, 16, 0, 0, 0, time.UTC)
	want(t, b, 0, 0)
}

func TestLevelsAndTheirNoticesComeOnceAPeriod(t *testing.T) {
	b, c := start(t, "2026-11-21 12:00", 1000, 10_000)
	step := func(add uint64, level Level, notices ...Notice) {
		t.Helper()
		b.Add("ops", Count{Out: add})
		if got := b.Level(); got != level {
			t.Errorf("level at %d is %v, want %v", b.Used().Day.Total(), got, level)
		}
		var got []Notice
		for n, ok := b.Notice(); ok; n, ok = b.Notice() {
			got = append(got, n)
			b.Noticed(n)
		}
		if diff := cmp.Diff(notices, got); diff != "" {
			t.Errorf("notices at %d (-want +got):\n%s", b.Used().Day.Total(), diff)
		}
	}
	midnight := at("2026-11-22 00:00")
	step(799, Free)
	step(1, Frugal, Notice{Period: Day, Level: Frugal, Used: 800, Limit: 1000, Ends: midnight})
	step(100, Frugal)
	step(99, Frugal)
	step(1, CriticalOnly, Notice{Period: Day, Level: CriticalOnly, Used: 1000, Limit: 1000, Ends: midnight})
	// A restart tells none again.
	again := New(b.options)
	if err := again.Load(b.Save()); err != nil {
		t.Fatal(err)
	}
	b = again
	step(1, CriticalOnly)
	c.now = midnight
	step(0, Free)
	step(7000, CriticalOnly,
		Notice{Period: Month, Level: Frugal, Used: 8001, Limit: 10_000, Ends: at("2026-12-01 00:00")},
		Notice{Period: Day, Level: CriticalOnly, Used: 7000, Limit: 1000, Ends: at("2026-11-23 00:00")})
	c.now = at("2026-11-30 23:59")
	step(1, Frugal)
	c.now = at("2026-12-01 00:00")
	step(1, Free)
}

func TestWithoutBudgetNothingIsRestricted(t *testing.T) {
	b, _ := start(t, "2026-11-21 12:00", 0, 0)
	b.Add("ops", Count{In: math.MaxUint64, Out: math.MaxUint64})
	if _, ok := b.Notice(); ok || b.Level() != Free {
		t.Error("a level without a budget")
	}
	b.Add("ops", Count{In: 1, Out: 1})
	if b.Used().Day.Total() != math.MaxUint64 {
		t.Error("a counter began again at 0")
	}
}

func TestClockJumps(t *testing.T) {
	t.Run("back over midnight does not empty twice", func(t *testing.T) {
		b, c := start(t, "2026-10-31 23:58", 0, 0)
		b.Add("ops", Count{In: 100})
		c.now = at("2026-11-01 00:01")
		want(t, b, 0, 0)
		b.Add("ops", Count{In: 7})
		c.now = at("2026-10-31 23:59")
		b.Add("ops", Count{In: 1})
		want(t, b, 8, 8)
		c.now = at("2026-11-01 00:00")
		want(t, b, 8, 8)
	})
	t.Run("a start in the past does not empty", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b, c := start(t, "2026-11-21 12:00", 0, 0)
			b.Add("ops", Count{In: 100})
			blob := b.Save()
			c.now = at("1970-01-01 08:00")
			b = New(b.options)
			if err := b.Load(blob); err != nil {
				t.Fatal(err)
			}
			want(t, b, 100, 100)
			// Also not if it lasts for days, in which the earlier date is taken over.
			for range 6 {
				<-time.After(12 * time.Hour)
				c.now = c.now.Add(12 * time.Hour)
				b.Add("ops", Count{In: 1})
			}
			if b.state.day.year() != 1970 {
				t.Errorf("counts under %d after 3 days", b.state.day)
			}
			if got := b.Used().Month.Total(); got != 106 {
				t.Errorf("used in the month: %d, want 106", got)
			}
			c.now = at("2026-11-24 12:00")
			want(t, b, 0, 106)
			c.now = at("2026-12-01 12:00")
			want(t, b, 0, 0)
		})
	})
	t.Run("a far future does not stop the counters for years", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b, c := start(t, "2036-05-05 12:00", 0, 0)
			b.Add("ops", Count{In: 100})
			c.now = at("2026-11-21 12:00")
			want(t, b, 100, 100)
			<-time.After(25 * time.Hour)
			c.now = at("2026-11-22 13:00")
			want(t, b, 100, 100)
			c.now = at("2026-11-23 13:00")
			want(t, b, 0, 100)
			c.now = at("2026-12-01 13:00")
			want(t, b, 0, 0)
		})
	})
}

func TestForecastFollowsTheMonthSoFar(t *testing.T) {
	b, c := start(t, "2026-11-01 00:00", 0, 0)
	b.Add("ops", Count{In: 1000})
	c.now = at("2026-11-01 23:00")
	if used, ok := b.Forecast(); ok {
		t.Errorf("a forecast of %d after 23 hours", used)
	}
	c.now = at("2026-11-04 00:00")
	if used, ok := b.Forecast(); !ok || used != 10_000 {
		t.Errorf("forecast %d, %v; want 10,000: 1,000 in 3 of 30 days", used, ok)
	}
	// Counting that began in mid-month is no quiet first half.
	b, c = start(t, "2026-11-16 00:00", 0, 5000)
	b.Add("ops", Count{In: 1000})
	c.now = at("2026-11-21 00:00")
	if used, ok := b.Forecast(); !ok || used != 3000 {
		t.Errorf("forecast %d, %v; want 3,000: 1,000 in 5 of 15 days", used, ok)
	}
}

func TestStateIsBoundedAndComesBack(t *testing.T) {
	b, _ := start(t, "2026-11-21 12:00", 0, 0)
	for i := range 2 * maxReceivers {
		name := strings.Repeat("r", 62) + string(rune('A'+i)) + "beyond the bound"
		b.Add(name, Count{In: math.MaxUint64 - uint64(i), Out: math.MaxUint64})
	}
	if !b.Dirty() {
		t.Error("counted, and not dirty")
	}
	blob := b.Save()
	if len(blob) > maxState || b.Dirty() {
		t.Errorf("the state has %d bytes (at most %d), dirty: %v", len(blob), maxState, b.Dirty())
	}
	again := New(b.options)
	if err := again.Load(blob); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(b.Receivers(), again.Receivers()); diff != "" || len(again.Receivers()) != maxReceivers {
		t.Errorf("%d receivers came back (-want +got):\n%s", len(again.Receivers()), diff)
	}
	if !bytes.Equal(again.Save(), blob) {
		t.Error("a second Save differs")
	}
}

func TestDamagedStateIsRefused(t *testing.T) {
	b, _ := start(t, "2026-11-21 12:00", 0, 0)
	b.Add("ops", Count{In: 5, Out: 6})
	blob := b.Save()
	for i := range blob {
		bad := bytes.Clone(blob)
		bad[i] ^= 0x10
		if err := New(b.options).Load(bad); !errors.Is(err, ErrState) {
			t.Errorf("byte %d flipped: %v, want ErrState", i, err)
		}
		if i > 0 {
			if err := New(b.options).Load(blob[:i]); !errors.Is(err, ErrState) {
				t.Errorf("cut to %d bytes: %v, want ErrState", i, err)
			}
		}
	}
	if err := New(b.options).Load(nil); err != nil {
		t.Errorf("the first start: %v", err)
	}
}

// withSum gives a body the checksum that lets it through to the decoder.
func withSum(blob []byte) []byte {
	if len(blob) < 4 {
		return blob
	}
	body := blob[:len(blob)-4]
	return binary.BigEndian.AppendUint32(append([]byte{}, body...), crc32.ChecksumIEEE(body))
}

func FuzzLoad(f *testing.F) {
	b := New(Options{Location: zone})
	b.Add("ops", Count{In: 5, Out: 6})
	f.Add(b.Save())
	f.Fuzz(func(t *testing.T, blob []byte) {
		b := New(Options{Location: zone})
		if b.Load(withSum(blob)) != nil {
			return
		}
		b.Add("ops", Count{In: 1})
		b.Level()
		b.Notice()
		b.Forecast()
		if out := b.Save(); len(out) > maxState || New(b.options).Load(out) != nil {
			t.Errorf("a state that was loaded does not come back: %x", out)
		}
	})
}
