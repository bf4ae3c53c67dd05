package stream

import (
	"encoding/json"
	"errors"

	"github.com/edge-eventer/edge-eventer/agent/event"
)

// ListMeta is what a list says of itself.
type ListMeta struct {
	// ResourceVersion is that of the whole list.
	ResourceVersion string `json:"resourceVersion"`
	// Continue asks for the next page; it is empty on the last one.
	Continue string `json:"continue"`
}

// List reads an EventList and calls each for every item with what is known of the list so far. The API server writes metadata
// before items; another order is understood. An answer that is none is a MalformedError.
func (s *Scanner) List(each func(meta ListMeta, item Raw) error) (ListMeta, error) {
	l := list{each: each}
	if err := s.expect('{'); err != nil {
		return l.meta, err
	}
	for {
		c, err := s.peek()
		if err != nil {
			return l.meta, unexpected(err)
		}
		switch c {
		case '}':
			return l.meta, l.check()
		case ',':
			_, err = s.r.Discard(1)
		default:
			err = s.member(&l)
		}
		if err != nil {
			return l.meta, err
		}
	}
}

// list is what was read of an EventList so far.
type list struct {
	kind string
	meta ListMeta
	each func(meta ListMeta, item Raw) error
}

// check reports what is missing at the end.
func (l *list) check() error {
	if l.kind != "EventList" {
		return Malformed("answer is of kind %.64q, want EventList", l.kind)
	}
	if _, err := event.ParseResourceVersion(l.meta.ResourceVersion); err != nil {
		return Malformed("list: %w", err)
	}
	return nil
}

// member reads one member of an EventList.
func (s *Scanner) member(l *list) error {
	var key string
	if err := s.into(&key); err != nil {
		return err
	}
	if err := s.expect(':'); err != nil {
		return err
	}
	switch key {
	case "kind":
		return s.into(&l.kind)
	case "metadata":
		return s.into(&l.meta)
	case "items":
		return s.items(func(item Raw) error { return l.each(l.meta, item) })
	}
	if _, err := s.value(); err != nil && !errors.Is(err, errTooLarge) {
		return unexpected(err)
	}
	return nil
}

// items reads an array, or null, which stands for an empty one.
func (s *Scanner) items(each func(item Raw) error) error {
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
		item, err := s.Next()
		if err != nil {
			return unexpected(err)
		}
		if err := each(item); err != nil {
			return err
		}
	}
}

// into reads the next value into v.
func (s *Scanner) into(v any) error {
	value, err := s.value()
	if err != nil {
		return unexpected(err)
	}
	if err := json.Unmarshal(value, v); err != nil {
		return Malformed("decode answer: %w", err)
	}
	return nil
}
