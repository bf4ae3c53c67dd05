package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"html"
	"html/template"
	"maps"
	"slices"
	"strings"

	"github.com/edge-eventer/edge-eventer/notify/notifytest"
)

// Each show function reads a message that its platform has taken, and says how a reader sees it.

func indented(body []byte) string {
	var b bytes.Buffer
	if json.Indent(&b, body, "", "  ") != nil {
		return strings.ToValidUTF8(string(body), "\uFFFD")
	}
	return b.String()
}

func plain(text string) template.HTML { return template.HTML(html.EscapeString(text)) }

func showJSON(m *notifytest.Received) card {
	return card{Title: m.Method + " " + m.Path, Color: "#556", Blocks: []block{{Class: "pre", HTML: plain(indented(m.Body))}}}
}

// feishuColor is the header's colour for a template of a card.
func feishuColor(name string) string {
	switch strings.ToLower(name) {
	case "red", "carmine":
		return "#d8342b"
	case "orange", "yellow":
		return "#e37a14"
	case "green", "turquoise":
		return "#2b9a4b"
	case "grey", "default", "":
		return "#8a9099"
	}
	return "#3370ff"
}

type feishuElement struct {
	Tag      string
	Content  string
	Text     *feishuElement
	Fields   []struct{ Text feishuElement }
	Elements []feishuElement
	Actions  []struct{ Text feishuElement }
}

func showFeishu(m *notifytest.Received) card {
	var v struct {
		MsgType string `json:"msg_type"`
		Content struct {
			Text string
			Post map[string]struct {
				Title   string
				Content [][]struct{ Text string }
			}
		}
		Card struct {
			Header struct {
				Title    feishuElement
				Template string
			}
			Elements []feishuElement
			Body     struct{ Elements []feishuElement }
		}
	}
	if json.Unmarshal(m.Body, &v) != nil {
		return showJSON(m)
	}
	switch v.MsgType {
	case "text":
		return card{Color: "#8a9099", Blocks: []block{{Class: "text", HTML: literal(v.Content.Text, feishuTags)}}}
	case "interactive":
		c := card{Title: v.Card.Header.Title.Content, Color: feishuColor(v.Card.Header.Template)}
		for _, e := range slices.Concat(v.Card.Elements, v.Card.Body.Elements) {
			c.Blocks = append(c.Blocks, feishuBlocks(e)...)
		}
		return c
	}
	return showJSON(m)
}

func feishuBlocks(e feishuElement) []block {
	switch e.Tag {
	case "hr":
		return []block{{Class: "line"}}
	case "note":
		var parts []string
		for _, inner := range e.Elements {
			parts = append(parts, inner.Content)
		}
		return []block{{Class: "note", HTML: plain(strings.Join(parts, " "))}}
	case "markdown", "lark_md":
		return []block{{Class: "text", HTML: markdown(e.Content, feishuTags)}}
	case "plain_text":
		return []block{{Class: "text", HTML: plain(e.Content)}}
	}
	var blocks []block
	if e.Text != nil {
		blocks = feishuBlocks(*e.Text)
	}
	for _, f := range e.Fields {
		blocks = append(blocks, feishuBlocks(f.Text)...)
	}
	return blocks
}

func showDingtalk(m *notifytest.Received) card {
	var v struct {
		Text     struct{ Content string }
		Markdown struct{ Title, Text string }
		At       struct {
			AtMobiles, AtUserIDs []string
			IsAtAll              bool
		}
	}
	if json.Unmarshal(m.Body, &v) != nil {
		return showJSON(m)
	}
	c := card{Color: "#3296fa", Title: v.Markdown.Title, Blocks: lines(v.Markdown.Text, noTags)}
	if v.Text.Content != "" {
		c.Blocks = []block{{Class: "text", HTML: plain(v.Text.Content)}}
	}
	notified := append(v.At.AtMobiles, v.At.AtUserIDs...)
	if v.At.IsAtAll {
		notified = append(notified, "everybody")
	}
	if len(notified) > 0 {
		c.Blocks = append(c.Blocks, block{Class: "note", HTML: at(strings.Join(notified, ", "))})
	}
	return c
}

func showWecom(m *notifytest.Received) card {
	var v struct {
		Text struct {
			Content       string
			MentionedList []string `json:"mentioned_list"`
		}
		Markdown struct{ Content string }
	}
	if json.Unmarshal(m.Body, &v) != nil {
		return showJSON(m)
	}
	c := card{Color: "#07c160", Blocks: lines(v.Markdown.Content, wecomTags)}
	if v.Text.Content != "" {
		c.Blocks = []block{{Class: "text", HTML: plain(v.Text.Content)}}
	}
	if len(v.Text.MentionedList) > 0 {
		c.Blocks = append(c.Blocks, block{Class: "note", HTML: at(strings.Join(v.Text.MentionedList, ", "))})
	}
	return c
}

func showSlack(m *notifytest.Received) card {
	var v struct {
		Text        string
		Attachments []struct{ Color, Title, Text, Footer, Fallback string }
	}
	if json.Unmarshal(m.Body, &v) != nil {
		return showJSON(m)
	}
	c := card{Color: "#4a154b", Blocks: []block{{Class: "text", HTML: literal(v.Text, slackTags)}}}
	for _, a := range v.Attachments {
		color := map[string]string{"danger": "#d8342b", "warning": "#e3a014", "good": "#2b9a4b"}[a.Color]
		if color == "" {
			color = "#8a9099"
		}
		text := "<b>" + literal(a.Title, slackTags) + "</b>\n" + literal(a.Text, slackTags) + "\n<small>" + literal(a.Footer, slackTags) + "</small>"
		c.Blocks = append(c.Blocks, block{Class: "bar", Color: color, HTML: text})
	}
	return c
}

