package influxdb

import (
	"slices"
	"strings"

	"github.com/edge-eventer/edge-eventer/notify"
)

// Type is the word of the configuration.
const Type = "influxdb"

// Config holds the keys of a receiver of type influxdb.
type Config struct {
	// URL is that of the server, with a path where it stands behind one; the path of the API is added.
	URL notify.Secret `yaml:"url"`
	// API is 1, 2 or 3. Default: 2.
	API string `yaml:"api"`
	// Database is that of API 1 and 3. RetentionPolicy is of API 1 only; empty: the database's default.
	Database        string `yaml:"database"`
	RetentionPolicy string `yaml:"retentionPolicy"`
	// Organization and Bucket are those of API 2.
	Organization string `yaml:"organization"`
	Bucket       string `yaml:"bucket"`
	// Token is that of API 2 and 3. User and Password are of API 1.
	Token    notify.Secret `yaml:"token"`
	User     string        `yaml:"user"`
	Password notify.Secret `yaml:"password"`
	// Measurement names the points. Default: kubernetes_events.
	Measurement string `yaml:"measurement"`
	// NumbersOnly leaves out all text fields, for VictoriaMetrics, which stores each as a 0. Default: false.
	NumbersOnly bool                     `yaml:"numbersOnly"`
	Headers     map[string]notify.Secret `yaml:"headers"`
	// Gzip compresses the bodies. Default: true.
	Gzip  bool         `yaml:"gzip"`
	Batch notify.Batch `yaml:"batch"`
}

// Defaults returns the settings of a receiver that names no key.
func Defaults() notify.Settings {
	return &Config{
		API: "2", Measurement: "kubernetes_events", Gzip: true,
		Batch: notify.DefaultBatch(),
	}
}

// Check adds every mistake.
func (c *Config) Check(add notify.AddMistake) {
	notify.CheckURL(c.URL, add)
	notify.CheckHeaders(Type, c.Headers, add, "Content-Type")
	c.Batch.Check(add)
	if !slices.Contains([]string{"1", "2", "3"}, c.API) {
		add("api", "%q is unknown; allowed: 1, 2, 3", c.API)
		return
	}
	for _, key := range []struct {
		name, value string
		apis        string
		must        bool
	}{
		{"database", c.Database, "13", true},
		{"retentionPolicy", c.RetentionPolicy, "1", false},
		{"organization", c.Organization, "2", true},
		{"bucket", c.Bucket, "2", true},
		{"user", c.User, "1", false},
	} {
		used := strings.Contains(key.apis, c.API)
		switch {
		case used && key.must && key.value == "":
			add(key.name, "must be set for api %s", c.API)
		case !used && key.value != "":
			add(key.name, "is not used by api %s", c.API)
		case len(key.value) > 200 || strings.ContainsAny(key.value, "\r\n\x00"):
			add(key.name, "must be at most 200 bytes on one line")
		}
	}
	if c.API == "1" && !c.Token.IsZero() {
		add("token", "is not used by api 1; set user and password")
	}
	if (c.User == "") != c.Password.IsZero() {
		add("password", "user and password, or passwordFile, go together")
	}
	if c.Measurement == "" || len(c.Measurement) > 100 || strings.HasPrefix(c.Measurement, "_") || strings.ContainsAny(c.Measurement, "\\\r\n\t\x00") {
		add("measurement", "must be a name of at most 100 bytes that does not begin with _")
	}
}
