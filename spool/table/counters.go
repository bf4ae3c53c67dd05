package table

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/edge-eventer/edge-eventer/spool/failure"
	"github.com/edge-eventer/edge-eventer/spool/format"
)

// Add adds n to the counter. There are at most 256 counters, their names have 1 to 64 bytes.
func (t *Tables) Add(name string, n uint64) error {
	key, err := t.nameKey(format.KindCounter, name)
	if err != nil || n == 0 {
		return err
	}
	return t.tx.PutChanged(key, binary.BigEndian.AppendUint64(nil, t.Counter(name)+n))
}

// Counter returns the counter, 0 if it was never added to.
func (t *Tables) Counter(name string) uint64 {
	payload, ok := t.tx.Payload(format.Plain(format.KindCounter, name))
	if !ok {
		return 0
	}
	if len(payload) < 8 {
		t.tx.IsDamaged(fmt.Errorf("%w: counter %q", format.ErrMalformed, name))
		return 0
	}
	return binary.BigEndian.Uint64(payload)
}

// SetValue stores up to 4 KiB under the name; nil removes it. There are at most 256 values, their names have 1 to 64
// bytes.
func (t *Tables) SetValue(name string, value []byte) error {
	key, err := t.nameKey(format.KindValue, name)
	if err != nil {
		return err
	}
	if value == nil {
		_, err := t.tx.Delete(key)
		return err
	}
	if len(value) > format.MaxValueLen {
		return fmt.Errorf("%w: value %q of %d bytes", failure.ErrTooLarge, name, len(value))
	}
	return t.tx.PutChanged(key, value)
}

// Value returns a copy of the value, nil if there is none.
func (t *Tables) Value(name string) []byte {
	payload, ok := t.tx.Payload(format.Plain(format.KindValue, name))
	if !ok {
		return nil
	}
	return append([]byte{}, payload...)
}

// Values returns the names of the values that begin with prefix, sorted.
func (t *Tables) Values(prefix string) []string {
	var names []string
	for key := range t.tx.Scan(format.Plain(format.KindValue, prefix)) {
		if key[1] == 0 {
			// It is the spool's own.
			continue
		}
		names = append(names, string(key[1:]))
	}
	return names
}

// nameKey returns the key of a counter or value, and an error if the name is one too many.
func (t *Tables) nameKey(kind byte, name string) ([]byte, error) {
	if name == "" || name[0] == 0 || len(name) > format.MaxNameLen {
		return nil, fmt.Errorf("%w: name %q", failure.ErrTooLarge, name)
	}
	key := format.Plain(kind, name)
	if t.tx.Get(key) != nil {
		return key, nil
	}
	n := 0
	for other := range t.tx.Scan([]byte{kind}) {
		if !bytes.Equal(other, key) && other[1] != 0 {
			n++
		}
	}
	if n >= format.MaxNames {
		return nil, fmt.Errorf("%w: %q is one name more than %d", failure.ErrTooLarge, name, format.MaxNames)
	}
	return key, nil
}
