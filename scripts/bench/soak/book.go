package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/incident"
)

// The receivers: one that wants each event, one that wants incidents, and a Feishu group, which gets digests. The books are
// kept for the first two, who are told in numbers; of the group is known that in the end nothing waits for it.
const (
	archive = "archive"
	alerts  = "alerts"
	chat    = "chat"
)

const (
	// fits is what fits into the spool in any case, so that an eviction with less is a finding: records are evicted above
	// 12 MiB, of which the ledger, half empty pages and incidents that are remembered take the rest.
	fits = 4 << 20
	// queues is how many queues an event may be in, overhead what it takes in each besides its message.
	queues, overhead = 3, 400
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
	// afloat is the count that waited in the last flood, and may be lost.
	afloat int32
	// deleted says that the API server was asked to delete it.
	deleted bool
	// count is the latest count that the API server has confirmed.
	count int32
	// poison is what the archive refuses for good.
	poison bool
	// told is the highest count that the archive has confirmed.
	told    int32
	history []string
}

// story is one incident: its observations, and what was told in each of its openings.
type story struct {
	made    uint64
	told    map[string]int
	history []string
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
	// heardUntil: of all that was made before, the agent has heard.
	heardUntil time.Time
	// evicted is how many records the agent has counted as evicted, of all receivers.
	evicted uint64
	// samples is how often the agent was asked, and answered.
	samples  int
	lastTold time.Time
	// weather counts what was done, by its name.
	weather  map[string]int
	findings []string
	foreign  int
}

func newBook() *book {
	return &book{
		began: time.Now(), entries: make(map[string]*entry), stories: make(map[string]*story), weather: make(map[string]int),
		confirmed: map[string]map[string]time.Time{archive: {}, alerts: {}}, messages: make(map[string]int),
		lost: map[string]map[string]uint64{archive: {}, alerts: {}},
	}
}

func (b *book) at(t time.Time) string { return fmt.Sprintf("%8.2fs", t.Sub(b.began).Seconds()) }

func (b *book) note(history *[]string, format string, args ...any) {
	if len(*history) < maxHistory {
		*history = append(*history, b.at(time.Now())+" "+fmt.Sprintf(format, args...))
	}
}

// finding is something that must not be.
func (b *book) finding(format string, args ...any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.findings = append(b.findings, b.at(time.Now())+" "+fmt.Sprintf(format, args...))
}

