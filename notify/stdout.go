package notify

import (
	"context"
	"io"
	"os"
	"strings"
)

// stdout prints what a person at a terminal wants to read. It takes no answer, so that a written message is a delivered one.
type stdout struct {
	chat

	out   io.Writer
	color bool
	// busy holds a token while a write is under way: a pipe that nobody reads must not hold Send beyond its deadline.
	busy chan struct{}
}

func newStdout(cfg Config, p *poster) Receiver {
	s := &stdout{chat: newChat(cfg, p, Limits{Batch: DefaultBatchMax}), out: cfg.Output, busy: make(chan struct{}, 1)}
	if s.out == nil {
		s.out = os.Stdout
	}
	if f, ok := s.out.(*os.File); ok && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" {
		info, err := f.Stat()
		s.color = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	return s
}

// Escape sequences of a terminal.
const (
	styleRed    = "\x1b[31;1m"
	styleYellow = "\x1b[33;1m"
	styleFaint  = "\x1b[2m"
	styleNone   = "\x1b[0m"
)

// Render prints one block for each incident: severity and heading, then the message and what belongs to it, indented.
func (s *stdout) Render(m *Message, _ Form) (*Request, error) {
	style := func(style, text string) string {
		if !s.color || text == "" {
			return text
		}
		return style + text + styleNone
	}
	var b strings.Builder
	n, limit := min(len(m.Incidents), s.most(m)), textLimit(1)
	if m.Digest != nil {
		limit = digestText
		b.WriteString(style(styleRed, pad("!")) + s.title(m, n) + "\n")
	}
	for _, line := range s.preface(m) {
		b.WriteString(style(styleRed, pad("!")) + line + "\n")
	}
	for i := range m.Incidents[:n] {
		e := s.entry(m, &m.Incidents[i], limit)
		mark := styleYellow
		if e.critical {
			mark = styleRed
		}
		b.WriteString(style(mark, pad(e.severity)) + e.heading() + "\n")
		for line := range strings.SplitSeq(strings.Join(filled(e.message, e.objects), "\n"), "\n") {
			if line != "" {
				b.WriteString(pad("") + line + "\n")
			}
		}
		b.WriteString(pad("") + style(styleFaint, e.details) + "\n")
	}
	for _, line := range s.ending(m, n) {
		b.WriteString(pad("") + line + "\n")
	}
	return &Request{Method: "PRINT", Body: []byte(b.String()), Incidents: n, Time: m.Now, Losses: m.lossesIn(LossesWhole)}, nil
}

// pad fills a text up to the column where headings and messages begin.
func pad(text string) string {
	const column = 10
	return text + strings.Repeat(" ", max(1, column-widthOf(text, columnWidth)))
}

// columnWidth is how many columns of a terminal a rune takes: Han characters take two.
func columnWidth(r rune) int {
	if r >= 0x1100 {
		return 2
	}
	return 1
}

// Send writes the text in one call.
func (s *stdout) Send(ctx context.Context, r *Request) error {
	select {
	case s.busy <- struct{}{}:
	case <-ctx.Done():
		return &Error{Outcome: Retry, Reason: "the output takes nothing", Err: context.Cause(ctx)}
	}
	done := make(chan error, 1)
	go func() {
		_, err := s.out.Write(r.Body)
		<-s.busy
		done <- err
	}()
	select {
	case err := <-done:
		if err != nil {
			return &Error{Outcome: Retry, Reason: "cannot write to the output", Err: err}
		}
		return nil
	case <-ctx.Done():
		return &Error{Outcome: Retry, Reason: "the output takes nothing", Err: context.Cause(ctx)}
	}
}
