package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/incident"
	"github.com/edge-eventer/edge-eventer/spool"
)

// waiting is what the spool held at the end.
type waiting struct {
	// events is the count of each event in the archive's queue, observations the untold ones of each incident, and sample the name of
	// the event that stands for it.
	events       map[string]int32
	observations map[string]uint64
	sample       map[string]string
	// chat is how many observations the group was not told, by the event that stands for them.
	chat map[string]uint64
	// lost is what was counted for good, by receiver and cause, untold those losses that no message has told, and times how
	// often there was one.
	lost, untold map[string]map[string]loss
	times        map[string]map[string]uint64
}

func newWaiting() *waiting {
	w := &waiting{
		events: make(map[string]int32), observations: make(map[string]uint64), sample: make(map[string]string), chat: make(map[string]uint64),
		lost: make(map[string]map[string]loss), untold: make(map[string]map[string]loss), times: make(map[string]map[string]uint64),
	}
	for _, receiver := range receivers() {
		w.lost[receiver], w.untold[receiver], w.times[receiver] = make(map[string]loss), make(map[string]loss), make(map[string]uint64)
	}
	return w
}

// incidentOf is the incident of an event as the book names it.
func incidentOf(namespace, kind, workload, reason string) string {
	return fmt.Sprintf("%x", incident.Key(namespace, kind, workload, reason))
}

// balance compares what was made with what was told, and appends what does not fit to the findings.
func (b *book) balance(w *waiting) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.add(w.lost)
	b.balanceEvents(w)
	b.balanceIncidents(w)
	b.balanceLosses(w)
	b.balanceSight(w)
	for _, name := range slices.Sorted(maps.Keys(w.chat)) {
		if e := b.entries[name]; e == nil || !e.stuck {
			b.findingHere("chat: %d observations still wait, with event %s", w.chat[name], name)
		}
	}
	for _, r := range b.repeats {
		if b.cause(r) < 0 && !b.retaken(r) {
			b.findingHere("%s was told %s at %s and again at %s, and nothing happened in between", r.receiver, r.id, b.at(r.last), b.at(r.again))
		}
	}
}

// retaken reports whether the event was taken again in between, since the ledger that knew it was damaged.
func (b *book) retaken(r repeat) bool {
	return slices.ContainsFunc(b.hurts, func(t time.Time) bool { return t.After(r.last) && t.Before(r.again) })
}

// balanceLosses looks for losses that were told to nobody, or had no cause.
func (b *book) balanceLosses(w *waiting) {
	for _, receiver := range []string{archive, alerts} {
		for cause, n := range w.lost[receiver] {
			if told := b.lost[receiver][cause] + w.untold[receiver][cause].events; told < n.events {
				b.findingHere("%s: %d events were counted as %s, of which %d were told", receiver, n.events, cause, told)
			}
		}
	}
	for _, receiver := range []string{alerts, chat} {
		if n := b.counts[receiver][spool.Refused].records; n > 0 {
			b.findingHere("%s: %d messages were given up as refused, and none was refused for good", receiver, n)
		}
	}
	if b.found > 0 && !slices.ContainsFunc(b.own, func(o own) bool { return o.reason == damagedReason }) {
		b.findingHere("the spool was found damaged %d times, and nobody was told", b.found)
	}
}

// balanceSight looks for times in which the agent did not see and did not say so, or said so and saw.
func (b *book) balanceSight(w *waiting) {
	long := 0
	for _, d := range b.denials {
		if d.to.Sub(d.from) > eventTTL-time.Minute {
			long++
		}
		for _, l := range b.lives {
			from, to := d.from, d.to
			if l.from.After(from) {
				from = l.from
			}
			if !l.to.IsZero() && l.to.Before(to) {
				to = l.to
			}
			if to.Sub(from) > 2*unreachableAfter+time.Minute && !b.saidBlind(d.what, from) {
				b.findingHere("nothing was seen in %s from %s to %s, and the agent, which ran, told nobody", d.what, b.at(from), b.at(to))
			}
		}
	}
	for _, receiver := range receivers() {
		// A gap is told of each namespace.
		if most := uint64(long + len(namespaces())*(b.leaps+b.found)); w.times[receiver][spool.Unseen] > most {
			b.findingHere("%s: %d gaps were counted, and there may have been %d", receiver, w.times[receiver][spool.Unseen], most)
		}
	}
}

