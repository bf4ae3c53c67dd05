package chat

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/edge-eventer/edge-eventer/notify"
	"github.com/edge-eventer/edge-eventer/notify/untrusted"
)

// Chat is what the receivers of chat platforms have in common: the parts of a message, in plain text, and how many incidents fit.
type Chat struct {
	*notify.Poster

	// Common is what the configuration says for every receiver.
	Common  notify.Common
	mention []string
	words   *Words
	limits  notify.Limits
}

// New returns the common part. The limits are those that the platform documents; without a batch it is 50. Who is in mention is
// notified by messages with a critical incident.
func New(c notify.Common, o notify.PosterOptions, mention []string, limits notify.Limits) Chat {
	if limits.Batch == 0 {
		limits.Batch = 50
	}
	limits.BatchBytes = notify.DefaultBatchBytes
	limits.Digest = true
	if c.Location == nil {
		c.Location = time.UTC
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return Chat{Poster: notify.NewPoster(c, o), Common: c, mention: mention, words: WordsOf(c.Language), limits: limits}
}

// Limits returns what the platform documents.
func (c *Chat) Limits() notify.Limits { return c.limits }

// Entry is an incident in plain text: clean, bounded and without mentions, but not escaped.
type Entry struct {
	Critical bool
	Severity string
	Reason   string
	// Subject is kind, namespace and workload: "Pod shop/web".
	Subject string
	// Observed is how often, empty for once.
	Observed string
	// Message may have several lines.
	Message string
	Objects string
	// Details are times, delay, reporter and short id, in one line.
	Details string
}

// Heading is reason, subject and how often.
func (e *Entry) Heading() string {
	return strings.Join(Filled(e.Reason, e.Subject, e.Observed), " ")
}

// Lines are the lines below the heading.
func (e *Entry) Lines() []string {
	return Filled(e.Message, e.Objects, e.Details)
}

// Brief is the whole incident in few lines.
func (e *Entry) Brief() string {
	heading := e.Heading()
	if e.Critical {
		heading = e.Severity + " " + heading
	}
	return strings.Join(append([]string{heading}, e.Lines()...), "\n")
}

// Filled returns the texts that are not empty.
func Filled(texts ...string) []string {
	kept := texts[:0]
	for _, t := range texts {
		if t != "" {
			kept = append(kept, t)
		}
	}
	return kept
}

// Entry reads an incident of m. In a digest it is brief: how often, when, and one line of the message.
func (c *Chat) Entry(m *notify.Message, in *notify.Incident, textLimit int) Entry {
	w := c.words
	e := Entry{
		Critical: isCritical(in),
		Severity: w.severity(in.Severity),
		Reason:   cmp.Or(untrusted.Name(in.Reason, 64), "-"),
		Subject:  Subject(in),
		Observed: w.observed(in),
		Message:  untrusted.Message(in.Message, textLimit),
	}
	if in.Notice {
		e.Severity = ""
	}
	if m.Digest != nil {
		e.Message = untrusted.Message(untrusted.CleanLine(e.Message), textLimit)
		e.Details = times(in.FirstSeen, in.LastSeen, c.Common.Location)
		return e
	}
	if affected := w.Affected(in); affected != "" {
		e.Objects = w.objects + ": " + affected
	}
	from := untrusted.Name(in.Reporter(), 64)
	if host := untrusted.Name(in.Host(), 64); host != "" && host != from {
		from = strings.TrimSpace(from + " " + w.node + " " + host)
	}
	if from != "" {
		from = w.from + " " + from
	}
	e.Details = strings.Join(Filled(times(in.FirstSeen, in.LastSeen, c.Common.Location), w.delay(in, m.Now), from, "#"+shortID(in.ID)), " · ")
	return e
}

// Subject is kind, namespace and workload of an incident.
func Subject(in *notify.Incident) string {
	name := cmp.Or(in.Workload, in.InvolvedObject.Name)
	if in.InvolvedObject.Namespace != "" {
		name = in.InvolvedObject.Namespace + "/" + name
	}
	return untrusted.Name(in.InvolvedObject.Kind+" "+name, 160)
}

// shortID lets a person see that two messages tell the same thing: no chat platform has a key against repeats.
func shortID(id string) string {
	sum := sha256.Sum256([]byte(id))
	return hex.EncodeToString(sum[:4])
}

func (c *Chat) cluster() string {
	return untrusted.Name(c.Common.Cluster, 64)
}

// Title names the cluster, for a robot with a keyword setting finds it there, and what is in the message.
func (c *Chat) Title(m *notify.Message, n int) string {
	var what string
	switch {
	case m.Digest != nil:
		what = c.words.digest(m.Digest)
	case n == 0:
		what = c.words.LostTitle
	case n == 1:
		in := &m.Incidents[0]
		what = untrusted.Name(in.Reason, 64) + " " + Subject(in)
	default:
		what = count(uint64(n), c.words.incident, c.words.incidents)
		if critical := CountCritical(m.Incidents[:n]); critical > 0 {
			what += c.words.separator + strconv.Itoa(critical) + " " + c.words.critical
		}
	}
	if cluster := c.cluster(); cluster != "" {
		return cluster + ": " + what
	}
	return what
}

// isCritical reports whether an incident is critical, which no notice is.
func isCritical(in *notify.Incident) bool { return in.Severity == notify.Critical && !in.Notice }

// Tone is the colour of a message.
type Tone int

// The tones, from the worst.
const (
	CriticalTone Tone = iota
	WarningTone
	// NoticeTone is of what the agent tells of itself when all is well.
	NoticeTone
)

// ToneOf is the tone of a message with the first n incidents.
func ToneOf(m *notify.Message, n int) Tone {
	if CountCritical(m.Incidents[:n]) > 0 {
		return CriticalTone
	}
	troubled := func(in notify.Incident) bool { return !in.Notice }
	if n == 0 || len(m.Losses) > 0 || slices.ContainsFunc(m.Incidents[:n], troubled) {
		return WarningTone
	}
	return NoticeTone
}

// CountCritical counts the critical incidents.
func CountCritical(incidents []notify.Incident) int {
	n := 0
	for i := range incidents {
		if isCritical(&incidents[i]) {
			n++
		}
	}
	return n
}

// Preface is what stands above the incidents: how long the receiver was away, and the losses. The spool knows fewer
// causes of loss than notify.MaxLosses; more are a mistake of the caller.
func (c *Chat) Preface(m *notify.Message) []string {
	var lines []string
	if m.Digest != nil && m.Digest.Part <= 1 {
		lines = c.words.span(m.Digest, m.Now, c.Common.Location)
	}
	for i := range m.Losses[:min(len(m.Losses), notify.MaxLosses)] {
		lines = append(lines, c.words.Loss(&m.Losses[i], c.Common.Location))
	}
	return lines
}

// Ending is what stands below the first n incidents: how many more there are that no message names, which are over, and the labels of the
// configuration.
func (c *Chat) Ending(m *notify.Message, n int) []string {
	var lines []string
	if incidents, events := m.Unnamed(n); incidents > 0 {
		lines = append(lines, c.words.notNamed(incidents, events))
	}
	if len(m.Resolved) > 0 {
		lines = append(lines, c.words.over(m.Resolved))
	}
	if labels := c.labels(); labels != "" {
		lines = append(lines, labels)
	}
	return lines
}

// labels is a line of those of the configuration, in the order of their names; empty where there are none.
func (c *Chat) labels() string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(c.Common.Labels)) {
		all = append(all, name+"="+c.Common.Labels[name])
	}
	return untrusted.Name(strings.Join(all, " · "), maxLabels)
}

