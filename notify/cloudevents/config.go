package cloudevents

import (
	"github.com/edge-eventer/edge-eventer/notify"
)

// Type is the word of the configuration.
const Type = "cloudevents"

// Config holds the keys of a receiver of type cloudevents.
type Config struct {
	URL     notify.Secret            `yaml:"url"`
	Headers map[string]notify.Secret `yaml:"headers"`
	Gzip    bool                     `yaml:"gzip"`
	// Batches are sent only for a max between 2 and 1000 that is not 100: the specification forbids a batch that was not asked for, and
	// 100 is the default of the file.
	Batch notify.Batch `yaml:"batch"`
}

// Defaults returns the settings of a receiver that names no key.
func Defaults() notify.Settings { return &Config{Batch: notify.DefaultBatch()} }

// Check adds every mistake.
func (c *Config) Check(add notify.AddMistake) {
	notify.CheckURL(c.URL, add)
	notify.CheckHeaders(Type, c.Headers, add, "Content-Type")
	c.Batch.Check(add)
}

// New returns the receiver.
func (c *Config) New(common notify.Common) (notify.Receiver, error) {
	poster := notify.NewPoster(common, notify.PosterOptions{URL: c.URL, Gzip: c.Gzip})
	return &receiver{Poster: poster, config: c, common: common, batched: c.Batch.Max > 1 && c.Batch.Max != notify.DefaultBatchMax}, nil
}
