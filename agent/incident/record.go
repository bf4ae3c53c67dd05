package incident

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/edge-eventer/edge-eventer/agent/event"
)

// recordVersion is the first byte of an encoded incident. A reader refuses versions that it does not know.
const recordVersion = 1

// ErrRecord is returned for bytes that are no encoded incident.
var ErrRecord = errors.New("not an incident record")

// The bits of the flags byte of a record.
const (
	flagOwn = 1 << iota
	flagSeries
	flagRelated
)

// Append appends the incident's encoding to b: a version byte, a flags byte, then the fields in the order of the code
// below, strings with their length in front, numbers as varints, times in microseconds. A typical record has 350 bytes,
// a third of its JSON.
func (in *Incident) Append(b []byte) []byte {
	e := &in.Event
	var flags byte
	if in.Own {
		flags |= flagOwn
	}
	if e.Series != nil {
		flags |= flagSeries
	}
	if e.Related != nil {
		flags |= flagRelated
	}
	b = append(b, recordVersion, flags)

	b = appendTimes(b, in.First, in.Last, in.Opened, in.Active, in.ToldAt)
	b = binary.AppendUvarint(b, uint64(in.Occurrences))
	b = binary.AppendUvarint(b, uint64(in.Told))
	b = binary.AppendVarint(b, in.Step.Milliseconds())
	b = appendStrings(b, in.Workload)
	b = binary.AppendUvarint(b, uint64(len(in.Objects)))
	b = appendStrings(b, in.Objects...)
	b = binary.AppendUvarint(b, uint64(len(in.objectHashes)))
	for _, h := range in.objectHashes {
		b = binary.LittleEndian.AppendUint32(b, h)
	}

	b = appendStrings(b, e.Name, e.Namespace, e.UID, e.ResourceVersion, e.Reason, e.Message, e.Source.Component,
		e.Source.Host, e.Type, e.Action, e.ReportingController, e.ReportingInstance)
	b = appendTimes(b, e.CreationTimestamp, e.FirstTimestamp, e.LastTimestamp, e.EventTime)
	b = binary.AppendVarint(b, int64(e.Count))
	b = appendReference(b, &e.InvolvedObject)
	if e.Series != nil {
		b = binary.AppendVarint(b, int64(e.Series.Count))
		b = appendTimes(b, e.Series.LastObservedTime)
	}
	if e.Related != nil {
		b = appendReference(b, e.Related)
	}
	return b
}

// AppendWithin is Append in at most the given number of bytes, 2 KiB or more: the message is cut until the record fits, and says how
// many bytes it lacks. Where all of it is not enough, which takes an event that nobody but an attacker writes, its longest other texts
// are halved.
func (in *Incident) AppendWithin(b []byte, most int) []byte {
	whole := in.Append(b)
	if len(whole)-len(b) <= most {
		return whole
	}
	short := *in
	excess := len(whole) - len(b) - most
	short.Event.Message = shorten(in.Event.Message, len(in.Event.Message)-excess)
	for {
		whole = short.Append(b)
		if len(whole)-len(b) <= most || !short.halveLongest() {
			return whole
		}
	}
}

// shorten cuts s, on the boundary of a character, so that with a note of what is missing it has at most limit bytes; to nothing where
// not even the note fits. A note of an earlier cut is counted in.
func shorten(s string, limit int) string {
	missing := 0
	if i := strings.LastIndex(s, "… ("); i >= 0 {
		if n, err := fmt.Sscanf(s[i:], "… (%d more bytes)", &missing); n == 1 && err == nil {
			s = s[:i]
		}
	}
	const longestNote = len("… (1234567890 more bytes)")
	end := min(len(s), limit-longestNote)
	for end > 0 && end < len(s) && !utf8.RuneStart(s[end]) {
		end--
	}
	if end <= 0 {
		return ""
	}
	return fmt.Sprintf("%s… (%d more bytes)", s[:end], len(s)-end+missing)
}

// halveLongest cuts the longest text in halves, and reports false when all are short.
func (in *Incident) halveLongest() bool {
	e := &in.Event
	in.Objects = slices.Clone(in.Objects)
	texts := []*string{
		&in.Workload, &e.Message, &e.Name, &e.Namespace, &e.UID, &e.Reason, &e.Source.Component, &e.Source.Host, &e.Type, &e.Action,
		&e.ReportingController, &e.ReportingInstance,
	}
	references := []*event.Reference{&e.InvolvedObject}
	if e.Related != nil {
		related := *e.Related
		e.Related = &related
		references = append(references, e.Related)
	}
	for _, o := range references {
		texts = append(texts, &o.Kind, &o.Namespace, &o.Name, &o.UID, &o.APIVersion, &o.ResourceVersion, &o.FieldPath)
	}
	for i := range in.Objects {
		texts = append(texts, &in.Objects[i])
	}
	longest := texts[0]
	for _, text := range texts {
		if len(*text) > len(*longest) {
			longest = text
		}
	}
	if len(*longest) <= 16 {
		return false
	}
	half := len(*longest) / 2
	for half > 0 && !utf8.RuneStart((*longest)[half]) {
		half--
	}
	*longest = (*longest)[:half]
	return true
}

