package table

import (
	"bytes"
	"fmt"
	"slices"
	"time"

	"github.com/edge-eventer/edge-eventer/spool/failure"
	"github.com/edge-eventer/edge-eventer/spool/format"
	"github.com/edge-eventer/edge-eventer/spool/txn"
)

const (
	// MaxScopes bounds the table of scopes.
	MaxScopes = 1024
	// maxNoteLen bounds Scope.Note in bytes.
	maxNoteLen = 128
)

// Scope is what the spool keeps of one scope. The table has room for 1,024 of them, "" being all; beyond that the one
// whose entry has gone unchanged for the most transactions makes room, with its position. So nothing that belongs to a scope
// needs a name among the 256 values.
//
// A usual change reads the entry, sets some fields and writes it back, once per scope and transaction:
//
//	n := tx.Scope(name)
//	n.Position, n.Seen = version, arrived
//	err := tx.SetScope(name, n)
type Scope struct {
	// Position is the version up to which everything was taken, at most 64 bytes. It is "" where the scope has to be
	// listed: before the first list is complete, and after a rescue that may have lost events.
	Position string
	// Seen is when the scope was last seen to the full, in milliseconds. The zero time stands for never. A rescue keeps it.
	Seen time.Time
	// Listed says that a list of the scope was once taken to its end. A rescue keeps it.
	Listed bool
	// Note is up to 128 bytes for the caller to define. A rescue keeps it.
	Note []byte
}

// Tables are what the spool keeps beside queues and ledger: an entry for each scope, counters and values.
type Tables struct{ tx *txn.Txn }

// New returns the tables as the transaction sees them.
func New(tx *txn.Txn) *Tables { return &Tables{tx} }

// positionKey is where an older release looks for the position, stateKey where all else lies. No scope begins with a zero byte.
func positionKey(scope string) []byte { return format.Plain(format.KindPosition, scope) }
func stateKey(scope string) []byte    { return format.Plain(format.KindPosition, "\x00"+scope) }

// Scope returns the entry of the scope, or a zero one. It is the caller's to keep.
func (t *Tables) Scope(name string) Scope {
	var n Scope
	n.Position, _ = t.Position(name)
	if s, ok := t.scopeState(name); ok {
		n.Listed = s.Listed
		if len(s.Note) > 0 {
			n.Note = bytes.Clone(s.Note)
		}
		if s.Seen != 0 {
			n.Seen = time.UnixMilli(s.Seen)
		}
	}
	return n
}

func (t *Tables) scopeState(name string) (format.ScopeState, bool) {
	payload, ok := t.tx.Payload(stateKey(name))
	if !ok {
		return format.ScopeState{}, false
	}
	s, err := format.DecodeScopeState(payload)
	if err != nil {
		t.tx.IsDamaged(err)
	}
	return s, err == nil
}

// SetScope replaces the entry of the scope, whose name has at most 64 bytes. An empty Position removes the position.
func (t *Tables) SetScope(name string, n Scope) error {
	if err := checkScope(name, n.Position); err != nil {
		return err
	}
	if len(n.Note) > maxNoteLen {
		return fmt.Errorf("%w: note of %d bytes for scope %q", failure.ErrTooLarge, len(n.Note), name)
	}
	if !t.tx.Writable {
		return failure.ErrNotWritable
	}
	if err := t.setPosition(name, n.Position); err != nil {
		return err
	}
	s := format.ScopeState{Listed: n.Listed, Note: n.Note, Rev: t.tx.LoadTotals().Rev + 1}
	if !n.Seen.IsZero() {
		s.Seen = max(1, n.Seen.UnixMilli())
	}
	old, known := t.scopeState(name)
	if known && old.Seen == s.Seen && old.Listed == s.Listed && bytes.Equal(old.Note, s.Note) {
		return t.tx.Err
	}
	if err := t.tx.PutChanged(stateKey(name), s.Append(nil)); err != nil || known {
		return err
	}
	return t.boundScopes(name)
}

func checkScope(name, position string) error {
	if len(name) > format.MaxNameLen || len(position) > format.MaxPositionLen || name != "" && name[0] == 0 {
		return fmt.Errorf("%w: position %q of scope %q", failure.ErrTooLarge, position, name)
	}
	return nil
}

func (t *Tables) setPosition(name, position string) error {
	if position == "" {
		_, err := t.tx.Delete(positionKey(name))
		return err
	}
	return t.tx.PutChanged(positionKey(name), []byte(position))
}

// Scopes returns the names in the table, sorted.
func (t *Tables) Scopes() []string {
	var names []string
	for key := range t.tx.Scan([]byte{format.KindPosition}) {
		name, _ := format.ScopeOf(key)
		names = append(names, string(name))
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// boundScopes makes room after the scope was added.
func (t *Tables) boundScopes(added string) error {
	names := t.Scopes()
	for len(names) > MaxScopes {
		idle, least := -1, uint64(0)
		for i, name := range names {
			// An entry of an older release has no state, and its revision counts as 0.
			s, _ := t.scopeState(name)
			if name != added && (idle < 0 || s.Rev < least) {
				idle, least = i, s.Rev
			}
		}
		if err := t.ForgetScope(names[idle]); err != nil {
			return err
		}
		names = slices.Delete(names, idle, idle+1)
	}
	return t.tx.Err
}

// ForgetScope removes the entry of the scope with its position.
func (t *Tables) ForgetScope(name string) error {
	if _, err := t.tx.Delete(stateKey(name)); err != nil {
		return err
	}
	return t.setPosition(name, "")
}

// Position returns the version up to which the events of the scope, "" being all, were taken.
func (t *Tables) Position(scope string) (version string, ok bool) {
	payload, ok := t.tx.Payload(positionKey(scope))
	return string(payload), ok
}

// SetPosition sets the position of the scope and nothing else of its entry.
func (t *Tables) SetPosition(scope, version string) error {
	if err := checkScope(scope, version); err != nil {
		return err
	}
	if _, known := t.Position(scope); known {
		return t.setPosition(scope, version)
	}
	n := t.Scope(scope)
	n.Position = version
	return t.SetScope(scope, n)
}
