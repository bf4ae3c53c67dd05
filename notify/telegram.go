package notify

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

const (
	// telegramLimit is the longest text after its entities were parsed, in UTF-16 code units.
	telegramLimit = 4096
	telegramAPI   = "https://api.telegram.org"
)

// telegram is a bot that writes to one chat.
//
// Protocol: https://core.telegram.org/bots/api#sendmessage. Texts are HTML, which needs fewer escapes than Telegram's markdown. An
// event's message stands in a pre element, where a name with an @ is no mention.
type telegram struct {
	chat

	// chatID is the configured one, until Telegram tells another because a group became a supergroup. The new one is
	// kept in memory; the log says it once.
	chatID string
}

func newTelegram(cfg Config, p *poster) Receiver {
	return &telegram{chat: newChat(cfg, p, Limits{PerSecond: 1, PerMinute: 20, Batch: 20}), chatID: cfg.ChatID}
}

func checkTelegram(cfg *Config, add addMistake) {
	if cfg.Token.IsZero() {
		add("token", "must be set, or tokenFile")
	} else if text := inline(cfg.Token); text != "" && !only(text, 128, ":_-") {
		add("token", "must be the token of a bot, such as 110201543:AAHd…")
	}
	name, isName := strings.CutPrefix(cfg.ChatID, "@")
	_, err := strconv.ParseInt(cfg.ChatID, 10, 64)
	if isName && only(name, 64, "_") || err == nil {
		return
	}
	add("chatId", "must be set: a number such as -1001234567890, or @ and the name of a public channel")
}

type telegramMessage struct {
	ChatID             json.RawMessage `json:"chat_id"`
	Text               string          `json:"text"`
	ParseMode          string          `json:"parse_mode,omitempty"`
	LinkPreviewOptions map[string]bool `json:"link_preview_options"`
}

// Render builds a message in HTML, or with Simple without any markup.
func (t *telegram) Render(m *Message, form Form) (*Request, error) {
	message := telegramMessage{
		ChatID: chatIDJSON(t.chatID),
		// A preview would make Telegram fetch a URL that stands in an event.
		LinkPreviewOptions: map[string]bool{"is_disabled": true},
	}
	build, size := t.html(m), htmlSize
	if form == Full {
		message.ParseMode = "HTML"
	} else {
		size = func(b []byte) int { return widthOf(string(b), utf16Width) }
		build = func(n, textLimit int) []byte {
			return []byte(noMentions(plainText(&t.chat, m, n, textLimit)))
		}
	}
	text, n := fit(m, t.most(m), telegramLimit, build, size)
	message.Text = string(text)
	return m.request(toJSON(message), n), nil
}

func (t *telegram) html(m *Message) func(n, textLimit int) []byte {
	return func(n, textLimit int) []byte {
		blocks := []string{"<b>" + escapeHTML(noMentions(t.title(m, n))) + "</b>"}
		for _, line := range t.preface(m) {
			blocks = append(blocks, escapeHTML(noMentions(line)))
		}
		for i := range m.Incidents[:n] {
			e := t.entry(m, &m.Incidents[i], textLimit)
			heading := "<b>" + escapeHTML(noMentions(e.reason)) + "</b> " + escapeHTML(noMentions(strings.Join(filled(e.subject, e.observed), " ")))
			if e.critical {
				heading = "<b><u>" + e.severity + "</u></b> " + heading
			}
			message := escapeHTML(e.message)
			if message != "" {
				message = "<pre>" + message + "</pre>"
			}
			lines := filled(heading, message, escapeHTML(noMentions(e.objects)), escapeHTML(noMentions(e.details)))
			blocks = append(blocks, "", strings.Join(lines, "\n"))
		}
		for _, line := range t.ending(m, n) {
			blocks = append(blocks, "", escapeHTML(noMentions(line)))
		}
		return []byte(strings.Join(blocks, "\n"))
	}
}

// noMentions makes every @ harmless: Telegram notifies the user whose name follows.
func noMentions(text string) string { return strings.ReplaceAll(text, "@", "＠") }

func escapeHTML(text string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(text)
}

// htmlSize counts a text of this package as Telegram does: tags do not count, and an entity counts as what it stands for.
func htmlSize(text []byte) int {
	size := 0
	for len(text) > 0 {
		var end byte
		switch text[0] {
		case '<':
			end = '>'
		case '&':
			end = ';'
			size++
		default:
			r, n := utf8.DecodeRune(text)
			size += utf16Width(r)
			text = text[n:]
			continue
		}
		text = text[bytes.IndexByte(text, end)+1:]
	}
	return size
}

