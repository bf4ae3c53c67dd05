package main

import (
	"html"
	"html/template"
	"regexp"
	"slices"
	"strings"
)

// A tag turns the beginning of a text into HTML. It returns how many bytes it took, 0 for none of its business.
type tag func(text string) (template.HTML, int)

func at(who string) template.HTML {
	return `<span class="at">@` + plain(who) + `</span>`
}

func noTags(string) (template.HTML, int) { return "", 0 }

// cutTag returns what stands between open and end at the beginning of text.
func cutTag(text, open, end string) (inner string, size int) {
	rest, ok := strings.CutPrefix(text, open)
	if !ok {
		return "", 0
	}
	inner, _, ok = strings.Cut(rest, end)
	if !ok || strings.Contains(inner, "\n") {
		return "", 0
	}
	return inner, len(open) + len(inner) + len(end)
}

func fontTag(text string) (template.HTML, int) {
	if strings.HasPrefix(text, "</font>") {
		return "</span>", len("</font>")
	}
	inner, size := cutTag(text, "<font color=", ">")
	colors := map[string]string{"red": "#d8342b", "warning": "#e37a14", "comment": "#888", "info": "#2b9a4b", "green": "#2b9a4b", "grey": "#888"}
	color := colors[strings.Trim(inner, `'"`)]
	if size == 0 || color == "" {
		return "", 0
	}
	return template.HTML(`<span style="color:` + color + `">`), size
}

func feishuTags(text string) (template.HTML, int) {
	for _, open := range []string{"<at id=", "<at user_id="} {
		if who, size := cutTag(text, open, "></at>"); size > 0 {
			return at(strings.Trim(who, `"`)), size
		}
	}
	return fontTag(text)
}

func wecomTags(text string) (template.HTML, int) {
	if who, size := cutTag(text, "<@", ">"); size > 0 {
		return at(who), size
	}
	return fontTag(text)
}

func slackTags(text string) (template.HTML, int) {
	for _, open := range []string{"<!", "<@"} {
		if who, size := cutTag(text, open, ">"); size > 0 {
			return at(who), size
		}
	}
	return "", 0
}

// markdown shows bold text, links, entities and a platform's tags; everything else is escaped.
func markdown(text string, platform tag) template.HTML { return markup(text, platform, true) }

// literal shows only entities and a platform's tags.
func literal(text string, platform tag) template.HTML { return markup(text, platform, false) }

func markup(text string, platform tag, rich bool) template.HTML {
	entity := regexp.MustCompile(`^&(#\d{1,5}|[a-z]{2,5});`)
	link := regexp.MustCompile(`^\[([^\]\n]*)\]\((https?://[^)\s]*)\)`)
	var b strings.Builder
	bold, spans := false, 0
	for text != "" {
		if out, size := platform(text); size > 0 {
			switch {
			case strings.HasPrefix(string(out), "<span style"):
				spans++
			case out == "</span>" && spans == 0:
				out = ""
			case out == "</span>":
				spans--
			}
			b.WriteString(string(out))
			text = text[size:]
			continue
		}
		if l := link.FindStringSubmatch(text); rich && l != nil {
			b.WriteString(`<u title="` + html.EscapeString(l[2]) + `">` + html.EscapeString(l[1]) + `</u>`)
			text = text[len(l[0]):]
			continue
		}
		if rich && strings.HasPrefix(text, "**") {
			bold = !bold
			b.WriteString(map[bool]string{true: "<b>", false: "</b>"}[bold])
			text = text[2:]
			continue
		}
		size := 1
		if e := entity.FindString(text); e != "" {
			b.WriteString(html.EscapeString(html.UnescapeString(e)))
			size = len(e)
		} else {
			for size < len(text) && !strings.ContainsRune("<&*[", rune(text[size])) {
				size++
			}
			b.WriteString(html.EscapeString(text[:size]))
		}
		text = text[size:]
	}
	if bold {
		b.WriteString("</b>")
	}
	b.WriteString(strings.Repeat("</span>", spans))
	return template.HTML(b.String())
}

// lines is markdown with headings and quotes, a block for each run of lines of the same kind.
func lines(text string, platform tag) []block {
	var blocks []block
	for line := range strings.SplitSeq(text, "\n") {
		class := "text"
		line = strings.TrimRight(line, " ")
		switch {
		case line == "":
			continue
		case strings.HasPrefix(line, "#"):
			class, line = "heading", strings.TrimLeft(line, "# ")
		case strings.HasPrefix(line, "> "):
			class, line = "quote", line[2:]
		}
		shown := markdown(line, platform)
		if last := len(blocks) - 1; last >= 0 && blocks[last].Class == class {
			blocks[last].HTML += "\n" + shown
			continue
		}
		blocks = append(blocks, block{Class: class, HTML: shown})
	}
	return blocks
}

// telegramHTML passes the tags that Telegram knows, without attributes, and escapes everything else.
func telegramHTML(text string) template.HTML {
	known := []string{"b", "i", "u", "s", "code", "pre"}
	var b strings.Builder
	var open []string
	for text != "" {
		if name, size := cutTag(text, "</", ">"); size > 0 && len(open) > 0 && open[len(open)-1] == name {
			open = open[:len(open)-1]
			b.WriteString("</" + name + ">")
			text = text[size:]
			if name == "pre" {
				// The end of a block ends its line too.
				text = strings.TrimPrefix(text, "\n")
			}
			continue
		}
		if name, size := cutTag(text, "<", ">"); size > 0 && slices.Contains(known, name) {
			open = append(open, name)
			b.WriteString("<" + name + ">")
			text = text[size:]
			continue
		}
		size := 1
		for size < len(text) && text[size] != '<' {
			size++
		}
		b.WriteString(html.EscapeString(html.UnescapeString(text[:size])))
		text = text[size:]
	}
	for _, name := range slices.Backward(open) {
		b.WriteString("</" + name + ">")
	}
	return template.HTML(b.String())
}
