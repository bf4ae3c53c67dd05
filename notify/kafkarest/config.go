package kafkarest

import (
	"github.com/edge-eventer/edge-eventer/notify"
	"github.com/edge-eventer/edge-eventer/notify/record"
	"github.com/edge-eventer/edge-eventer/notify/template"
)

// Type is the word of the configuration.
const Type = "kafka-rest"

// Config holds the keys of a receiver of type kafka-rest.
type Config struct {
	URL     notify.Secret            `yaml:"url"`
	Headers map[string]notify.Secret `yaml:"headers"`
	Gzip    bool                     `yaml:"gzip"`
	Batch   notify.Batch             `yaml:"batch"`
	// Topic is a template. Default: one topic for each namespace.
	Topic string `yaml:"topic"`
	// Format is that of the records: edge-eventer, cloudevents, kube-eventer or eventrouter. Default: edge-eventer.
	Format string `yaml:"format"`
}

// Defaults returns the settings of a receiver that names no key.
func Defaults() notify.Settings {
	return &Config{Batch: notify.DefaultBatch(), Topic: notify.DefaultTopic, Format: record.FormatEdgeEventer}
}

// Check adds every mistake.
func (c *Config) Check(add notify.AddMistake) {
	notify.CheckURL(c.URL, add)
	notify.CheckHeaders(Type, c.Headers, add, "Content-Type")
	c.Batch.Check(add)
	template.CheckText("topic", c.Topic, add)
	record.CheckBodyFormat(c.Format, add)
}

// New returns the receiver.
func (c *Config) New(common notify.Common) (notify.Receiver, error) {
	poster := notify.NewPoster(common, notify.PosterOptions{URL: c.URL, Gzip: c.Gzip})
	topic, err := template.ParseText("topic", c.Topic, common)
	if err != nil {
		return nil, err
	}
	return &receiver{Poster: poster, config: c, common: common, topic: topic}, nil
}
