package otlp

import "github.com/edge-eventer/edge-eventer/notify"

// Type is the word of the configuration.
const Type = "otlp"

// Config holds the keys of a receiver of type otlp.
type Config struct {
	// URL is the base address; /v1/logs is added where it does not end so.
	URL notify.Secret `yaml:"url"`
	// Headers are added to each request: an API key, a tenant (X-Scope-OrgID), VictoriaLogs' VL-Stream-Fields.
	Headers map[string]notify.Secret `yaml:"headers"`
	// Gzip compresses the bodies. Default: true.
	Gzip  bool         `yaml:"gzip"`
	Batch notify.Batch `yaml:"batch"`
}

// Defaults returns the settings of a receiver that names no key.
func Defaults() notify.Settings {
	return &Config{Gzip: true, Batch: notify.DefaultBatch()}
}

// Check adds every mistake.
func (c *Config) Check(add notify.AddMistake) {
	notify.CheckURL(c.URL, add)
	notify.CheckHeaders(Type, c.Headers, add, "Content-Type")
	c.Batch.Check(add)
}
