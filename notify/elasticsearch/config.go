package elasticsearch

import (
	"strings"

	"github.com/edge-eventer/edge-eventer/notify"
)

// Type is the word of the configuration.
const Type = "elasticsearch"

// maxBatch bounds the documents of a request; the verdict on a refused one has 90 bytes.
const maxBatch = 500

// Config holds the keys of a receiver of type elasticsearch.
type Config struct {
	// URL is that of the server, with a path where it stands behind one; _bulk is added.
	URL notify.Secret `yaml:"url"`
	// Index is an index or a data stream; empty: the URL leads to one already, or to a server that has none. Default: edge-eventer.
	Index string `yaml:"index"`
	// APIKey is the encoded key, base64 of id:key. User and Password are for basic authentication.
	APIKey   notify.Secret `yaml:"apiKey"`
	User     string        `yaml:"user"`
	Password notify.Secret `yaml:"password"`
	// Headers are added to each request.
	Headers map[string]notify.Secret `yaml:"headers"`
	// Gzip compresses the bodies. Default: true.
	Gzip  bool         `yaml:"gzip"`
	Batch notify.Batch `yaml:"batch"`
}

// Defaults returns the settings of a receiver that names no key.
func Defaults() notify.Settings {
	return &Config{
		Index: "edge-eventer", Gzip: true,
		Batch: notify.DefaultBatch(),
	}
}

// Check adds every mistake.
func (c *Config) Check(add notify.AddMistake) {
	notify.CheckURL(c.URL, add)
	notify.CheckHeaders(Type, c.Headers, add, "Content-Type")
	c.Batch.Check(add)
	if c.Batch.Max > maxBatch {
		add("batch.max", "must be at most %d: the verdict on each document must fit into an answer of 64 KiB", maxBatch)
	}
	if c.Index != "" && !isIndex(c.Index) {
		add("index", "must be the name of an index or data stream: at most 200 lower-case letters, digits and -_., the first no -_ or dot")
	}
	basic := c.User != "" || !c.Password.IsZero()
	switch {
	case basic && !c.APIKey.IsZero():
		add("apiKey", "must not be set together with user and password")
	case basic && (c.User == "" || c.Password.IsZero()):
		add("password", "user and password, or passwordFile, go together")
	case strings.ContainsAny(c.User, ":\r\n"):
		add("user", "must not hold a colon or a line break")
	}
}

// isIndex holds the rules of Elasticsearch's names, docs/reference/indices/create-index: lower case, none of \/*?"<>| ,#:, no
// leading -_+ or dot, at most 255 bytes.
func isIndex(name string) bool {
	allowed := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || strings.ContainsRune("-_.", r)
	}
	return name != "" && len(name) <= 200 && !strings.ContainsFunc(name, func(r rune) bool { return !allowed(r) }) &&
		!strings.ContainsRune("-_.", rune(name[0]))
}
