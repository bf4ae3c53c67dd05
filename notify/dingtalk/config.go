package dingtalk

import (
	"github.com/edge-eventer/edge-eventer/notify"
	"github.com/edge-eventer/edge-eventer/notify/chat"
)

// Type is the word of the configuration.
const Type = "dingtalk"

// Config holds the keys of a receiver of type dingtalk.
type Config struct {
	// URL is the robot's address with its access_token.
	URL notify.Secret `yaml:"url"`
	// Secret is what the robot's messages are signed with, where it asks for signatures.
	Secret notify.Secret `yaml:"secret"`
	// Mention lists user ids or mobile numbers, or all, that are notified by messages with a critical incident.
	Mention []string `yaml:"mention"`
}

// Defaults returns the settings of a receiver that names no key.
func Defaults() notify.Settings { return &Config{} }

// Check adds every mistake.
func (c *Config) Check(add notify.AddMistake) {
	notify.CheckURL(c.URL, add)
	notify.CheckMentions(c.Mention, add)
}

// New returns the receiver.
func (c *Config) New(common notify.Common) (notify.Receiver, error) {
	return &receiver{Chat: chat.New(common, notify.PosterOptions{URL: c.URL, Secrets: []notify.Secret{c.Secret}}, c.Mention, notify.Limits{PerMinute: 20}), config: c}, nil
}