// Decode is the reverse of Append. It fails with ErrRecord for anything else.
func Decode(b []byte) (*Incident, error) {
	if len(b) < 2 {
		return nil, fmt.Errorf("%w: %d bytes", ErrRecord, len(b))
	}
	if b[0] != recordVersion {
		return nil, fmt.Errorf("%w: version %d is unknown", ErrRecord, b[0])
	}
	flags := b[1]
	r := &recordReader{b: b[2:]}
	in := &Incident{Own: flags&flagOwn != 0}
	e := &in.Event

	r.times(&in.First, &in.Last, &in.Opened, &in.Active, &in.ToldAt)
	in.Occurrences = uint32(r.uvarint(maxOccurrences))
	in.Told = uint32(r.uvarint(uint64(in.Occurrences)))
	in.Step = time.Duration(r.varint(maxStep.Milliseconds())) * time.Millisecond
	r.strings(&in.Workload)
	in.Objects = make([]string, r.uvarint(maxObjects))
	for i := range in.Objects {
		r.strings(&in.Objects[i])
	}
	in.objectHashes = make([]uint32, r.uvarint(maxObjectHashes))
	for i := range in.objectHashes {
		in.objectHashes[i] = r.uint32()
	}

	r.strings(&e.Name, &e.Namespace, &e.UID, &e.ResourceVersion, &e.Reason, &e.Message, &e.Source.Component,
		&e.Source.Host, &e.Type, &e.Action, &e.ReportingController, &e.ReportingInstance)
	r.times(&e.CreationTimestamp, &e.FirstTimestamp, &e.LastTimestamp, &e.EventTime)
	e.Count = int32(r.varint(1<<31 - 1))
	r.reference(&e.InvolvedObject)
	if flags&flagSeries != 0 {
		e.Series = &event.Series{Count: int32(r.varint(1<<31 - 1))}
		r.times(&e.Series.LastObservedTime)
	}
	if flags&flagRelated != 0 {
		e.Related = &event.Reference{}
		r.reference(e.Related)
	}
	if r.broken || len(r.b) != 0 {
		return nil, fmt.Errorf("%w: cut or overlong", ErrRecord)
	}
	return in, nil
}

// maxStep bounds what Decode believes; the configuration allows less.
const maxStep = 10 * 365 * 24 * time.Hour

func appendStrings(b []byte, texts ...string) []byte {
	for _, s := range texts {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	return b
}

// appendTimes writes 0 for the zero time, which Kubernetes uses for "not set", and else 1 plus the zigzag of the
// microseconds since 1970.
func appendTimes(b []byte, times ...time.Time) []byte {
	for _, t := range times {
		if t.IsZero() {
			b = append(b, 0)
			continue
		}
		us := t.UnixMicro()
		b = binary.AppendUvarint(b, uint64(us<<1)^uint64(us>>63)+1)
	}
	return b
}

func appendReference(b []byte, o *event.Reference) []byte {
	return appendStrings(b, o.Kind, o.Namespace, o.Name, o.UID, o.APIVersion, o.ResourceVersion, o.FieldPath)
}

// recordReader takes fields off b. After the first field that is not there all others are zero.
type recordReader struct {
	b      []byte
	broken bool
}

func (r *recordReader) fail() { r.b, r.broken = nil, true }

func (r *recordReader) uvarint(most uint64) uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 || v > most {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *recordReader) varint(most int64) int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 || v > most || v < -most-1 {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *recordReader) uint32() uint32 {
	if len(r.b) < 4 {
		r.fail()
		return 0
	}
	v := binary.LittleEndian.Uint32(r.b)
	r.b = r.b[4:]
	return v
}

func (r *recordReader) strings(texts ...*string) {
	for _, s := range texts {
		n := r.uvarint(uint64(len(r.b)))
		if n > uint64(len(r.b)) {
			r.fail()
			return
		}
		*s = string(r.b[:n])
		r.b = r.b[n:]
	}
}

func (r *recordReader) times(times ...*time.Time) {
	for _, t := range times {
		v := r.uvarint(1<<64 - 1)
		if v == 0 {
			continue
		}
		v--
		*t = event.BoundTime(time.UnixMicro(int64(v>>1) ^ -int64(v&1)).UTC())
	}
}

func (r *recordReader) reference(o *event.Reference) {
	r.strings(&o.Kind, &o.Namespace, &o.Name, &o.UID, &o.APIVersion, &o.ResourceVersion, &o.FieldPath)
}
