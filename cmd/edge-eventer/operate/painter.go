package operate

import (
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"

	"github.com/edge-eventer/edge-eventer/agent/status"
	"github.com/edge-eventer/edge-eventer/cmd/edge-eventer/cli"
	"github.com/edge-eventer/edge-eventer/notify/untrusted"
)

// painter draws the status for a person.
type painter struct {
	colours bool
	b       strings.Builder
}

// maxDeliveries is how many of the last deliveries are shown.
const maxDeliveries = 5

const (
	red    = "31;1"
	yellow = "33"
	green  = "32;1"
)

func (p *painter) paint(colour, text string) string {
	if !p.colours {
		return text
	}
	return "\x1b[" + colour + "m" + text + "\x1b[0m"
}

// line writes one line, cut to the width. Colours do not count.
func (p *painter) line(colour, format string, args ...any) {
	text := cli.Cut(fmt.Sprintf(format, args...), cli.Columns)
	if colour != "" {
		text = p.paint(colour, text)
	}
	p.b.WriteString(text + "\n")
}

// sentence writes a text of any length as lines that fit, indented.
func (p *painter) sentence(colour, mark, text string) {
	for i, part := range wrap(untrusted.CleanLine(text), cli.Columns-4) {
		if i > 0 {
			mark = " "
		}
		p.line(colour, "  %s %s", mark, part)
	}
}

// absent says that no agent answers, and what else is known.
func (p *painter) absent(err error, known []string) string {
	p.b.Reset()
	p.line(red, "NOT WORKING")
	for _, text := range append([]string{err.Error()}, known...) {
		p.sentence(red, "!", text)
	}
	return p.b.String()
}

// unknown says that the agent may not be asked.
func (p *painter) unknown(err error) string {
	p.b.Reset()
	p.line(yellow, "UNKNOWN")
	p.sentence(yellow, "!", err.Error())
	return p.b.String()
}

// status answers first whether it works, and if not, why.
func (p *painter) status(s *status.Document) string {
	p.b.Reset()
	colour := map[string]string{status.Working: green, status.Degraded: yellow}[s.Verdict.Level]
	if colour == "" {
		colour = red
	}
	headline, waiting := untrusted.CleanLine(s.Verdict.Headline+"  "+s.Cluster), s.Verdict.Waiting
	if one := headline + ": " + waiting; waiting != "" && utf8.RuneCountInString(one) <= cli.Columns {
		headline, waiting = one, ""
	}
	p.line(colour, "%s", headline)
	if waiting != "" {
		p.sentence(colour, " ", waiting)
	}
	for _, reason := range s.Verdict.Reasons {
		p.sentence(colour, "!", reason)
	}
	for _, hint := range s.Verdict.Hints {
		p.sentence("", ">", hint)
	}
	for _, note := range s.Notes {
		p.sentence(yellow, "*", note)
	}
	p.line("", "")
	p.line("", "agent     %s, up %s, memory %s (peak %s)", s.Version, ago(s.Now.Sub(s.Started)), size(s.Memory.Resident), size(s.Memory.Peak))
	for _, w := range s.Watch {
		p.watch(s, w)
	}
	p.line("", "events    %d committed, %d filtered, %d already known, %d too old", s.Intake.Committed, s.Intake.Filtered, s.Intake.Known, s.Intake.Old)
	p.line("", "spool     %s of %s used, file %s%s", size(s.Spool.Used), size(s.Spool.Max), size(s.Spool.File), fsync(&s.Spool))
	link := s.Link.State
	if !s.Link.Since.IsZero() {
		link += " for " + ago(s.Now.Sub(s.Link.Since))
	}
	if s.Link.Reason != "" {
		link += ", " + untrusted.CleanLine(s.Link.Reason)
	}
	p.line("", "link      %s", link)
	if b := s.Budget; b != nil && b.DayMax+b.MonthMax > 0 {
		p.line("", "budget    %s: today %s%s, month %s%s%s", b.Level, size(b.Day), of(b.DayMax), size(b.Month), of(b.MonthMax), forecast(b))
	} else if b != nil {
		p.line("", "traffic   today %s, month %s%s, no budget", size(b.Day), size(b.Month), forecast(b))
	}
	p.receivers(s)
	if len(s.Deliveries) > 0 {
		p.deliveries(s)
	}
	return p.b.String()
}

// table aligns the cells of rows in columns.
func table(rows [][]string) []string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		fmt.Fprintln(w, strings.Join(row, "\t"))
	}
	_ = w.Flush()
	return strings.Split(b.String(), "\n")
}

// deliveries shows the last deliveries.
func (p *painter) deliveries(s *status.Document) {
	shown := s.Deliveries[:min(len(s.Deliveries), maxDeliveries)]
	rows := [][]string{{"DELIVERIES", "RECEIVER", "INCIDENTS", "EVENTS", "RESULT"}}
	colours := []string{""}
	for i := range shown {
		d := &shown[i]
		result, colour := result(d)
		rows = append(rows, []string{ago(s.Now.Sub(d.At)) + " ago", cli.Cut(d.Receiver, 18), fmt.Sprint(d.Incidents), fmt.Sprint(d.Events), result})
		colours = append(colours, colour)
	}
	p.line("", "")
	for i, line := range table(rows)[:len(rows)] {
		p.line(colours[i], "%s", line)
	}
}

