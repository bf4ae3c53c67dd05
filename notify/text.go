package notify

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// The texts of events come from whoever may create an object in the cluster: they are cleaned, then cut, then escaped for where
// they stand.

// clean makes untrusted text safe to show: valid UTF-8, line ends and tabs as such, every other control character visible as U+FFFD, and
// no characters that are invisible or turn the direction of writing, since they can hide what stands there.
func clean(text string) string {
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

// cleanLine is clean for a text that must stay on one line.
func cleanLine(text string) string {
	return strings.TrimSpace(strings.ReplaceAll(clean(text), "\n", " "))
}

// cut returns text if its width is within limit, else its beginning with a mark that says how much is missing, both
// together within limit. It cuts between runes. A limit too small for the mark gives as much of the text as fits.
func cut(text string, limit int, width func(rune) int) string {
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
		mark := fmt.Sprintf(" … [cut %s]", sizeText(len(text)-at+more))
		switch {
		case widthOf(mark, width) > limit:
			return fitting(text, limit, width)
		case widthOf(text[:at], width)+widthOf(mark, width) <= limit:
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

// prepared cleans a text and cuts it. Of a text that is much too long only the beginning is looked at: a message may have
// megabytes, of which a few hundred bytes are shown.
func prepared(text string, limit int, width func(rune) int, prepare func(string) string) string {
	more := 0
	if most := 8*limit + 1<<10; len(text) > most {
		text, more = text[:most], len(text)-most
	}
	return cutMore(prepare(text), more, limit, width)
}

// quoted is what a platform says, as a part of a reason.
func quoted(text string) string {
	return strings.TrimRight(prepared(text, 200, runeWidth, cleanLine), ".")
}

// validText is all that a reader of JSON needs: an archive gets texts as they are.
func validText(text string) string { return strings.ToValidUTF8(text, "\uFFFD") }

// messageText is the message of an event, of at most limit bytes.
func messageText(text string, limit int) string {
	return prepared(text, limit, byteWidth, func(s string) string { return defuse(strings.TrimSpace(clean(s))) })
}

// nameText is a name on one line, of at most limit characters.
func nameText(text string, limit int) string {
	return prepared(text, limit, runeWidth, func(s string) string { return defuse(cleanLine(s)) })
}

// sizeText shows a size as an operator reads it; it is rounded down.
func sizeText(bytes int) string {
	switch {
	case bytes < 1<<10:
		return fmt.Sprintf("%d bytes", bytes)
	case bytes < 1<<20:
		return fmt.Sprintf("%d KiB", bytes>>10)
	}
	return fmt.Sprintf("%d MiB", bytes>>20)
}

func widthOf(text string, width func(rune) int) int {
	total := 0
	for _, r := range text {
		total += width(r)
	}
	return total
}

// Widths of a rune in the units that platforms count in.

func byteWidth(r rune) int { return max(1, utf8.RuneLen(r)) }

func runeWidth(rune) int { return 1 }

func utf16Width(r rune) int {
	if r > 0xFFFF {
		return 2
	}
	return 1
}

func cutBytes(text string, limit int) string { return cut(text, limit, byteWidth) }

// cutRunes is for labels and names, which people read and platforms do not count.
func cutRunes(text string, limit int) string { return cut(text, limit, runeWidth) }

// defuse makes the mention syntaxes of the chat platforms harmless, wherever the text will stand: a bracket or an at sign that would
// begin one becomes its full-width twin, which looks the same. An image@sha256:… stays as it is.
func defuse(text string) string {
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
