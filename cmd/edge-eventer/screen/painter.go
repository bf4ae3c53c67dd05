// Package screen draws the status of an agent for a person at a terminal of 80 columns, in the configured language.
package screen

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/status"
	"github.com/edge-eventer/edge-eventer/cmd/edge-eventer/cli"
	"github.com/edge-eventer/edge-eventer/notify/untrusted"
)

// Painter draws the status for a person.
type Painter struct {
	// Colours says whether the terminal shows colours.
	Colours bool
	// Language is the configured one, en or zh.
	Language string
	b        strings.Builder
}

// maxDeliveries is how many of the last deliveries are shown.
const maxDeliveries = 5

const (
	red    = "31;1"
	yellow = "33"
	green  = "32;1"
)

func (p *Painter) paint(colour, text string) string {
	if !p.Colours {
		return text
	}
	return "\x1b[" + colour + "m" + text + "\x1b[0m"
}

// line writes one line, cut to the width. Colours do not count.
func (p *Painter) line(colour, format string, args ...any) {
	text := cli.Cut(fmt.Sprintf(format, args...), cli.Columns)
	if colour != "" {
		text = p.paint(colour, text)
	}
	p.b.WriteString(text + "\n")
}

// sentence writes a text of any length as lines that fit, indented.
func (p *Painter) sentence(colour, mark, text string) {
	for i, part := range wrap(untrusted.CleanLine(text), cli.Columns-4) {
		if i > 0 {
			mark = " "
		}
		p.line(colour, "  %s %s", mark, part)
	}
}

// Absent says that no agent answers, and what else is known.
func (p *Painter) Absent(err error, known []string) string {
	p.b.Reset()
	p.line(red, "%s", p.in("NOT WORKING"))
	for _, text := range append([]string{err.Error()}, known...) {
		p.sentence(red, "!", text)
	}
	return p.b.String()
}

// Unknown says that the agent may not be asked.
func (p *Painter) Unknown(err error) string {
	p.b.Reset()
	p.line(yellow, "%s", p.in("UNKNOWN"))
	p.sentence(yellow, "!", err.Error())
	return p.b.String()
}

// Status answers first whether it works, and if not, why.
func (p *Painter) Status(s *status.Document) string {
	p.b.Reset()
	p.Language = s.Language
	p.verdict(s)
	p.line("", "")
	p.fact("agent", p.in("%s, up %s, memory %s (peak %s)"), s.Version, ago(s.Now.Sub(s.Started)), size(s.Memory.Resident), size(s.Memory.Peak))
	for i := range s.Watch {
		p.watch(s, &s.Watch[i])
	}
	p.fact("events", p.in("%d committed, %d filtered, %d already known, %d too old"), s.Intake.Committed, s.Intake.Filtered, s.Intake.Known, s.Intake.Old)
	p.fact("spool", p.in("%s of %s used, file %s")+"%s", size(s.Spool.Used), size(s.Spool.Max), size(s.Spool.File), p.fsync(&s.Spool))
	p.link(s)
	p.budget(s.Budget)
	p.receivers(s)
	if len(s.Deliveries) > 0 {
		p.deliveries(s)
	}
	return p.b.String()
}

