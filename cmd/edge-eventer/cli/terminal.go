package cli

import (
	"io"
	"os"
	"unicode/utf8"

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

// Cut shortens text to n characters, of which the last says that there is more.
func Cut(text string, n int) string {
	if utf8.RuneCountInString(text) <= n {
		return text
	}
	return string([]rune(text)[:n-1]) + "…"
}
