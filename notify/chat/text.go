package chat

import (
	"strings"

	"github.com/edge-eventer/edge-eventer/notify"
)

// Plain is the whole message without any markup.
func (c *Chat) Plain(m *notify.Message, n, textLimit int) string {
	lines := append([]string{c.Title(m, n)}, c.Preface(m)...)
	for i := range m.Incidents[:n] {
		e := c.Entry(m, &m.Incidents[i], textLimit)
		if n > 1 || m.Digest != nil {
			lines = append(lines, "", e.Heading())
		} else if e.Observed != "" {
			lines = append(lines, e.Observed)
		}
		lines = append(lines, e.Lines()...)
	}
	if ending := c.Ending(m, n); len(ending) > 0 {
		lines = append(append(lines, ""), ending...)
	}
	return strings.Join(lines, "\n")
}

// Markdown shows an incident in the markdown of DingTalk and WeCom: heading, the message as a quote, details.
func Markdown(e *Entry, paragraph, lineBreak string) string {
	heading := "**" + Twins(e.Reason) + "** " + Twins(strings.Join(Filled(e.Subject, e.Observed), " "))
	if e.Critical {
		heading = "**" + e.Severity + "** " + heading
	}
	var quoted []string
	for line := range strings.SplitSeq(strings.Join(Filled(e.Message, e.Objects), "\n"), "\n") {
		if line = strings.TrimSpace(line); line != "" {
			quoted = append(quoted, "> "+Twins(line))
		}
	}
	return strings.Join(Filled(heading, strings.Join(quoted, lineBreak), Twins(e.Details)), paragraph)
}

// Twins replaces the characters that begin markup by their full-width twins: neither platform documents an escape. A link needs
// both brackets, a heading stands at the beginning of a line, which is always the receiver's own.
func Twins(text string) string {
	return strings.NewReplacer("*", "＊", "[", "［", "]", "］", "<", "＜", "`", "｀", "~~", "～～").Replace(text)
}

// Request is a POST of a JSON body, as all chat platforms want it.
func Request(m *notify.Message, body []byte, incidents int) *notify.Request {
	return m.Request("application/json; charset=utf-8", body, incidents)
}