func (b *book) saidBlind(namespace string, since time.Time) bool {
	return slices.ContainsFunc(b.own, func(o own) bool { return o.at.After(since) && strings.Contains(o.message, namespace) })
}

// alike is how many findings of one kind are told with their history.
const alike = 5

// accounts is what is missing of the events, by what it must have been counted as.
type accounts struct {
	// counted has a number, unseen none.
	counted, unseen, refused uint64
}

func (b *book) balanceEvents(w *waiting) {
	var a accounts
	seen := make(map[string]int)
	for _, name := range slices.Sorted(maps.Keys(b.entries)) {
		finding := b.balanceEvent(w, b.entries[name], &a)
		if finding == "" {
			continue
		}
		if seen[finding]++; seen[finding] <= alike {
			b.findings = append(b.findings, b.tell(finding, b.entries[name]))
		}
	}
	for _, finding := range slices.Sorted(maps.Keys(seen)) {
		if more := seen[finding] - alike; more > 0 {
			b.findingHere("and %d events more: %s", more, finding)
		}
	}
	counts := b.counts[archive]
	if lost := counts[spool.Evicted].records + counts[spool.Expired].records + counts[spool.Damaged].records; a.counted > lost {
		b.findingHere("archive: %d events are missing, %d were counted as lost", a.counted, lost)
	}
	if n := counts[spool.Refused].records; a.refused > n {
		b.findingHere("archive: %d events were refused for good, %d counted", a.refused, n)
	}
	if a.unseen > 0 && w.times[archive][spool.Unseen] == 0 {
		b.findingHere("archive: %d events were never seen, and no gap was told", a.unseen)
	}
}

// uncounted reports whether the agent told that a damaged file left no trace of what it held.
func (b *book) uncounted() bool {
	return slices.ContainsFunc(b.own, func(o own) bool { return o.reason == damagedReason && strings.Contains(o.message, "more may be") })
}

// damagedReason is that of the incident that tells of a rescue.
const damagedReason = "SpoolDamaged"

// balanceEvent enters the event in the accounts, or returns what is wrong with it.
func (b *book) balanceEvent(w *waiting, e *entry, a *accounts) string {
	may := e.may(afloat) || e.may(aged) || e.may(hurt)
	switch {
	case e.poison && e.told > 0:
		return "the archive never took it, and was counted as told"
	case e.poison:
		if w.events[e.name] == 0 && !may && !e.may(unseen) {
			a.refused++
		}
	case e.told > e.count:
		return fmt.Sprintf("count %d was told and never made", e.told)
	case e.told == e.count:
	case w.events[e.name] == e.count:
		if !e.stuck {
			return "it still waits, and the archive is well"
		}
	case e.may(unseen):
		// Its incident never heard of it either.
		b.stories[e.incident].unseen += uint64(e.count - e.told)
		a.unseen++
	case e.may(hurt) && b.uncounted():
	case may:
		a.counted++
	default:
		return fmt.Sprintf("count %d is lost", e.count)
	}
	return ""
}

