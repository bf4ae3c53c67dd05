package teams

import (
	"net/url"
	"strings"

	"github.com/edge-eventer/edge-eventer/notify"
	"github.com/edge-eventer/edge-eventer/notify/chat"
)

// Type is the word of the configuration.
const Type = "teams"

// Config holds the keys of a receiver of type teams.
type Config struct {
	// URL is that of the workflow's trigger; its sig is the credential.
	URL notify.Secret `yaml:"url"`
}

// Defaults returns the settings of a receiver that names no key.
func Defaults() notify.Settings { return &Config{} }

// Check adds every mistake.
func (c *Config) Check(add notify.AddMistake) {
	notify.CheckURL(c.URL, add)
	if text, err := c.URL.Read(); c.URL.File() == "" && err == nil && isConnector(text) {
		add("url", "is that of an Office 365 connector, which Microsoft has switched off; make a workflow in its place")
	}
}

// isConnector recognizes the webhooks that came before workflows. The hosts of workflows have changed before and are not checked.
func isConnector(address string) bool {
	u, err := url.Parse(address)
	if err != nil {
		return false
	}
	host := strings.ToLower(u.Hostname())
	return strings.HasSuffix(host, ".webhook.office.com") || host == "outlook.office.com" || host == "outlook.office365.com"
}

// New returns the receiver.
func (c *Config) New(common notify.Common) (notify.Receiver, error) {
	return &receiver{Chat: chat.New(common, notify.PosterOptions{URL: c.URL}, nil, notify.Limits{PerSecond: 1, Batch: batch}), config: c}, nil
}