// showLetter shows a mail as its reader sees it, with the thread that it belongs to.
func showLetter(l *notifytest.Letter) card {
	c := card{Title: l.Subject(), Color: "#8a6d3b", Blocks: []block{{Class: "text", HTML: plain(l.Body)}}}
	if l.Header.Get("Importance") != "" {
		c.Color = "#d8342b"
	}
	if root := l.Header.Get("References"); root != "" {
		c.Blocks = append(c.Blocks, block{Class: "note", HTML: plain("thread " + root)})
	}
	return c
}

type teamsElement struct {
	Type, Style string
	Items       []teamsElement
	Inlines     []struct{ Text, Color, Weight, FontType string }
}

func showTeams(m *notifytest.Received) card {
	var v struct {
		Attachments []struct{ Content struct{ Body []teamsElement } }
	}
	if json.Unmarshal(m.Body, &v) != nil || len(v.Attachments) == 0 {
		return showJSON(m)
	}
	c := card{Color: "#6264a7"}
	for i, e := range v.Attachments[0].Content.Body {
		if i == 0 && e.Type == "Container" && len(e.Items) > 0 && len(e.Items[0].Inlines) > 0 {
			c.Title, c.Color = e.Items[0].Inlines[0].Text, teamsColor(e.Style)
			e.Items = e.Items[1:]
		}
		for _, inner := range append(e.Items, e) {
			for _, run := range inner.Inlines {
				text := plain(run.Text)
				if run.Weight == "Bolder" {
					text = "<b>" + text + "</b>"
				}
				class := "text"
				if run.FontType == "Monospace" {
					class = "pre"
				}
				c.Blocks = append(c.Blocks, block{Class: class, HTML: text})
			}
		}
	}
	return c
}

// teamsColor is the colour of a container's style.
func teamsColor(style string) string {
	switch style {
	case "attention":
		return "#d8342b"
	case "warning":
		return "#e3a014"
	case "good":
		return "#2b9a4b"
	case "accent":
		return "#6264a7"
	}
	return "#8a9099"
}

func showTelegram(m *notifytest.Received) card {
	var v struct {
		Text      string
		ParseMode string `json:"parse_mode"`
	}
	if json.Unmarshal(m.Body, &v) != nil {
		return showJSON(m)
	}
	c := card{Color: "#2aabee"}
	if v.ParseMode == "HTML" {
		c.Blocks = []block{{Class: "text", HTML: telegramHTML(v.Text)}}
	} else {
		c.Blocks = []block{{Class: "text", HTML: plain(v.Text)}}
	}
	return c
}

func showWorktile(m *notifytest.Received) card {
	var v struct {
		Text       string
		Attachment struct {
			Title, Text, Color string
			Fields             []struct{ Title, Value string }
		}
	}
	if json.Unmarshal(m.Body, &v) != nil {
		return showJSON(m)
	}
	c := card{Color: "#22d7bb", Title: v.Attachment.Title}
	if isColor(v.Attachment.Color) {
		c.Color = v.Attachment.Color
	}
	c.Blocks = append(c.Blocks, block{Class: "text", HTML: plain(v.Text + v.Attachment.Text)})
	for _, f := range v.Attachment.Fields {
		c.Blocks = append(c.Blocks, block{Class: "note", HTML: plain(f.Title + ": " + f.Value)})
	}
	return c
}

func isColor(text string) bool {
	return len(text) == 7 && text[0] == '#' && strings.Trim(text[1:], "0123456789abcdefABCDEF") == ""
}

// showWebhook shows the agent's own document as a list, and anything else as it is.
func showWebhook(m *notifytest.Received) card {
	var v struct {
		Version   int
		Incidents []struct {
			Severity, Workload string
			Occurrences        int
			Event              struct {
				Reason, Message string
				InvolvedObject  struct{ Kind, Namespace, Name string }
			}
		}
		Losses []struct {
			Cause             string
			Incidents, Events uint64
		}
	}
	if json.Unmarshal(m.Body, &v) != nil || v.Version != 1 {
		return showJSON(m)
	}
	c := card{Color: "#556", Title: fmt.Sprintf("%s %s: %d incidents", m.Method, m.Path, len(v.Incidents))}
	for _, l := range v.Losses {
		c.Blocks = append(c.Blocks, block{Class: "note", HTML: plain(fmt.Sprintf("lost (%s): %d incidents, %d events", l.Cause, l.Incidents, l.Events))})
	}
	for _, i := range v.Incidents {
		e := i.Event
		text := fmt.Sprintf("%s %s %s/%s ×%d\n%s", i.Severity, e.Reason, e.InvolvedObject.Namespace, i.Workload, i.Occurrences, e.Message)
		c.Blocks = append(c.Blocks, block{Class: "text", HTML: plain(text)})
	}
	return c
}

func showAlerts(m *notifytest.Received) card {
	var alerts []notifytest.Alert
	if json.Unmarshal(m.Body, &alerts) != nil {
		return showJSON(m)
	}
	c := card{Color: "#e6522c", Title: fmt.Sprintf("%d alerts", len(alerts))}
	for _, a := range alerts {
		var labels []string
		for _, name := range slices.Sorted(maps.Keys(a.Labels)) {
			labels = append(labels, name+"="+a.Labels[name])
		}
		color := "#e3a014"
		if a.Labels["severity"] == "critical" {
			color = "#d8342b"
		}
		text := "<b>" + plain(a.Labels["alertname"]) + "</b>\n" + plain(a.Annotations["description"]) + "\n<small>" +
			plain(strings.Join(labels, "  ")+"  until "+a.EndsAt.Format("15:04:05 MST")) + "</small>"
		c.Blocks = append(c.Blocks, block{Class: "bar", Color: color, HTML: text})
	}
	return c
}