func (b *book) balanceIncidents(w *waiting) {
	var missing uint64
	counts := b.counts[alerts]
	lost := counts[spool.Evicted].events + counts[spool.Expired].events + counts[spool.Damaged].events
	if b.uncounted() {
		for _, s := range b.stories {
			lost += s.hurt
		}
	}
	for _, key := range slices.Sorted(maps.Keys(b.stories)) {
		s := b.stories[key]
		accounted := s.sum() + w.observations[key]
		said := fmt.Sprintf("alerts: incident %s: %d observations made, %d told, %d waiting", key, s.made, s.sum(), w.observations[key])
		switch {
		case accounted > s.made+s.again:
			b.findings = append(b.findings, said+": too many"+b.lines(s.history))
		case accounted+s.unseen < s.made && lost == 0:
			b.findings = append(b.findings, said+": some are lost"+b.lines(s.history))
		case accounted+s.unseen < s.made:
			missing += s.made - accounted - s.unseen
		}
		if e := b.entries[w.sample[key]]; w.observations[key] > 0 && (e == nil || !e.stuck) {
			b.findings = append(b.findings, said+": the receiver is well"+b.lines(s.history))
		}
	}
	if missing > lost {
		b.findingHere("alerts: %d observations are missing, %d were counted as lost", missing, lost)
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

func (b *book) tell(what string, e *entry) string {
	return fmt.Sprintf("event %s, UID %s, incident %s: %s%s", e.name, e.uid, e.incident, what, b.lines(e.history))
}

func (b *book) lines(history []line) string {
	var text strings.Builder
	for _, l := range history {
		fmt.Fprintf(&text, "\n      %s %s", b.at(l.at), l.text)
		if l.again > 0 {
			fmt.Fprintf(&text, ", and %d times more until %s", l.again, b.at(l.last))
		}
	}
	return text.String()
}

// report writes the table.
func (b *book) report(to io.Writer, w *waiting) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var made, told, waits uint64
	var refused, delivered, unnamed int
	for key, s := range b.stories {
		made += s.made
		told += s.sum()
		waits += w.observations[key]
	}
	for _, e := range b.entries {
		switch {
		case e.poison:
			refused++
		case e.stuck:
			unnamed++
		}
		if e.told == e.count {
			delivered++
		}
	}
	fmt.Fprintf(to, "\n| | archive (fold: event) | alerts (fold: incident) |\n|---|---|---|\n")
	row := func(what string, a, b any) { fmt.Fprintf(to, "| %s | %v | %v |\n", what, a, b) }
	row("made", fmt.Sprintf("%d events", len(b.entries)), fmt.Sprintf("%d observations of %d incidents", made, len(b.stories)))
	row("told", delivered, told)
	row("messages", b.messages[archive], b.messages[alerts])
	row("waiting", len(w.events), waits)
	row("refused on purpose", refused, 0)
	row("refused in unknown words", unnamed, unnamed)
	for _, cause := range []string{spool.Evicted, spool.Expired, spool.Damaged, spool.Refused} {
		row("counted as "+cause+" (records / events)",
			fmt.Sprintf("%d / %d", b.counts[archive][cause].records, b.counts[archive][cause].events),
			fmt.Sprintf("%d / %d", b.counts[alerts][cause].records, b.counts[alerts][cause].events))
	}
	row("gaps", w.times[archive][spool.Unseen], w.times[alerts][spool.Unseen])
	b.reportRepeats(row)
	fmt.Fprintf(to, "\nchat: %d messages, %d events evicted, %d given up, %d incidents waiting\n", b.messages[chat],
		b.counts[chat][spool.Evicted].events, b.counts[chat][spool.Refused].records, len(w.chat))
	fmt.Fprintf(to, "the agent saw its link go %d times, and %d times that its spool was damaged, of %d\n\n", b.links, b.found, b.damages)
	for _, what := range slices.SortedFunc(maps.Keys(b.weather), func(x, y string) int { return cmp.Compare(x, y) }) {
		fmt.Fprintf(to, "%5d × %s\n", b.weather[what], what)
	}
	reasons := make(map[string]int)
	for _, o := range b.own {
		reasons[o.reason]++
	}
	for _, reason := range slices.Sorted(maps.Keys(reasons)) {
		fmt.Fprintf(to, "%5d × told of itself: %s\n", reasons[reason], reason)
	}
}

func (b *book) reportRepeats(row func(what string, a, b any)) {
	for _, what := range []string{"agent", "link", "slow", "damage"} {
		repeats, most := map[string]int{}, map[string]int{}
		each := map[string]map[int]int{archive: {}, alerts: {}}
		for _, r := range b.repeats {
			cause := b.cause(r)
			if cause < 0 && what == "damage" && b.retaken(r) || cause >= 0 && strings.HasPrefix(b.spans[cause].what, what) {
				repeats[r.receiver]++
				each[r.receiver][cause]++
				most[r.receiver] = max(most[r.receiver], each[r.receiver][cause])
			}
		}
		row("messages repeated because of: "+what+" (most for one)",
			fmt.Sprintf("%d (%d)", repeats[archive], most[archive]), fmt.Sprintf("%d (%d)", repeats[alerts], most[alerts]))
	}
}
