package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/edge-eventer/edge-eventer/agent/filter"
	"github.com/edge-eventer/edge-eventer/notify/stdout"
	"github.com/edge-eventer/edge-eventer/notify/webhook"
)

const (
	day = 24 * time.Hour

	// maxChecked is how far a list is looked into: one that is longer is refused for its length.
	maxChecked = 200
	// maxReceivers bounds the goroutines, connections and queues.
	maxReceivers = 32
	// maxHosts bounds the names by which the agent's port may be asked.
	maxHosts = 32
	// maxNamespaces bounds the watches, of which each namespace has one.
	maxNamespaces = 50
	maxInterfaces = 16
	maxCritical   = 200

	minSpool = 256 << 10
	maxSpool = 1 << 30
	// minBudget is what a few alerts cost, each with a new connection of 4 KB; less than that is a slip of the pen.
	minBudget = 64 << 10

	maxPerSecond = 1000
	maxPerMinute = 60_000
)

// check finds what is wrong with values of the right type, compiles what is to be compiled, and fills in the defaults that
// depend on other values.
func (d *decoder) check(c *Config) {
	if c.Cluster == "" {
		c.Cluster = hostName()
	}
	d.longest("cluster", c.Cluster, 100)
	d.checkLabels(c.Labels)
	if location, err := time.LoadLocation(c.Timezone); err == nil && c.Timezone != "" {
		c.location = location
	} else {
		d.add("timezone", "%s is no time zone; write Local, UTC or an IANA name such as Asia/Shanghai", quoted(c.Timezone))
	}
	d.oneOf("language", c.Language, "en", "zh")

	d.checkKubernetes(&c.Kubernetes)
	_, err := filter.New(c.Filter)
	d.addRules("filter", err)
	for i, rule := range c.Filter[:min(len(c.Filter), maxChecked)] {
		d.checkMatch(fmt.Sprintf("filter[%d].keep", i), rule.Keep)
		d.checkMatch(fmt.Sprintf("filter[%d].drop", i), rule.Drop)
	}
	d.checkSeverity(c)
	d.checkSpool(&c.Spool, len(c.Receivers))
	d.checkDelivery("notify", &c.Notify)
	d.checkLink(&c.Link)
	if c.Report.At != "" && !regexp.MustCompile(`^([01][0-9]|2[0-3]):[0-5][0-9]$`).MatchString(c.Report.At) {
		d.add("report.at", "%s is no time of day; write HH:MM such as \"08:00\"", quoted(c.Report.At))
	}
	if c.Heartbeat != 0 {
		d.between("heartbeat", c.Heartbeat, time.Minute, 30*day, ", or 0 for none")
	}
	if c.Fleet.Every != 0 {
		d.between("fleet.every", c.Fleet.Every, time.Minute, day, ", or 0 for none")
	}
	d.checkServer(&c.Server)
	d.checkIntervals(c)
	d.checkInhibit(c)
	d.checkReceivers(c)
}

func (d *decoder) checkServer(s *Server) {
	if s.Listen != "" && !isListenAddress(s.Listen) {
		d.add("server.listen", "%s is no address to listen on; write \"127.0.0.1:8080\", \":8080\", or \"\" for none", quoted(s.Listen))
	}
	// unix(7): 108 bytes with the end of the string, and the agent adds .new for a moment.
	if path := s.Socket; path != "" && (!filepath.IsAbs(path) || len(path) > 103) {
		d.add("server.socket", "%s must be an absolute path of at most 103 bytes, or \"\" for spool.path with .sock", quoted(path))
	}
	if s.SocketGroup != "" && !regexp.MustCompile(`^([a-z_][-a-z0-9_.]{0,31}|[0-9]{1,10})$`).MatchString(s.SocketGroup) {
		d.add("server.socketGroup", "%s is no name or number of a group", quoted(s.SocketGroup))
	}
	d.oneOf("server.page", s.Page, "loopback", "everywhere")
	if len(s.Hosts) > maxHosts {
		d.add("server.hosts", "must be at most %d", maxHosts)
	}
	for i, name := range s.Hosts[:min(len(s.Hosts), maxHosts)] {
		path := fmt.Sprintf("server.hosts[%d]", i)
		if d.has(path) && !d.reported(path) && !regexp.MustCompile(hostPattern).MatchString(name) {
			d.add(path, "%s is no name of a host; write it without a scheme, a port or a wildcard", quoted(name))
		}
	}
}

