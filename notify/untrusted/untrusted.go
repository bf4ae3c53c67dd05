// Package untrusted makes the texts of others fit to be shown or stored: those of events, which come from whoever may create an object in
// the cluster, and those of receivers' answers. They are cleaned, then cut to a size with a mark of what is missing, and then escaped
// by whoever knows where they stand. Cutting never splits a character, and the work is bounded by the limit, not by the text.
package untrusted

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Clean makes untrusted text safe to show: valid UTF-8, line ends and tabs as such, every other control character visible as U+FFFD, and
// no characters that are invisible or turn the direction of writing, since they can hide what stands there.
func Clean(text string) string {
	dirty := func(r rune) bool { return r == utf8.RuneError || r < ' ' && r != '\n' || r > '~' && isHidden(r) }
	if strings.IndexFunc(text, dirty) < 0 && utf8.ValidString(text) {
		return text
	}
	text = strings.ReplaceAll(text, "\r\n", "\n")
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n':
			return r
		case r == '\t':
			return ' '
		case r == '\r', r == '\u2028', r == '\u2029':
			return '\n'
		case unicode.IsControl(r):
			return utf8.RuneError
		case isHidden(r):
			return -1
		}
		return r
	}, text)
}

// isHidden reports control characters, format characters (zero width, bidirectional, tags), line separators, variation
// selectors and the fillers that show nothing.
func isHidden(r rune) bool {
	return unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp, unicode.Variation_Selector) ||
		r == '\u115F' || r == '\u1160' || r == '\u3164' || r == '\uFFA0' || r == '\u034F'
}

// CleanLine is clean for a text that must stay on one line.
func CleanLine(text string) string {
	return strings.TrimSpace(strings.ReplaceAll(Clean(text), "\n", " "))
}

// Cut returns text if its width is within limit, else its beginning with a mark that says how much is missing, both
// together within limit. It cuts between runes. A limit too small for the mark gives as much of the text as fits.
func Cut(text string, limit int, width func(rune) int) string {
	return cutMore(text, 0, limit, width)
}

// cutMore is cut for a text of which more bytes are missing already.
func cutMore(text string, more, limit int, width func(rune) int) string {
	total, at := 0, 0
	const room = len(" … [cut 1023 KiB]")
	for i, r := range text {
		if total <= limit-room {
			at = i
		}
		if total += width(r); total > limit {
			return cutAt(text, at, more, limit, width)
		}
	}
	if more > 0 {
		return cutAt(text, len(text), more, limit, width)
	}
	return text
}

// cutAt cuts at the given byte or, where the mark does not fit then, at an earlier one.
func cutAt(text string, at, more, limit int, width func(rune) int) string {
	for {
		mark := fmt.Sprintf(" … [cut %s]", Size(len(text)-at+more))
		switch {
		case Width(mark, width) > limit:
			return fitting(text, limit, width)
		case Width(text[:at], width)+Width(mark, width) <= limit:
			return text[:at] + mark
		}
		_, size := utf8.DecodeLastRuneInString(text[:at])
		at -= size
	}
}

// fitting returns as much of the text as fits, without a mark.
func fitting(text string, limit int, width func(rune) int) string {
	end, total := 0, 0
	for i, r := range text {
		if total += width(r); total > limit {
			break
		}
		end = i + utf8.RuneLen(r)
	}
	return text[:end]
}

// Prepared cleans a text and cuts it. Of a text that is much too long only the beginning is looked at: a message may have
// megabytes, of which a few hundred bytes are shown.
func Prepared(text string, limit int, width func(rune) int, prepare func(string) string) string {
	more := 0
	if most := 8*limit + 1<<10; len(text) > most {
		text, more = text[:most], len(text)-most
	}
	return cutMore(prepare(text), more, limit, width)
}

// Raw is a text as an archive takes it: valid UTF-8 of at most limit bytes.
func Raw(text string, limit int) string { return Prepared(text, limit, Bytes, Valid) }

// Line is a text on one line, without control characters, of at most limit bytes.
func Line(text string, limit int) string { return Prepared(text, limit, Bytes, CleanLine) }

// Quoted is what a platform says, as a part of a reason.
func Quoted(text string) string {
	return strings.TrimRight(Prepared(text, 200, Runes, CleanLine), ".")
}

// Valid is all that a reader of JSON needs: an archive gets texts as they are.
func Valid(text string) string { return strings.ToValidUTF8(text, "\uFFFD") }

// Message is the message of an event, of at most limit bytes.
func Message(text string, limit int) string {
	return Prepared(text, limit, Bytes, func(s string) string { return Defuse(strings.TrimSpace(Clean(s))) })
}

// Name is a name on one line, of at most limit characters.
func Name(text string, limit int) string {
	return Prepared(text, limit, Runes, func(s string) string { return Defuse(CleanLine(s)) })
}

// Size shows a size as an operator reads it; it is rounded down.
func Size(bytes int) string {
	switch {
	case bytes < 1<<10:
		return fmt.Sprintf("%d bytes", bytes)
	case bytes < 1<<20:
		return fmt.Sprintf("%d KiB", bytes>>10)
	}
	return fmt.Sprintf("%d MiB", bytes>>20)
}

// Width sums up the widths of the runes.
func Width(text string, width func(rune) int) int {
	total := 0
	for _, r := range text {
		total += width(r)
	}
	return total
}

// Bytes is the width of a rune in bytes of UTF-8.
func Bytes(r rune) int { return max(1, utf8.RuneLen(r)) }

// Runes is the width of a rune in characters.
func Runes(rune) int { return 1 }

// UTF16 is the width of a rune in code units of UTF-16.
func UTF16(r rune) int {
	if r > 0xFFFF {
		return 2
	}
	return 1
}

// CutBytes cuts to a number of bytes.
func CutBytes(text string, limit int) string { return Cut(text, limit, Bytes) }

// CutRunes is for labels and names, which people read and platforms do not count.
func CutRunes(text string, limit int) string { return Cut(text, limit, Runes) }

// Defuse makes the mention syntaxes of the chat platforms harmless, wherever the text will stand: a bracket or an at sign that would
// begin one becomes its full-width twin, which looks the same. An image@sha256:… stays as it is.
func Defuse(text string) string {
	if !strings.ContainsAny(text, "<@") {
		return text
	}
	var b strings.Builder
	b.Grow(len(text) + 16)
	for len(text) > 0 {
		r, size := utf8.DecodeRuneInString(text)
		text = text[size:]
		switch {
		case r == '<' && beginsWith(text, "at", "/at", "!", "@"):
			r = '＜'
		case r == '@' && beginsWith(text, "all", "everyone", "here", "channel", "所有人"):
			r = '＠'
		}
		b.WriteRune(r)
	}
	return b.String()
}

func beginsWith(text string, words ...string) bool {
	for _, w := range words {
		if len(text) >= len(w) && strings.EqualFold(text[:len(w)], w) {
			return true
		}
	}
	return false
}
