package watch

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/edge-eventer/edge-eventer/agent/event"
)

const (
	// maxValue is how much of one event or frame is kept in memory. The API server takes no request above 3 MiB and etcd
	// no object above 1.5 MiB, nearly all of it message, of which the scanner keeps maxRawString.
	maxValue = 1 << 20
	// maxRawString is how much of a JSON string is kept: what maxMessage bytes take at worst, with each byte as \u00XX.
	maxRawString = 6*maxMessage + 64
	// keepBuffer is the size above which the buffer is given back after use.
	keepBuffer = 64 << 10
)

// errTooLarge is the error of a value that was read over because it is larger than maxValue. The next one can be read.
var errTooLarge = fmt.Errorf("event is larger than %d bytes even without the end of its message", maxValue)

// scanner cuts a stream of JSON into values without holding more than one of them, and of a long string only the
// beginning. It checks no more of the syntax than it needs to find where a value ends: encoding/json does the rest.
//
// A json.Decoder would hold a whole event with a 1 MiB message two times, and could not go on after one that is too large.
type scanner struct {
	r   *bufio.Reader
	buf []byte
	// cut is how many bytes, decoded, the longest cut string of the last value lost.
	cut int
}

func newScanner(r io.Reader) *scanner { return &scanner{r: bufio.NewReaderSize(r, 8<<10)} }

// peek returns the next byte that is not white space. At the end of the stream it returns io.EOF.
func (s *scanner) peek() (byte, error) {
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
func (s *scanner) expect(want byte) error {
	c, err := s.peek()
	if err != nil {
		return unexpected(err)
	}
	if c != want {
		return malformed("answer has %q where JSON needs %q", c, want)
	}
	_, err = s.r.Discard(1)
	return err
}

// raw is an event or a frame as it came.
type raw struct {
	data []byte
	// cut is how many bytes, decoded, the longest cut string lost.
	cut int
	// tooLarge says that data is only the beginning.
	tooLarge bool
}

// event is value for one that may be too large.
func (s *scanner) event() (raw, error) {
	data, err := s.value()
	if errors.Is(err, errTooLarge) {
		return raw{s.buf, s.cut, true}, nil
	}
	return raw{data: data, cut: s.cut}, err
}

// value reads the next value. It is valid until the next call. An end of the stream before the first byte is io.EOF.
func (s *scanner) value() ([]byte, error) {
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
		return nil, malformed("answer has %q where JSON needs a value", first)
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
func (s *scanner) keep(c byte) {
	if len(s.buf) <= maxValue {
		s.buf = append(s.buf, c)
	}
}

// nested reads an object, an array or a string.
func (s *scanner) nested() error {
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
func (s *scanner) literal() error {
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

// listMeta is what a list says of itself.
type listMeta struct {
	ResourceVersion string `json:"resourceVersion"`
	Continue        string `json:"continue"`

	// date is the API server's clock.
	date time.Time
}

// list reads an EventList and calls each for every item with what is known of the list so far. The API server writes metadata
// before items; another order is understood.
func (s *scanner) list(each func(meta listMeta, item raw) error) (listMeta, error) {
	var meta listMeta
	kind := ""
	if err := s.expect('{'); err != nil {
		return meta, err
	}
	for {
		c, err := s.peek()
		if err != nil {
			return meta, unexpected(err)
		}
		switch c {
		case '}':
			if kind != "EventList" {
				return meta, malformed("answer is of kind %.64q, want EventList", kind)
			}
			if _, err := event.ParseResourceVersion(meta.ResourceVersion); err != nil {
				return meta, malformed("list: %w", err)
			}
			return meta, nil
		case ',':
			if _, err := s.r.Discard(1); err != nil {
				return meta, err
			}
			continue
		}
		var key string
		if err := s.into(&key); err != nil {
			return meta, err
		}
		if err := s.expect(':'); err != nil {
			return meta, err
		}
		switch key {
		case "kind":
			err = s.into(&kind)
		case "metadata":
			err = s.into(&meta)
		case "items":
			err = s.items(func(item raw) error { return each(meta, item) })
		default:
			if _, err = s.value(); errors.Is(err, errTooLarge) {
				err = nil
			}
			err = unexpected(err)
		}
		if err != nil {
			return meta, err
		}
	}
}

// items reads an array, or null, which stands for an empty one.
func (s *scanner) items(each func(item raw) error) error {
	c, err := s.peek()
	if err != nil {
		return unexpected(err)
	}
	if c != '[' {
		var none []struct{}
		return s.into(&none)
	}
	if err := s.expect('['); err != nil {
		return err
	}
	for {
		c, err := s.peek()
		if err != nil {
			return unexpected(err)
		}
		if c == ']' || c == ',' {
			if _, err := s.r.Discard(1); err != nil {
				return err
			}
			if c == ']' {
				return nil
			}
			continue
		}
		item, err := s.event()
		if err != nil {
			return unexpected(err)
		}
		if err := each(item); err != nil {
			return err
		}
	}
}

// into reads the next value into v.
func (s *scanner) into(v any) error {
	value, err := s.value()
	if err != nil {
		return unexpected(err)
	}
	if err := json.Unmarshal(value, v); err != nil {
		return malformed("decode answer: %w", err)
	}
	return nil
}

// unexpected turns an end of the stream into the error that it is inside a value.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
