package influxdb

import (
	"crypto/sha256"
	"encoding/binary"
	"strconv"
	"strings"
	"time"

	"github.com/edge-eventer/edge-eventer/notify"
	"github.com/edge-eventer/edge-eventer/notify/untrusted"
)

const (
	// maxField is the longest text that InfluxDB takes as a field, in bytes, less what escapes add.
	maxField = 32 << 10
	// sitePrefix is before the names of the fields that say how a site stands: no label may take one of them.
	sitePrefix = "site_"
	// maxTag bounds a tag's value. Tags are few and their values come from the cluster's own names of kinds, reasons and namespaces:
	// each combination is a series that the server holds in memory.
	maxTag = 128
)

// point returns the line of an incident, with its line break.
func (r *receiver) point(in *notify.Incident, textLimit int) []byte {
	e := &in.Event
	b := r.head(nil, string(in.Severity), e.InvolvedObject.Namespace, e.InvolvedObject.Kind, e.Reason)
	b = append(b, ' ')
	b = appendInteger(b, "count", in.Untold)
	b = appendInteger(append(b, ','), "occurrences", in.Occurrences)
	for _, n := range in.SiteNumbers() {
		b = append(appendEscaped(append(b, ','), sitePrefix+n.Key, `,= `), '=')
		b = append(strconv.AppendInt(b, n.Value, 10), 'i')
	}
	if !r.config.NumbersOnly {
		for _, f := range []struct{ key, text string }{
			{"name", e.InvolvedObject.Name}, {"workload", in.Workload}, {"component", in.Reporter()}, {"host", in.Host()},
			{"uid", e.UID}, {"id", in.ID},
		} {
			if f.text != "" {
				b = appendText(append(b, ','), f.key, untrusted.Line(f.text, 512))
			}
		}
		b = appendText(append(b, ','), "message", untrusted.Line(e.Message, min(textLimit, maxField)))
	}
	return appendTime(b, in.LastSeen, in.ID)
}

// loss returns the line of a loss. lost is 0 where nobody knows how much.
func (r *receiver) loss(l *notify.Loss, now time.Time) []byte {
	b := r.head(nil, string(notify.Warning), "", "EdgeEventer", "EventsLost")
	b = appendTag(b, "cause", l.Cause)
	b = append(b, ' ')
	b = append(b, "lost="...)
	b = strconv.AppendUint(b, min(l.Events, 1<<62), 10)
	b = append(b, "i,count=0i"...)
	if !r.config.NumbersOnly {
		b = appendText(append(b, ','), "message", notify.LossText(l))
	}
	return appendTime(b, now, notify.LossID(r.common.Cluster, r.common.Name, l))
}

// head writes the measurement and the tags, in the order of their keys as the server prefers them.
func (r *receiver) head(b []byte, severity, namespace, kind, reason string) []byte {
	b = appendEscaped(b, r.config.Measurement, `, `)
	for _, tag := range r.tags {
		b = appendTag(b, tag.key, tag.value)
	}
	b = appendTag(b, "kind", kind)
	b = appendTag(b, "namespace", namespace)
	b = appendTag(b, "reason", reason)
	return appendTag(b, "severity", severity)
}

// appendTag writes a tag; an empty value may not stand in a line and is left out.
func appendTag(b []byte, key, value string) []byte {
	// A backslash has no escape in a tag, and before an escaped character or at the end it would take that one's: it becomes a slash.
	value = strings.ReplaceAll(untrusted.Line(value, maxTag), `\`, "/")
	if value == "" {
		return b
	}
	b = append(b, ',')
	b = appendEscaped(b, key, `,= `)
	b = append(b, '=')
	return appendEscaped(b, value, `,= `)
}

// appendEscaped puts a backslash before each byte of special.
func appendEscaped(b []byte, text, special string) []byte {
	for i := range len(text) {
		if strings.IndexByte(special, text[i]) >= 0 {
			b = append(b, '\\')
		}
		b = append(b, text[i])
	}
	return b
}

func appendInteger(b []byte, key string, n int) []byte {
	b = append(append(b, key...), '=')
	return append(strconv.AppendInt(b, int64(n), 10), 'i')
}

// appendText writes a field of text, which is on one line: InfluxDB 1 and VictoriaMetrics end a point at any line break.
func appendText(b []byte, key, text string) []byte {
	b = append(append(b, key...), `="`...)
	return append(appendEscaped(b, text, `"\`), '"')
}

// appendTime writes the second in which something was seen, with nanoseconds that come from the ID, and ends the line. A time
// before 1970 or beyond what nanoseconds can hold, the year 2262, becomes the nearest that can be told.
func appendTime(b []byte, at time.Time, id string) []byte {
	sum := sha256.Sum256([]byte(id))
	const last = 1<<63/1_000_000_000 - 1
	seconds := min(max(0, at.Unix()), last-1)
	nanos := int64(binary.BigEndian.Uint64(sum[:]) % 1_000_000_000)
	b = strconv.AppendInt(append(b, ' '), seconds*1_000_000_000+nanos, 10)
	return append(b, '\n')
}
