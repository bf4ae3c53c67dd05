package telegram

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/edge-eventer/edge-eventer/notify"
	"github.com/edge-eventer/edge-eventer/notify/chat"
	"github.com/edge-eventer/edge-eventer/notify/untrusted"
)

const (
	// limit is the longest text after its entities were parsed, in UTF-16 code units.
	limit       = 4096
	officialAPI = "https://api.telegram.org"
)

// receiver is a bot that writes to one chat.
//
// Protocol: https://core.telegram.org/bots/api#sendmessage. Texts are HTML, which needs fewer escapes than Telegram's markdown. An
// event's message stands in a pre element, where a name with an @ is no mention.
type receiver struct {
	chat.Chat

	config *Config

	// chatID is the configured one, until Telegram tells another because a group became a supergroup. The new one is
	// kept in memory; the log says it once.
	chatID string
}

type message struct {
	ChatID             json.RawMessage `json:"chat_id"`
	Text               string          `json:"text"`
	ParseMode          string          `json:"parse_mode,omitempty"`
	LinkPreviewOptions map[string]bool `json:"link_preview_options"`
}

// Render builds a message in HTML, or with Simple without any markup.
func (t *receiver) Render(m *notify.Message, form notify.Form) (*notify.Request, error) {
	message := message{
		ChatID: chatIDJSON(t.chatID),
		// A preview would make Telegram fetch a URL that stands in an event.
		LinkPreviewOptions: map[string]bool{"is_disabled": true},
	}
	build, size := t.html(m), htmlSize
	if form == notify.Full {
		message.ParseMode = "HTML"
	} else {
		size = func(b []byte) int { return untrusted.Width(string(b), untrusted.UTF16) }
		build = func(n, textLimit int) []byte {
			return []byte(noMentions(t.Plain(m, n, textLimit)))
		}
	}
	text, n := chat.Fit(m, t.Most(m), limit, build, size)
	message.Text = string(text)
	return chat.Request(m, notify.JSON(message), n), nil
}

func (t *receiver) html(m *notify.Message) func(n, textLimit int) []byte {
	return func(n, textLimit int) []byte {
		blocks := []string{"<b>" + escapeHTML(noMentions(t.Title(m, n))) + "</b>"}
		for _, line := range t.Preface(m) {
			blocks = append(blocks, escapeHTML(noMentions(line)))
		}
		for i := range m.Incidents[:n] {
			e := t.Entry(m, &m.Incidents[i], textLimit)
			heading := "<b>" + escapeHTML(noMentions(e.Reason)) + "</b> " + escapeHTML(noMentions(strings.Join(chat.Filled(e.Subject, e.Observed), " ")))
			if e.Critical {
				heading = "<b><u>" + e.Severity + "</u></b> " + heading
			}
			message := escapeHTML(e.Message)
			if message != "" {
				message = "<pre>" + message + "</pre>"
			}
			lines := chat.Filled(heading, message, escapeHTML(noMentions(e.Objects)), escapeHTML(noMentions(e.Details)))
			blocks = append(blocks, "", strings.Join(lines, "\n"))
		}
		for _, line := range t.Ending(m, n) {
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
			size += untrusted.UTF16(r)
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
func (t *receiver) Send(ctx context.Context, r *notify.Request) error {
	old := t.chatID
	err := t.send(ctx, r)
	if t.chatID == old {
		return err
	}
	t.Common.Logger.Warn("the Telegram group became a supergroup: change chatId", "receiver", t.Common.Name, "old", old, "new", t.chatID)
	moved := *r
	moved.Body = bytes.Replace(r.Body, append([]byte(`"chat_id":`), chatIDJSON(old)...), append([]byte(`"chat_id":`), chatIDJSON(t.chatID)...), 1)
	return t.send(ctx, &moved)
}

func (t *receiver) send(ctx context.Context, r *notify.Request) error {
	token, err := t.config.Token.Read()
	if err != nil {
		return &notify.Error{Outcome: notify.BadTarget, Reason: "the token cannot be read", Err: err}
	}
	base, err := t.config.URL.Read()
	if err != nil {
		return &notify.Error{Outcome: notify.BadTarget, Reason: "the URL cannot be read", Err: err}
	}
	a, err := t.Post(ctx, notify.Target{URL: strings.TrimSuffix(base, "/") + "/bot" + token + "/sendMessage"}, r)
	if err != nil {
		return err
	}
	return t.verdict(a)
}

// target lists parts of descriptions that are about the chat, its topic or the bot's place in it, not about the
// message: the texts of tdlib/telegram-bot-api and the errors of Telegram that it passes on, in lower case.
func target() []string {
	return []string{
		"chat not found", "chat_id", "rights", "peer", "deactivated", "chat_write_forbidden", "chat_restricted",
		"chat_send_plain_forbidden", "topic_closed", "topic_deleted", "topic closed", "thread not found",
		"channel_private", "user_is_blocked", "group chat was upgraded",
	}
}

func (t *receiver) verdict(a *notify.Answer) error {
	var reply struct {
		OK          *bool
		ErrorCode   int64 `json:"error_code"`
		Description string
		Parameters  struct {
			RetryAfter      uint64 `json:"retry_after"`
			MigrateToChatID int64  `json:"migrate_to_chat_id"`
		}
	}
	if a.Broken != nil {
		return a.Broken
	}
	if err := json.Unmarshal(a.Body, &reply); err != nil || reply.OK == nil || *reply.OK && a.Status != http.StatusOK {
		return a.Foreign("Telegram")
	}
	if *reply.OK {
		return nil
	}
	name := strconv.FormatInt(reply.ErrorCode, 10)
	description := untrusted.Quoted(reply.Description)
	switch text := strings.ToLower(description); {
	case reply.Parameters.MigrateToChatID != 0:
		t.chatID = strconv.FormatInt(reply.Parameters.MigrateToChatID, 10)
		return a.Fail(notify.Retry, name, "the Telegram group became a supergroup with another id")
	case reply.ErrorCode == http.StatusTooManyRequests:
		return a.Fail(notify.Retry, name, "Telegram asks for fewer requests").AtLeast(notify.ClampRetryAfter(reply.Parameters.RetryAfter))
	case reply.ErrorCode/100 == 5:
		return a.Fail(notify.Retry, name, "Telegram is not available")
	case reply.ErrorCode == http.StatusUnauthorized, reply.ErrorCode == http.StatusNotFound:
		return a.Fail(notify.BadTarget, name, "Telegram does not know the bot's token")
	case reply.ErrorCode == http.StatusForbidden:
		return a.Fail(notify.BadTarget, name, "the bot may not write to the chat: %s", description)
	case slices.ContainsFunc(target(), func(part string) bool { return strings.Contains(text, part) }):
		return a.Fail(notify.BadTarget, name, "Telegram does not take messages for chatId: %s", description)
	case reply.ErrorCode == http.StatusBadRequest, reply.ErrorCode == http.StatusRequestEntityTooLarge:
		return a.Fail(notify.BadPayload, name, "Telegram refused the message: %s", description)
	}
	return a.Fail(notify.Retry, name, "Telegram answered with a code that is not documented: %s", description)
}
