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

// Defaults and bounds of what one request of webhook, kafka-rest, cloudevents and alertmanager holds.
const (
	// DefaultBatchMax is the default number of incidents, DefaultBatchBytes the default size in bytes.
	DefaultBatchMax   = 100
	DefaultBatchBytes = 256 << 10
	// DefaultTopic is the default topic of kafka-rest: one for each namespace.
	DefaultTopic = "events-{{ .Namespace }}"

	maxBatch      = 1000
	minBatchBytes = 16 << 10
	maxBatchBytes = 1 << 20
	maxMentions   = 20
	maxHeaders    = 32
)

// addMistake takes a mistake as the path of a key, as it stands in the configuration, and a sentence.
type addMistake func(key, format string, args ...any)

// Check returns every mistake in cfg, each as a sentence that begins with the key of the configuration file it is about and says
// what is allowed. It returns nil if New would take cfg. Secrets are not in the sentences, and their files are not read.
func Check(cfg Config) []string {
	var mistakes []string
	add := func(key, format string, args ...any) {
		mistakes = append(mistakes, key+": "+fmt.Sprintf(format, args...))
	}
	k, ok := kinds()[cfg.Type]
	switch {
	case cfg.Type == "":
		add("type", "must be set; allowed: %s", strings.Join(Types(), ", "))
		return mistakes
	case !ok:
		add("type", "%q is unknown; allowed: %s", cfg.Type, strings.Join(Types(), ", "))
		return mistakes
	}
	if slices.Contains(k.keys, "url") && cfg.Type != "telegram" && cfg.URL.IsZero() {
		add("url", "must be set, or urlFile")
	}
	if !cfg.URL.IsZero() && cfg.URL.File() == "" {
		checkURL(&cfg, add)
	}
	checkConnection(&cfg, add)
	checkMentions(&cfg, add)
	checkHeaders(&cfg, add)
	if cfg.BatchMax < 0 || cfg.BatchMax > maxBatch {
		add("batch.max", "must be 1 to %d", maxBatch)
	}
	if cfg.BatchBytes != 0 && (cfg.BatchBytes < minBatchBytes || cfg.BatchBytes > maxBatchBytes) {
		add("batch.maxBytes", "must be 16Ki to 1Mi")
	}
	if !slices.Contains([]string{"", "en", "zh"}, cfg.Language) {
		add("language", "%q is unknown; allowed: en, zh", cfg.Language)
	}
	if !slices.Contains([]string{"", "x25519", "hybrid"}, cfg.KeyExchange) {
		add("keyExchange", "%q is unknown; allowed: x25519, hybrid", cfg.KeyExchange)
	}
	if k.check != nil {
		k.check(&cfg, add)
	}
	return mistakes
}

// checkConnection adds the mistakes in the keys that every receiver with a connection has.
func checkConnection(cfg *Config, add addMistake) {
	if cfg.Proxy != "" && !isWebURL(cfg.Proxy) {
		add("proxy", "must be the URL of an HTTP proxy, such as http://10.0.0.1:3128")
	}
	if cfg.CAFile != "" && cfg.InsecureSkipVerify {
		add("tls", "caFile has no effect together with insecureSkipVerify; set one of them")
	}
	if (cfg.CertFile == "") != (cfg.KeyFile == "") {
		add("tls", "certFile and keyFile belong together; set both or none")
	}
	if cfg.ServerName != "" {
		checkServerName(cfg, add)
	}
}

// Notes lists, as Check does, what is probably not meant and is no mistake: keys that the type does not use, and the address of another platform.
func Notes(cfg Config) []string {
	var notes []string
	k, ok := kinds()[cfg.Type]
	if !ok {
		return nil
	}
	for _, key := range setKeys(&cfg) {
		if !slices.Contains(k.keys, key) {
			notes = append(notes, fmt.Sprintf("%s: not used by type %s; only by type %s", key, cfg.Type, strings.Join(typesWith(key), ", ")))
		}
	}
	if cfg.URL.IsZero() || cfg.URL.File() != "" || cfg.Type == "webhook" {
		return notes
	}
	text, err := cfg.URL.Read()
	if err != nil {
		return notes
	}
	u, err := url.Parse(text)
	if err != nil {
		return notes
	}
	if other := platformOf(u.Hostname()); other != "" && other != cfg.Type {
		notes = append(notes, fmt.Sprintf("url: is an address of %s; is type %s meant?", other, other))
	}
	return notes
}

