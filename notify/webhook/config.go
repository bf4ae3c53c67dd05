package webhook

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/edge-eventer/edge-eventer/notify"
)

// Type is the word of the configuration.
const Type = "webhook"

// Config holds the keys of a receiver of type webhook.
type Config struct {
	// URL may hold templates behind its host.
	URL notify.Secret `yaml:"url"`
	// Headers are added to each request; a value may be a template.
	Headers map[string]notify.Secret `yaml:"headers"`
	Gzip    bool                     `yaml:"gzip"`
	Batch   notify.Batch             `yaml:"batch"`
	// Method is POST or PUT. Default: POST.
	Method string `yaml:"method"`
	// Body is a tree of map[string]any, []any, string, int64, uint64, float64, bool and nil whose strings are templates. Nil: the documented
	// batch of records.
	Body    any     `yaml:"body"`
	Success Success `yaml:"success"`
}

// Success is what an answer must show to count as delivered. Default: any 2xx that is no page.
type Success struct {
	Status []int          `yaml:"status"`
	JSON   map[string]any `yaml:"json"`
}

// Defaults returns the settings of a receiver that names no key.
func Defaults() notify.Settings {
	return &Config{Batch: notify.DefaultBatch(), Method: http.MethodPost}
}

// Check adds every mistake. All templates are parsed, and executed for a full and for a sparse event.
func (c *Config) Check(add notify.AddMistake) {
	// A URL with templates is looked at when they were executed.
	if !strings.Contains(inline(c.URL), "{{") {
		notify.CheckURL(c.URL, add)
	}
	notify.CheckHeaders(Type, c.Headers, add)
	c.Batch.Check(add)
	if !slices.Contains([]string{http.MethodPost, http.MethodPut}, c.Method) {
		add("method", "must be POST or PUT")
	}
	for i, status := range c.Success.Status {
		if status < 200 || status > 599 || status/100 == 3 {
			add(fmt.Sprintf("success.status[%d]", i), "must be an HTTP status, 200 to 599 and not a redirect")
		}
	}
	if usesTemplates(c) {
		checkTemplates(c, add)
	}
}

// New returns the receiver.
func (c *Config) New(common notify.Common) (notify.Receiver, error) {
	w := &receiver{Poster: notify.NewPoster(common, notify.PosterOptions{URL: c.URL, Gzip: c.Gzip}), config: c, common: common}
	if usesTemplates(c) {
		// Check has parsed and executed them.
		w.templates, _ = parseAll(c, &common)
	}
	return w, nil
}
