package silence

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

const (
	// maxSilences bounds how many there are, those that are over included.
	maxSilences = 200
	// maxBytes bounds the encoding of one.
	maxBytes = 4 << 10
	// retention is how long one that is over is kept, as Alertmanager does by default.
	retention = 120 * time.Hour
	// minPrefix is how many characters of an ID must be given.
	minPrefix = 4
	prefix    = "silence/"
)

// Errors that the caller can act on.
var (
	// ErrNotFound is returned when no silence has the ID.
	ErrNotFound = errors.New("no silence has this id")
	// ErrAmbiguous is returned when several have.
	ErrAmbiguous = errors.New("several silences begin with this id: give more of it")
	// ErrFull is returned when there is no room for another one.
	ErrFull = fmt.Errorf("there are %d silences already: expire some", maxSilences)
)

// Table is where silences are stored: the values of a transaction of the spool.
type Table interface {
	Value(name string) []byte
	SetValue(name string, value []byte) error
	Values(prefix string) []string
}

// Add stores a new silence and sets its ID and UpdatedAt. It makes room by forgetting those that were over the longest.
func Add(t Table, s *Silence, now time.Time) error {
	if s.StartsAt.Before(now) {
		// What came before is not undone, and its end is what is said of it.
		s.StartsAt = now
	}
	s.StartsAt, s.EndsAt = s.StartsAt.UTC().Truncate(time.Millisecond), s.EndsAt.UTC().Truncate(time.Millisecond)
	if err := s.check(now); err != nil {
		return err
	}
	s.ID = newID()
	all, err := forget(t, now)
	if err != nil {
		return err
	}
	if len(all) >= maxSilences {
		oldest := slices.MinFunc(all, func(a, b *Silence) int { return a.EndsAt.Compare(b.EndsAt) })
		if oldest.State(now) != Expired {
			return ErrFull
		}
		if err := t.SetValue(prefix+oldest.ID, nil); err != nil {
			return fmt.Errorf("forget silence: %w", err)
		}
	}
	return put(t, s, now)
}

// forget removes what has been over for longer than retention, and returns the rest.
func forget(t Table, now time.Time) ([]*Silence, error) {
	all, _ := All(t)
	for _, s := range all {
		if now.Sub(s.EndsAt) > retention {
			if err := t.SetValue(prefix+s.ID, nil); err != nil {
				return nil, fmt.Errorf("forget silence: %w", err)
			}
		}
	}
	return slices.DeleteFunc(all, func(s *Silence) bool { return now.Sub(s.EndsAt) > retention }), nil
}

func put(t Table, s *Silence, now time.Time) error {
	s.UpdatedAt = now.UTC().Truncate(time.Millisecond)
	data, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("encode silence: %w", err)
	}
	if len(data) > maxBytes {
		return fmt.Errorf("the silence has %d bytes, more than %d: shorten its matchers or its comment", len(data), maxBytes)
	}
	if err := t.SetValue(prefix+s.ID, data); err != nil {
		return fmt.Errorf("store silence: %w", err)
	}
	return nil
}

// All returns the silences that are kept, those that end first in front. Its error names those that cannot be decoded, which hold nothing:
// what a silence means must not be guessed. The others are returned all the same.
func All(t Table) ([]*Silence, error) {
	var all []*Silence
	var unreadable error
	for _, name := range t.Values(prefix) {
		s := &Silence{}
		if err := json.Unmarshal(t.Value(name), s); err != nil {
			unreadable = errors.Join(unreadable, fmt.Errorf("decode %s: %w", name, err))
			continue
		}
		s.ID = strings.TrimPrefix(name, prefix)
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b *Silence) int {
		if c := a.EndsAt.Compare(b.EndsAt); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	return all, unreadable
}

// Expire ends a silence now, one that is pending too. The ID may be shortened to 4 characters or more. To expire one that is over is
// harmless.
func Expire(t Table, id string, now time.Time) (*Silence, error) {
	all, _ := All(t)
	all = slices.DeleteFunc(all, func(s *Silence) bool {
		return s.ID != id && (len(id) < minPrefix || !strings.HasPrefix(s.ID, id))
	})
	switch {
	case len(all) == 0:
		return nil, ErrNotFound
	case len(all) > 1:
		return nil, ErrAmbiguous
	}
	s := all[0]
	if s.State(now) == Expired {
		return s, nil
	}
	now = now.UTC().Truncate(time.Millisecond)
	if s.StartsAt.After(now) {
		s.StartsAt = now
	}
	s.EndsAt = now
	return s, put(t, s, now)
}