// platformOf returns the type of receiver whose platform answers at a host, "" where none is known.
func platformOf(host string) string {
	return map[string]string{
		"open.feishu.cn": "feishu", "open.larksuite.com": "feishu", "oapi.dingtalk.com": "dingtalk", "qyapi.weixin.qq.com": "wecom",
		"hooks.slack.com": "slack", "api.telegram.org": "telegram", "hook.worktile.com": "worktile",
	}[strings.ToLower(host)]
}

// setKeys lists the keys that cfg sets and that not every type has. A value that equals the default of the file is no
// statement: a decoder fills defaults in without knowing the type.
func setKeys(cfg *Config) []string {
	var keys []string
	for _, k := range []struct {
		name string
		set  bool
	}{
		{"url", !cfg.URL.IsZero()},
		{"secret", !cfg.Secret.IsZero()},
		{"mention", len(cfg.Mention) > 0},
		{"tls", cfg.CAFile != "" || cfg.CertFile != "" || cfg.KeyFile != "" || cfg.ServerName != "" || cfg.InsecureSkipVerify},
		{"proxy", cfg.Proxy != ""},
		{"token", !cfg.Token.IsZero()},
		{"chatId", cfg.ChatID != ""},
		{"headers", len(cfg.Header) > 0},
		{"gzip", cfg.Gzip},
		{"batch", cfg.BatchMax != 0 && cfg.BatchMax != DefaultBatchMax || cfg.BatchBytes != 0 && cfg.BatchBytes != DefaultBatchBytes},
		{"method", cfg.Method != "" && cfg.Method != http.MethodPost},
		{"body", cfg.Body != nil},
		{"success", len(cfg.SuccessStatus) > 0 || len(cfg.SuccessJSON) > 0},
		{"topic", cfg.Topic != "" && cfg.Topic != DefaultTopic},
		{"labels", len(cfg.Labels) > 0},
	} {
		if k.set {
			keys = append(keys, k.name)
		}
	}
	return keys
}

// typesWith lists the types that use a key.
func typesWith(key string) []string {
	var types []string
	for name, k := range kinds() {
		if slices.Contains(k.keys, key) {
			types = append(types, name)
		}
	}
	slices.Sort(types)
	return types
}

func checkURL(cfg *Config, add addMistake) {
	text, err := cfg.URL.Read()
	if err != nil {
		return
	}
	switch {
	case cfg.Type == "webhook" && strings.Contains(text, "{{"):
		// A template; checkWebhook executes it.
	case !isWebURL(text):
		add("url", "must begin with https:// or http:// and name a host")
	}
}

func checkServerName(cfg *Config, add addMistake) {
	_, notAddress := netip.ParseAddr(cfg.ServerName)
	switch u, err := url.Parse(cfg.Proxy); {
	case !only(cfg.ServerName, 253, ".-_") && notAddress != nil:
		add("tls.serverName", "must be the name or the IP address that stands in the server's certificate")
	case err == nil && u.Scheme == "https":
		add("tls.serverName", "cannot be used behind a proxy that is reached by https")
	}
}

func isWebURL(text string) bool {
	u, err := url.Parse(text)
	return err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Hostname() != ""
}

// only reports whether text has 1 to most bytes, each an ASCII letter, a digit or one of extra.
func only(text string, most int, extra string) bool {
	outside := func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune(extra, r)
	}
	return text != "" && len(text) <= most && !strings.ContainsFunc(text, outside)
}

func checkMentions(cfg *Config, add addMistake) {
	if len(cfg.Mention) > maxMentions {
		add("mention", "at most %d users can be mentioned; use all", maxMentions)
	}
	// No character of an id may end the tag or the string around it.
	for i, id := range cfg.Mention {
		if !only(id, 64, "_.@-") {
			add(fmt.Sprintf("mention[%d]", i), "must be a user id of letters, digits and _.@-, or all")
		}
	}
}

func checkHeaders(cfg *Config, add addMistake) {
	if len(cfg.Header) > maxHeaders {
		add("headers", "at most %d", maxHeaders)
	}
	reserved := []string{"Host", "Connection", "Content-Length", "Content-Encoding", "Transfer-Encoding", "Idempotency-Key"}
	if cfg.Type != "webhook" {
		reserved = append(reserved, "Content-Type")
	}
	for _, name := range sortedKeys(cfg.Header) {
		key := "headers." + name
		value := cfg.Header[name]
		if !only(name, 128, "!#$%&'*+-.^_`|~") {
			add(key, "is not the name of an HTTP header")
			continue
		}
		if slices.Contains(reserved, http.CanonicalHeaderKey(name)) {
			add(key, "is set by type %s itself", cfg.Type)
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

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
