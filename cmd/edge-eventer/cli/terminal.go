package cli

import (
	"io"
	"os"

	"golang.org/x/term"
)

// Columns is the width of a serial console: that of the status, and of a terminal that does not say its own.
const Columns = 80

// IsTerminal tells a terminal from all else, also from /dev/null, which is a character device too.
func IsTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// TerminalColumns returns how many columns a terminal has, and 0 for what is no terminal.
func TerminalColumns(w io.Writer) int {
	if !IsTerminal(w) {
		return 0
	}
	columns, _, err := term.GetSize(int(w.(*os.File).Fd()))
	if err != nil || columns <= 0 {
		return Columns
	}
	return columns
}

// Controllable reports whether w is a terminal that can be cleared.
func Controllable(w io.Writer) bool { return IsTerminal(w) && os.Getenv("TERM") != "dumb" }

// Colours reports whether w shows colours: such a terminal, and nobody who wants none (no-color.org).
func Colours(w io.Writer) bool { return Controllable(w) && os.Getenv("NO_COLOR") == "" }

// Width returns how many columns a text takes on a terminal: Chinese, Japanese and Korean characters and their punctuation take two.
func Width(text string) (columns int) {
	for _, r := range text {
		columns += width(r)
	}
	return columns
}

// width is that of the wide and full-width ranges of Unicode's East Asian Width (UAX #11); all else counts as one column.
func width(r rune) int {
	switch {
	case r < 0x1100:
	case r <= 0x115f, r >= 0x2e80 && r <= 0xa4cf, r >= 0xac00 && r <= 0xd7a3, r >= 0xf900 && r <= 0xfaff, r >= 0xfe30 && r <= 0xfe6f,
		r >= 0xff00 && r <= 0xff60, r >= 0xffe0 && r <= 0xffe6, r >= 0x1f300 && r <= 0x1faff, r >= 0x20000 && r <= 0x3fffd:
		return 2
	}
	return 1
}

// Head returns the longest beginning of text that takes at most n columns.
func Head(text string, n int) string {
	for i, r := range text {
		if n -= width(r); n < 0 {
			return text[:i]
		}
	}
	return text
}

// Cut shortens text to n columns, of which the last says that there is more.
func Cut(text string, n int) string {
	if Width(text) <= n {
		return text
	}
	return Head(text, n-1) + "…"
}
