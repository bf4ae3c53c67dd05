package spool

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"time"
)

const (
	// maxNamespaces bounds the table of namespaces.
	maxNamespaces = 1024
	// maxNoteLen bounds Namespace.Note in bytes.
	maxNoteLen = 128
)

// Namespace is what the spool keeps of one namespace. The table has room for 1,024 of them, "" being all; beyond that the one
// whose entry has gone unchanged for the most transactions makes room, with its position. So nothing that belongs to a namespace
// needs a name among the 256 values.
//
// A usual change reads the entry, sets some fields and writes it back, once per namespace and transaction:
//
//	n := tx.Namespace(name)
//	n.Position, n.Seen = version, arrived
//	err := tx.SetNamespace(name, n)
type Namespace struct {
	// Position is the resourceVersion up to which events were taken, at most 64 bytes. It is "" where the namespace has to be
	// listed: before the first list is complete, and after a rescue that may have lost events.
	Position string
	// Seen is when the namespace was last seen to the full, in milliseconds. The zero time stands for never. A rescue keeps it.
	Seen time.Time
	// Listed says that a list of the namespace was once taken to its end. A rescue keeps it.
	Listed bool
	// Note is up to 128 bytes for the caller to define. A rescue keeps it.
	Note []byte
}

// positionKey is where an older release looks for the position, stateKey where all else lies. No namespace begins with a zero byte.
func positionKey(namespace string) []byte { return plain(kindPosition, namespace) }
func stateKey(namespace string) []byte    { return plain(kindPosition, "\x00"+namespace) }

// namespaceOf returns whose entry the key of kindPosition is, and whether it is a state.
func namespaceOf(key []byte) (name []byte, isState bool) {
	if len(key) > 1 && key[1] == 0 {
		return key[2:], true
	}
	return key[1:], false
}

// namespaceState is a Namespace, less its position, as it lies on disk.
type namespaceState struct {
	// rev is the transaction that last changed the entry.
	rev    uint64
	seen   int64
	listed bool
	note   []byte
}

// namespaceHeader is rev, seen, flags.
const namespaceHeader = 8 + 8 + 1

// The flags of a namespaceState.
const (
	flagListed = 1 << iota
	flagSeen
)

func (s *namespaceState) append(b []byte) []byte {
	var flags byte
	if s.listed {
		flags |= flagListed
	}
	if s.seen != 0 {
		flags |= flagSeen
	}
	b = binary.BigEndian.AppendUint64(b, s.rev)
	b = binary.BigEndian.AppendUint64(b, uint64(s.seen))
	return append(append(b, flags), s.note...)
}

func decodeNamespaceState(b []byte) (namespaceState, error) {
	if len(b) < namespaceHeader {
		return namespaceState{}, fmt.Errorf("%w: namespace of %d bytes", errMalformed, len(b))
	}
	return namespaceState{
		rev:    binary.BigEndian.Uint64(b),
		seen:   int64(binary.BigEndian.Uint64(b[8:])),
		listed: b[16]&flagListed != 0,
		note:   b[namespaceHeader:],
	}, nil
}

// Namespace returns the entry of the namespace, or a zero one. It is the caller's to keep.
func (tx *Tx) Namespace(name string) Namespace {
	var n Namespace
	n.Position, _ = tx.Position(name)
	if s, ok := tx.namespaceState(name); ok {
		n.Listed = s.listed
		if len(s.note) > 0 {
			n.Note = bytes.Clone(s.note)
		}
		if s.seen != 0 {
			n.Seen = time.UnixMilli(s.seen)
		}
	}
	return n
}

func (tx *Tx) namespaceState(name string) (namespaceState, bool) {
	payload, ok := tx.payload(stateKey(name))
	if !ok {
		return namespaceState{}, false
	}
	s, err := decodeNamespaceState(payload)
	if err != nil {
		tx.damaged(err)
	}
	return s, err == nil
}

// SetNamespace replaces the entry of the namespace, whose name has at most 64 bytes. An empty Position removes the position.
func (tx *Tx) SetNamespace(name string, n Namespace) error {
	if err := checkNamespace(name, n.Position); err != nil {
		return err
	}
	if len(n.Note) > maxNoteLen {
		return fmt.Errorf("%w: note of %d bytes for namespace %q", ErrTooLarge, len(n.Note), name)
	}
	if !tx.writable {
		return ErrNotWritable
	}
	if err := tx.setPosition(name, n.Position); err != nil {
		return err
	}
	s := namespaceState{listed: n.Listed, note: n.Note, rev: tx.loadTotals().rev + 1}
	if !n.Seen.IsZero() {
		s.seen = max(1, n.Seen.UnixMilli())
	}
	old, known := tx.namespaceState(name)
	if known && old.seen == s.seen && old.listed == s.listed && bytes.Equal(old.note, s.note) {
		return tx.err
	}
	if err := tx.putChanged(stateKey(name), s.append(nil)); err != nil || known {
		return err
	}
	return tx.boundNamespaces(name)
}

func checkNamespace(name, position string) error {
	if len(name) > maxNameLen || len(position) > maxPositionLen || name != "" && name[0] == 0 {
		return fmt.Errorf("%w: position %q of namespace %q", ErrTooLarge, position, name)
	}
	return nil
}

func (tx *Tx) setPosition(name, position string) error {
	if position == "" {
		_, err := tx.delete(positionKey(name))
		return err
	}
	return tx.putChanged(positionKey(name), []byte(position))
}

// Namespaces returns the names in the table, sorted.
func (tx *Tx) Namespaces() []string {
	var names []string
	for key := range tx.scan([]byte{kindPosition}) {
		name, _ := namespaceOf(key)
		names = append(names, string(name))
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// boundNamespaces makes room after the namespace was added.
func (tx *Tx) boundNamespaces(added string) error {
	names := tx.Namespaces()
	for len(names) > maxNamespaces {
		idle, least := -1, uint64(0)
		for i, name := range names {
			// An entry of an older release has no state, and its revision counts as 0.
			s, _ := tx.namespaceState(name)
			if name != added && (idle < 0 || s.rev < least) {
				idle, least = i, s.rev
			}
		}
		if err := tx.ForgetNamespace(names[idle]); err != nil {
			return err
		}
		names = slices.Delete(names, idle, idle+1)
	}
	return tx.err
}

// ForgetNamespace removes the entry of the namespace with its position.
func (tx *Tx) ForgetNamespace(name string) error {
	if _, err := tx.delete(stateKey(name)); err != nil {
		return err
	}
	return tx.setPosition(name, "")
}

// Position returns the resourceVersion up to which the events of the namespace, "" being all, were taken.
func (tx *Tx) Position(namespace string) (resourceVersion string, ok bool) {
	payload, ok := tx.payload(positionKey(namespace))
	return string(payload), ok
}

// SetPosition sets the position of the namespace and nothing else of its entry.
func (tx *Tx) SetPosition(namespace, resourceVersion string) error {
	if err := checkNamespace(namespace, resourceVersion); err != nil {
		return err
	}
	if _, known := tx.Position(namespace); known {
		return tx.setPosition(namespace, resourceVersion)
	}
	n := tx.Namespace(namespace)
	n.Position = resourceVersion
	return tx.SetNamespace(namespace, n)
}

// ForgetPosition removes the position of the namespace and nothing else of its entry.
func (tx *Tx) ForgetPosition(namespace string) error {
	return tx.setPosition(namespace, "")
}
