package notifytest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// maxTeams is what others measured; the documentation says approximately 28 KB.
const maxTeams = 21_000

// Teams is a workflow of Microsoft Teams that begins with a webhook request and posts its card. It also checks what a real one finds only
// after it answered: the schema of the card, mentions, and the size.
type Teams struct {
	// Sig is the credential in the query; checked if set.
	Sig string
	// Off says that the workflow is switched off.
	Off bool
	// PerSecond bounds the rate; 0 is no bound.
	PerSecond int

	rate rate
}

// teamsError is an answer of Power Automate.
func teamsError(status int, code, message string) Answer {
	text, _ := json.Marshal(map[string]any{"error": map[string]string{"code": code, "message": message}})
	return Answer{Status: status, Body: string(text)}
}

// TooFast is 429 without Retry-After.
func (*Teams) TooFast() Answer {
	return teamsError(http.StatusTooManyRequests, "WorkflowRunActionRateLimit", "Rate limit is exceeded.")
}

// Refusal is 401 of a URL without its signature.
func (*Teams) Refusal() Answer {
	return teamsError(http.StatusUnauthorized, "DirectApiAuthorizationRequired", "The request must be authenticated only by Shared Access scheme.")
}

// Judge checks a request.
func (p *Teams) Judge(r *http.Request, body []byte, now time.Time) (Answer, bool) {
	p.rate.perSecond = p.PerSecond
	switch {
	case p.Sig != "" && r.URL.Query().Get("sig") != p.Sig:
		return p.Refusal(), false
	case p.Off:
		return teamsError(http.StatusBadRequest, "WorkflowTriggerIsNotEnabled", "Could not execute workflow, trigger state is 'Disabled'."), false
	case r.Method != http.MethodPost, !strings.HasPrefix(r.Header.Get("Content-Type"), "application/json"):
		return teamsError(http.StatusBadRequest, "TriggerInputSchemaMismatch", "The input body for trigger 'manual' does not match its schema definition."), false
	}
	if mistake := CardMistake(body); mistake != "" {
		return teamsError(http.StatusBadRequest, "TriggerInputSchemaMismatch", mistake), false
	}
	if p.rate.exceeded(now) {
		return p.TooFast(), false
	}
	return Answer{Status: http.StatusAccepted}, true
}

// teamsKeys are the keys that a kind of element may have, of those that an Adaptive Card 1.2 knows.
func teamsKeys(kind string) string {
	return map[string]string{
		"AdaptiveCard":  " $schema type version body msteams ",
		"Container":     " type style bleed separator spacing items ",
		"RichTextBlock": " type separator spacing inlines ",
		"TextRun":       " type text color size weight isSubtle fontType ",
	}[kind]
}

// CardMistake says why Teams would not show a message, empty if it would.
func CardMistake(body []byte) string {
	var m struct {
		Type        string
		Attachments []struct {
			ContentType string
			ContentURL  any
			Content     map[string]any
		}
	}
	switch {
	case json.Unmarshal(body, &m) != nil:
		return "not JSON"
	case m.Type != "message" || len(m.Attachments) != 1:
		return "result of 'foreach' expression is of type 'Null'"
	case m.Attachments[0].ContentType != "application/vnd.microsoft.card.adaptive":
		return "unknown contentType"
	case len(body) > maxTeams:
		return "Request Entity too large"
	}
	c := m.Attachments[0].Content
	if c["type"] != "AdaptiveCard" || c["version"] != "1.2" {
		return "not a card of version 1.2"
	}
	if with, _ := c["msteams"].(map[string]any); len(with) > 1 || len(with) == 1 && with["width"] != "full" {
		return "msteams has more than the width: an entity would notify"
	}
	return elementMistake(c)
}

func elementMistake(e map[string]any) string {
	kind, _ := e["type"].(string)
	known := teamsKeys(kind)
	if known == "" {
		return fmt.Sprintf("element of type %q", kind)
	}
	for key := range e {
		if !strings.Contains(known, " "+key+" ") {
			return fmt.Sprintf("%s has no property %s", kind, key)
		}
	}
	inner := map[string]string{"AdaptiveCard": "body", "Container": "items", "RichTextBlock": "inlines"}[kind]
	if inner == "" {
		if text, _ := e["text"].(string); text == "" {
			return "TextRun without text"
		} else if strings.Contains(text, "{{") || strings.Contains(text, "${") {
			return "a function of the card in a text"
		}
		return ""
	}
	list, _ := e[inner].([]any)
	if len(list) == 0 {
		return kind + " is empty"
	}
	for _, x := range list {
		object, _ := x.(map[string]any)
		if mistake := elementMistake(object); mistake != "" {
			return mistake
		}
	}
	return ""
}
