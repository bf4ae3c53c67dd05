package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/edge-eventer/edge-eventer/agent/config"
	"github.com/edge-eventer/edge-eventer/agent/control"
	"github.com/edge-eventer/edge-eventer/agent/status"
)

const (
	// width is that of a serial console. No line of the status is longer.
	width = 80
	// redraw is how often --watch asks.
	redraw = 2 * time.Second
	// maxDeliveries is how many of the last deliveries are shown.
	maxDeliveries = 5
)

func statusCommand(s streams) *cobra.Command {
	command := &cobra.Command{
		Use:   "status",
		Short: "is it working, and if not, why",
		Long: `What the agent is doing: link, queues, budget, losses, last deliveries. The first line says whether it works; lines with ! say why not, > what
that means and what to do, * what else is worth knowing. Colours only on a terminal, and not where NO_COLOR is set. Exit status 1: no agent
answers; 3: it may not be asked, so whether it works is not known.`,
		Example: `  sudo edge-eventer status --watch
  kubectl -n edge-eventer exec deploy/edge-eventer -- edge-eventer status -o json`,
		Args: takes(0, 0, ""),
	}
	path := configFlag(command, ", which names the spool")
	format := command.Flags().StringP("output", "o", "text", "`FORMAT`: text or json")
	complete(command, "output", []string{"text", "json"})
	watch := command.Flags().Bool("watch", false, "draw again every 2 seconds until interrupted")
	command.RunE = func(*cobra.Command, []string) error {
		if *format != "text" && *format != "json" {
			return fmt.Errorf("--output takes text or json, not %q", *format)
		}
		return ended(showStatus(path, format, watch, s))
	}
	return command
}

func showStatus(path, format *string, watch *bool, s streams) int {
	c, mistakes := config.LoadAnyway(*path)
	if errors.Is(mistakes, fs.ErrPermission) {
		var p painter
		fmt.Fprint(s.err, p.unknown(fmt.Errorf("%w; run it with sudo", mistakes)))
		return exitUnknown
	}
	if c == nil {
		return refuse(*path, mistakes, s)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	client := control.NewClient(c.Socket())
	defer client.Close()
	p := painter{colours: colours(s.out)}
	if _, err := client.Status(ctx); err != nil && !errors.Is(err, control.ErrDenied) && mistakes != nil {
		// An agent that runs says itself what it thinks of the file.
		return refuse(*path, mistakes, s)
	}
	redraws := *watch && *format == "text" && controllable(s.out)
	for {
		document, err := client.Status(ctx)
		if ctx.Err() != nil {
			return exitOK
		}
		if redraws {
			// Home and clear to the end, so that nothing flickers.
			fmt.Fprint(s.out, "\x1b[H\x1b[J")
		}
		switch {
		case errors.Is(err, control.ErrDenied):
			fmt.Fprint(s.err, p.unknown(err))
			if !*watch {
				return exitUnknown
			}
		case err != nil:
			fmt.Fprint(s.err, p.absent(err, whyNot(ctx, c, err)))
			if !*watch {
				return exitFailed
			}
		case *format == "json":
			if err := json.NewEncoder(s.out).Encode(document); err != nil {
				fmt.Fprintln(s.err, "edge-eventer status:", err)
				return exitFailed
			}
		default:
			fmt.Fprint(s.out, p.status(&document))
		}
		if !*watch {
			return exitOK
		}
		select {
		case <-time.After(redraw):
		case <-ctx.Done():
			return exitOK
		}
	}
}

// loadConfig returns the configuration, or nil and the exit code after its mistakes were printed.
func loadConfig(path string, s streams) (*config.Config, int) {
	c, err := config.Load(path)
	if err != nil {
		return nil, refuse(path, err, s)
	}
	return c, exitOK
}

// refuse prints the mistakes of a configuration, each as FILE:LINE: KEY: TEXT, and returns the exit code.
func refuse(path string, mistakes error, s streams) int {
	found, ok := errors.AsType[*config.Errors](mistakes)
	if !ok {
		fmt.Fprintf(s.err, "edge-eventer: %v\n", mistakes)
		if errors.Is(mistakes, fs.ErrPermission) {
			fmt.Fprintln(s.err, "Run it with sudo.")
		}
		if errors.Is(mistakes, fs.ErrNotExist) {
			fmt.Fprintln(s.err, "edge-eventer init writes a first configuration: see edge-eventer init --help")
		}
		return exitUsage
	}
	for _, m := range found.Mistakes {
		fmt.Fprintln(s.err, m.In(path))
	}
	if found.More > 0 {
		fmt.Fprintf(s.err, "%s: and %d more\n", path, found.More)
	}
	return exitUsage
}

// whyNot says what an agent that does not answer on its socket says of itself: while it cannot open its spool, only the HTTP
// port is there.
func whyNot(ctx context.Context, c *config.Config, err error) []string {
	if !errors.Is(err, control.ErrNotRunning) || c.Server.Listen == "" {
		return nil
	}
	host, port, err := net.SplitHostPort(c.Server.Listen)
	if err != nil {
		return nil
	}
	if host == "" || host == "0.0.0.0" || host == "::" {
		host = "localhost"
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(host, port)+"/readyz", nil)
	if err != nil {
		return nil
	}
	// A proxy of the environment has no business with the agent beside us.
	answer, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(request)
	if err != nil {
		return []string{"look at: systemctl status edge-eventer, journalctl -u edge-eventer -n 50"}
	}
	defer answer.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(answer.Body, 4<<10))
	return []string{"something answers on " + c.Server.Listen + ": " + clean(string(body))}
}

