package storm

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

var start = time.Date(2026, 11, 25, 8, 0, 0, 0, time.UTC)

// run tells a storm with so many new incidents each minute, and returns when what is not critical left, in minutes.
func run(p *Pace, minutes int, each func(minute int) int) (left []int) {
	waiting := 0
	for m := range minutes {
		now := start.Add(time.Duration(m) * time.Minute)
		waiting += each(m)
		if hold := p.At(now); waiting == 0 || hold.Everything || hold.ButCritical {
			continue
		}
		stormy := p.Limit > 0 && (p.Active() && waiting > few || p.Begins(waiting, now))
		p.Sent(Message{Incidents: waiting, Digest: waiting > few, Short: stormy}, now)
		waiting = 0
		left = append(left, m)
	}
	return left
}

func TestPausesGrowWhileAStormLastsAndShrinkWhenItEnds(t *testing.T) {
	p := Pace{Limit: 6}
	left := run(&p, 400, func(m int) int {
		switch {
		case m < 180:
			return 800
		case m%3 == 0:
			return 1
		}
		return 0
	})
	if want := []int{0, 5, 15, 35, 75, 135}; !slices.Equal(left[:6], want) {
		t.Errorf("messages in minutes %v, want %v", left[:6], want)
	}
	last := left[len(left)-1] - left[len(left)-2]
	if p.Active() || last != 3 {
		t.Errorf("after the storm messages left in minutes %v", left[6:])
	}
}

func TestAnHourCostsNoMoreThanTheLimitWhateverIsCritical(t *testing.T) {
	for _, limit := range []int{1, 2, 3, 6, 20, 60} {
		p := Pace{Limit: limit}
		var sent []time.Time
		for s := range 4 * 3600 {
			now := start.Add(time.Duration(s) * time.Second)
			hold := p.At(now)
			if hold.Everything {
				continue
			}
			p.Sent(Message{Incidents: 500, Digest: true, Short: true, Urgent: hold.ButCritical}, now)
			sent = append(sent, now)
		}
		for i := range sent {
			if i >= limit && sent[i].Sub(sent[i-limit]) < time.Hour {
				t.Fatalf("limit %d: message %d comes %s after message %d", limit, i, sent[i].Sub(sent[i-limit]), i-limit)
			}
		}
	}
}

func TestCriticalNeedNotWaitForThePauses(t *testing.T) {
	p := Pace{Limit: 6}
	run(&p, 50, func(int) int { return 1000 })
	for i := range 2 {
		now := start.Add(time.Duration(50+i) * time.Minute)
		if hold := p.At(now); !hold.ButCritical || hold.Everything {
			t.Fatalf("%d critical messages: %+v, want all but what is critical to wait", i, hold)
		}
		p.Sent(Message{Incidents: 1, Urgent: true}, now)
	}
	if hold := p.At(start.Add(53 * time.Minute)); !hold.Everything || !hold.Until.Equal(start.Add(time.Hour)) {
		t.Errorf("after six messages: %+v, want everything to wait until an hour after the first", hold)
	}
}

// TestThirdDigestWithinMinutesIsAStorm: what comes slowly is one as well, and must not use up the hour before it is seen.
func TestThirdDigestWithinMinutesIsAStorm(t *testing.T) {
	p := Pace{Limit: 6}
	left := run(&p, 60, func(int) int { return 12 })
	if len(left) > 6 {
		t.Errorf("messages left in minutes %v, want 6 in the hour at most", left)
	}
}

func TestWithoutALimitThereIsNoStorm(t *testing.T) {
	var p Pace
	if left := run(&p, 10, func(int) int { return 10_000 }); len(left) != 10 {
		t.Errorf("messages left in minutes %v", left)
	}
}

type incident struct {
	name string
	at   int
}

func choose(most int, items ...Item[incident]) *Choice[incident] {
	c := &Choice[incident]{Most: most, Before: func(a, b incident) bool { return a.at > b.at }}
	dropped := 0
	for _, i := range items {
		if _, out := c.Add(i); out {
			dropped++
		}
	}
	if want := max(0, len(items)-most); dropped != want {
		panic(fmt.Sprint("dropped ", dropped, ", want ", want))
	}
	return c
}

func TestLoudNamespaceOrWorkloadPushesNoOtherOut(t *testing.T) {
	var items []Item[incident]
	add := func(namespace, workload string, critical bool, at int) {
		items = append(items, Item[incident]{incident{fmt.Sprintf("%s/%s/%d", namespace, workload, at), at}, namespace, workload, critical})
	}
	for i := range 3 {
		add("quiet", fmt.Sprint("db", i), false, i)
	}
	for i := range 5000 {
		add("loud", fmt.Sprint("job", i), false, 1000+i)
	}
	for i := range 400 {
		add("shop", "web", false, 7000+i)
	}
	add("shop", "till", false, 10)
	add("", "pi-4", true, 0)
	got := choose(20, items...).Ordered()
	names := map[string]bool{}
	for _, i := range got {
		names[i.name] = true
	}
	if len(got) != 20 || got[0].name != "/pi-4/0" {
		t.Errorf("%d named, first %v", len(got), got[0])
	}
	for _, want := range []string{"quiet/db0/0", "quiet/db1/1", "quiet/db2/2", "shop/till/10", "shop/web/7399", "loud/job4999/5999"} {
		if !names[want] {
			t.Errorf("%s is not named in %v", want, got)
		}
	}
	// Each namespace has its turn, so that what fits into a small message is of all of them.
	first := map[string]bool{}
	for _, i := range got[1:5] {
		first[i.name[:3]] = true
	}
	if !first["qui"] || !first["lou"] || !first["sho"] {
		t.Errorf("the first four are %v", got[1:5])
	}
	if !slices.ContainsFunc(got[1:8], func(i incident) bool { return i.name == "shop/till/10" }) {
		t.Errorf("a workload waits behind a loud one of its namespace: %v", got[1:8])
	}
}

func TestCriticalIsGivenUpLast(t *testing.T) {
	var items []Item[incident]
	for i := range 100 {
		items = append(items, Item[incident]{incident{fmt.Sprint("c", i), i}, fmt.Sprint("n", i%3), "w", i%2 == 0})
	}
	for _, i := range choose(50, items...).Ordered() {
		var n int
		if _, err := fmt.Sscanf(i.name, "c%d", &n); err != nil || n%2 != 0 {
			t.Errorf("%s is named in place of one that is critical", i.name)
		}
	}
}