// Mentions returns who is to be notified by a message with the first n incidents: nobody twice by the parts of a digest.
func (c *Chat) Mentions(m *notify.Message, n int) []string {
	if CountCritical(m.Incidents[:n]) == 0 || m.Digest != nil && m.Digest.Part > 1 {
		return nil
	}
	return c.mention
}

// Most is how many incidents one message names at most. In a digest only the platform's size decides.
func (c *Chat) Most(m *notify.Message) int {
	if m.Digest != nil {
		return maxDigest
	}
	return c.limits.Batch
}

const (
	// maxDigest bounds the incidents that are tried to fit into one message of a digest.
	maxDigest = 256
	// maxLabels is how many characters of a message are the labels of the configuration.
	maxLabels = 160
	// maxResolved is how many bytes of a message are about incidents that are over.
	maxResolved = 500
	// DigestText is how many bytes of an event's message a digest shows.
	DigestText = 100
)

// TextLimit is how many bytes of an event's message are shown: a single one in full, many as samples.
func TextLimit(n int) int {
	switch {
	case n <= 1:
		return 4000
	case n <= 5:
		return 1000
	}
	return 300
}

// Fit builds with fewer and fewer incidents, and in the end with less and less of the message, until size is within limit. It
// returns how many incidents are in it. Everything but the message of an event is bounded by the entry, so it ends.
func Fit(m *notify.Message, most, limit int, build func(n, textLimit int) []byte, size func([]byte) int) ([]byte, int) {
	n := min(len(m.Incidents), most)
	text := TextLimit(n)
	if m.Digest != nil {
		text = DigestText
	}
	for {
		body := build(n, text)
		got := size(body)
		switch {
		case got <= limit, n <= 1 && text == 0:
			return body, n
		case n > 1:
			n = max(1, min(n-1, n*limit/got))
		default:
			text /= 2
		}
	}
}

// ByteSize counts as platforms do whose limit is in bytes.
func ByteSize(b []byte) int { return len(b) }
