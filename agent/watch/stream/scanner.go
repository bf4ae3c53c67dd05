package stream

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"unicode/utf8"
)

const (
	// maxValue is how much of one event or frame is kept in memory. The API server takes no request above 3 MiB and etcd
	// no object above 1.5 MiB, nearly all of it message, of which the scanner keeps maxRawString.
	maxValue = 1 << 20
	// maxRawString is how much of a JSON string is kept: what MaxMessage bytes take at worst, with each byte as \u00XX.
	maxRawString = 6*MaxMessage + 64
	// keepBuffer is the size above which the buffer is given back after use.
	keepBuffer = 64 << 10
)

// errTooLarge is the error of a value that was read over because it is larger than maxValue. The next one can be read.
var errTooLarge = fmt.Errorf("event is larger than %d bytes even without the end of its message", maxValue)

// Scanner cuts a stream of JSON into values without holding more than one of them, and of a long string only the
// beginning. It checks no more of the syntax than it needs to find where a value ends: encoding/json does the rest.
//
// A json.Decoder would hold a whole event with a 1 MiB message two times, and could not go on after one that is too large.
type Scanner struct {
	r   *bufio.Reader
	buf []byte
	// cut is how many bytes, decoded, the longest cut string of the last value lost.
	cut int
}

// NewScanner returns a Scanner that reads from r, 8 KiB at a time.
func NewScanner(r io.Reader) *Scanner { return &Scanner{r: bufio.NewReaderSize(r, 8<<10)} }

// peek returns the next byte that is not white space. At the end of the stream it returns io.EOF.
func (s *Scanner) peek() (byte, error) {
	for {
		c, err := s.r.ReadByte()
		if err != nil {
			return 0, err
		}
		switch c {
		case ' ', '\t', '\r', '\n':
			continue
		}
		return c, s.r.UnreadByte()
	}
}

// expect reads over white space and the byte.
func (s *Scanner) expect(want byte) error {
	c, err := s.peek()
	if err != nil {
		return unexpected(err)
	}
	if c != want {
		return Malformed("answer has %q where JSON needs %q", c, want)
	}
	_, err = s.r.Discard(1)
	return err
}

// Raw is an event or a frame as it came. It is valid until the Scanner reads on.
type Raw struct {
	data []byte
	// cut is how many bytes, decoded, the longest cut string lost.
	cut int
	// tooLarge says that data is only the beginning.
	tooLarge bool
}

// Next reads the next event or frame. The end of the stream before its first byte is io.EOF, an end within it io.ErrUnexpectedEOF.
func (s *Scanner) Next() (Raw, error) {
	data, err := s.value()
	if errors.Is(err, errTooLarge) {
		return Raw{s.buf, s.cut, true}, nil
	}
	return Raw{data: data, cut: s.cut}, err
}

// value reads the next value. It is valid until the next call. An end of the stream before the first byte is io.EOF.
func (s *Scanner) value() ([]byte, error) {
	if cap(s.buf) > keepBuffer {
		s.buf = nil
	}
	s.buf, s.cut = s.buf[:0], 0
	first, err := s.peek()
	if err != nil {
		return nil, err
	}
	switch first {
	case '{', '[', '"':
		err = s.nested()
	case '}', ']', ',', ':':
		return nil, Malformed("answer has %q where JSON needs a value", first)
	default:
		err = s.literal()
	}
	if err != nil {
		return nil, err
	}
	if len(s.buf) > maxValue {
		return nil, errTooLarge
	}
	return s.buf, nil
}

// keep holds one byte; beyond maxValue it only remembers that there were more.
func (s *Scanner) keep(c byte) {
	if len(s.buf) <= maxValue {
		s.buf = append(s.buf, c)
	}
}

// nested reads an object, an array or a string.
func (s *Scanner) nested() error {
	depth, inString := 0, false
	// On the stack: one for each string on the heap was two thirds of what an event allocated.
	var str rawString
	for {
		c, err := s.r.ReadByte()
		if err != nil {
			return unexpected(err)
		}
		if inString {
			kept, end := str.next(c)
			if kept {
				s.keep(c)
			}
			if end {
				s.cut = max(s.cut, str.cut)
				inString = false
				if depth == 0 {
					return nil
				}
			}
			continue
		}
		s.keep(c)
		switch c {
		case '"':
			str, inString = rawString{}, true
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				return nil
			}
		}
	}
}

// literal reads a number, true, false or null.
func (s *Scanner) literal() error {
	for {
		c, err := s.r.ReadByte()
		if err != nil {
			if errors.Is(err, io.EOF) && len(s.buf) > 0 {
				return nil
			}
			return unexpected(err)
		}
		switch c {
		case ' ', '\t', '\r', '\n', ',', ':', '}', ']', '{', '[', '"':
			return s.r.UnreadByte()
		}
		s.keep(c)
	}
}

// rawString follows a JSON string from behind its opening quote to its closing quote.
type rawString struct {
	size int
	// escape is 0 outside an escape sequence, 1 behind a backslash, 2 to 5 before a digit of \uXXXX.
	escape int
	code   rune
	// cutting is set once maxRawString bytes are kept.
	cutting bool
	cut     int
}

// next takes one byte and tells whether it is kept and whether it ends the string. A string is cut where a character and
// an escape sequence end.
func (s *rawString) next(c byte) (kept, end bool) {
	// The second half of a pair of surrogates belongs to the first.
	paired := s.code >= 0xD800 && s.code < 0xDC00
	if s.escape == 0 && !s.cutting && s.size >= maxRawString && utf8.RuneStart(c) && !paired {
		s.cutting = true
	}
	switch {
	case s.escape == 1 && c == 'u':
		s.escape, s.code = 2, 0
	case s.escape == 1:
		s.escape, s.code = 0, 0
		s.lose(1)
	case s.escape > 1:
		digit, _ := strconv.ParseUint(string(rune(c)), 16, 8)
		s.code = s.code<<4 | rune(digit)
		if s.escape++; s.escape == 6 {
			s.escape = 0
			s.lose(decodedSize(s.code))
		}
	case c == '\\':
		s.escape = 1
	case c == '"':
		return true, true
	default:
		s.code = 0
		s.lose(1)
	}
	s.size++
	return !s.cutting, false
}

func (s *rawString) lose(n int) {
	if s.cutting {
		s.cut += n
	}
}

// decodedSize is how many bytes \uXXXX stands for: half of a character outside the basic plane for a surrogate.
func decodedSize(code rune) int {
	if code >= 0xD800 && code <= 0xDFFF {
		return 2
	}
	return utf8.RuneLen(code)
}

// MalformedError is an answer that is no list or no watch.
type MalformedError struct{ err error }

// Error returns what is wrong with the answer.
func (e *MalformedError) Error() string { return e.err.Error() }

// Unwrap returns the error of the decoder, if there is one.
func (e *MalformedError) Unwrap() error { return errors.Unwrap(e.err) }

// Malformed returns a MalformedError, with text as fmt.Errorf makes it.
func Malformed(format string, args ...any) error { return &MalformedError{fmt.Errorf(format, args...)} }

// unexpected turns an end of the stream into the error that it is inside a value.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