// verdict is what is read first, and by most only that.
func (p *Painter) verdict(s *status.Document) {
	colour := map[string]string{status.Working: green, status.Degraded: yellow}[s.Verdict.Level]
	if colour == "" {
		colour = red
	}
	headline, waiting := untrusted.CleanLine(s.Verdict.Headline+"  "+s.Cluster), s.Verdict.Waiting
	if one := fmt.Sprintf(p.in("%s: %s"), headline, waiting); waiting != "" && cli.Width(one) <= cli.Columns {
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
}

// labelColumns is how wide the labels of facts are.
const labelColumns = 10

// fact writes one line with a label.
func (p *Painter) fact(label, format string, args ...any) { p.colouredFact("", label, format, args...) }

func (p *Painter) colouredFact(colour, label, format string, args ...any) {
	p.line(colour, "%s%s", padded(p.in(label), labelColumns), fmt.Sprintf(format, args...))
}

func (p *Painter) link(s *status.Document) {
	link := p.in(s.LinkState)
	if !s.LinkSince.IsZero() {
		link = fmt.Sprintf(p.in("%s for %s"), link, ago(s.Now.Sub(s.LinkSince)))
	}
	if s.LinkReason != "" {
		link = fmt.Sprintf(p.in("%s, %s"), link, untrusted.CleanLine(s.LinkReason))
	}
	p.fact("link", "%s", link)
}

func (p *Painter) budget(b *status.Budget) {
	if b == nil {
		return
	}
	forecast := ""
	if b.Forecast != 0 {
		forecast = fmt.Sprintf(p.in(", forecast %s"), size(b.Forecast))
	}
	if b.DayMax+b.MonthMax > 0 {
		p.fact("budget", p.in("%s: today %s, month %s%s"), p.in(b.Level), p.used(b.Day, b.DayMax), p.used(b.Month, b.MonthMax), forecast)
		return
	}
	p.fact("traffic", p.in("today %s, month %s%s, no budget"), size(b.Day), size(b.Month), forecast)
}

// used is what was used of a budget, where there is one.
func (p *Painter) used(n, most int64) string {
	if most == 0 {
		return size(n)
	}
	return size(n) + p.in(" of ") + size(most)
}

// table aligns the cells of rows in columns by what they take on a terminal; text/tabwriter counts characters, and Chinese ones are wide.
func table(rows [][]string) []string {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], cli.Width(cell))
		}
	}
	lines := make([]string, len(rows))
	for i, row := range rows {
		for j, cell := range row[:len(row)-1] {
			lines[i] += padded(cell, widths[j]+2)
		}
		lines[i] += row[len(row)-1]
	}
	return lines
}

// padded adds spaces to a text until it takes n columns.
func padded(text string, n int) string { return text + strings.Repeat(" ", max(0, n-cli.Width(text))) }

// deliveries shows the last deliveries.
func (p *Painter) deliveries(s *status.Document) {
	shown := s.Deliveries[:min(len(s.Deliveries), maxDeliveries)]
	rows := [][]string{{p.in("DELIVERIES"), p.in("RECEIVER"), p.in("INCIDENTS"), p.in("EVENTS"), p.in("RESULT")}}
	colours := []string{""}
	for i := range shown {
		d := &shown[i]
		result, colour := p.result(d)
		rows = append(rows, []string{p.before(s.Now, d.At), cli.Cut(d.Receiver, 18), fmt.Sprint(d.Incidents), fmt.Sprint(d.Events), result})
		colours = append(colours, colour)
	}
	p.line("", "")
	for i, line := range table(rows) {
		p.line(colours[i], "%s", line)
	}
}

// result says what came of a delivery.
func (p *Painter) result(d *status.Delivery) (text, colour string) {
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
	text = p.in(text)
	if d.Attempts > 1 {
		text += fmt.Sprintf(p.in(" ×%d in %s"), d.Attempts, ago(d.At.Sub(d.First)))
	}
	return text, colour
}

// fsync adds how long commits take to reach the disk, which tells of an SD card that becomes slow.
func (p *Painter) fsync(s *status.Spool) string {
	if s.Count == 0 {
		return ""
	}
	return fmt.Sprintf(p.in(", fsync %.0f ms, max %.0f ms"), s.Mean*1000, s.Syncs.Max*1000)
}