// result says what came of a delivery.
func result(d *status.Delivery) (text, colour string) {
	text = d.Outcome
	switch d.Outcome {
	case "ok":
		text = "delivered"
		if d.Digest {
			text = "delivered, digest"
		}
	case "retry":
		text, colour = "failed", yellow
	case "bad_payload":
		text, colour = "message refused", red
	case "bad_target":
		text, colour = "receiver refuses", red
	}
	if d.Attempts > 1 {
		text += fmt.Sprintf(" ×%d in %s", d.Attempts, ago(d.At.Sub(d.First)))
	}
	return text, colour
}

// fsync adds how long commits take to reach the disk, which tells of an SD card that becomes slow.
func fsync(s *status.Spool) string {
	if s.Count == 0 {
		return ""
	}
	return fmt.Sprintf(", fsync %.0f ms, max %.0f ms", s.Mean*1000, s.Syncs.Max*1000)
}

func (p *painter) watch(s *status.Document, w status.Watch) {
	where := "all namespaces"
	if w.Namespace != "" {
		where = w.Namespace
	}
	last := "no event yet"
	if !w.LastEvent.IsZero() {
		last = "last event " + ago(s.Now.Sub(w.LastEvent)) + " ago"
	}
	if !w.FailingSince.IsZero() {
		p.line(red, "watch     %s: failing for %s", where, ago(s.Now.Sub(w.FailingSince)))
		if !slices.ContainsFunc(s.Problems, func(problem string) bool { return strings.Contains(problem, w.Failure) }) {
			p.sentence(red, "!", w.Failure)
		}
		return
	}
	p.line("", "watch     %s: %s, %s", where, w.State, last)
}

// receivers shows each receiver, and below it why something of it waits or is lost.
func (p *painter) receivers(s *status.Document) {
	rows := [][]string{{"RECEIVER", "STATE", "DUE", "HELD", "OLDEST", "DEAD", "LOST", "LAST DELIVERED"}}
	for i := range s.Receivers {
		rows = append(rows, cells(s, &s.Receivers[i]))
	}
	lines := table(rows)
	p.line("", "")
	p.line("", "%s", lines[0])
	for i := range s.Receivers {
		r := &s.Receivers[i]
		_, colour := state(r)
		p.line(colour, "%s", lines[i+1])
		if r.Held > 0 && !r.NextDue.IsZero() {
			p.sentence("", " ", fmt.Sprintf("held back: repeats, and what waits for its group; the next is due in %s", ago(r.NextDue.Sub(s.Now))))
		}
		if r.LastError != "" {
			p.sentence(colour, " ", r.LastError)
		}
		for _, l := range r.Losses {
			p.sentence("", " ", fmt.Sprintf("lost (%s): %d events in %d incidents since %s", l.Cause, l.Events, l.Incidents, l.Since.UTC().Format(time.DateOnly)))
		}
	}
}

// cells are those of a receiver's row.
func cells(s *status.Document, r *status.Receiver) []string {
	oldest, last := "-", "never"
	if !r.Oldest.IsZero() && r.Untold > 0 {
		oldest = ago(s.Now.Sub(r.Oldest))
	}
	if !r.LastDelivered.IsZero() {
		last = ago(s.Now.Sub(r.LastDelivered)) + " ago"
	}
	var lost uint64
	for _, l := range r.Losses {
		lost += l.Events
	}
	shown, _ := state(r)
	return []string{
		cli.Cut(r.Name, 18), shown, fmt.Sprint(r.Untold - min(r.Held, r.Untold)), fmt.Sprint(r.Held), oldest, fmt.Sprint(r.Dead), fmt.Sprint(lost), last,
	}
}

// state is the state of a receiver as it is shown.
func state(r *status.Receiver) (text, colour string) {
	switch {
	case r.Type == "":
		return "no config", yellow
	case !r.RefusedSince.IsZero():
		return "REFUSED", red
	case r.State == "backoff":
		return "retrying", yellow
	}
	return r.State, ""
}

// wrap breaks text into lines of at most n characters, at spaces where there are any, and into at most 6 of them.
func wrap(text string, n int) []string {
	var lines []string
	line := ""
	for word := range strings.FieldsSeq(text) {
		for utf8.RuneCountInString(word) > n {
			if line != "" {
				lines, line = append(lines, line), ""
			}
			lines = append(lines, string([]rune(word)[:n]))
			word = string([]rune(word)[n:])
		}
		switch {
		case line == "":
			line = word
		case utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) <= n:
			line += " " + word
		default:
			lines, line = append(lines, line), word
		}
	}
	if line != "" {
		lines = append(lines, line)
	}
	if len(lines) > 6 {
		lines = append(lines[:5], "…")
	}
	return lines
}

// ago shortens a duration to its two largest units.
func ago(d time.Duration) string { return status.Span(d) }

// of adds the budget where there is one.
func of(most int64) string {
	if most == 0 {
		return ""
	}
	return " of " + size(most)
}

// forecast adds what the month will have used, where that can be said.
func forecast(b *status.Budget) string {
	if b.Forecast == 0 {
		return ""
	}
	return ", forecast " + size(b.Forecast)
}

func size(n int64) string {
	switch {
	case n < 1<<10:
		return fmt.Sprintf("%d B", n)
	case n < 1<<20:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	}
	return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
}
