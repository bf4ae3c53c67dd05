package budget

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"slices"
	"unicode/utf8"
)

// maxState is the bound of what Save returns, which is that of a value in the spool.
const maxState = 4 << 10

// version is the first byte of the stored state.
const version = 1

// ErrState says that a stored state cannot be read; what was counted before is not known then.
var ErrState = errors.New("stored budget is damaged")

// state is what is stored.
type state struct {
	// day is the date under which bytes are counted; 0: nothing was counted yet.
	day date
	// left is a later date that was left when the clock turned out to be wrong; 0: none.
	left date
	// since is when counting began, in seconds since 1970.
	since int64
	// noticed holds the highest level told in the present day and month.
	noticed   [2]Level
	all       Usage
	receivers map[string]Usage
}

// Dirty reports whether something changed since Save or Load: a reason to store, at most once a minute. A kill then costs
// the counts of a minute.
func (b *Budget) Dirty() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.roll()
	return b.dirty
}

// Save returns the state to store, at most 4 KiB: a version byte, varints, and a CRC-32 over both.
func (b *Budget) Save() []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.roll()
	b.dirty = false
	s := &b.state
	out := []byte{version}
	for _, n := range []int64{int64(s.day), int64(s.left), s.since, int64(s.noticed[Day]), int64(s.noticed[Month])} {
		out = binary.AppendVarint(out, n)
	}
	out = s.all.append(out)
	out = binary.AppendUvarint(out, uint64(len(s.receivers)))
	for _, name := range slices.Sorted(maps.Keys(s.receivers)) {
		out = binary.AppendUvarint(out, uint64(len(name)))
		out = append(out, name...)
		out = s.receivers[name].append(out)
	}
	return binary.BigEndian.AppendUint32(out, crc32.ChecksumIEEE(out))
}

func (u Usage) append(b []byte) []byte {
	for _, n := range []uint64{u.Day.In, u.Day.Out, u.Month.In, u.Month.Out} {
		b = binary.AppendUvarint(b, n)
	}
	return b
}

// Load replaces the state by a stored one; call it before the first connection is made. An empty blob is the first start. After an
// error, which wraps ErrState, counting starts at 0.
func (b *Budget) Load(blob []byte) error {
	if len(blob) == 0 {
		return nil
	}
	s, err := decode(blob)
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.state, b.behind, b.dirty = s, -1, false
	b.roll()
	return nil
}

func decode(blob []byte) (state, error) {
	s := state{receivers: make(map[string]Usage)}
	if len(blob) < 5 || len(blob) > maxState {
		return s, fmt.Errorf("%w: %d bytes", ErrState, len(blob))
	}
	body, sum := blob[:len(blob)-4], blob[len(blob)-4:]
	if crc32.ChecksumIEEE(body) != binary.BigEndian.Uint32(sum) {
		return s, fmt.Errorf("%w: checksum", ErrState)
	}
	if body[0] != version {
		return s, fmt.Errorf("%w: version %d, want %d", ErrState, body[0], version)
	}
	r := &reader{b: bytes.NewReader(body[1:])}
	s.day, s.left, s.since = date(r.signed(99991231)), date(r.signed(99991231)), r.signed(1<<40)
	s.noticed = [2]Level{Level(r.signed(int64(CriticalOnly))), Level(r.signed(int64(CriticalOnly)))}
	s.all = r.usage()
	n := r.unsigned()
	for range min(n, maxReceivers) {
		name := r.name()
		s.receivers[name] = r.usage()
	}
	switch {
	case r.err != nil:
		return state{}, fmt.Errorf("%w: %w", ErrState, r.err)
	case n > maxReceivers, r.b.Len() > 0, s.day != 0 && !s.day.valid(), s.left != 0 && !s.left.valid():
		return state{}, fmt.Errorf("%w: a value is out of range", ErrState)
	}
	return s, nil
}

// reader keeps the first error; after it, everything is 0.
type reader struct {
	b   *bytes.Reader
	err error
}

func (r *reader) unsigned() uint64 {
	if r.err != nil {
		return 0
	}
	var n uint64
	n, r.err = binary.ReadUvarint(r.b)
	return n
}

// signed reads a number between 0 and most.
func (r *reader) signed(most int64) int64 {
	if r.err != nil {
		return 0
	}
	var n int64
	if n, r.err = binary.ReadVarint(r.b); r.err == nil && (n < 0 || n > most) {
		r.err = fmt.Errorf("%d is out of range", n)
		return 0
	}
	return n
}

func (r *reader) usage() Usage {
	return Usage{
		Day:   Count{In: r.unsigned(), Out: r.unsigned()},
		Month: Count{In: r.unsigned(), Out: r.unsigned()},
	}
}

func (r *reader) name() string {
	n := r.unsigned()
	if r.err != nil {
		return ""
	}
	if n > maxName || n > uint64(r.b.Len()) {
		r.err = errors.New("a name is too long")
		return ""
	}
	name := make([]byte, n)
	_, r.err = r.b.Read(name)
	if n == 0 {
		r.err = nil
	}
	if r.err == nil && !utf8.Valid(name) {
		r.err = errors.New("a name is not UTF-8")
	}
	return string(name)
}
