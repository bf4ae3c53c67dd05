package notifytest

import (
	"encoding/json"
	"fmt"
	"html"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf16"
)

// Telegram is the Bot API with one bot in one chat.
type Telegram struct {
	// Token is the bot's, ChatID the chat's, as it stands in JSON; both are checked if set.
	Token, ChatID string
	// MigratedTo is the id of the supergroup that the chat became; 0: it did not.
	MigratedTo int64
	// PerMinute bounds the rate; 0 is no bound. The platform's is about 20 for a group.
	PerMinute int

	rate rate
	mu   sync.Mutex
	last int
}

// TelegramError is the answer with an error code and a description. The status is the same as the code.
func TelegramError(code int, description, parameters string) Answer {
	body := fmt.Sprintf(`{"ok":false,"error_code":%d,"description":%q`, code, description)
	if parameters != "" {
		body += `,"parameters":` + parameters
	}
	return Answer{Status: code, Body: body + "}"}
}

// TooFast is 429 with retry_after 35.
func (*Telegram) TooFast() Answer {
	return TelegramError(http.StatusTooManyRequests, "Too Many Requests: retry after 35", `{"retry_after":35}`)
}

// Refusal is 401.
func (*Telegram) Refusal() Answer { return TelegramError(http.StatusUnauthorized, "Unauthorized", "") }

// Judge checks a request to /botTOKEN/sendMessage.
func (p *Telegram) Judge(r *http.Request, body []byte, now time.Time) (Answer, bool) {
	token, ok := strings.CutPrefix(r.URL.Path, "/bot")
	token, isMethod := strings.CutSuffix(token, "/sendMessage")
	switch {
	case !ok || !isMethod:
		return TelegramError(http.StatusNotFound, "Not Found", ""), false
	case p.Token != "" && token != p.Token:
		return TelegramError(http.StatusUnauthorized, "Unauthorized", ""), false
	}
	var m struct {
		ChatID    json.RawMessage `json:"chat_id"`
		Text      string
		ParseMode string `json:"parse_mode"`
	}
	if json.Unmarshal(body, &m) != nil {
		return TelegramError(http.StatusBadRequest, "Bad Request: can't parse JSON object", ""), false
	}
	chat := string(m.ChatID)
	switch {
	case chat == "":
		return TelegramError(http.StatusBadRequest, "Bad Request: chat_id is empty", ""), false
	case p.MigratedTo != 0 && chat != fmt.Sprint(p.MigratedTo):
		return TelegramError(http.StatusBadRequest, "Bad Request: group chat was upgraded to a supergroup chat", fmt.Sprintf(`{"migrate_to_chat_id":%d}`, p.MigratedTo)), false
	case p.MigratedTo == 0 && p.ChatID != "" && chat != p.ChatID:
		return TelegramError(http.StatusBadRequest, "Bad Request: chat not found", ""), false
	}
	text := m.Text
	if m.ParseMode == "HTML" {
		parsed, mistake := parseTelegramHTML(text)
		if mistake != "" {
			return TelegramError(http.StatusBadRequest, "Bad Request: can't parse entities: "+mistake, ""), false
		}
		text = parsed
	}
	p.rate.perMinute = p.PerMinute
	switch {
	case strings.TrimSpace(text) == "":
		return TelegramError(http.StatusBadRequest, "Bad Request: message text is empty", ""), false
	case len(utf16.Encode([]rune(text))) > 4096:
		return TelegramError(http.StatusBadRequest, "Bad Request: message is too long", ""), false
	case p.rate.exceeded(now):
		return p.TooFast(), false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last++
	return Answer{Body: fmt.Sprintf(`{"ok":true,"result":{"message_id":%d,"chat":{"id":%s},"date":%d}}`, p.last, chat, now.Unix())}, true
}

// parseTelegramHTML returns the text without tags and entities, or what is wrong with it.
func parseTelegramHTML(text string) (parsed, mistake string) {
	allowed := []string{"b", "strong", "i", "em", "u", "ins", "s", "strike", "del", "code", "pre", "tg-spoiler", "blockquote"}
	var open []string
	var b strings.Builder
	for text != "" {
		i := strings.IndexAny(text, "<>&")
		if i < 0 {
			b.WriteString(text)
			break
		}
		b.WriteString(text[:i])
		text = text[i:]
		switch text[0] {
		case '<':
			tag, rest, ok := strings.Cut(text[1:], ">")
			if !ok {
				return "", "unclosed start tag"
			}
			text = rest
			if name, closing := strings.CutPrefix(tag, "/"); closing {
				if len(open) == 0 || open[len(open)-1] != name {
					return "", "unexpected end tag"
				}
				open = open[:len(open)-1]
				continue
			}
			if !slices.Contains(allowed, tag) {
				return "", fmt.Sprintf("unsupported start tag %q", tag)
			}
			open = append(open, tag)
		case '&':
			end := strings.IndexByte(text, ';')
			if end < 0 || end > 8 || html.UnescapeString(text[:end+1]) == text[:end+1] {
				b.WriteByte('&')
				text = text[1:]
				continue
			}
			b.WriteString(html.UnescapeString(text[:end+1]))
			text = text[end+1:]
		default:
			b.WriteByte('>')
			text = text[1:]
		}
	}
	if len(open) > 0 {
		return "", fmt.Sprintf("can't find end tag corresponding to start tag %q", open[len(open)-1])
	}
	return b.String(), ""
}
