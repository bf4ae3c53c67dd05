package teams

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/edge-eventer/edge-eventer/notify"
	"github.com/edge-eventer/edge-eventer/notify/chat"
	"github.com/edge-eventer/edge-eventer/notify/untrusted"
)

const (
	// limit bounds the whole body. Teams documents "approximately 28 KB" with all markup, and a message above it is lost after it was
	// accepted: https://learn.microsoft.com/connectors/teams/. Others measured 21,000 bytes.
	limit = 20_000
	// batch is how many incidents one card shows at most: a person scrolls it on a phone.
	batch = 20
	// throttled is how long a wait is at least when the platform itself asks for fewer requests.
	throttled = time.Minute
)

// receiver is a workflow that posts what it gets as a card.
//
// Protocol: https://learn.microsoft.com/microsoftteams/platform/webhooks-and-connectors/how-to/add-incoming-webhook and
// https://adaptivecards.io/explorer/. Every text stands in a TextRun, where Teams parses no Markdown; a mention needs an entity beside the
// card, which this package never writes.
type receiver struct {
	chat.Chat

	config *Config
}

type message struct {
	Type        string       `json:"type"`
	Attachments []attachment `json:"attachments"`
}

type attachment struct {
	ContentType string `json:"contentType"`
	Content     card   `json:"content"`
}

type card struct {
	Schema  string            `json:"$schema"`
	Type    string            `json:"type"`
	Version string            `json:"version"`
	Body    []element         `json:"body"`
	MSTeams map[string]string `json:"msteams,omitempty"`
}

// element is a RichTextBlock, or the Container around the heading.
type element struct {
	Type      string    `json:"type"`
	Style     string    `json:"style,omitempty"`
	Bleed     bool      `json:"bleed,omitempty"`
	Separator bool      `json:"separator,omitempty"`
	Spacing   string    `json:"spacing,omitempty"`
	Items     []element `json:"items,omitempty"`
	Inlines   []run     `json:"inlines,omitempty"`
}

// run is a TextRun.
type run struct {
	Type   string `json:"type"`
	Text   string `json:"text"`
	Color  string `json:"color,omitempty"`
	Size   string `json:"size,omitempty"`
	Weight string `json:"weight,omitempty"`
	Subtle bool   `json:"isSubtle,omitempty"`
	Font   string `json:"fontType,omitempty"`
}

func block(r run) element {
	r.Type, r.Text = "TextRun", literal(r.Text)
	return element{Type: "RichTextBlock", Inlines: []run{r}}
}

func below(r run) element {
	e := block(r)
	e.Spacing = "None"
	return e
}

// literal keeps an Adaptive Card's own functions, {{DATE(…)}} and ${…}, from being seen in a text.
func literal(text string) string {
	return strings.NewReplacer("{{", "｛｛", "${", "＄{").Replace(text)
}

// Render builds a card with a coloured heading, or with Simple one that has a plain text and nothing else.
func (t *receiver) Render(m *notify.Message, form notify.Form) (*notify.Request, error) {
	build := func(n, textLimit int) []byte {
		c := card{Schema: "http://adaptivecards.io/schemas/adaptive-card.json", Type: "AdaptiveCard", Version: "1.2"}
		if form == notify.Simple {
			c.Body = []element{block(run{Text: t.Plain(m, n, textLimit)})}
		} else {
			c.Body, c.MSTeams = t.body(m, n, textLimit), map[string]string{"width": "full"}
		}
		return notify.JSON(message{Type: "message", Attachments: []attachment{{ContentType: "application/vnd.microsoft.card.adaptive", Content: c}}})
	}
	body, n := chat.Fit(m, t.Most(m), limit, build, chat.ByteSize)
	return chat.Request(m, body, n), nil
}

func (t *receiver) body(m *notify.Message, n, textLimit int) []element {
	heading := element{Type: "Container", Style: style(m, n), Bleed: true}
	heading.Items = []element{block(run{Text: t.Title(m, n), Weight: "Bolder"})}
	for _, line := range t.Preface(m) {
		heading.Items = append(heading.Items, below(run{Text: line, Size: "Small"}))
	}
	elements := []element{heading}
	for i := range m.Incidents[:n] {
		elements = append(elements, t.incident(m, i, n, textLimit)...)
	}
	for _, line := range t.Ending(m, n) {
		e := block(run{Text: line, Size: "Small"})
		e.Separator = true
		elements = append(elements, e)
	}
	return elements
}

// style is the colour behind the heading.
func style(m *notify.Message, n int) string {
	switch chat.ToneOf(m, n) {
	case chat.CriticalTone:
		return "attention"
	case chat.NoticeTone:
		return "accent"
	case chat.WarningTone:
	}
	return "warning"
}

