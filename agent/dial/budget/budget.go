package budget

import (
	"cmp"
	"maps"
	"math"
	"math/bits"
	"slices"
	"strings"
	"sync"
	"time"
)

// maxReceivers bounds the accounts that are kept; the configuration allows as many. Those of receivers that are gone make room.
const maxReceivers = 32

// maxName bounds the bytes of a receiver's name in the stored state.
const maxName = 63

// Level says how much may be sent.
type Level int

// The levels.
const (
	// Free: less than 80 % is used, or there is no budget.
	Free Level = iota
	// Frugal: 80 % of a budget is used; everything becomes a digest, at most one an hour.
	Frugal
	// CriticalOnly: a budget is used up; only severity critical is sent, the rest waits on disk.
	CriticalOnly
)

// String returns free, frugal or critical-only.
func (l Level) String() string {
	switch l {
	case Frugal:
		return "frugal"
	case CriticalOnly:
		return "critical-only"
	default:
		return "free"
	}
}

// Period is what a budget is for.
type Period int

// The periods, by local date.
const (
	Day Period = iota
	Month
)

// String returns day or month.
func (p Period) String() string {
	if p == Month {
		return "month"
	}
	return "day"
}

// Options say what may be used.
type Options struct {
	// Daily and Monthly are budgets in bytes. Default: 0, none.
	Daily, Monthly int64
	// Location is the zone whose dates bound the periods. Default: time.Local.
	Location *time.Location
	// Now is the wall clock. Default: time.Now.
	Now func() time.Time
}

// Count is a number of bytes.
type Count struct {
	// In was received, Out was sent.
	In, Out uint64
}

// Total returns both ways together.
func (c Count) Total() uint64 { return add(c.In, c.Out) }

// add stops at the largest number instead of starting again at 0.
func add(a, b uint64) uint64 {
	sum, carry := bits.Add64(a, b, 0)
	if carry != 0 {
		return math.MaxUint64
	}
	return sum
}

// Usage is what was used in a day and a month.
type Usage struct {
	Day, Month Count
}

// Notice is the news that a budget came to a level.
type Notice struct {
	Period Period
	Level  Level
	// Used and Limit are bytes.
	Used, Limit int64
	// Ends is when the period ends, by the wall clock.
	Ends time.Time
}

// Budget counts. Its methods may be called from any goroutine.
type Budget struct {
	options Options
	limits  [2]int64
	// started and its monotonic reading measure how long the clock has been behind.
	started time.Time

	mu    sync.Mutex
	state state
	// behind is how long after started the clock was first seen before the stored day; negative: it is not.
	behind time.Duration
	dirty  bool
}

