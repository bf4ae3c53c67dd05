package spool

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The age of a record is not the difference of two readings of the wall clock, which on a board without a battery begins in 1970 and
// is set when the network comes. The spool has a clock of its own that nobody can set: it advances with the monotonic clock while
// the spool is open, by the difference of two uptimes while it is closed within one boot of the machine, and not at all over a
// reboot, of which nobody can tell how long it took. A record's place in line says when it arrived: the table of milestones knows
// for up to 80 readings of that clock which number had been given out by then.

const (
	// agePart is the part of MaxAge that lies between two milestones.
	agePart = 64
	// maxMilestones bounds the table: those of MaxAge, and some for a MaxAge that becomes shorter.
	maxMilestones = agePart + 16
)

// milestonesKey returns where the table lies: among the values, under a name that no caller can give, so that older releases keep it.
func milestonesKey() []byte { return []byte{kindValue, 0, 'a', 'g', 'e'} }

// milestone says that everything up to a number had arrived at a time of the spool's own clock.
type milestone struct {
	// age is in milliseconds, count as in orderOf.
	age   int64
	count uint64
}

// clock is the spool's own. Spool.writer guards it. It shows 0 until startClock, while Open makes a file fit.
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

// startClock sets the clock by what the last commit of the file says. A file of an older release says nothing.
func (s *Spool) startClock() error {
	boot, uptime := s.options.Boot()
	c := clock{began: 1, at: s.options.Monotonic().Milliseconds(), uptime: uptime.Milliseconds()}
	if id, err := hex.DecodeString(strings.ReplaceAll(boot, "-", "")); err == nil {
		copy(c.boot[:], id)
	}
	err := s.view(func(tx *Tx) error {
		t := tx.loadTotals()
		c.began = max(c.began, t.age)
		if table := tx.milestones(); len(table) > 0 {
			c.began = max(c.began, table[len(table)-1].age)
		}
		if c.boot != [16]byte{} && t.boot == c.boot {
			c.began += max(0, c.uptime-t.uptime)
		}
		return tx.err
	})
	s.clock = c
	return err
}

// bootAndUptime asks Linux. Both also count for containers. Where there is no answer, no time passes while the spool is closed.
func bootAndUptime() (boot string, uptime time.Duration) {
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

// stamp notes in t what the clock shows.
func (c *clock) stamp(t *totals, monotonic time.Duration) {
	t.age = c.read(monotonic)
	t.uptime, t.boot = c.uptime+t.age-c.began, c.boot
}

func (tx *Tx) milestones() []milestone {
	payload, ok := tx.payload(milestonesKey())
	if !ok {
		return nil
	}
	table := make([]milestone, 0, maxMilestones+1)
	for ; len(payload) >= 16 && len(table) < maxMilestones; payload = payload[16:] {
		table = append(table, milestone{int64(binary.BigEndian.Uint64(payload)), binary.BigEndian.Uint64(payload[8:])})
	}
	if len(payload) > 0 {
		tx.damaged(fmt.Errorf("%w: table of milestones", errMalformed))
		return nil
	}
	return table
}

// passMilestone notes up to which number records had arrived when the last commit was made, and returns the table. before is the
// state of that commit.
func (tx *Tx) passMilestone(before totals, now int64) ([]milestone, error) {
	table, age := tx.milestones(), tx.spool.options.MaxAge.Milliseconds()
	// A file of an older release has no time of its last commit; what is in it begins to age now.
	passed, count := before.age, orderOf(before.nextSeq)
	if passed == 0 {
		passed = now
	}
	if count == 0 {
		return table, tx.err
	}
	if len(table) > 0 {
		last := table[len(table)-1]
		// After a pause the state before it is noted at once: a later milestone would make it as young as itself.
		if count <= last.count || max(passed-last.age, now-passed) < age/agePart {
			return table, tx.err
		}
	}
	table = append(table, milestone{passed, count})
	if old := lastAt(table, now-age); old > 0 {
		table = table[old:]
	}
	if len(table) > maxMilestones {
		// Every other one goes: what it stood for counts as younger from now on.
		kept := table[:0]
		for i := range table {
			if i%2 == 0 || i == len(table)-1 {
				kept = append(kept, table[i])
			}
		}
		table = kept
	}
	var payload []byte
	for _, m := range table {
		payload = binary.BigEndian.AppendUint64(payload, uint64(m.age))
		payload = binary.BigEndian.AppendUint64(payload, m.count)
	}
	return table, tx.putChanged(milestonesKey(), payload)
}

// lastAt returns the index of the last milestone at or before the time, -1 if there is none.
func lastAt(table []milestone, age int64) int {
	i, exact := slices.BinarySearchFunc(table, age, func(m milestone, age int64) int {
		switch {
		case m.age < age:
			return -1
		case m.age > age:
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
func arrivedBy(table []milestone, age int64) uint64 {
	if i := lastAt(table, age); i >= 0 {
		return table[i].count
	}
	return 0
}