// incident is what stands about one: a text in a digest, else heading, message and details. The heading of the only one is the card's.
func (t *receiver) incident(m *notify.Message, i, n, textLimit int) []element {
	e := t.Entry(m, &m.Incidents[i], textLimit)
	color := ""
	if e.Critical {
		color = "Attention"
	}
	if m.Digest != nil {
		first := block(run{Text: e.Brief(), Color: color})
		first.Separator = true
		return []element{first}
	}
	var elements []element
	heading := e.Heading()
	if n == 1 {
		heading = e.Observed
	}
	if e.Critical {
		heading = strings.Join(chat.Filled(e.Severity, heading), " ")
	}
	if heading != "" {
		elements = append(elements, block(run{Text: heading, Color: color, Weight: "Bolder"}))
	}
	if e.Message != "" {
		elements = append(elements, below(run{Text: e.Message, Font: "Monospace"}))
	}
	if e.Objects != "" {
		elements = append(elements, below(run{Text: e.Objects}))
	}
	elements = append(elements, below(run{Text: e.Details, Subtle: true, Size: "Small"}))
	elements[0].Separator, elements[0].Spacing = i > 0, ""
	return elements
}

// Send posts the request.
func (t *receiver) Send(ctx context.Context, r *notify.Request) error {
	to, err := notify.TargetOf(t.config.URL, nil)
	if err != nil {
		return err
	}
	a, err := t.Post(ctx, to, r)
	if err != nil {
		return err
	}
	return t.verdict(a)
}

// verdict reads the answer. What a workflow answers with is documented nowhere; the codes are those that its users reported. 202 says
// that the workflow was started, 200 comes from workflows that answer themselves.
func (t *receiver) verdict(a *notify.Answer) error {
	const platform = "the workflow"
	var reply struct {
		Error *struct{ Code, Message string }
	}
	isObject := json.Unmarshal(a.Body, &reply) == nil
	refused := isObject && reply.Error != nil
	switch {
	case a.Status == http.StatusOK || a.Status == http.StatusAccepted:
		switch {
		case a.Broken != nil && a.Status == http.StatusOK:
			return a.Broken
		case a.IsHTML():
			return a.Foreign(platform)
		case !refused && !strings.Contains(string(a.Body), "returned HTTP error"):
			return nil
		}
	case a.Broken != nil:
		return a.Broken
	}
	if !refused || reply.Error.Code == "" {
		return t.withoutCode(a)
	}
	code, text := untrusted.CutRunes(untrusted.CleanLine(reply.Error.Code), 64), untrusted.Quoted(reply.Error.Message)
	switch {
	case a.Status == http.StatusTooManyRequests:
		e := a.Fail(notify.Retry, code, "Teams asks for fewer requests: %s", text)
		if e.RetryAfter == 0 {
			return e.AtLeast(throttled)
		}
		return e
	case a.Status == http.StatusRequestTimeout, a.Status/100 == 5, a.Status/100 == 3:
		return a.Foreign(platform)
	}
	switch code {
	case "TriggerInputSchemaMismatch", "InvalidRequestContent", "RequestEntityTooLarge":
		return a.Fail(notify.BadPayload, code, "the workflow refused the card: %s", text)
	case "WorkflowTriggerIsNotEnabled":
		return a.Fail(notify.BadTarget, code, "the workflow is switched off or deleted")
	case "DirectApiAuthorizationRequired":
		return a.Fail(notify.BadTarget, code, "the workflow wants to know who calls: set Who can trigger the flow to Anyone, and copy the URL whole")
	case "MisMatchingOAuthClaims", "WorkflowNotFound":
		return a.Fail(notify.BadTarget, code, "the workflow refuses every message at this URL: %s", text)
	}
	switch a.Status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusGone:
		return a.Fail(notify.BadTarget, code, "the workflow refuses every message at this URL: %s", text)
	case http.StatusRequestEntityTooLarge:
		return a.Fail(notify.BadPayload, code, "the workflow refused the message as too large")
	}
	return a.Fail(notify.Retry, code, "the workflow answered with a code that is not documented: %s", text)
}

// withoutCode judges by the status what Teams would have given a code for. That a message is bad is not believed without one.
func (t *receiver) withoutCode(a *notify.Answer) error {
	switch {
	case a.IsHTML(), a.Status/100 != 4:
		return a.Foreign("the workflow")
	case a.Status == http.StatusUnauthorized, a.Status == http.StatusForbidden, a.Status == http.StatusNotFound, a.Status == http.StatusGone:
		return a.ByStatus("the workflow")
	case a.Status == http.StatusRequestEntityTooLarge:
		return a.ByStatus("the workflow")
	}
	return a.Foreign("the workflow")
}
