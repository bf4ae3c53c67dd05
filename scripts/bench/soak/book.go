package main

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/edge-eventer/edge-eventer/spool"
)

// The receivers: one that wants each event, one that wants incidents, and a Feishu group, which gets digests. The books are
// kept for the first two, who are told in numbers; of the group is known that in the end nothing waits for it.
const (
	archive = "archive"
	alerts  = "alerts"
	chat    = "chat"
)

func receivers() []string { return []string{archive, alerts, chat} }

const (
	// queues is how many queues an event may be in, overhead what it takes in each besides its message.
	queues, overhead = 3, 400
	// longestBody is what the spool keeps of one at most.
	longestBody = 64 << 10
)

// excuse is why an event that waits may be lost, provided that the agent counts and tells it.
type excuse int

const (
	// afloat: more waited than the spool holds.
	afloat excuse = iota
	// aged: the agent began with a clock that was further ahead of the one it ended with than maxAge.
	aged
	// hurt: the file was damaged.
	hurt
	// unseen: the API server showed it to nobody while it lived.
	unseen
	excuses
)

// maxHistory bounds what is remembered of one event or incident.
const maxHistory = 60

// entry is one event as it was made, and what became of it.
type entry struct {
	namespace, name, uid string
	incident             string
	// planned is when the API server was first asked to make it, made when it last confirmed that, or that it was seen again.
	planned, made time.Time
	// bytes is the most that it takes in the spool.
	bytes int64
	// excused is the count that waited, and may be lost, by the excuse.
	excused [excuses]int32
	// deleted is when the API server was asked to delete it.
	deleted time.Time
	// count is the latest count that the API server has confirmed.
	count int32
	// poison is what the archive refuses for good, stuck what every receiver refuses in words that no document knows.
	poison, stuck bool
	// told is the highest count that the archive has confirmed.
	told    int32
	history []line
}

// line is what happened to an event or an incident, and how often the same happened again, up to last.
type line struct {
	at, last time.Time
	text     string
	again    int
}

// excuse lets what waits of the event be lost.
func (e *entry) excuse(why excuse) {
	if e.told < e.count {
		e.excused[why] = e.count
	}
}

// may reports whether what waits of the event may be lost.
func (e *entry) may(why excuse) bool { return e.count > 0 && e.excused[why] == e.count }

// story is one incident: its observations, and what was told in each of its openings.
type story struct {
	made uint64
	told map[string]int
	// again is how many observations may be taken once more, since the ledger that knows them was damaged, hurt how many of them waited
	// when it was, and unseen how many the agent was never shown.
	again, hurt, unseen uint64
	history             []line
}

func (s *story) sum() (told uint64) {
	for _, n := range s.told {
		told += uint64(n)
	}
	return told
}

// span is a time in which something was done that may repeat a message, or that makes the agent lose events.
type span struct {
	what     string
	from, to time.Time
}

// repeat is a message of which the receiver had confirmed something before: last, and now again.
type repeat struct {
	receiver, id string
	last, again  time.Time
}

// book is what was made, told and done.
type book struct {
	// maxBytes is the bound of the spool. A quarter of it fits in any case, so that an eviction with less is a finding: records are
	// evicted above three quarters, of which the ledger, half empty pages and incidents that are remembered take the rest.
	maxBytes int64

	mu      sync.Mutex
	began   time.Time
	entries map[string]*entry
	stories map[string]*story
	// confirmed is when a receiver last confirmed an ID.
	confirmed map[string]map[string]time.Time
	messages  map[string]int
	repeats   []repeat
	// lost is what the messages told of losses: by receiver and cause. A repeated message counts twice.
	lost map[string]map[string]uint64
	// spans are what explains repeats. While the disk is full, confirmed messages stay in the queue.
	spans, fullDisks []span
	// flood is set from when more waits than may fit into the spool, until half of that is free and what the agent has yet to
	// hear of fits beside.
	flood bool
	// heardUntil: of all that was made before in the namespace, the agent has heard.
	heardUntil map[string]time.Time
	// counted is what the agent counted as lost, by receiver and cause, at the last time that it was asked, and counts the sum
	// of what came to it at each time: a damaged file may have lost its count.
	counted, counts map[string]map[string]loss
	// agedAt is when what waits was last found too old, hurtAt when the spool was last damaged, or found damaged. Zero: never.
	agedAt, hurtAt time.Time
	// found is how often the agent noticed damage, and hurts when it did, or there was any. damages is how often there was.
	found, damages int
	hurts          []time.Time
	// leaps counts the starts of an agent whose clock had gone further ahead than events live.
	leaps int
	// denials are the times in which a namespace was forbidden, lives those of the agents, and own what these told of themselves.
	denials, lives []span
	own            []own
	// links is how often the agent saw the link go.
	links uint64
	// samples is how often the agent was asked, and answered.
	samples  int
	lastTold time.Time
	// weather counts what was done, by its name.
	weather  map[string]int
	findings []string
	foreign  int
}

// loss is what was lost for one cause.
type loss struct{ records, events uint64 }

// own is an incident of the agent's own, as the archive confirmed it.
type own struct {
	at              time.Time
	reason, message string
}

