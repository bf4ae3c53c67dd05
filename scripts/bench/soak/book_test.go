package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edge-eventer/edge-eventer/spool"
)

// diary keeps a book as the soak does.
type diary struct {
	*book
	t    *testing.T
	next int
	w    *waiting
}

func newDiary(t *testing.T) *diary {
	return &diary{book: newBook(usualBytes), t: t, w: newWaiting()}
}

// event makes one with count 1, and returns its name.
func (d *diary) event(length int) string { return d.eventIn("soak-shop", strings.Repeat("-", length)) }

func (d *diary) eventIn(namespace, text string) string {
	d.t.Helper()
	d.next++
	name := fmt.Sprintf("soak-%07d", d.next)
	d.planned(namespace, name, "incident of "+name, text)
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
func (d *diary) evicted(n uint64) { d.lose(spool.Evicted, n) }

func (d *diary) lose(cause string, n uint64) {
	for _, receiver := range []string{archive, alerts} {
		d.w.lost[receiver][cause] = loss{n, n}
		d.w.untold[receiver][cause] = loss{n, n}
		d.w.times[receiver][cause] = 1
	}
}

// asked enters what the agent answers while it runs.
func (d *diary) asked(used int64, cause string, n uint64) {
	d.sampled(used, map[string]map[string]loss{archive: {cause: {n, n}}})
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
		name := d.eventIn("soak-shop", stuckWords()[0])
		d.w.events[name], d.w.observations["incident of "+name], d.w.sample["incident of "+name] = 1, 1, name
		d.expect(0, "")
	})
	soakTest(t, "waiting for nothing", func(d *diary) {
		name := d.event(100)
		d.w.events[name], d.w.observations["incident of "+name], d.w.sample["incident of "+name] = 1, 1, name
		d.expect(2, "it still waits, and the archive is well")
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
		d.w.untold[archive][spool.Evicted] = loss{}
		d.expect(1, "archive: 1 events were counted as evicted, of which 0 were told")
	})
}

