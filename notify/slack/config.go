package slack

import (
	"github.com/edge-eventer/edge-eventer/notify"
	"github.com/edge-eventer/edge-eventer/notify/chat"
)

// Type is the word of the configuration.
const Type = "slack"

// Config holds the keys of a receiver of type slack.
type Config struct {
	// URL is the webhook's address, which is the credential.
	URL notify.Secret `yaml:"url"`
}

// Defaults returns the settings of a receiver that names no key.
func Defaults() notify.Settings { return &Config{} }

// Check adds every mistake.
func (c *Config) Check(add notify.AddMistake) {
	notify.CheckURL(c.URL, add)
}

// New returns the receiver.
func (c *Config) New(common notify.Common) (notify.Receiver, error) {
	return &receiver{Chat: chat.New(common, notify.PosterOptions{URL: c.URL}, nil, notify.Limits{PerSecond: 1, Batch: batch}), config: c}, nil
}