// controllable reports whether w is a terminal that can be cleared.
func controllable(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && isTerminal(f) && os.Getenv("TERM") != "dumb"
}

// colours reports whether w shows colours: such a terminal, and nobody who wants none (no-color.org).
func colours(w io.Writer) bool { return controllable(w) && os.Getenv("NO_COLOR") == "" }

// isTerminal also tells a terminal from /dev/null, which is a character device too.
func isTerminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }

// painter draws the status for a person.
type painter struct {
	colours bool
	b       strings.Builder
}

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
	text := cut(fmt.Sprintf(format, args...), width)
	if colour != "" {
		text = p.paint(colour, text)
	}
	p.b.WriteString(text + "\n")
}

// sentence writes a text of any length as lines that fit, indented.
func (p *painter) sentence(colour, mark, text string) {
	for i, part := range wrap(clean(text), width-4) {
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
	headline, waiting := clean(s.Verdict.Headline+"  "+s.Cluster), s.Verdict.Waiting
	if one := headline + ": " + waiting; waiting != "" && utf8.RuneCountInString(one) <= width {
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
		link += ", " + clean(s.Link.Reason)
	}
	p.line("", "link      %s", link)
	if b := s.Budget; b != nil && b.DayMax+b.MonthMax > 0 {
		p.line("", "budget    %s: today %s%s, month %s%s%s", b.Level, size(b.Day), of(b.DayMax), size(b.Month), of(b.MonthMax), forecast(b))
	} else if b != nil {
		p.line("", "traffic   today %s, month %s%s, no budget", size(b.Day), size(b.Month), forecast(b))
	}
	p.line("", "")
	p.line("", "%-18s %-9s %6s %6s %7s %4s %5s  %s", "RECEIVER", "STATE", "DUE", "HELD", "OLDEST", "DEAD", "LOST", "LAST DELIVERED")
	for i := range s.Receivers {
		p.receiver(s, &s.Receivers[i])
	}
	if len(s.Deliveries) > 0 {
		p.line("", "")
		p.line("", "%-10s %-18s %9s %7s  %s", "DELIVERIES", "RECEIVER", "INCIDENTS", "EVENTS", "RESULT")
	}
	for _, d := range s.Deliveries[:min(len(s.Deliveries), maxDeliveries)] {
		p.delivery(s, &d)
	}
	return p.b.String()
}

// delivery is one line of the last deliveries.
func (p *painter) delivery(s *status.Document, d *status.Delivery) {
	result, colour := d.Outcome, ""
	switch d.Outcome {
	case "ok":
		result = "delivered"
		if d.Digest {
			result = "delivered, digest"
		}
	case "retry":
		result, colour = "failed", yellow
	case "bad_payload":
		result, colour = "message refused", red
	case "bad_target":
		result, colour = "receiver refuses", red
	}
	if d.Attempts > 1 {
		result += fmt.Sprintf(" ×%d in %s", d.Attempts, ago(d.At.Sub(d.First)))
	}
	p.line(colour, "%-10s %-18s %9d %7d  %s", ago(s.Now.Sub(d.At))+" ago", cut(d.Receiver, 18), d.Incidents, d.Events, result)
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

func (p *painter) receiver(s *status.Document, r *status.Receiver) {
	state, colour := r.State, ""
	switch {
	case r.Type == "":
		state, colour = "no config", yellow
	case !r.RefusedSince.IsZero():
		state, colour = "REFUSED", red
	case state == "backoff":
		state, colour = "retrying", yellow
	}
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
	p.line(colour, "%-18s %-9s %6d %6d %7s %4d %5d  %s", cut(r.Name, 18), state, r.Untold-min(r.Held, r.Untold), r.Held, oldest, r.Dead, lost, last)
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

// cut shortens text to n characters.
func cut(text string, n int) string {
	if utf8.RuneCountInString(text) <= n {
		return text
	}
	return string([]rune(text)[:n-1]) + "…"
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

// clean makes what came from elsewhere harmless on a terminal: an event's message may hold escape sequences.
func clean(text string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t' || r == '\r':
			return ' '
		case r < ' ' || r >= 0x7f && r < 0xa0 || r == utf8.RuneError || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069:
			return -1
		}
		return r
	}, text))
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