// New returns a Budget that has counted nothing. Load brings back what was stored.
func New(o Options) *Budget {
	if o.Location == nil {
		o.Location = time.Local
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	b := &Budget{options: o, limits: [2]int64{o.Daily, o.Monthly}, started: time.Now(), behind: -1}
	b.state.receivers = make(map[string]Usage)
	return b
}

// Add counts bytes in a receiver's account and in that of all. Of a name only the first 63 bytes are kept.
func (b *Budget) Add(receiver string, c Count) {
	if c.In == 0 && c.Out == 0 {
		return
	}
	if len(receiver) > maxName {
		receiver = strings.ToValidUTF8(receiver[:maxName], "")
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.roll()
	b.state.all = b.state.all.plus(c)
	if _, known := b.state.receivers[receiver]; !known && len(b.state.receivers) >= maxReceivers {
		// The one that used least in this month is most likely gone; the account of all keeps its bytes.
		least := slices.MinFunc(slices.Collect(maps.Keys(b.state.receivers)), func(x, y string) int {
			return cmp.Or(cmp.Compare(b.state.receivers[x].Month.Total(), b.state.receivers[y].Month.Total()), cmp.Compare(x, y))
		})
		delete(b.state.receivers, least)
	}
	b.state.receivers[receiver] = b.state.receivers[receiver].plus(c)
	b.dirty = true
}

func (u Usage) plus(c Count) Usage {
	u.Day = Count{In: add(u.Day.In, c.In), Out: add(u.Day.Out, c.Out)}
	u.Month = Count{In: add(u.Month.In, c.In), Out: add(u.Month.Out, c.Out)}
	return u
}

// Used returns what all receivers together used in the present day and month.
func (b *Budget) Used() Usage {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.roll()
	return b.state.all
}

// Receivers returns what each receiver used in the present day and month. Those that used nothing may be missing.
func (b *Budget) Receivers() map[string]Usage {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.roll()
	return maps.Clone(b.state.receivers)
}

// Limit returns the budget of a period in bytes; 0: none.
func (b *Budget) Limit(p Period) int64 { return b.limits[p] }

func (b *Budget) used(p Period) int64 {
	c := b.state.all.Day
	if p == Month {
		c = b.state.all.Month
	}
	return int64(min(c.Total(), math.MaxInt64))
}

// level returns the level of one budget.
func (b *Budget) level(p Period) Level {
	used, limit := b.used(p), b.limits[p]
	switch {
	case limit <= 0:
		return Free
	case used >= limit:
		return CriticalOnly
	// used*5 >= limit*4 without overflow.
	case limit-used <= limit/5:
		return Frugal
	}
	return Free
}

// Level returns the stricter level of both budgets.
func (b *Budget) Level() Level {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.roll()
	return max(b.level(Day), b.level(Month))
}

// Scarcest returns how the budget with the stricter level stands, that of the month where both are alike; false if neither is scarce.
// Without any budget it is the account of the month.
func (b *Budget) Scarcest() (n Notice, scarce bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.roll()
	p := Month
	if b.level(Day) > b.level(Month) || b.limits[Month] <= 0 && b.limits[Day] > 0 {
		p = Day
	}
	return Notice{Period: p, Level: b.level(p), Used: b.used(p), Limit: b.limits[p], Ends: b.ends(p)}, b.level(p) > Free
}

// SetLocation changes the zone whose dates bound the periods. A date that is later there empties the counters at once; one that is
// earlier does not: what is counted goes on under the date before until that has come.
func (b *Budget) SetLocation(l *time.Location) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.options.Location = l
	b.roll()
}

// ends returns the end of the stored period by the wall clock.
func (b *Budget) ends(p Period) time.Time {
	d := b.state.day
	if p == Month {
		return time.Date(d.year(), d.month()+1, 1, 0, 0, 0, 0, b.options.Location)
	}
	return time.Date(d.year(), d.month(), d.day()+1, 0, 0, 0, 0, b.options.Location)
}

// Notice returns news that was not told yet: the level of a budget is higher than the last that Noticed was called for in
// this period. A budget that goes past both levels at once gives the higher one only.
func (b *Budget) Notice() (n Notice, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.roll()
	for _, p := range []Period{Month, Day} {
		if level := b.level(p); level > b.state.noticed[p] {
			return Notice{Period: p, Level: level, Used: b.used(p), Limit: b.limits[p], Ends: b.ends(p)}, true
		}
	}
	return Notice{}, false
}

// Noticed takes note that n is told. Store Save's result in the transaction that stores the notice: then it is told once.
func (b *Budget) Noticed(n Notice) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.roll()
	b.state.noticed[n.Period] = max(b.state.noticed[n.Period], n.Level)
	b.dirty = true
}

// forecastAfter is how much of a month must be counted before it says something about the rest.
const forecastAfter = 24 * time.Hour

// Forecast returns how many bytes the month will have used at its end if it goes on as it went since its beginning, or
// since counting began if that was later. ok is false in the first 24 hours of that, when a single alert would be
// multiplied by 30.
func (b *Budget) Forecast() (used int64, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.roll()
	d := b.state.day
	begin := time.Date(d.year(), d.month(), 1, 0, 0, 0, 0, b.options.Location)
	if since := time.Unix(b.state.since, 0); since.After(begin) {
		begin = since
	}
	now, end := b.options.Now(), b.ends(Month)
	elapsed := now.Sub(begin)
	if elapsed < forecastAfter || now.After(end) {
		return 0, false
	}
	f := float64(b.used(Month)) * (float64(end.Sub(begin)) / float64(elapsed))
	return int64(min(f, math.MaxInt64/2)), true
}
