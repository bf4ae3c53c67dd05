package alertmanager

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/edge-eventer/edge-eventer/notify"
	"github.com/edge-eventer/edge-eventer/notify/chat"
)

// Type is the word of the configuration.
const Type = "alertmanager"

// Config holds the keys of a receiver of type alertmanager.
type Config struct {
	// URL is the base address; the path of the API is added.
	URL     notify.Secret            `yaml:"url"`
	Headers map[string]notify.Secret `yaml:"headers"`
	Gzip    bool                     `yaml:"gzip"`
	Batch   notify.Batch             `yaml:"batch"`
	// Labels are added to every alert, and win.
	Labels map[string]string `yaml:"labels"`
}

// Defaults returns the settings of a receiver that names no key.
func Defaults() notify.Settings { return &Config{Batch: notify.DefaultBatch()} }

// Check adds every mistake.
func (c *Config) Check(add notify.AddMistake) {
	notify.CheckURL(c.URL, add)
	notify.CheckHeaders(Type, c.Headers, add, "Content-Type")
	c.Batch.Check(add)
	for _, name := range slices.Sorted(maps.Keys(c.Labels)) {
		switch {
		case !notify.Only(name, 128, "_") || name[0] >= '0' && name[0] <= '9' || strings.HasPrefix(name, "__"):
			add("labels."+name, "must be the name of a label: letters, digits and _, not beginning with a digit or __")
		case c.Labels[name] == "":
			add("labels."+name, "must have a value")
		}
	}
	size := 0
	for name, value := range c.Labels {
		size += len(name) + len(value)
	}
	if size > 4<<10 {
		add("labels", "names and values must have at most 4 KiB together")
	}
}

// New returns the receiver.
func (c *Config) New(common notify.Common) (notify.Receiver, error) {
	if common.Location == nil {
		common.Location = time.UTC
	}
	return &receiver{
		Poster: notify.NewPoster(common, notify.PosterOptions{URL: c.URL, Gzip: c.Gzip}),
		config: c, common: common, words: chat.WordsOf(common.Language),
	}, nil
}
