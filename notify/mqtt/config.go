package mqtt

import (
	"errors"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/edge-eventer/edge-eventer/notify"
	"github.com/edge-eventer/edge-eventer/notify/record"
	"github.com/edge-eventer/edge-eventer/notify/template"
)

// Type is the word of the configuration.
const Type = "mqtt"

// How a connection lives.
const (
	onDemand = "onDemand"
	kept     = "kept"
)

const (
	minKeepAlive = 30 * time.Second
	maxKeepAlive = 4 * time.Hour
)

// Config holds the keys of a receiver of type mqtt.
type Config struct {
	// URL is mqtts://host:port, or mqtt:// without TLS. The ports that go without saying are 8883 and 1883.
	URL notify.Secret `yaml:"url"`
	// Topic is a template over an incident. Default: one topic for each namespace of each cluster.
	Topic string `yaml:"topic"`
	// StateTopic is a template over the agent itself, whose retained message says that the site is there; empty: none.
	StateTopic string `yaml:"stateTopic"`
	// ClientID must be unique at the broker. Default: made of the cluster's and the receiver's name.
	ClientID string `yaml:"clientId"`
	// User and Password are for brokers that do not know a client by its certificate.
	User     string        `yaml:"user"`
	Password notify.Secret `yaml:"password"`
	// Connection is onDemand or kept. Default: onDemand.
	Connection string `yaml:"connection"`
	// KeepAlive is after how long a silence a kept connection is tried. Default: 5m.
	KeepAlive time.Duration `yaml:"keepAlive"`
	// Format is one of record.Formats. Default: edge-eventer.
	Format string       `yaml:"format"`
	Batch  notify.Batch `yaml:"batch"`
}

// Defaults returns the settings of a receiver that names no key.
func Defaults() notify.Settings {
	return &Config{
		Topic:      `edge-eventer/{{ .Cluster }}/events/{{ .InvolvedObject.Namespace | default "_cluster" }}`,
		StateTopic: "edge-eventer/{{ .Cluster }}/state",
		Connection: onDemand, KeepAlive: 5 * time.Minute, Format: record.FormatEdgeEventer,
		Batch: notify.DefaultBatch(),
	}
}

// Check adds every mistake.
func (c *Config) Check(add notify.AddMistake) {
	switch text, err := c.URL.Read(); {
	case c.URL.IsZero():
		add("url", "must be set, or urlFile")
	case c.URL.File() != "" || err != nil:
	default:
		if _, err := parseAddress(text); err != nil {
			add("url", "%v", err)
		}
	}
	template.CheckTopic("topic", c.Topic, add)
	if c.StateTopic != "" {
		template.CheckTopic("stateTopic", c.StateTopic, add)
	}
	if c.ClientID != "" && (len(c.ClientID) > 128 || strings.ContainsFunc(c.ClientID, func(r rune) bool { return r < ' ' || r == 0x7f })) {
		add("clientId", "must have at most 128 bytes and no control characters")
	}
	if (c.User == "") != c.Password.IsZero() {
		add("password", "user and password, or passwordFile, go together")
	}
	if len(c.User) > 256 || strings.ContainsRune(c.User, 0) {
		add("user", "must have at most 256 bytes")
	}
	if !slices.Contains([]string{onDemand, kept}, c.Connection) {
		add("connection", "%q is unknown; allowed: onDemand, kept", c.Connection)
	}
	if c.KeepAlive < minKeepAlive || c.KeepAlive > maxKeepAlive {
		add("keepAlive", "must be 30s to 4h")
	}
	record.CheckFormat(c.Format, add)
	c.Batch.Check(add)
}

// address is where a broker listens.
type address struct {
	hostPort string
	secure   bool
}

// parseAddress reads the URL of a broker. Its errors hold nothing of the text.
func parseAddress(text string) (address, error) {
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" || u.Scheme != "mqtts" && u.Scheme != "mqtt" {
		return address{}, errors.New("must begin with mqtts:// or mqtt:// and name a host")
	}
	if u.User != nil {
		return address{}, errors.New("must not hold a user; set user and password")
	}
	if u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "" {
		return address{}, errors.New("must end behind the host and its port; MQTT over WebSocket is not spoken")
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"mqtts": "8883", "mqtt": "1883"}[u.Scheme]
	}
	return address{net.JoinHostPort(u.Hostname(), port), u.Scheme == "mqtts"}, nil
}