// A spool of 16 MiB that a storm does not fit into may lose of it what it counts, and nothing of what comes after.
func TestBookAllowsLossesInAFloodOnly(t *testing.T) {
	storm := func(d *diary) {
		for range 6000 {
			d.event(1200)
		}
		d.asked(12<<20, spool.Evicted, 0)
	}
	soakTest(t, "counted", func(d *diary) {
		storm(d)
		d.asked(12<<20, spool.Evicted, 6000)
		d.evicted(6000)
		d.expect(0, "")
	})
	soakTest(t, "too few counted", func(d *diary) {
		storm(d)
		d.asked(12<<20, spool.Evicted, 5999)
		d.evicted(5999)
		d.expect(2, "archive: 6000 events are missing, 5999 were counted as lost")
	})
	soakTest(t, "after it", func(d *diary) {
		storm(d)
		d.tell(d.event(100), 1)
		d.asked(7<<20, spool.Evicted, 12000)
		d.event(100)
		d.asked(7<<20, spool.Evicted, 12000)
		d.evicted(6001)
		d.expect(1, "count 1 is lost")
	})
	soakTest(t, "evicted with next to nothing waiting", func(d *diary) {
		d.event(100)
		d.asked(12<<20, spool.Evicted, 1)
		d.evicted(1)
		d.expect(2, "1 records were evicted while 1500 bytes waited")
	})
	soakTest(t, "the agent hears of it later", func(d *diary) {
		storm(d)
		<-time.After(time.Hour)
		d.asked(0, spool.Evicted, 0)
		d.asked(12<<20, spool.Evicted, 100)
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
	soakTest(t, "taken again after damage", func(d *diary) {
		name := d.event(100)
		d.tell(name, 1)
		<-time.After(time.Minute)
		d.damaged(true)
		d.own = append(d.own, own{reason: damagedReason})
		<-time.After(time.Minute)
		d.tell(name, 1)
		d.expect(0, "")
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

func TestBookAllowsAgeOnlyWhereTheAgentCannotKnow(t *testing.T) {
	soakTest(t, "a clock that leaps while it runs", func(d *diary) {
		d.event(100)
		d.asked(1<<20, spool.Expired, 1)
		d.lose(spool.Expired, 1)
		d.expect(2, "1 records expired, and none was old")
	})
	soakTest(t, "a clock that leapt while it was away", func(d *diary) {
		d.event(100)
		d.lived(2 * maxAge)
		d.asked(1<<20, spool.Expired, 1)
		d.tell(d.event(100), 1)
		d.lose(spool.Expired, 1)
		d.expect(0, "")
	})
	soakTest(t, "and what came after", func(d *diary) {
		d.lived(2 * maxAge)
		d.event(100)
		d.asked(1<<20, spool.Expired, 1)
		d.lose(spool.Expired, 1)
		d.expect(1, "count 1 is lost")
	})
}

func TestBookAllowsDamageWhatItTookAndSaid(t *testing.T) {
	said := own{reason: damagedReason}
	soakTest(t, "counted and told", func(d *diary) {
		d.event(100)
		d.damaged(false)
		d.damaged(true)
		d.own = append(d.own, said)
		d.lose(spool.Damaged, 1)
		d.expect(0, "")
	})
	soakTest(t, "told by a count alone", func(d *diary) {
		d.event(100)
		d.damaged(true)
		d.lose(spool.Damaged, 1)
		d.expect(1, "found damaged 1 times, and nobody was told")
	})
	soakTest(t, "not counted", func(d *diary) {
		d.event(100)
		d.damaged(true)
		d.own = append(d.own, said)
		d.expect(2, "archive: 1 events are missing, 0 were counted as lost")
	})
	soakTest(t, "told as a loss of unknown size", func(d *diary) {
		d.event(100)
		d.damaged(true)
		d.own = append(d.own, own{reason: damagedReason, message: "0 were lost, and more may be, which nobody can tell"})
		d.expect(0, "")
	})
	soakTest(t, "after it", func(d *diary) {
		d.damaged(true)
		d.own = append(d.own, said)
		d.event(100)
		d.lose(spool.Damaged, 1)
		d.expect(1, "count 1 is lost")
	})
	soakTest(t, "taken again", func(d *diary) {
		name := d.event(100)
		d.tell(name, 1)
		d.damaged(true)
		d.own = append(d.own, said)
		d.stories["incident of "+name].told["again"] = 1
		d.expect(0, "")
	})
	soakTest(t, "taken three times", func(d *diary) {
		name := d.event(100)
		d.tell(name, 1)
		d.damaged(true)
		d.own = append(d.own, said)
		d.stories["incident of "+name].told["again"] = 2
		d.expect(1, "too many")
	})
	soakTest(t, "counts that a damaged file forgot", func(d *diary) {
		d.event(100)
		d.damaged(true)
		d.own = append(d.own, said)
		d.sampled(1<<20, map[string]map[string]loss{archive: {spool.Damaged: {1, 1}}, alerts: {spool.Damaged: {1, 1}}})
		d.damaged(true)
		d.sampled(1<<20, nil)
		d.expect(0, "")
	})
	soakTest(t, "without any", func(d *diary) {
		d.asked(1<<20, spool.Damaged, 1)
		d.expect(1, "1 records were lost by damage, and there was none")
	})
}

// What lived and ended in a namespace that was forbidden may be missing, if a gap was told; and that it was not seen must be.
func TestBookAllowsWhatNobodyCouldSee(t *testing.T) {
	denied := func(d *diary, length time.Duration) (name string, from time.Time) {
		from = time.Now()
		d.live()
		name = d.eventIn(forbidden, "--")
		<-time.After(length)
		d.denied(forbidden, from)
		return name, from
	}
	said := func(d *diary) { d.own = append(d.own, own{at: time.Now(), message: "nothing is seen in " + forbidden}) }
	soakTest(t, "told", func(d *diary) {
		denied(d, eventTTL+2*time.Minute)
		said(d)
		d.lose(spool.Unseen, 0)
		d.expect(0, "")
	})
	soakTest(t, "no gap told", func(d *diary) {
		denied(d, eventTTL+2*time.Minute)
		said(d)
		d.expect(1, "1 events were never seen, and no gap was told")
	})
	soakTest(t, "nobody told while it lasted", func(d *diary) {
		denied(d, eventTTL+2*time.Minute)
		d.lose(spool.Unseen, 0)
		d.expect(1, "nothing was seen in "+forbidden)
	})
	soakTest(t, "too short for an event to end", func(d *diary) {
		denied(d, eventTTL/2)
		said(d)
		d.expect(2, "count 1 is lost")
	})
	soakTest(t, "a gap that was none", func(d *diary) {
		d.lose(spool.Unseen, 0)
		d.expect(2, "archive: 1 gaps were counted, and there may have been 0")
	})
}

func TestBookWantsWhatIsRefusedInUnknownWordsToWait(t *testing.T) {
	soakTest(t, "given up", func(d *diary) {
		name := d.eventIn("soak-shop", stuckWords()[1])
		d.lose(spool.Refused, 1)
		d.w.observations["incident of "+name], d.w.sample["incident of "+name] = 1, name
		d.expect(2, "alerts: 1 messages were given up as refused")
	})
	soakTest(t, "others behind it", func(d *diary) {
		d.eventIn("soak-shop", stuckWords()[1])
		name := d.event(100)
		d.w.events["soak-0000001"], d.w.events[name] = 1, 1
		d.w.observations["incident of soak-0000001"], d.w.sample["incident of soak-0000001"] = 1, "soak-0000001"
		d.w.observations["incident of "+name], d.w.sample["incident of "+name] = 1, name
		d.expect(2, "it still waits, and the archive is well")
	})
	soakTest(t, "in the chat", func(d *diary) {
		d.tell(d.event(100), 1)
		d.w.chat["soak-0000001"] = 1
		d.expect(1, "chat: 1 observations still wait, with event soak-0000001")
	})
}