func (p *Painter) watch(s *status.Document, w *status.Watch) {
	where := p.in("all namespaces")
	if w.Namespace != "" {
		where = w.Namespace
	}
	if !w.FailingSince.IsZero() {
		p.colouredFact(red, "watch", p.in("%s: failing for %s"), where, ago(s.Now.Sub(w.FailingSince)))
		if !slices.ContainsFunc(s.Problems, func(problem string) bool { return strings.Contains(problem, w.Failure) }) {
			p.sentence(red, "!", w.Failure)
		}
		return
	}
	last := p.in("no event yet")
	if !w.LastEvent.IsZero() {
		last = fmt.Sprintf(p.in("last event %s ago"), p.span(s.Now.Sub(w.LastEvent)))
	}
	p.fact("watch", p.in("%s: %s, %s"), where, p.in(w.State), last)
}

// receivers shows each receiver, and below it why something of it waits or is lost.
func (p *Painter) receivers(s *status.Document) {
	heads := []string{"RECEIVER", "STATE", "DUE", "HELD", "OLDEST", "DEAD", "LOST", "LAST DELIVERED"}
	for i := range heads {
		heads[i] = p.in(heads[i])
	}
	rows := [][]string{heads}
	for i := range s.Receivers {
		rows = append(rows, p.cells(s, &s.Receivers[i]))
	}
	lines := table(rows)
	p.line("", "")
	p.line("", "%s", lines[0])
	for i := range s.Receivers {
		r := &s.Receivers[i]
		_, colour := state(r)
		p.line(colour, "%s", lines[i+1])
		if r.Held > 0 && !r.NextDue.IsZero() {
			p.sentence("", " ", fmt.Sprintf(p.in("held back: repeats, and what waits for its group; the next is due in %s"), p.span(r.NextDue.Sub(s.Now))))
		}
		if r.LastError != "" {
			p.sentence(colour, " ", r.LastError)
		}
		for _, l := range r.Losses {
			p.sentence("", " ", fmt.Sprintf(p.in("lost (%s): %d events in %d incidents since %s"), l.Cause, l.Events, l.Incidents, l.Since.UTC().Format(time.DateOnly)))
		}
	}
}

// cells are those of a receiver's row.
func (p *Painter) cells(s *status.Document, r *status.Receiver) []string {
	oldest, last := "-", p.in("never")
	if !r.Oldest.IsZero() && r.Untold > 0 {
		oldest = ago(s.Now.Sub(r.Oldest))
	}
	if !r.LastDelivered.IsZero() {
		last = p.before(s.Now, r.LastDelivered)
	}
	var lost uint64
	for _, l := range r.Losses {
		lost += l.Events
	}
	shown, _ := state(r)
	return []string{
		cli.Cut(r.Name, 18), p.in(shown), fmt.Sprint(r.Due()), fmt.Sprint(r.Held), oldest, fmt.Sprint(r.Dead), fmt.Sprint(lost), last,
	}
}

// state is the state of a receiver as it is shown.
func state(r *status.Receiver) (text, colour string) {
	switch {
	case r.Type == "":
		return "no config", yellow
	case len(r.MissingFiles) > 0:
		return "NO SECRET", red
	case !r.RefusedSince.IsZero():
		return "REFUSED", red
	case r.State == "backoff":
		return "retrying", yellow
	}
	return r.State, ""
}

// wrap breaks text into lines of at most n columns, at spaces where there are any, and into at most 6 of them.
func wrap(text string, n int) []string {
	var lines []string
	line := ""
	for word := range strings.FieldsSeq(text) {
		for cli.Width(word) > n {
			if line != "" {
				lines, line = append(lines, line), ""
			}
			head := cli.Head(word, n)
			lines, word = append(lines, head), word[len(head):]
		}
		switch {
		case line == "":
			line = word
		case cli.Width(line)+1+cli.Width(word) <= n:
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

// span is a duration before a word: Chinese ones follow a Latin letter after a space.
func (p *Painter) span(d time.Duration) string {
	if p.Language == status.Chinese {
		return ago(d) + " "
	}
	return ago(d)
}

// before says how long before now something was.
func (p *Painter) before(now, at time.Time) string {
	return fmt.Sprintf(p.in("%s ago"), p.span(now.Sub(at)))
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
