package wecom

import (
	"github.com/edge-eventer/edge-eventer/notify"
	"github.com/edge-eventer/edge-eventer/notify/chat"
)

// Type is the word of the configuration.
const Type = "wecom"

// Config holds the keys of a receiver of type wecom.
type Config struct {
	// URL is the robot's address with its key.
	URL notify.Secret `yaml:"url"`
	// Mention lists user ids, or all, that are notified by messages with a critical incident.
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
	return &receiver{Chat: chat.New(common, notify.PosterOptions{URL: c.URL}, c.Mention, notify.Limits{PerMinute: 20, Batch: 20}), config: c}, nil
}
