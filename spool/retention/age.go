package retention

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/edge-eventer/edge-eventer/spool/format"
	"github.com/edge-eventer/edge-eventer/spool/txn"
)

// The age of a record is not the difference of two readings of the wall clock, which on a board without a battery begins in 1970 and
// is set when the network comes. The spool has a clock of its own that nobody can set: it advances with the monotonic clock while
// the spool is open, by the difference of two uptimes while it is closed within one boot of the machine, and not at all over a
// reboot, of which nobody can tell how long it took. A record's place in line says when it arrived: the table of milestones knows
// for up to 80 readings of that clock which number had been given out by then.

const (
	// AgePart is the part of MaxAge that lies between two milestones.
	AgePart = 64
	// MaxMilestones bounds the table: those of MaxAge, and some for a MaxAge that becomes shorter.
	MaxMilestones = AgePart + 16
)

// milestonesKey returns where the table lies: among the values, under a name that no caller can give, so that older releases keep it.
func milestonesKey() []byte { return format.Plain(format.KindValue, "\x00age") }

// Milestone says that everything up to a number had arrived at a time of the spool's own clock.
type Milestone struct {
	// Age is in milliseconds, count as in orderOf.
	Age   int64
	Count uint64
}

// clock is the spool's own. It shows 0 until startClock, while Open makes a file fit.
type clock struct {
	// began is what it showed, in milliseconds, when the monotonic clock showed at and the machine had been up for uptime.
	began, at, uptime int64
	// boot names that boot of the machine.
	boot [16]byte
}

// read returns what the clock shows, at least 1.
func (c *clock) read(monotonic time.Duration) int64 {
	return c.began + max(0, monotonic.Milliseconds()-c.at)
}

// StartClock sets the clock by what the last commit of the file says. A file of an older release says nothing. boot and uptime are what
// the machine says of itself.
func (r *Policy) StartClock(tx *txn.Txn, boot string, uptime time.Duration) error {
	c := clock{began: 1, at: r.Monotonic().Milliseconds(), uptime: uptime.Milliseconds()}
	if id, err := hex.DecodeString(strings.ReplaceAll(boot, "-", "")); err == nil {
		copy(c.boot[:], id)
	}
	t := tx.LoadTotals()
	c.began = max(c.began, t.Age)
	if table := MilestonesOf(tx); len(table) > 0 {
		c.began = max(c.began, table[len(table)-1].Age)
	}
	if c.boot != [16]byte{} && t.Boot == c.boot {
		c.began += max(0, c.uptime-t.Uptime)
	}
	r.clock = c
	return tx.Err
}

// BootAndUptime asks Linux. Both also count for containers. Where there is no answer, no time passes while the spool is closed.
func BootAndUptime() (boot string, uptime time.Duration) {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", 0
	}
	text, err := os.ReadFile("/proc/uptime")
	if err != nil {
		return "", 0
	}
	first, _, _ := strings.Cut(string(text), " ")
	seconds, err := strconv.ParseFloat(first, 64)
	if err != nil {
		return "", 0
	}
	return strings.TrimSpace(string(id)), time.Duration(seconds * float64(time.Second))
}

// Stamp notes in t what the clock shows, if it runs.
func (r *Policy) Stamp(t *format.Totals) {
	if c := &r.clock; c.began > 0 {
		t.Age = c.read(r.Monotonic())
		t.Uptime, t.Boot = c.uptime+t.Age-c.began, c.boot
	}
}

// MilestonesOf returns the table of milestones, the oldest first.
func MilestonesOf(tx *txn.Txn) []Milestone {
	payload, ok := tx.Payload(milestonesKey())
	if !ok {
		return nil
	}
	table := make([]Milestone, 0, MaxMilestones+1)
	for ; len(payload) >= 16 && len(table) < MaxMilestones; payload = payload[16:] {
		table = append(table, Milestone{int64(binary.BigEndian.Uint64(payload)), binary.BigEndian.Uint64(payload[8:])})
	}
	if len(payload) > 0 {
		tx.IsDamaged(fmt.Errorf("%w: table of milestones", format.ErrMalformed))
		return nil
	}
	return table
}

// passMilestone notes up to which number records had arrived when the last commit was made, and returns the table.
func (r *Policy) passMilestone(tx *txn.Txn, now int64) ([]Milestone, error) {
	before := tx.Before
	table, age := MilestonesOf(tx), r.MaxAge.Milliseconds()
	// A file of an older release has no time of its last commit; what is in it begins to age now.
	passed, count := before.Age, format.OrderOf(before.NextSeq)
	if passed == 0 {
		passed = now
	}
	if count == 0 {
		return table, tx.Err
	}
	if len(table) > 0 {
		last := table[len(table)-1]
		// After a pause the state before it is noted at once: a later milestone would make it as young as itself.
		if count <= last.Count || max(passed-last.Age, now-passed) < age/AgePart {
			return table, tx.Err
		}
	}
	table = append(table, Milestone{passed, count})
	if old := lastAt(table, now-age); old > 0 {
		table = table[old:]
	}
	if len(table) > MaxMilestones {
		table = thinned(table)
	}
	var payload []byte
	for _, m := range table {
		payload = binary.BigEndian.AppendUint64(payload, uint64(m.Age))
		payload = binary.BigEndian.AppendUint64(payload, m.Count)
	}
	return table, tx.PutChanged(milestonesKey(), payload)
}

// thinned leaves out every other milestone: what it stood for counts as younger from now on.
func thinned(table []Milestone) []Milestone {
	kept := table[:0]
	for i := range table {
		if i%2 == 0 || i == len(table)-1 {
			kept = append(kept, table[i])
		}
	}
	return kept
}

// lastAt returns the index of the last milestone at or before the time, -1 if there is none.
func lastAt(table []Milestone, age int64) int {
	i, exact := slices.BinarySearchFunc(table, age, func(m Milestone, age int64) int {
		switch {
		case m.Age < age:
			return -1
		case m.Age > age:
			return 1
		}
		return 0
	})
	if exact {
		return i
	}
	return i - 1
}

// arrivedBy returns up to which number everything had arrived at the time, 0 where that is not known.
func arrivedBy(table []Milestone, age int64) uint64 {
	if i := lastAt(table, age); i >= 0 {
		return table[i].Count
	}
	return 0
}
