package spool

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// Add adds n to the counter. There are at most 256 counters, their names have 1 to 64 bytes.
func (tx *Tx) Add(name string, n uint64) error {
	key, err := tx.nameKey(kindCounter, name)
	if err != nil || n == 0 {
		return err
	}
	return tx.putChanged(key, binary.BigEndian.AppendUint64(nil, tx.Counter(name)+n))
}

// Counter returns the counter, 0 if it was never added to.
func (tx *Tx) Counter(name string) uint64 {
	payload, ok := tx.payload(plain(kindCounter, name))
	if !ok {
		return 0
	}
	if len(payload) < 8 {
		tx.damaged(fmt.Errorf("%w: counter %q", errMalformed, name))
		return 0
	}
	return binary.BigEndian.Uint64(payload)
}

// SetValue stores up to 4 KiB under the name; nil removes it. There are at most 256 values, their names have 1 to 64
// bytes.
func (tx *Tx) SetValue(name string, value []byte) error {
	key, err := tx.nameKey(kindValue, name)
	if err != nil {
		return err
	}
	if value == nil {
		_, err := tx.delete(key)
		return err
	}
	if len(value) > maxValueLen {
		return fmt.Errorf("%w: value %q of %d bytes", ErrTooLarge, name, len(value))
	}
	return tx.putChanged(key, value)
}

// Value returns a copy of the value, nil if there is none.
func (tx *Tx) Value(name string) []byte {
	payload, ok := tx.payload(plain(kindValue, name))
	if !ok {
		return nil
	}
	return append([]byte{}, payload...)
}

// Values returns the names of the values that begin with prefix, sorted.
func (tx *Tx) Values(prefix string) []string {
	var names []string
	for key := range tx.scan(plain(kindValue, prefix)) {
		if key[1] == 0 {
			// It is the spool's own.
			continue
		}
		names = append(names, string(key[1:]))
	}
	return names
}

// nameKey returns the key of a counter or value, and an error if the name is one too many.
func (tx *Tx) nameKey(kind byte, name string) ([]byte, error) {
	if name == "" || name[0] == 0 || len(name) > maxNameLen {
		return nil, fmt.Errorf("%w: name %q", ErrTooLarge, name)
	}
	key := plain(kind, name)
	if tx.get(key) != nil {
		return key, nil
	}
	n := 0
	for other := range tx.scan([]byte{kind}) {
		if !bytes.Equal(other, key) && other[1] != 0 {
			n++
		}
	}
	if n >= maxNames {
		return nil, fmt.Errorf("%w: %q is one name more than %d", ErrTooLarge, name, maxNames)
	}
	return key, nil
}
