package notify

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strconv"
	"strings"
)

// chat is what the receivers of chat platforms have in common: the parts of a message, in plain text, and how many incidents fit.
type chat struct {
	*poster

	cfg    *Config
	words  *words
	limits Limits
}

func newChat(cfg Config, p *poster, limits Limits) chat {
	if limits.Batch == 0 {
		limits.Batch = 50
	}
	limits.BatchBytes = DefaultBatchBytes
	limits.Digest = true
	return chat{poster: p, cfg: &cfg, words: wordsOf(cfg.Language), limits: limits}
}

// Limits returns what the platform documents.
func (c *chat) Limits() Limits { return c.limits }

// entry is an incident in plain text: clean, bounded and without mentions, but not escaped.
type entry struct {
	critical bool
	severity string
	reason   string
	// subject is kind, namespace and workload: "Pod shop/web".
	subject string
	// observed is how often, empty for once.
	observed string
	// message may have several lines.
	message string
	objects string
	// details are times, delay, reporter and short id, in one line.
	details string
}

// heading is reason, subject and how often.
func (e *entry) heading() string {
	return strings.Join(filled(e.reason, e.subject, e.observed), " ")
}

// lines are the lines below the heading.
func (e *entry) lines() []string {
	return filled(e.message, e.objects, e.details)
}

// brief is the whole incident in few lines.
func (e *entry) brief() string {
	heading := e.heading()
	if e.critical {
		heading = e.severity + " " + heading
	}
	return strings.Join(append([]string{heading}, e.lines()...), "\n")
}

func filled(texts ...string) []string {
	kept := texts[:0]
	for _, t := range texts {
		if t != "" {
			kept = append(kept, t)
		}
	}
	return kept
}

// entry reads an incident of m. In a digest it is brief: how often, when, and one line of the message.
func (c *chat) entry(m *Message, in *Incident, textLimit int) entry {
	w := c.words
	e := entry{
		critical: in.Severity == Critical,
		severity: w.severity(in.Severity),
		reason:   cmp.Or(nameText(in.Reason, 64), "-"),
		subject:  subject(in),
		observed: w.observed(in),
		message:  messageText(in.Message, textLimit),
	}
	if m.Digest != nil {
		e.message = messageText(cleanLine(e.message), textLimit)
		e.details = times(in.FirstSeen, in.LastSeen, c.cfg.Location)
		return e
	}
	if affected := w.affected(in); affected != "" {
		e.objects = w.objects + ": " + affected
	}
	from := nameText(in.Reporter(), 64)
	if host := nameText(in.Host(), 64); host != "" && host != from {
		from = strings.TrimSpace(from + " " + w.node + " " + host)
	}
	if from != "" {
		from = w.from + " " + from
	}
	e.details = strings.Join(filled(times(in.FirstSeen, in.LastSeen, c.cfg.Location), w.delay(in, m.Now), from, "#"+shortID(in.ID)), " · ")
	return e
}

// subject is kind, namespace and workload of an incident.
func subject(in *Incident) string {
	name := cmp.Or(in.Workload, in.InvolvedObject.Name)
	if in.InvolvedObject.Namespace != "" {
		name = in.InvolvedObject.Namespace + "/" + name
	}
	return nameText(in.InvolvedObject.Kind+" "+name, 160)
}

// shortID lets a person see that two messages tell the same thing: no chat platform has a key against repeats.
func shortID(id string) string {
	sum := sha256.Sum256([]byte(id))
	return hex.EncodeToString(sum[:4])
}

func (c *chat) cluster() string {
	return nameText(c.cfg.Cluster, 64)
}

// title names the cluster, for a robot with a keyword setting finds it there, and what is in the message.
func (c *chat) title(m *Message, n int) string {
	var what string
	switch {
	case m.Digest != nil:
		what = c.words.digest(m.Digest)
	case n == 0:
		what = c.words.lostTitle
	case n == 1:
		in := &m.Incidents[0]
		what = nameText(in.Reason, 64) + " " + subject(in)
	default:
		what = count(uint64(n), c.words.incident, c.words.incidents)
		if critical := countCritical(m.Incidents[:n]); critical > 0 {
			what += c.words.separator + strconv.Itoa(critical) + " " + c.words.critical
		}
	}
	if cluster := c.cluster(); cluster != "" {
		return cluster + ": " + what
	}
	return what
}

func countCritical(incidents []Incident) int {
	n := 0
	for i := range incidents {
		if incidents[i].Severity == Critical {
			n++
		}
	}
	return n
}

// preface is what stands above the incidents: how long the receiver was away, and the losses. The spool knows five causes of
// loss; more than 10 are a mistake of the caller.
func (c *chat) preface(m *Message) []string {
	var lines []string
	if m.Digest != nil && m.Digest.Part <= 1 {
		lines = c.words.span(m.Digest, m.Now, c.cfg.Location)
	}
	for i := range m.Losses[:min(len(m.Losses), 10)] {
		lines = append(lines, c.words.loss(&m.Losses[i], c.cfg.Location))
	}
	return lines
}

// ending is what stands below the first n incidents: how many more there are that no message names, and which are over.
func (c *chat) ending(m *Message, n int) []string {
	var lines []string
	if incidents, events := m.Unnamed(n); incidents > 0 {
		lines = append(lines, c.words.notNamed(incidents, events))
	}
	if len(m.Resolved) > 0 {
		lines = append(lines, c.words.over(m.Resolved))
	}
	return lines
}

// mentions returns who is to be notified by a message with the first n incidents: nobody twice by the parts of a digest.
func (c *chat) mentions(m *Message, n int) []string {
	if countCritical(m.Incidents[:n]) == 0 || m.Digest != nil && m.Digest.Part > 1 {
		return nil
	}
	return c.cfg.Mention
}

// most is how many incidents one message names at most. In a digest only the platform's size decides.
func (c *chat) most(m *Message) int {
	if m.Digest != nil {
		return maxDigest
	}
	return c.limits.Batch
}

const (
	// maxDigest bounds the incidents that are tried to fit into one message of a digest.
	maxDigest = 256
	// maxResolved is how many bytes of a message are about incidents that are over.
	maxResolved = 500
	// digestText is how many bytes of an event's message a digest shows.
	digestText = 100
)

// textLimit is how many bytes of an event's message are shown: a single one in full, many as samples.
func textLimit(n int) int {
	switch {
	case n <= 1:
		return 4000
	case n <= 5:
		return 1000
	}
	return 300
}

// fit builds with fewer and fewer incidents, and in the end with less and less of the message, until size is within limit. It
// returns how many incidents are in it. Everything but the message of an event is bounded by the entry, so it ends.
func fit(m *Message, most, limit int, build func(n, textLimit int) []byte, size func([]byte) int) ([]byte, int) {
	n := min(len(m.Incidents), most)
	text := textLimit(n)
	if m.Digest != nil {
		text = digestText
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

func byteSize(b []byte) int { return len(b) }

// request is a POST of a JSON body, as all chat platforms want it.
func (m *Message) request(body []byte, incidents int) *Request {
	return &Request{
		Method:    "POST",
		Header:    map[string]string{"Content-Type": "application/json; charset=utf-8"},
		Body:      body,
		Incidents: incidents,
		Time:      m.Now,
		Losses:    m.lossesIn(LossesWhole),
	}
}

// toJSON encodes without the escapes for HTML, which cost 5 bytes for each bracket. The values are this package's own and
// plain trees, so encoding cannot fail.
func toJSON(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic("notify: encode a request: " + err.Error())
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}