func chatIDJSON(id string) json.RawMessage {
	if strings.HasPrefix(id, "@") {
		return json.RawMessage(strconv.Quote(id))
	}
	return json.RawMessage(id)
}

// Send posts the request. If Telegram says that the chat has another id now, it is sent there at once.
func (t *telegram) Send(ctx context.Context, r *Request) error {
	old := t.chatID
	err := t.send(ctx, r)
	if t.chatID == old {
		return err
	}
	t.cfg.Logger.Warn("the Telegram group became a supergroup: change chatId", "receiver", t.cfg.Name, "old", old, "new", t.chatID)
	moved := *r
	moved.Body = bytes.Replace(r.Body, append([]byte(`"chat_id":`), chatIDJSON(old)...), append([]byte(`"chat_id":`), chatIDJSON(t.chatID)...), 1)
	return t.send(ctx, &moved)
}

func (t *telegram) send(ctx context.Context, r *Request) error {
	token, err := t.cfg.Token.Read()
	if err != nil {
		return &Error{Outcome: BadTarget, Reason: "the token cannot be read", Err: err}
	}
	base, err := t.cfg.URL.Read()
	if err != nil {
		return &Error{Outcome: BadTarget, Reason: "the URL cannot be read", Err: err}
	}
	a, err := t.post(ctx, target{url: strings.TrimSuffix(base, "/") + "/bot" + token + "/sendMessage"}, r)
	if err != nil {
		return err
	}
	return t.verdict(a)
}

// telegramTarget lists parts of descriptions that are about the chat, its topic or the bot's place in it, not about the
// message: the texts of tdlib/telegram-bot-api and the errors of Telegram that it passes on, in lower case.
func telegramTarget() []string {
	return []string{
		"chat not found", "chat_id", "rights", "peer", "deactivated", "chat_write_forbidden", "chat_restricted",
		"chat_send_plain_forbidden", "topic_closed", "topic_deleted", "topic closed", "thread not found",
		"channel_private", "user_is_blocked", "group chat was upgraded",
	}
}

func (t *telegram) verdict(a *answer) error {
	var reply struct {
		OK          *bool
		ErrorCode   int64 `json:"error_code"`
		Description string
		Parameters  struct {
			RetryAfter      uint64 `json:"retry_after"`
			MigrateToChatID int64  `json:"migrate_to_chat_id"`
		}
	}
	if a.broken != nil {
		return a.broken
	}
	if err := json.Unmarshal(a.body, &reply); err != nil || reply.OK == nil || *reply.OK && a.status != http.StatusOK {
		return a.foreign("Telegram")
	}
	if *reply.OK {
		return nil
	}
	name := strconv.FormatInt(reply.ErrorCode, 10)
	description := quoted(reply.Description)
	switch text := strings.ToLower(description); {
	case reply.Parameters.MigrateToChatID != 0:
		t.chatID = strconv.FormatInt(reply.Parameters.MigrateToChatID, 10)
		return a.fail(Retry, name, "the Telegram group became a supergroup with another id")
	case reply.ErrorCode == http.StatusTooManyRequests:
		return atLeast(a.fail(Retry, name, "Telegram asks for fewer requests"), clampRetryAfter(reply.Parameters.RetryAfter))
	case reply.ErrorCode/100 == 5:
		return a.fail(Retry, name, "Telegram is not available")
	case reply.ErrorCode == http.StatusUnauthorized, reply.ErrorCode == http.StatusNotFound:
		return a.fail(BadTarget, name, "Telegram does not know the bot's token")
	case reply.ErrorCode == http.StatusForbidden:
		return a.fail(BadTarget, name, "the bot may not write to the chat: %s", description)
	case slices.ContainsFunc(telegramTarget(), func(part string) bool { return strings.Contains(text, part) }):
		return a.fail(BadTarget, name, "Telegram does not take messages for chatId: %s", description)
	case reply.ErrorCode == http.StatusBadRequest, reply.ErrorCode == http.StatusRequestEntityTooLarge:
		return a.fail(BadPayload, name, "Telegram refused the message: %s", description)
	}
	return a.fail(Retry, name, "Telegram answered with a code that is not documented: %s", description)
}
