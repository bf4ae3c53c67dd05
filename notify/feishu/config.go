package feishu

import (
	"fmt"
	"strings"

	"github.com/edge-eventer/edge-eventer/notify"
	"github.com/edge-eventer/edge-eventer/notify/chat"
)

// Type is the word of the configuration.
const Type = "feishu"

// Config holds the keys of a receiver of type feishu.
type Config struct {
	// URL is the bot's address. Its last part is the credential.
	URL notify.Secret `yaml:"url"`
	// Secret is what the bot's messages are signed with, where it asks for signatures.
	Secret notify.Secret `yaml:"secret"`
	// Mention lists open_ids or user_ids, or all, that are notified by messages with a critical incident.
	Mention []string `yaml:"mention"`
}

// Defaults returns the settings of a receiver that names no key.
func Defaults() notify.Settings { return &Config{} }

// Check adds every mistake.
func (c *Config) Check(add notify.AddMistake) {
	notify.CheckURL(c.URL, add)
	notify.CheckMentions(c.Mention, add)
	for i, id := range c.Mention {
		if strings.ContainsAny(id, "@.") {
			add(fmt.Sprintf("mention[%d]", i), "must be an open_id or user_id of Feishu, or all; it takes no e-mail address")
		}
	}
}

// New returns the receiver.
func (c *Config) New(common notify.Common) (notify.Receiver, error) {
	return &receiver{Chat: chat.New(common, notify.PosterOptions{URL: c.URL, Secrets: []notify.Secret{c.Secret}}, c.Mention, notify.Limits{PerSecond: 5, PerMinute: 100, AvoidHalfHours: true}), config: c}, nil
}
