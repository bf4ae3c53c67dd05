package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// diary keeps a book as the soak does.
type diary struct {
	*book
	t    *testing.T
	next int
	w    *waiting
}

func newDiary(t *testing.T) *diary {
	causes := func() map[string]map[string]uint64 {
		return map[string]map[string]uint64{archive: {}, alerts: {}, chat: {}}
	}
	return &diary{book: newBook(), t: t, w: &waiting{
		events: make(map[string]int32), observations: make(map[string]uint64),
		lostRecords: causes(), lostEvents: causes(), untold: causes(),
	}}
}

// event makes one with count 1 in the last namespace, and returns its name.
func (d *diary) event(length int) string {
	d.t.Helper()
	d.next++
	name := fmt.Sprintf("soak-%07d", d.next)
	d.planned("soak-shop", name, "incident of "+name, length, false)
	<-time.After(time.Millisecond)
	d.made(name, "uid", "1", 1)
	return name
}

// tell lets both receivers confirm the event with its count.
func (d *diary) tell(name string, count int) {
	d.t.Helper()
	for _, receiver := range []string{archive, alerts} {
		var m message
		text := fmt.Sprintf(`{"incidents":[{"id":"%s-1-%d","occurrences":%[2]d,"event":{"metadata":{"name":"%[1]s"},"count":%[2]d}}]}`, name, count)
		if err := json.Unmarshal([]byte(text), &m); err != nil {
			d.t.Fatal(err)
		}
		d.answered(receiver, &m, "200", true)
	}
}

// evicted enters what the agent has counted and told as evicted in the end.
func (d *diary) evicted(n uint64) {
	for _, receiver := range []string{archive, alerts} {
		d.w.lostRecords[receiver]["evicted"] = n
		d.w.lostEvents[receiver]["evicted"] = n
		d.w.untold[receiver]["evicted"] = n
	}
}

// expect balances the book and wants so many findings, of which one holds the text.
func (d *diary) expect(n int, text string) {
	d.t.Helper()
	d.balance(d.w)
	all := strings.Join(d.findings, "\n")
	if len(d.findings) != n || !strings.Contains(all, text) {
		d.t.Errorf("%d findings, want %d with %q:\n%s", len(d.findings), n, text, all)
	}
}

func soakTest(t *testing.T, name string, f func(d *diary)) {
	t.Run(name, func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) { f(newDiary(t)) })
	})
}

func TestBookFindsWhatIsLost(t *testing.T) {
	soakTest(t, "told", func(d *diary) {
		d.tell(d.event(100), 1)
		d.expect(0, "")
	})
	soakTest(t, "waiting", func(d *diary) {
		name := d.event(100)
		d.w.events[name], d.w.observations["incident of "+name] = 1, 1
		d.expect(0, "")
	})
	soakTest(t, "lost", func(d *diary) {
		d.tell(d.event(100), 1)
		d.event(100)
		d.expect(2, "count 1 is lost")
	})
	soakTest(t, "seen again and not told", func(d *diary) {
		name := d.event(100)
		d.tell(name, 1)
		d.made(name, "uid", "2", 3)
		d.expect(2, "3 observations made, 1 told, 0 waiting: some are lost")
	})
	soakTest(t, "never made", func(d *diary) {
		d.tell(d.event(100), 2)
		d.expect(2, "count 2 was told and never made")
	})
	soakTest(t, "counted and not told", func(d *diary) {
		d.tell(d.event(100), 1)
		d.evicted(1)
		d.w.untold[archive]["evicted"] = 0
		d.expect(1, "archive: 1 events were counted as evicted, of which 0 were told")
	})
}

// A spool of 16 MiB that a storm does not fit into may lose of it what it counts, and nothing of what comes after.
func TestBookAllowsLossesInAFloodOnly(t *testing.T) {
	storm := func(d *diary) {
		for range 6000 {
			d.event(1200)
		}
		d.sampled(12<<20, 0)
	}
	soakTest(t, "counted", func(d *diary) {
		storm(d)
		d.sampled(12<<20, 6000)
		d.evicted(6000)
		d.expect(0, "")
	})
	soakTest(t, "too few counted", func(d *diary) {
		storm(d)
		d.sampled(12<<20, 5999)
		d.evicted(5999)
		d.expect(2, "archive: 6000 events are missing, 5999 were counted as lost")
	})
	soakTest(t, "after it", func(d *diary) {
		storm(d)
		d.tell(d.event(100), 1)
		d.sampled(7<<20, 12000)
		d.event(100)
		d.sampled(7<<20, 12000)
		d.evicted(6001)
		d.expect(1, "count 1 is lost")
	})
	soakTest(t, "evicted with next to nothing waiting", func(d *diary) {
		d.event(100)
		d.sampled(12<<20, 1)
		d.evicted(1)
		d.expect(2, "1 records were evicted while 1500 bytes waited")
	})
	soakTest(t, "the agent hears of it later", func(d *diary) {
		storm(d)
		<-time.After(time.Hour)
		d.sampled(0, 0)
		d.sampled(12<<20, 100)
		d.evicted(6000)
		d.expect(0, "")
	})
}

func TestBookAsksForACauseOfEachRepeat(t *testing.T) {
	soakTest(t, "none", func(d *diary) {
		name := d.event(100)
		d.tell(name, 1)
		<-time.After(time.Minute)
		d.tell(name, 1)
		d.expect(2, "nothing happened in between")
	})
	soakTest(t, "killed", func(d *diary) {
		name := d.event(100)
		d.tell(name, 1)
		end := d.begin("agent killed")
		end()
		<-time.After(time.Minute)
		d.tell(name, 1)
		d.expect(0, "")
	})
}

func TestBookNamesForDeletionOnlyWhatTheAgentHasHeardOf(t *testing.T) {
	soakTest(t, "", func(d *diary) {
		first := d.event(100)
		d.event(100)
		<-time.After(time.Hour)
		if old := d.old(time.Now(), 10); len(old) != 0 {
			d.t.Errorf("%d events, the agent has heard of none", len(old))
		}
		d.tell(d.event(100), 1)
		old := d.old(time.Now().Add(-time.Minute), 10)
		if len(old) != 2 || len(d.old(time.Now(), 10)) != 0 {
			d.t.Errorf("%d events, want %s and the next, once", len(old), first)
		}
	})
}