func newBook(maxBytes int64) *book {
	return &book{
		maxBytes: maxBytes, heardUntil: make(map[string]time.Time), counted: make(map[string]map[string]loss), counts: make(map[string]map[string]loss),
		began: time.Now(), entries: make(map[string]*entry), stories: make(map[string]*story), weather: make(map[string]int),
		confirmed: map[string]map[string]time.Time{archive: {}, alerts: {}}, messages: make(map[string]int),
		lost: map[string]map[string]uint64{archive: {}, alerts: {}},
	}
}

func (b *book) at(t time.Time) string { return fmt.Sprintf("%8.2fs", t.Sub(b.began).Seconds()) }

func (b *book) note(history *[]line, format string, args ...any) {
	now, text := time.Now(), fmt.Sprintf(format, args...)
	if n := len(*history); n > 0 && (*history)[n-1].text == text {
		(*history)[n-1].last = now
		(*history)[n-1].again++
	} else if n < maxHistory {
		*history = append(*history, line{at: now, text: text})
	}
}

// finding is something that must not be, and is told at once and at the end.
func (b *book) finding(format string, args ...any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.findingHere(format, args...)
	fmt.Println("FINDING:", b.findings[len(b.findings)-1])
}

func (b *book) findingHere(format string, args ...any) {
	b.findings = append(b.findings, b.at(time.Now())+" "+fmt.Sprintf(format, args...))
}

// planned enters an event before the API server is asked to make it: the agent may be faster than the answer.
func (b *book) planned(namespace, name, incident, text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	b.entries[name] = &entry{
		namespace: namespace, name: name, incident: incident, planned: now, made: now,
		poison: strings.HasPrefix(text, poison), stuck: strings.HasPrefix(text, stuck),
		bytes: int64(queues * min(len(text)+overhead, longestBody)),
	}
	if b.stories[incident] == nil {
		b.stories[incident] = &story{told: make(map[string]int)}
	}
}

// made notes what the API server confirmed.
func (b *book) made(name, uid, version string, count int32) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.entries[name]
	e.uid = uid
	b.stories[e.incident].made += uint64(count - e.count)
	e.count, e.made = count, time.Now()
	b.note(&e.history, "the API server has it at %s with count %d", version, count)
}

// begin notes what may repeat a message, and returns what ends it.
func (b *book) begin(what string) (end func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.weather[what]++
	i := len(b.spans)
	b.spans = append(b.spans, span{what: what, from: time.Now()})
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.spans[i].to = time.Now()
	}
}

// did counts something that repeats nothing.
func (b *book) did(what string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.weather[what]++
}

// chatted notes what the Feishu group answered.
func (b *book) chatted(taken bool, answer string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if taken {
		b.messages[chat]++
		return
	}
	b.weather["chat: "+answer]++
}

func (b *book) diskWasFull(from time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fullDisks = append(b.fullDisks, span{"disk full", from, time.Now()})
}

// sampled notes how many bytes of the agent's spool are in use, and what it has counted as lost. It may evict while more waits than
// may fit, and only then, and nothing else may be lost without its cause.
func (b *book) sampled(used int64, counted map[string]map[string]loss) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.samples++
	fits := b.maxBytes / 4
	waits, unheard := b.backlog()
	if !b.flood && waits > fits {
		b.flood = true
		b.weather["flood"]++
	}
	flood := b.flood
	if b.flood {
		b.excuse(afloat)
		b.flood = used >= b.maxBytes/2 || unheard > fits
	}
	more := b.add(counted)
	const late = 10 * time.Minute
	switch {
	case more[spool.Evicted] > 0 && !flood:
		b.findingHere("%d records were evicted while %d bytes waited and %d were in use", more[spool.Evicted], waits, used)
	case more[spool.Expired] > 0 && (b.agedAt.IsZero() || time.Since(b.agedAt) > late):
		b.findingHere("%d records expired, and none was old", more[spool.Expired])
	case more[spool.Damaged] > 0 && (b.hurtAt.IsZero() || time.Since(b.hurtAt) > late):
		b.findingHere("%d records were lost by damage, and there was none", more[spool.Damaged])
	}
}

// add sums up what was counted, and returns how many records came to it of each cause.
func (b *book) add(counted map[string]map[string]loss) (more map[string]uint64) {
	more = make(map[string]uint64)
	for receiver, causes := range counted {
		if b.counts[receiver] == nil {
			b.counts[receiver] = make(map[string]loss)
		}
		for cause, now := range causes {
			before := b.counted[receiver][cause]
			if now.records < before.records || now.events < before.events {
				before = loss{}
			}
			sum := b.counts[receiver][cause]
			sum.records += now.records - before.records
			sum.events += now.events - before.events
			b.counts[receiver][cause] = sum
			more[cause] += now.records - before.records
		}
	}
	b.counted = counted
	return more
}

