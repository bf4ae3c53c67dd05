package notify

import (
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// Defaults and bounds of what one request holds, where a receiver takes many incidents at once.
const (
	// DefaultBatchMax is the default number of incidents, DefaultBatchBytes the default size in bytes.
	DefaultBatchMax   = 100
	DefaultBatchBytes = 256 << 10
	// DefaultTopic is the default topic of engines that have topics: one for each namespace.
	DefaultTopic = "events-{{ .Namespace }}"

	maxBatch      = 1000
	minBatchBytes = 16 << 10
	maxBatchBytes = 1 << 20
	maxMentions   = 20
	maxHeaders    = 32
)

// Batch bounds one request. The defaults are 100 incidents and 256Ki.
type Batch struct {
	Max      int   `yaml:"max"`
	MaxBytes int64 `yaml:"maxBytes" as:"size"`
}

// DefaultBatch returns the bounds of a receiver that names none.
func DefaultBatch() Batch { return Batch{Max: DefaultBatchMax, MaxBytes: DefaultBatchBytes} }

// Check adds the mistakes in the bounds.
func (b Batch) Check(add AddMistake) {
	if b.Max < 1 || b.Max > maxBatch {
		add("batch.max", "must be 1 to %d", maxBatch)
	}
	if b.MaxBytes < minBatchBytes || b.MaxBytes > maxBatchBytes {
		add("batch.maxBytes", "must be 16Ki to 1Mi")
	}
}

// CheckConnection adds the mistakes in how connections are opened: tls and proxy.
func (c *Common) CheckConnection(add AddMistake) {
	if c.Proxy != "" && !IsWebURL(c.Proxy) {
		add("proxy", "must be the URL of an HTTP proxy, such as http://10.0.0.1:3128")
	}
	if c.TLS.CAFile != "" && c.TLS.InsecureSkipVerify {
		add("tls", "caFile has no effect together with insecureSkipVerify; set one of them")
	}
	if (c.TLS.CertFile == "") != (c.TLS.KeyFile == "") {
		add("tls", "certFile and keyFile belong together; set both or none")
	}
	if c.TLS.ServerName != "" {
		c.checkServerName(add)
	}
}

func (c *Common) checkServerName(add AddMistake) {
	_, notAddress := netip.ParseAddr(c.TLS.ServerName)
	switch u, err := url.Parse(c.Proxy); {
	case !Only(c.TLS.ServerName, 253, ".-_") && notAddress != nil:
		add("tls.serverName", "must be the name or the IP address that stands in the server's certificate")
	case err == nil && u.Scheme == "https":
		add("tls.serverName", "cannot be used behind a proxy that is reached by https")
	}
}

// CheckURL adds a mistake unless the address is the URL of an HTTP server, where its text is known.
func CheckURL(address Secret, add AddMistake) {
	switch text, err := address.Read(); {
	case address.IsZero():
		add("url", "must be set, or urlFile")
	case address.File() != "" || err != nil:
	case !IsWebURL(text):
		add("url", "must begin with https:// or http:// and name a host")
	}
}

// IsWebURL reports whether a text is the URL of an HTTP server.
func IsWebURL(text string) bool {
	u, err := url.Parse(text)
	return err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Hostname() != ""
}

// Only reports whether text has 1 to most bytes, each an ASCII letter, a digit or one of extra.
func Only(text string, most int, extra string) bool {
	outside := func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune(extra, r)
	}
	return text != "" && len(text) <= most && !strings.ContainsFunc(text, outside)
}

// CheckMentions adds the mistakes in a list of users to be notified.
func CheckMentions(mention []string, add AddMistake) {
	if len(mention) > maxMentions {
		add("mention", "at most %d users can be mentioned; use all", maxMentions)
	}
	// No character of an id may end the tag or the string around it.
	for i, id := range mention {
		if !Only(id, 64, "_.@-") {
			add(fmt.Sprintf("mention[%d]", i), "must be a user id of letters, digits and _.@-, or all")
		}
	}
}

// CheckHeaders adds the mistakes in configured headers of HTTP. The reserved ones, and those of own, are set by the type itself.
func CheckHeaders(typeName string, header map[string]Secret, add AddMistake, own ...string) {
	if len(header) > maxHeaders {
		add("headers", "at most %d", maxHeaders)
	}
	reserved := []string{"Host", "Connection", "Content-Length", "Content-Encoding", "Transfer-Encoding", "Idempotency-Key"}
	reserved = append(reserved, own...)
	for _, name := range slices.Sorted(maps.Keys(header)) {
		key := "headers." + name
		value := header[name]
		if !Only(name, 128, "!#$%&'*+-.^_`|~") {
			add(key, "is not the name of an HTTP header")
			continue
		}
		if slices.Contains(reserved, http.CanonicalHeaderKey(name)) {
			add(key, "is set by type %s itself", typeName)
		}
		if value.File() != "" {
			continue
		}
		if text, err := value.Read(); err == nil && !validHeaderValue(text) {
			add(key, "must not hold control characters")
		}
	}
}

func validHeaderValue(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f })
}
