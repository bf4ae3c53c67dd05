package page

import (
	"encoding/json"
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/edge-eventer/edge-eventer/internal/seed"
)

// day returns the samples of 24 hours of a busy agent, with counters that begin again in the middle of it.
func day(random *rand.Rand) *History {
	h := new(History)
	now := time.Unix(1_790_000_000, 0)
	s := Sample{Watch: "up", Link: "up"}
	for i := range maxSamples {
		s.At = now.Add(time.Duration(i-maxSamples) * Step)
		s.Warning, s.Critical, s.Bytes = s.Warning+random.Uint64N(500), s.Critical+random.Uint64N(10), s.Bytes+random.Int64N(50_000)
		s.Untold, s.Link = random.Uint64N(2000), []string{"up", "down", "unknown"}[i%3]
		if i == maxSamples/2 {
			s.Warning, s.Critical, s.Bytes, s.Watch = 0, 0, 0, "down"
		}
		h.Add(s)
	}
	return h
}

func TestHistoryOfADayComesBack(t *testing.T) {
	before := day(seed.New(t))
	data := before.Save(4 << 10)
	t.Logf("a busy day takes %d bytes", len(data))
	after := new(History)
	after.Add(Sample{At: time.Unix(1_790_000_100, 0)})
	if err := after.Load(data); err != nil {
		t.Fatal(err)
	}
	want, got := before.Samples(), after.Samples()
	if len(got) != maxSamples || got[len(got)-1].At.Unix() != 1_790_000_100 {
		t.Fatalf("%d samples, the last of %s", len(got), got[len(got)-1].At)
	}
	for i := range want[1:] {
		if !want[i+1].At.Equal(got[i].At) {
			t.Fatalf("sample %d is of %s, want %s", i, got[i].At, want[i+1].At)
		}
		got[i].At = want[i+1].At
		if want[i+1] != got[i] {
			t.Errorf("sample %d: %+v, want %+v", i, got[i], want[i+1])
		}
	}
}

func TestHistoryThatNeedsTooMuchForgetsItsOldest(t *testing.T) {
	before := day(seed.New(t))
	data := before.Save(1000)
	after := new(History)
	if err := after.Load(data); err != nil {
		t.Fatal(err)
	}
	want, got := before.Samples(), after.Samples()
	if len(data) > 1000 || len(got) < 60 || !got[len(got)-1].At.Equal(want[len(want)-1].At) {
		t.Errorf("%d bytes hold %d samples up to %s", len(data), len(got), got[len(got)-1].At)
	}
}

func TestDamagedHistoryIsRefusedWhole(t *testing.T) {
	random := seed.New(t)
	data := day(random).Save(4 << 10)
	for range 2000 {
		damaged := append([]byte(nil), data[:random.IntN(len(data))]...)
		if len(damaged) > 0 {
			damaged[random.IntN(len(damaged))] ^= byte(1 + random.IntN(255))
		}
		h := new(History)
		err := h.Load(damaged)
		if n := len(h.Samples()); err != nil && (n != 0 || !errors.Is(err, errHistory)) || n > maxSamples {
			t.Fatalf("%d samples of a damaged history, and the error %v", n, err)
		}
	}
}

func BenchmarkSaveHistory(b *testing.B) {
	h := day(seed.New(b))
	b.ReportAllocs()
	for b.Loop() {
		h.Save(4 << 10)
	}
}

// FuzzLoadHistory: whatever is stored, loading it neither panics nor keeps more than a day, and what was loaded can be stored.
func FuzzLoadHistory(f *testing.F) {
	f.Add(day(seed.New(f)).Save(4 << 10))
	f.Add([]byte{version, 1, 2, 3, 4, 5, 0x21})
	f.Fuzz(func(t *testing.T, data []byte) {
		h := new(History)
		if h.Load(data) != nil {
			return
		}
		if _, err := json.Marshal(h.Samples()); err != nil {
			t.Error(err)
		}
		again := new(History)
		if err := again.Load(h.Save(4 << 10)); err != nil || len(h.Samples()) > maxSamples {
			t.Errorf("%d samples, stored again: %v", len(h.Samples()), err)
		}
	})
}