// backlog is the most that can wait for the archive, in bytes of all queues, and how much of this the agent may not have heard of.
// What may be lost in the flood before is left out of the former.
func (b *book) backlog() (waits, unheard int64) {
	for _, e := range b.entries {
		if e.told >= e.count || e.poison || e.stuck {
			continue
		}
		if !e.may(afloat) {
			waits += e.bytes
		}
		if !e.made.Before(b.heardUntil[e.namespace]) {
			unheard += e.bytes
		}
	}
	return waits, unheard
}

// excuse lets all that waits be lost.
func (b *book) excuse(why excuse) {
	for _, e := range b.entries {
		e.excuse(why)
	}
}

// damaged notes that pages of the spool were overwritten, or that the agent has noticed it. What waits may be lost, and what the
// API server still holds may be taken once more.
func (b *book) damaged(found bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.hurtAt = time.Now()
	b.hurts = append(b.hurts, b.hurtAt)
	if found {
		b.found++
		b.weather["damage noticed"]++
	} else {
		b.damages++
	}
	b.excuse(hurt)
	for _, s := range b.stories {
		s.hurt = max(s.hurt, s.made-min(s.made, s.sum()))
	}
	for _, e := range b.entries {
		// A list that is under way may still hold what was just deleted.
		if e.uid != "" && (e.deleted.IsZero() || time.Since(e.deleted) < time.Minute) {
			b.stories[e.incident].again += uint64(e.count)
		}
	}
}

// lived notes that an agent has answered for the first time, after the one before had ended, and by how much its clock went ahead since
// then: it cannot know that it was not away for as long.
func (b *book) lived(leap time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	// Records are dropped once a minute, and clocks are set within it.
	if leap > maxAge-time.Hour {
		b.agedAt = time.Now()
		b.excuse(aged)
	}
	if leap > eventTTL-time.Minute {
		b.leaps++
	}
}

// lives notes the life of an agent and returns what ends it.
func (b *book) live() (end func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	i := len(b.lives)
	b.lives = append(b.lives, span{from: time.Now()})
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.lives[i].to = time.Now()
	}
}

// denied notes that a namespace was forbidden from then until now. What was made and ended within it was never seen.
func (b *book) denied(namespace string, from time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	b.denials = append(b.denials, span{namespace, from, now})
	for _, e := range b.entries {
		if e.namespace == namespace && e.made.After(from.Add(-time.Minute)) && e.made.Before(now.Add(time.Minute-eventTTL)) {
			e.excuse(unseen)
		}
	}
}

// linkLost notes how often the link went since the agent began, and before.
func (b *book) linkLost(n uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.links += n
}

// old returns up to n events that were last seen before the time and of which the agent has heard, each once.
func (b *book) old(before time.Time, n int) (old []*entry) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range b.entries {
		if e.uid != "" && e.deleted.IsZero() && e.made.Before(before) && e.made.Before(b.heardUntil[e.namespace]) {
			e.deleted = time.Now()
			if old = append(old, e); len(old) == n {
				break
			}
		}
	}
	return old
}

// answered notes what a receiver answered to a message, and whether that confirms it.
func (b *book) answered(receiver string, m *message, answer string, confirmed bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	if confirmed {
		b.messages[receiver]++
		b.lastTold = now
		for _, l := range m.Losses {
			b.lost[receiver][l.Cause] += max(l.Events, l.Incidents)
		}
	}
	repeated := false
	for i := range m.Incidents {
		in := &m.Incidents[i]
		if in.Own {
			if confirmed && receiver == archive {
				b.own = append(b.own, own{now, in.Event.Reason, in.Event.Message})
			}
			continue
		}
		e := b.entries[in.Event.Metadata.Name]
		if e == nil {
			b.foreign++
			continue
		}
		history := &e.history
		if receiver == alerts {
			history = &b.stories[e.incident].history
		}
		b.note(history, "%s: %s with count %d, occurrences %d, untold %d: %s", receiver, in.ID, in.Event.Count, in.Occurrences, in.Untold, answer)
		if !confirmed {
			continue
		}
		last, again := b.confirmed[receiver][in.ID]
		b.confirmed[receiver][in.ID] = now
		if again {
			if !repeated {
				b.repeats = append(b.repeats, repeat{receiver, in.ID, last, now})
			}
			repeated = true
			continue
		}
		if receiver == archive {
			e.told = max(e.told, in.Event.Count)
			// A list goes by name, and names by number: what was made before it came before it in a list too.
			if e.planned.After(b.heardUntil[e.namespace]) {
				b.heardUntil[e.namespace] = e.planned
			}
			continue
		}
		// KEY-OPENED-OCCURRENCES: occurrences count from the opening on.
		opening := in.ID[:strings.LastIndexByte(in.ID, '-')]
		told := b.stories[e.incident].told
		told[opening] = max(told[opening], in.Occurrences)
	}
}

// open returns how many events the archive has not confirmed, and how many observations the alerts have not.
func (b *book) open() (events int, observations uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range b.entries {
		if e.told < e.count && !e.poison && !e.stuck {
			events++
		}
	}
	for _, s := range b.stories {
		observations += s.made - min(s.made, s.sum())
	}
	return events, observations
}

// quiet is for how long nothing was confirmed.
func (b *book) quiet() time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	return time.Since(b.lastTold)
}
