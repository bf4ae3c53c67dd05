package telegram

import (
	"strconv"
	"strings"

	"github.com/edge-eventer/edge-eventer/notify"
	"github.com/edge-eventer/edge-eventer/notify/chat"
)

// Type is the word of the configuration.
const Type = "telegram"

// Config holds the keys of a receiver of type telegram.
type Config struct {
	// URL is that of a Bot API server of one's own. Default: Telegram's.
	URL notify.Secret `yaml:"url"`
	// Token is that of the bot.
	Token notify.Secret `yaml:"token"`
	// ChatID is a number such as -1001234567890, or @ and the name of a public channel.
	ChatID string `yaml:"chatId"`
}

// Defaults returns the settings of a receiver that names no key.
func Defaults() notify.Settings { return &Config{} }

// Check adds every mistake.
func (c *Config) Check(add notify.AddMistake) {
	if !c.URL.IsZero() {
		notify.CheckURL(c.URL, add)
	}
	token, err := c.Token.Read()
	switch {
	case c.Token.IsZero():
		add("token", "must be set, or tokenFile")
	case c.Token.File() == "" && err == nil && token != "" && !notify.Only(token, 128, ":_-"):
		add("token", "must be the token of a bot, such as 110201543:AAHd…")
	}
	name, isName := strings.CutPrefix(c.ChatID, "@")
	_, err = strconv.ParseInt(c.ChatID, 10, 64)
	if isName && notify.Only(name, 64, "_") || err == nil {
		return
	}
	add("chatId", "must be set: a number such as -1001234567890, or @ and the name of a public channel")
}

// New returns the receiver.
func (c *Config) New(common notify.Common) (notify.Receiver, error) {
	if c.URL.IsZero() {
		official := *c
		official.URL = notify.SecretValue(officialAPI)
		c = &official
	}
	return &receiver{Chat: chat.New(common, notify.PosterOptions{URL: c.URL, Secrets: []notify.Secret{c.Token}}, nil, notify.Limits{PerSecond: 1, PerMinute: 20, Batch: 20}), config: c, chatID: c.ChatID}, nil
}
