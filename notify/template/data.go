package template

import (
	"cmp"
	"errors"
	"regexp"
	"strings"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/event"
	"github.com/edge-eventer/edge-eventer/notify"
	"github.com/edge-eventer/edge-eventer/notify/chat"
	"github.com/edge-eventer/edge-eventer/notify/untrusted"
)

// Data is what templates see: the event by the Go names of core/v1, and what the agent knows besides. Times are
// in the configured zone. Times that the API server did not set show when the event was first or last seen, since
// templates in use name lastTimestamp and would print year 1.
type Data struct {
	event.Event

	// Cluster, Workload, Severity and so on are as in Incident.
	Cluster     string
	Workload    string
	Severity    string
	Occurrences int
	Untold      int
	FirstSeen   time.Time
	LastSeen    time.Time
	// Delay is how long ago the event was last seen.
	Delay   time.Duration
	ID      string
	Objects []string
	// Labels are those of the configuration.
	Labels map[string]string
	// ClusterName is what kubernetes-event-exporter calls Cluster.
	ClusterName string

	// GetTimestampMs and GetTimestampISO8601 are when the event was last seen in milliseconds, and as RFC 3339 in UTC. In
	// kubernetes-event-exporter they are methods; a template calls no methods but those of times, and cannot tell them from fields.
	GetTimestampMs      int64  `json:"-"`
	GetTimestampISO8601 string `json:"-"`
	// Observed, Reporter and Host are as the methods of Event.
	Observed int    `json:"-"`
	Reporter string `json:"-"`
	Host     string `json:"-"`
}

// NewData is the first incident of m, with the losses above its message. A message without incidents is one of
// the agent's own, so that losses reach a receiver that knows only events.
func NewData(c *notify.Common, m *notify.Message, textLimit int) *Data {
	zone := c.Location
	if zone == nil {
		zone = time.UTC
	}
	in := c.LossIncident(m)
	if len(m.Incidents) > 0 {
		in = m.Incidents[0]
	}
	var text strings.Builder
	for _, line := range LossLines(c, m) {
		text.WriteString(line + "\n")
	}
	short := func(text string) string { return untrusted.Name(text, 1024) }
	d := &Data{
		Event:       in.Event,
		Cluster:     short(cmp.Or(in.Cluster, c.Cluster)),
		Workload:    short(in.Workload),
		Severity:    string(in.Severity),
		Occurrences: in.Occurrences,
		Untold:      in.Untold,
		FirstSeen:   in.FirstSeen.In(zone),
		LastSeen:    in.LastSeen.In(zone),
		Delay:       max(0, m.Now.Sub(in.LastSeen)).Truncate(time.Second),
		ID:          short(in.ID),
	}
	d.ClusterName, d.Labels = d.Cluster, c.Labels
	for _, name := range in.Objects {
		d.Objects = append(d.Objects, short(name))
	}
	e := &d.Event
	e.Message = untrusted.Message(text.String()+e.Message, textLimit)
	for _, field := range []*string{
		&e.Name, &e.Namespace, &e.UID, &e.ResourceVersion, &e.Reason, &e.Source.Component, &e.Source.Host, &e.Type, &e.Action,
		&e.ReportingController, &e.ReportingInstance,
	} {
		*field = short(*field)
	}
	e.InvolvedObject = shortReference(e.InvolvedObject, short)
	if e.Related != nil {
		related := shortReference(*e.Related, short)
		e.Related = &related
	}
	e.Source.Component = cmp.Or(e.Source.Component, e.ReportingController)
	e.Source.Host = cmp.Or(e.Source.Host, e.ReportingInstance)
	d.GetTimestampMs = d.LastSeen.UnixMilli()
	d.GetTimestampISO8601 = d.LastSeen.UTC().Format("2006-01-02T15:04:05.000Z")
	d.Reporter, d.Host = e.Reporter(), e.Host()
	e.Count = int32(min(in.Observed(), 1<<31-1))
	d.Observed = e.Observed()
	first, last := in.Event.FirstSeen(), in.Event.LastSeen()
	e.FirstTimestamp = timeOr(e.FirstTimestamp, first).In(zone)
	e.LastTimestamp = timeOr(e.LastTimestamp, last).In(zone)
	e.EventTime = timeOr(e.EventTime, last).In(zone)
	e.CreationTimestamp = timeOr(e.CreationTimestamp, first).In(zone)
	return d
}