// hostName is never empty, because messages without a cluster's name cannot be told apart.
func hostName() string {
	name, err := os.Hostname()
	if err != nil || name == "" {
		return "kubernetes"
	}
	return name
}

func (d *decoder) checkKubernetes(k *Kubernetes) {
	if len(k.Namespaces) > maxNamespaces {
		d.add("kubernetes.namespaces", "must be at most %d; leave the list empty to watch all with one watch", maxNamespaces)
	}
	seen := make(map[string]bool)
	for i, name := range k.Namespaces[:min(len(k.Namespaces), maxChecked)] {
		path := fmt.Sprintf("kubernetes.namespaces[%d]", i)
		switch {
		case !d.has(path) || d.reported(path):
		case len(name) > 63 || !regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`).MatchString(name):
			d.add(path, "%s is no name of a namespace; it has at most 63 lower-case letters, digits and -", quoted(name))
		case seen[name]:
			d.add(path, "%s is listed twice", quoted(name))
		}
		seen[name] = true
	}
	if k.UnreachableAfter != 0 {
		d.between("kubernetes.unreachableAfter", k.UnreachableAfter, 30*time.Second, day, ", or 0 for never")
	}
	d.between("kubernetes.eventTTL", k.EventTTL, time.Minute, 30*day, "")
	d.between("kubernetes.startupLookback", k.StartupLookback, 0, 30*day, "")
}

func (d *decoder) checkSeverity(c *Config) {
	if len(c.Severity.Critical) > maxCritical {
		d.add("severity.critical", "must be at most %d reasons", maxCritical)
	}
	for i, text := range c.Severity.Critical[:min(len(c.Severity.Critical), maxCritical)] {
		path := fmt.Sprintf("severity.critical[%d]", i)
		p, err := filter.CompilePattern(text)
		switch {
		case err == nil:
			c.critical = append(c.critical, p)
		case text == "":
			if d.has(path) && !d.reported(path) {
				d.add(path, "must not be empty")
			}
		default:
			d.add(path, "%v", err)
		}
	}
}

// perReceiver is what the spool must have room for, per receiver, so that an event with a long message fits into each queue.
const perReceiver = 32 << 10

func (d *decoder) checkSpool(s *Spool, receivers int) {
	if s.Path == "" || strings.HasSuffix(s.Path, "/") || strings.ContainsRune(s.Path, 0) {
		d.add("spool.path", "must be the path of a file")
	}
	if s.MaxBytes < minSpool || s.MaxBytes > maxSpool {
		d.add("spool.maxBytes", "must be 256Ki to 1Gi")
	} else if least := int64(min(receivers, maxReceivers)) * perReceiver; s.MaxBytes < least {
		d.add("spool.maxBytes", "must be at least %dKi for %d receivers: 32Ki for each", least>>10, receivers)
	}
	d.between("spool.maxAge", s.MaxAge, time.Minute, 365*day, "")
	d.between("spool.commitInterval", s.CommitInterval, 10*time.Millisecond, time.Minute, "")
}

// checkDelivery looks only at what the file sets under path: a receiver's other values were looked at where they come from.
func (d *decoder) checkDelivery(path string, n *Delivery) {
	for _, r := range []struct {
		key         string
		value       time.Duration
		least, most time.Duration
	}{
		{"groupWait", n.GroupWait, 0, 10 * time.Minute},
		{"groupInterval", n.GroupInterval, time.Second, day},
		{"repeatInterval", n.RepeatInterval, time.Second, 30 * day},
		{"resolveAfter", n.ResolveAfter, time.Second, 7 * day},
		{"digestAge", n.DigestAge, time.Second, 7 * day},
		{"timeout", n.Timeout, time.Second, 5 * time.Minute},
		{"maxBackoff", n.MaxBackoff, time.Second, time.Hour},
	} {
		if at := path + "." + r.key; d.has(at) {
			d.between(at, r.value, r.least, r.most, "")
		}
	}
	if at := path + ".digestAfter"; d.has(at) && (n.DigestAfter < 1 || n.DigestAfter > 10_000) {
		d.add(at, "must be 1 to 10000")
	}
	if at := path + ".stormLimit"; d.has(at) && (n.StormLimit < 0 || n.StormLimit > 60) {
		d.add(at, "must be 1 to 60 messages an hour, or 0 for no limit")
	}
	interval, repeat := path+".groupInterval", path+".repeatInterval"
	if n.GroupInterval <= n.RepeatInterval || !d.has(interval) && !d.has(repeat) {
		return
	}
	if d.has(interval) {
		d.add(interval, "%s is longer than repeatInterval, which is %s", durationText(n.GroupInterval), durationText(n.RepeatInterval))
		return
	}
	d.add(repeat, "%s is shorter than groupInterval, which is %s", durationText(n.RepeatInterval), durationText(n.GroupInterval))
}

func (d *decoder) checkLink(l *Link) {
	if len(l.Interfaces) > maxInterfaces {
		d.add("link.interfaces", "must be at most %d", maxInterfaces)
	}
	for i, name := range l.Interfaces[:min(len(l.Interfaces), maxChecked)] {
		path := fmt.Sprintf("link.interfaces[%d]", i)
		// The kernel's rule: dev_valid_name in net/core/dev.c, IFNAMSIZ is 16 with the final zero.
		if d.has(path) && !d.reported(path) && (name == "" || len(name) > 15 || name == "." || name == ".." || strings.ContainsAny(name, "/: \t\n\v\f\r")) {
			d.add(path, "%s is no name of a network interface, such as eth0 or wwan0", quoted(name))
		}
	}
	for _, b := range []struct {
		path  string
		value int64
	}{{"link.dailyBudget", l.DailyBudget}, {"link.monthlyBudget", l.MonthlyBudget}} {
		if b.value != 0 && b.value < minBudget {
			d.add(b.path, "must be at least 64Ki, or 0 for no budget")
		}
	}
	if l.MonthlyBudget != 0 && l.DailyBudget > l.MonthlyBudget {
		d.add("link.dailyBudget", "is larger than monthlyBudget")
	}
	d.oneOf("link.keyExchange", l.KeyExchange, "x25519", "hybrid")
}

func (d *decoder) checkReceivers(c *Config) {
	switch n := len(c.Receivers); {
	case n == 0 && d.has("receivers") && d.reported("receivers"):
		// It is not a list, and that was said.
	case n == 0:
		d.add("receivers", "must have at least one receiver, with name and type")
	case n > maxReceivers:
		d.add("receivers", "must be at most %d", maxReceivers)
	}
	seen := make(map[string]string)
	for i := range min(len(c.Receivers), maxReceivers) {
		r, path := &c.Receivers[i], fmt.Sprintf("receivers[%d]", i)
		if !d.has(path) || d.reported(path) && r.Name == "" && r.Type == "" {
			continue
		}
		d.checkName(r.Name, path, seen)
		if r.Fold == "" {
			r.Fold = defaultFold(r.Type)
		}
		d.oneOf(path+".fold", r.Fold, "incident", "event")
		d.checkDelivery(path, &r.Delivery)
		_, err := filter.NewMatcher(r.Match)
		d.addRules(path+".match", err)
		for j := range min(len(r.Match), maxChecked) {
			d.checkMatch(fmt.Sprintf("%s.match[%d]", path, j), &r.Match[j])
		}
		if r.Rate.PerSecond < 0 || r.Rate.PerSecond > maxPerSecond {
			d.add(path+".rate.perSecond", "must be 1 to %d, or 0 for the platform's documented limit", maxPerSecond)
		}
		if r.Rate.PerMinute < 0 || r.Rate.PerMinute > maxPerMinute {
			d.add(path+".rate.perMinute", "must be 1 to %d, or 0 for the platform's documented limit", maxPerMinute)
		}
		d.checkMuting(path, r, c)
		d.checkSettings(path, r, c)
	}
}

func (d *decoder) checkName(name, path string, seen map[string]string) {
	at := path + ".name"
	switch {
	case d.reported(at):
		return
	case name == "":
		d.add(at, "must be set")
		return
	case len(name) > 63 || !regexp.MustCompile(`^[a-z0-9][-a-z0-9_.]*$`).MatchString(name):
		d.add(at, "%s is no name of a receiver; it has at most 63 lower-case letters, digits and -_. and begins with a letter or digit", quoted(name))
	case seen[name] != "":
		d.add(at, "%s is the name of %s too; a name must be unique", quoted(name), seen[name])
	}
	if seen[name] == "" {
		seen[name] = path
	}
}

// checkSettings asks the receiver's type, which knows what it needs.
func (d *decoder) checkSettings(path string, r *Receiver, c *Config) {
	switch {
	case d.reported(path + ".type"):
		return
	case r.Type == "":
		d.add(path+".type", "must be set; allowed: %s", strings.Join(Types(), ", "))
		return
	case r.Settings == nil:
		d.add(path+".type", "%q is unknown;%s allowed: %s", oneLine(r.Type), meant(r.Type, Types()), strings.Join(Types(), ", "))
		return
	}
	add := func(key, format string, args ...any) { d.addReceiver(path, key, fmt.Sprintf(format, args...)) }
	if r.Type == stdout.Type {
		for key, set := range map[string]bool{"tls": r.TLS != TLS{}, "proxy": r.Proxy != ""} {
			if set {
				d.note(path+"."+key, "not used by type %s, which has no connection", r.Type)
			}
		}
		return
	}
	common := r.Common(c)
	common.CheckConnection(add)
	r.Settings.Check(add)
	if other := platformOf(r.address()); other != "" && other != r.Type && r.Type != webhook.Type {
		d.note(path+".url", "is an address of %s; is type %s meant?", other, other)
	}
}

// note keeps what is probably not meant and is no mistake.
func (d *decoder) note(path, format string, args ...any) {
	d.notes = append(d.notes, Mistake{Line: d.line(path), Path: path, Text: oneLine(fmt.Sprintf(format, args...))})
}

// addReceiver adds a mistake that a type of receiver found in the key, or in the twin of it.
func (d *decoder) addReceiver(path, key, text string) {
	at := path + "." + oneLine(key)
	switch {
	case !d.has(at) && d.has(at+"File"):
		d.add(at+"File", "%s", oneLine(text))
	case !d.reported(at) && !d.reported(at+"File"):
		d.add(at, "%s", oneLine(text))
	}
}

// oneLine takes out what the name of a label or of a body's key could bring into a sentence.
func oneLine(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, text)
}

// reported reports whether there is a mistake about path already: what follows from it is no news.
func (d *decoder) reported(path string) bool { return d.about[path] }

// checkMatch finds matchers that the file sets to what means "not set".
func (d *decoder) checkMatch(path string, m *filter.Match) {
	if m == nil {
		return
	}
	for _, f := range []struct{ key, text string }{
		{"namespace", m.Namespace}, {"kind", m.Kind}, {"name", m.Name}, {"reason", m.Reason},
		{"message", m.Message}, {"component", m.Component}, {"host", m.Host},
	} {
		if at := path + "." + f.key; f.text == "" && d.has(at) && !d.reported(at) {
			d.add(at, "must not be empty; leave the key out to match everything")
		}
	}
	if at := path + ".minCount"; m.MinCount == 0 && d.has(at) && !d.reported(at) {
		d.add(at, "must be 1 or more")
	}
}

// addRules adds the mistakes that package filter found in the list at path.
func (d *decoder) addRules(path string, err error) {
	mistakes, ok := errors.AsType[filter.Mistakes](err)
	if !ok {
		return
	}
	for _, m := range mistakes {
		// A rule that could not be read is empty, and that was said.
		if at := path + m.Path; !d.reported(at) && !d.reported(at+".keep") && !d.reported(at+".drop") && !d.unknownIn(at) {
			d.add(at, "%s", m.Text)
		}
	}
}

// unknownIn reports whether the mapping at path has a mistake in one of its own keys.
func (d *decoder) unknownIn(path string) bool {
	return slices.ContainsFunc(d.mistakes, func(m Mistake) bool {
		rest, ok := strings.CutPrefix(m.Path, path+".")
		return ok && !strings.Contains(rest, ".")
	})
}

func (d *decoder) oneOf(path, value string, allowed ...string) {
	if !slices.Contains(allowed, value) {
		d.add(path, "%s is unknown;%s allowed: %s", quoted(value), meant(value, allowed), strings.Join(allowed, ", "))
	}
}

func (d *decoder) longest(path, value string, most int) {
	if len(value) > most {
		d.add(path, "must be at most %d bytes, not %d", most, len(value))
	}
}

func (d *decoder) between(path string, value, least, most time.Duration, or string) {
	if value < least || value > most {
		d.add(path, "must be %s to %s%s", durationText(least), durationText(most), or)
	}
}

// durationText writes a duration as a person would: 10m, not 10m0s.
func durationText(duration time.Duration) string {
	text := duration.String()
	if duration == 0 {
		return "0"
	}
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// hostPattern matches the name of a host.
const hostPattern = `^[A-Za-z]([-A-Za-z0-9.]{0,252}[A-Za-z0-9])?$`

func isListenAddress(address string) bool {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || strconv.FormatUint(n, 10) != port {
		return false
	}
	if _, err := netip.ParseAddr(host); err == nil || host == "" {
		return true
	}
	return regexp.MustCompile(hostPattern).MatchString(host)
}
