package webhook

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/edge-eventer/edge-eventer/notify"
	"github.com/edge-eventer/edge-eventer/notify/record"
)

// Type is the word of the configuration.
const Type = "webhook"

// Config holds the keys of a receiver of type webhook.
type Config struct {
	// URL may hold templates behind its host.
	URL notify.Secret `yaml:"url"`
	// Headers are added to each request; a value may be a template.
	Headers map[string]notify.Secret `yaml:"headers"`
	// Gzip compresses bodies of half a KiB or more, and those that are made of templates from 2 KiB on: they are for programs that know nothing
	// of this agent. Default: true.
	Gzip  bool         `yaml:"gzip"`
	Batch notify.Batch `yaml:"batch"`
	// Method is POST or PUT. Default: POST.
	Method string `yaml:"method"`
	// Format is edge-eventer, which is the documented batch, cloudevents, kube-eventer or eventrouter, each one event in a request.
	// Default: edge-eventer.
	Format string `yaml:"format"`
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
	return &Config{Gzip: true, Format: record.FormatEdgeEventer, Batch: notify.DefaultBatch(), Method: http.MethodPost}
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
	record.CheckBodyFormat(c.Format, add)
	if c.Body != nil && c.Format != record.FormatEdgeEventer {
		add("format", "has no effect together with body; set one of them")
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
	options := notify.PosterOptions{URL: c.URL, Gzip: c.Gzip, GzipFrom: 512}
	if c.Body != nil {
		options.GzipFrom = 2048
	}
	w := &receiver{Poster: notify.NewPoster(common, options), config: c, common: common}
	if usesTemplates(c) {
		// Check has parsed and executed them.
		w.templates, _ = parseAll(c, &common)
	}
	return w, nil
}