func shortReference(o event.Reference, short func(string) string) event.Reference {
	return event.Reference{
		Kind: short(o.Kind), Namespace: short(o.Namespace), Name: short(o.Name), UID: short(o.UID), APIVersion: short(o.APIVersion),
		ResourceVersion: short(o.ResourceVersion), FieldPath: short(o.FieldPath),
	}
}

func timeOr(t, other time.Time) time.Time {
	if t.IsZero() {
		return other
	}
	return t
}

// LossLines are the losses as a receiver that knows only events shows them.
func LossLines(c *notify.Common, m *notify.Message) []string {
	w := chat.WordsOf(c.Language)
	zone := c.Location
	if zone == nil {
		zone = time.UTC
	}
	var lines []string
	for i := range m.Losses[:min(len(m.Losses), 10)] {
		lines = append(lines, w.Loss(&m.Losses[i], zone))
	}
	return lines
}

// Text is a text of the configuration with templates over one incident, such as a topic.
type Text struct {
	common   notify.Common
	template *Template
}

// ParseText parses the text. path names its key in errors.
func ParseText(path, text string, c notify.Common) (*Text, error) {
	parsed, err := Parse(path, text, OptionsOf(&c))
	if err != nil {
		return nil, err
	}
	return &Text{common: c, template: parsed}, nil
}

// ParseTopic parses the topic of an MQTT message. What an action prints stays within the level of the topic in which it stands, and
// is no wildcard: where a message goes is not for an event to decide.
func ParseTopic(path, text string, c notify.Common) (*Text, error) {
	e := escaper{place: levelName}
	parsed, err := parseText(path, text, OptionsOf(&c), e.list)
	if err != nil {
		return nil, err
	}
	return &Text{common: c, template: parsed}, nil
}

// topicLevel makes a text a part of one level: /, + and # become a line, as do control characters, which a broker refuses.
func topicLevel(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xA0 || strings.ContainsRune("/+#\uFFFD", r) {
			return '-'
		}
		return r
	}, text)
}

// Execute returns the text for an incident. The namespace of what has none, such as a node, is default.
func (t *Text) Execute(in *notify.Incident, now time.Time) (string, error) {
	data := NewData(&t.common, &notify.Message{Now: now, Incidents: []notify.Incident{*in}}, 256)
	if data.Namespace == "" {
		data.Namespace = "default"
	}
	return t.template.Execute(NewBudget(), data)
}

// CheckText adds a mistake unless the text is a template that executes for a full and for a sparse incident.
func CheckText(path, text string, add notify.AddMistake) {
	parsed, err := ParseText(path, text, notify.Common{})
	check(path, parsed, err, add)
}

// CheckTopic is CheckText for a topic of MQTT, which has at most 512 bytes of text and no wildcards.
func CheckTopic(path, text string, add notify.AddMistake) {
	fixed := regexp.MustCompile(`\{\{.*?\}\}`).ReplaceAllString(text, "")
	if text == "" || len(text) > 512 || strings.ContainsAny(fixed, "+#\x00") || strings.HasPrefix(text, "$") {
		add(path, "must be a topic of 1 to 512 bytes without the wildcards + and #, and not begin with $")
		return
	}
	parsed, err := ParseTopic(path, text, notify.Common{})
	check(path, parsed, err, add)
}

func check(path string, parsed *Text, err error, add notify.AddMistake) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, m := range []*notify.Message{notify.Sample("", now), notify.SparseSample("", now)} {
		if err == nil {
			_, err = parsed.Execute(&m.Incidents[0], now)
		}
	}
	if e, ok := errors.AsType[*Error](err); ok {
		add(path, "%s", e.Text())
	}
}

// OptionsOf returns what the functions of templates know of a receiver.
func OptionsOf(c *notify.Common) Options {
	return Options{Zone: c.Location, Truncate: untrusted.CutRunes}
}

// KafkaTopic makes a text a legal topic: 1 to 249 letters, digits and ._-, but not . or ..
func KafkaTopic(text string) string {
	name := strings.Map(func(r rune) rune {
		if notify.Only(string(r), 1, "._-") {
			return r
		}
		return '-'
	}, text)
	name = name[:min(len(name), 249)]
	if strings.Trim(name, ".") == "" {
		return "events"
	}
	return name
}
