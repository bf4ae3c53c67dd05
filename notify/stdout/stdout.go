package stdout

import (
	"context"
	"io"
	"strings"

	"github.com/edge-eventer/edge-eventer/notify"
	"github.com/edge-eventer/edge-eventer/notify/chat"
	"github.com/edge-eventer/edge-eventer/notify/untrusted"
)

// receiver prints what a person at a terminal wants to read. It takes no answer, so that a written message is a delivered one.
type receiver struct {
	chat.Chat

	out   io.Writer
	color bool
	// busy holds a token while a write is under way: a pipe that nobody reads must not hold Send beyond its deadline.
	busy chan struct{}
}

// Escape sequences of a terminal.
const (
	styleRed    = "\x1b[31;1m"
	styleYellow = "\x1b[33;1m"
	styleFaint  = "\x1b[2m"
	styleNone   = "\x1b[0m"
)

// Render prints one block for each incident: severity and heading, then the message and what belongs to it, indented.
func (s *receiver) Render(m *notify.Message, _ notify.Form) (*notify.Request, error) {
	style := func(style, text string) string {
		if !s.color || text == "" {
			return text
		}
		return style + text + styleNone
	}
	var b strings.Builder
	n, limit := min(len(m.Incidents), s.Most(m)), chat.TextLimit(1)
	if m.Digest != nil {
		limit = chat.DigestText
		b.WriteString(style(styleRed, pad("!")) + s.Title(m, n) + "\n")
	}
	for _, line := range s.Preface(m) {
		b.WriteString(style(styleRed, pad("!")) + line + "\n")
	}
	for i := range m.Incidents[:n] {
		e := s.Entry(m, &m.Incidents[i], limit)
		mark := styleYellow
		if e.Critical {
			mark = styleRed
		}
		b.WriteString(style(mark, pad(e.Severity)) + e.Heading() + "\n")
		for line := range strings.SplitSeq(strings.Join(chat.Filled(e.Message, e.Objects), "\n"), "\n") {
			if line != "" {
				b.WriteString(pad("") + line + "\n")
			}
		}
		b.WriteString(pad("") + style(styleFaint, e.Details) + "\n")
	}
	for _, line := range s.Ending(m, n) {
		b.WriteString(pad("") + line + "\n")
	}
	return &notify.Request{Method: "PRINT", Body: []byte(b.String()), Incidents: n, Time: m.Now, Losses: m.LossesIn(notify.LossesWhole)}, nil
}

// pad fills a text up to the column where headings and messages begin.
func pad(text string) string {
	const column = 10
	return text + strings.Repeat(" ", max(1, column-untrusted.Width(text, columnWidth)))
}

// columnWidth is how many columns of a terminal a rune takes: Han characters take two.
func columnWidth(r rune) int {
	if r >= 0x1100 {
		return 2
	}
	return 1
}

// Send writes the text in one call.
func (s *receiver) Send(ctx context.Context, r *notify.Request) error {
	select {
	case s.busy <- struct{}{}:
	case <-ctx.Done():
		return &notify.Error{Outcome: notify.Retry, Reason: "the output takes nothing", Err: context.Cause(ctx)}
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
			return &notify.Error{Outcome: notify.Retry, Reason: "cannot write to the output", Err: err}
		}
		return nil
	case <-ctx.Done():
		return &notify.Error{Outcome: notify.Retry, Reason: "the output takes nothing", Err: context.Cause(ctx)}
	}
}