// planned enters an event before the API server is asked to make it: the agent may be faster than the answer.
func (b *book) planned(namespace, name, incident string, length int, poison bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	b.entries[name] = &entry{
		namespace: namespace, name: name, incident: incident, poison: poison, planned: now, made: now, bytes: int64(queues * (length + overhead)),
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

// sampled notes how many bytes of the agent's spool are in use, and how many records it has counted as evicted. It may evict
// while more waits than may fit, and only then.
func (b *book) sampled(used int64, evicted uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.samples++
	waits, unheard := b.backlog()
	if !b.flood && waits > fits {
		b.flood = true
		b.weather["flood"]++
	}
	if b.flood {
		b.writeOff()
		b.flood = used >= maxBytes/2 || unheard > fits
	} else if evicted > b.evicted {
		b.findings = append(b.findings, fmt.Sprintf("%s %d records were evicted while %d bytes waited and %d were in use",
			b.at(time.Now()), evicted-b.evicted, waits, used))
	}
	b.evicted = evicted
}

// backlog is the most that can wait for the archive, in bytes of all queues, and how much of this the agent may not have heard of.
// What may be lost in the flood before is left out of the former.
func (b *book) backlog() (waits, unheard int64) {
	for _, e := range b.entries {
		if e.told >= e.count || e.poison {
			continue
		}
		if e.afloat != e.count {
			waits += e.bytes
		}
		if !e.made.Before(b.heardUntil) {
			unheard += e.bytes
		}
	}
	return waits, unheard
}

// writeOff lets all that waits be lost.
func (b *book) writeOff() {
	for _, e := range b.entries {
		if e.told < e.count {
			e.afloat = e.count
		}
	}
}

// old returns up to n events that were last seen before the time and of which the agent has heard, each once.
func (b *book) old(before time.Time, n int) (old []*entry) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.heardUntil.Before(before) {
		before = b.heardUntil
	}
	for _, e := range b.entries {
		if e.uid != "" && !e.deleted && e.made.Before(before) {
			e.deleted = true
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
			// A list goes by namespace and name, and names by number: what was made before the last of the last namespace
			// came before it in a list too.
			if e.namespace == namespaces()[len(namespaces())-1] && e.planned.After(b.heardUntil) {
				b.heardUntil = e.planned
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
		if e.told < e.count && !e.poison {
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

// waiting is what the spool held at the end.
type waiting struct {
	// events is the count of each event in the archive's queue, observations the untold ones of each incident.
	events       map[string]int32
	observations map[string]uint64
	// chat is how many observations the group was not told.
	chat uint64
	// lost counts events and incidents for good, by receiver and cause; untold those losses that no message has told.
	lostRecords, lostEvents, untold map[string]map[string]uint64
}

// incidentOf is the incident of an event as the book names it.
func incidentOf(namespace, kind, workload, reason string) string {
	return fmt.Sprintf("%x", incident.Key(namespace, kind, workload, reason))
}

// balance compares what was made with what was told, and appends what does not fit to the findings.
func (b *book) balance(w *waiting) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.balanceEvents(w)
	b.balanceIncidents(w)
	if w.chat > 0 {
		b.findings = append(b.findings, fmt.Sprintf("chat: %d observations still wait", w.chat))
	}
	for _, receiver := range []string{archive, alerts} {
		for cause, n := range w.lostEvents[receiver] {
			if told := b.lost[receiver][cause] + w.untold[receiver][cause]; told < n {
				b.findings = append(b.findings, fmt.Sprintf("%s: %d events were counted as %s, of which %d were told", receiver, n, cause, told))
			}
		}
	}
	for _, r := range b.repeats {
		if b.cause(r) < 0 {
			b.findings = append(b.findings, fmt.Sprintf("%s was told %s at %s and again at %s, and nothing happened in between", r.receiver, r.id, b.at(r.last), b.at(r.again)))
		}
	}
}

// cause returns the number of the span for which the agent could not know that the message was confirmed; -1: there is none.
func (b *book) cause(r repeat) int {
	// From the answer to the acknowledgement on disk.
	slack := 3 * time.Second
	for _, d := range b.fullDisks {
		if d.from.Before(r.last.Add(slack)) && d.to.After(r.last) {
			slack += d.to.Sub(r.last)
			// The pause before the next try.
			slack += 30 * time.Second
		}
	}
	// The link first: most of its spans are longer than the moment of a kill, and a kill explains one message only.
	link := slices.IndexFunc(b.spans, func(s span) bool {
		return !strings.HasPrefix(s.what, "agent") && s.from.Add(-time.Second).Before(r.last) && (s.to.IsZero() || s.to.Add(time.Second).After(r.last))
	})
	if link >= 0 {
		return link
	}
	return slices.IndexFunc(b.spans, func(s span) bool {
		return strings.HasPrefix(s.what, "agent") && s.from.Add(-slack).Before(r.last) && (s.to.IsZero() || s.to.Add(time.Second).After(r.last))
	})
}

func (b *book) balanceEvents(w *waiting) {
	var missing, refused uint64
	for _, name := range slices.Sorted(maps.Keys(b.entries)) {
		e := b.entries[name]
		switch {
		case e.poison:
			if e.told > 0 {
				b.findings = append(b.findings, b.tell("the archive never took it, and was counted as told", e))
			}
			if w.events[name] == 0 && e.afloat != e.count {
				refused++
			}
		case e.told > e.count:
			b.findings = append(b.findings, b.tell(fmt.Sprintf("count %d was told and never made", e.told), e))
		case e.told == e.count, w.events[name] == e.count:
		case e.afloat == e.count:
			missing++
		default:
			b.findings = append(b.findings, b.tell(fmt.Sprintf("count %d is lost", e.count), e))
		}
	}
	counted := w.lostRecords[archive]
	if lost := counted["evicted"] + counted["expired"]; missing > lost {
		b.findings = append(b.findings, fmt.Sprintf("archive: %d events are missing, %d were counted as lost", missing, lost))
	}
	if refused > counted["refused"] {
		b.findings = append(b.findings, fmt.Sprintf("archive: %d events were refused for good, %d counted", refused, counted["refused"]))
	}
}

func (b *book) balanceIncidents(w *waiting) {
	var missing uint64
	evicted := w.lostEvents[alerts]["evicted"] + w.lostEvents[alerts]["expired"]
	for _, key := range slices.Sorted(maps.Keys(b.stories)) {
		s := b.stories[key]
		accounted := s.sum() + w.observations[key]
		switch {
		case accounted == s.made:
		case accounted > s.made:
			b.findings = append(b.findings, fmt.Sprintf("alerts: incident %s: %d observations made, %d told, %d waiting: too many%s",
				key, s.made, s.sum(), w.observations[key], b.lines(s.history)))
		case evicted == 0:
			b.findings = append(b.findings, fmt.Sprintf("alerts: incident %s: %d observations made, %d told, %d waiting: some are lost%s",
				key, s.made, s.sum(), w.observations[key], b.lines(s.history)))
		default:
			missing += s.made - accounted
		}
	}
	if missing > evicted {
		b.findings = append(b.findings, fmt.Sprintf("alerts: %d observations are missing, %d were counted as lost", missing, evicted))
	}
}

func (b *book) tell(what string, e *entry) string {
	return fmt.Sprintf("event %s, UID %s, incident %s: %s%s", e.name, e.uid, e.incident, what, b.lines(e.history))
}

func (b *book) lines(history []string) string { return "\n      " + strings.Join(history, "\n      ") }

// report writes the table.
func (b *book) report(to io.Writer, w *waiting) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var made, told uint64
	var refused int
	for _, s := range b.stories {
		made += s.made
		told += s.sum()
	}
	for _, e := range b.entries {
		if e.poison {
			refused++
		}
	}
	fmt.Fprintf(to, "\n| | archive (fold: event) | alerts (fold: incident) |\n|---|---|---|\n")
	row := func(what string, a, b any) { fmt.Fprintf(to, "| %s | %v | %v |\n", what, a, b) }
	row("made", fmt.Sprintf("%d events", len(b.entries)), fmt.Sprintf("%d observations of %d incidents", made, len(b.stories)))
	delivered := 0
	for _, e := range b.entries {
		if e.told == e.count {
			delivered++
		}
	}
	var waits uint64
	for _, n := range w.observations {
		waits += n
	}
	row("told", delivered, told)
	row("messages", b.messages[archive], b.messages[alerts])
	row("waiting", len(w.events), waits)
	row("refused on purpose", refused, 0)
	for _, cause := range []string{"evicted", "expired", "refused"} {
		row("counted as "+cause+" (records / events)",
			fmt.Sprintf("%d / %d", w.lostRecords[archive][cause], w.lostEvents[archive][cause]),
			fmt.Sprintf("%d / %d", w.lostRecords[alerts][cause], w.lostEvents[alerts][cause]))
	}
	for _, what := range []string{"agent", "link", "slow"} {
		repeats, most := map[string]int{}, map[string]int{}
		each := map[string]map[int]int{archive: {}, alerts: {}}
		for _, r := range b.repeats {
			if cause := b.cause(r); cause >= 0 && strings.HasPrefix(b.spans[cause].what, what) {
				repeats[r.receiver]++
				each[r.receiver][cause]++
				most[r.receiver] = max(most[r.receiver], each[r.receiver][cause])
			}
		}
		row("messages repeated because of: "+what+" (most for one)",
			fmt.Sprintf("%d (%d)", repeats[archive], most[archive]), fmt.Sprintf("%d (%d)", repeats[alerts], most[alerts]))
	}
	fmt.Fprintf(to, "\nchat: %d messages, %d events evicted, %d refused for good, %d waiting\n\n",
		b.messages[chat], w.lostEvents[chat]["evicted"], w.lostEvents[chat]["refused"], w.chat)
	for _, what := range slices.SortedFunc(maps.Keys(b.weather), func(x, y string) int { return cmp.Compare(x, y) }) {
		fmt.Fprintf(to, "%5d × %s\n", b.weather[what], what)
	}
}
