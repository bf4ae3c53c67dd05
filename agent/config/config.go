package config

import (
	"time"

	"github.com/edge-eventer/edge-eventer/agent/filter"
	"github.com/edge-eventer/edge-eventer/agent/inhibit"
	"github.com/edge-eventer/edge-eventer/agent/timeinterval"
	"github.com/edge-eventer/edge-eventer/notify"
)

// Config is the configuration of an agent. The keys of the file are the yaml tags; sizes are in bytes.
type Config struct {
	// Cluster is shown in every message. Default: the host name.
	Cluster string `yaml:"cluster"`
	// Labels are told in every message: site, region, whatever the operator wants, at most 16. Default: none.
	Labels map[string]string `yaml:"labels"`
	// Timezone is the IANA name of the zone of all times shown. Default: Local.
	Timezone string `yaml:"timezone"`
	// Language of the labels in messages: en or zh. Default: en.
	Language string `yaml:"language"`

	Kubernetes Kubernetes    `yaml:"kubernetes"`
	Filter     []filter.Rule `yaml:"filter"`
	Severity   Severity      `yaml:"severity"`
	Spool      Spool         `yaml:"spool"`
	// Notify holds what every receiver has that does not say otherwise.
	Notify Delivery `yaml:"notify"`
	Link   Link     `yaml:"link"`
	// TimeIntervals have the names by which receivers are muted, at most 32.
	TimeIntervals []TimeInterval `yaml:"timeIntervals"`
	// Inhibit are Alertmanager's inhibit_rules, at most 64. InhibitBuiltIn says that those that are built in hold too. Default: true.
	Inhibit        []inhibit.Spec `yaml:"inhibit"`
	InhibitBuiltIn bool           `yaml:"inhibitBuiltIn"`
	Report         Report         `yaml:"report"`
	// Heartbeat is after how long a silence a sign of life is sent. Default: 0, never.
	Heartbeat time.Duration `yaml:"heartbeat"`
	Fleet     Fleet         `yaml:"fleet"`
	Server    Server        `yaml:"server"`
	// Receivers are at least 1 and at most 32.
	Receivers []Receiver `yaml:"receivers"`

	location  *time.Location
	critical  []*filter.Pattern
	intervals map[string]*timeinterval.Interval
	inhibit   *inhibit.Rules
}

// Kubernetes says where the events come from.
type Kubernetes struct {
	// Kubeconfig is a path. Default: in-cluster, then $KUBECONFIG, then /etc/rancher/k3s/k3s.yaml.
	Kubeconfig string `yaml:"kubeconfig"`
	// Namespaces to watch. Empty: all.
	Namespaces []string `yaml:"namespaces"`
	// UnreachableAfter is how long the API server is away before that is an incident of its own. Default: 5m; 0: never.
	UnreachableAfter time.Duration `yaml:"unreachableAfter"`
	// EventTTL is the API server's --event-ttl: how long it keeps an event that nobody touches. Default: 1h.
	EventTTL time.Duration `yaml:"eventTTL"`
	// StartupLookback is how old an event may be to be news at the very first start. Default: 1h.
	StartupLookback time.Duration `yaml:"startupLookback"`
}

// Fleet is what the engines of many sites are told of each.
type Fleet struct {
	// Every is how often a record of how the site stands goes to each receiver that is an engine. Default: 15m; 0: never.
	Every time.Duration `yaml:"every"`
}

// Severity says which incidents are critical.
type Severity struct {
	// Critical lists reasons (RE2, anchored) that replace CriticalReasons. Empty: CriticalReasons.
	Critical []string `yaml:"critical"`
}

// Spool is the file on disk.
type Spool struct {
	// Path of the file. Default: /var/lib/edge-eventer/spool.db.
	Path string `yaml:"path"`
	// MaxBytes bounds the file. Default: 16Mi.
	MaxBytes int64 `yaml:"maxBytes" as:"size"`
	// MaxAge is how long the oldest untold occurrence of an incident may wait before the incident is given up, by a clock that nobody
	// can set; at least an hour longer than the longest repeatInterval. The time of a reboot does not count. Default: 168h.
	MaxAge time.Duration `yaml:"maxAge"`
	// CommitInterval is after how long news is on disk at most. What only repeats a known incident may wait a minute. Default: 1s.
	CommitInterval time.Duration `yaml:"commitInterval"`
}

// Delivery says when a receiver is told, and how often it is tried.
type Delivery struct {
	// GroupWait is how long a first occurrence waits for companions. Default: 5s.
	GroupWait time.Duration `yaml:"groupWait"`
	// GroupInterval is the first pause between two tellings of an incident, which doubles up to RepeatInterval. Defaults: 5m, 4h.
	GroupInterval  time.Duration `yaml:"groupInterval"`
	RepeatInterval time.Duration `yaml:"repeatInterval"`
	// ResolveAfter is how long an incident is quiet before it is over. Default: 30m.
	ResolveAfter time.Duration `yaml:"resolveAfter"`
	// More than DigestAfter waiting incidents, or one that waits longer than DigestAge, become a digest. Defaults: 10, 10m.
	DigestAfter int           `yaml:"digestAfter"`
	DigestAge   time.Duration `yaml:"digestAge"`
	// StormLimit is how many messages an hour costs at most while more goes wrong than a message can name, of receivers that people read; 0: as
	// many as it takes. Default: 6.
	StormLimit int `yaml:"stormLimit"`
	// SendResolved adds a line about incidents that are over to the next message of a chat receiver. Default: false.
	SendResolved bool `yaml:"sendResolved"`
	// Timeout bounds one attempt. Default: 30s.
	Timeout time.Duration `yaml:"timeout"`
	// MaxBackoff is the longest pause between two attempts, unless the receiver asks for more. Default: 5m.
	MaxBackoff time.Duration `yaml:"maxBackoff"`
}

// Link is the way out.
type Link struct {
	// Interfaces are watched for coming back. Empty: those of the default route.
	Interfaces []string `yaml:"interfaces"`
	// DailyBudget and MonthlyBudget bound the bytes on the wire, both ways, TLS included. Default: 0, no budget.
	DailyBudget   int64 `yaml:"dailyBudget" as:"size"`
	MonthlyBudget int64 `yaml:"monthlyBudget" as:"size"`
	// KeyExchange is x25519 or hybrid, which is post-quantum and adds 2.3 KB to each handshake. Default: x25519.
	KeyExchange string `yaml:"keyExchange"`
}

// TimeInterval is a name for times, as Alertmanager's configuration has it.
type TimeInterval struct {
	// Name is unique.
	Name string `yaml:"name"`
	// Specs are Alertmanager's time_intervals, of which any must hold.
	Specs []timeinterval.Spec `yaml:"time_intervals"`
}

// Report is the daily statistics.
type Report struct {
	// At is the time of day in the configured zone, HH:MM. Default: none.
	At string `yaml:"at"`
}

// Server is the agent's own HTTP server.
type Server struct {
	// Listen is its address; empty: none. Default: 127.0.0.1:8080.
	Listen string `yaml:"listen"`
	// Page is where the status page, which shows the texts of events, is shown: loopback or everywhere. Default: loopback.
	Page string `yaml:"page"`
	// Socket is the path of the socket that the status and spool commands ask at. Default: spool.path with .sock.
	Socket string `yaml:"socket"`
	// SocketGroup is the group that may ask too, by name or number. Default: none.
	SocketGroup string `yaml:"socketGroup"`
	// Hosts are further names of this machine by which it may be asked, such as that of a Service or a proxy. Default: none.
	Hosts []string `yaml:"hosts"`
}

// Receiver is a destination.
type Receiver struct {
	// Name is unique and names the queue on disk.
	Name string `yaml:"name"`
	// Type is one of Types.
	Type string `yaml:"type"`
	// Settings are the keys of the type; nil where the type is unknown.
	Settings notify.Settings `yaml:",inline"`

	// Match lists rules of which any must match. Empty: everything.
	Match []filter.Match `yaml:"match"`
	Rate  Rate           `yaml:"rate"`
	// Fold is incident or event. Default: event for webhook, kafka-rest and cloudevents, else incident.
	Fold string `yaml:"fold"`
	TLS  TLS    `yaml:"tls"`
	// Proxy is the URL of an HTTP proxy. Default: the environment.
	Proxy string `yaml:"proxy"`

	// MuteTimeIntervals are names of time intervals in any of which nothing is sent, and ActiveTimeIntervals of those outside of all of
	// which nothing is. What came meanwhile is sent afterwards. Empty: always active.
	MuteTimeIntervals   []string `yaml:"muteTimeIntervals"`
	ActiveTimeIntervals []string `yaml:"activeTimeIntervals"`
	// MuteCritical says that critical incidents wait too. Default: false, they are sent at once.
	MuteCritical bool `yaml:"muteCritical"`

	// Delivery is that of the notify section where the receiver does not say otherwise.
	Delivery `yaml:",inline"`
}

// Rate bounds requests. Both 0: the platform's documented limits.
type Rate struct {
	PerSecond int `yaml:"perSecond"`
	PerMinute int `yaml:"perMinute"`
}

// TLS says whom to trust.
type TLS struct {
	// CAFile is a PEM file with further authorities.
	CAFile string `yaml:"caFile"`
	// CertFile and KeyFile are PEM files with the certificate that is shown to the server, and its key. They are read again
	// when they change, as is CAFile.
	CertFile string `yaml:"certFile"`
	KeyFile  string `yaml:"keyFile"`
	// ServerName is looked for in the server's certificate instead of the name or the address in the URL.
	ServerName string `yaml:"serverName"`
	// InsecureSkipVerify turns the check of the certificate off.
	InsecureSkipVerify bool `yaml:"insecureSkipVerify"`
}

// Default returns the configuration of a file that names no key: all defaults, and no receiver, without which Parse
// takes no file. Cluster is empty in it; Parse fills in the host name.
func Default() *Config {
	return &Config{
		Timezone: "Local",
		Language: "en",
		Kubernetes: Kubernetes{
			UnreachableAfter: 5 * time.Minute,
			EventTTL:         time.Hour,
			StartupLookback:  time.Hour,
		},
		Spool: Spool{
			Path:           "/var/lib/edge-eventer/spool.db",
			MaxBytes:       16 << 20,
			MaxAge:         168 * time.Hour,
			CommitInterval: time.Second,
		},
		Notify: Delivery{
			GroupWait:      5 * time.Second,
			GroupInterval:  5 * time.Minute,
			RepeatInterval: 4 * time.Hour,
			ResolveAfter:   30 * time.Minute,
			DigestAfter:    10,
			DigestAge:      10 * time.Minute,
			StormLimit:     6,
			Timeout:        30 * time.Second,
			MaxBackoff:     5 * time.Minute,
		},
		Link:           Link{KeyExchange: "x25519"},
		InhibitBuiltIn: true,
		Fleet:          Fleet{Every: 15 * time.Minute},
		Server:         Server{Listen: "127.0.0.1:8080", Page: "loopback"},
	}
}

// DefaultReceiver returns a receiver with all defaults but those that its type decides (Settings, Fold). Its delivery is that of c.Notify.
func (c *Config) DefaultReceiver() Receiver { return Receiver{Delivery: c.Notify} }

// Socket returns the path of the socket that the status and spool commands ask at.
func (c *Config) Socket() string {
	if c.Server.Socket != "" {
		return c.Server.Socket
	}
	return c.Spool.Path + ".sock"
}

// Location returns the zone of all times shown; time.Local unless Parse read another one.
func (c *Config) Location() *time.Location {
	if c.location == nil {
		return time.Local
	}
	return c.location
}

// Interval returns the time interval of that name; nil where the file has none.
func (c *Config) Interval(name string) *timeinterval.Interval { return c.intervals[name] }

// InhibitRules returns the rules of inhibition; none unless Parse read the configuration.
func (c *Config) InhibitRules() *inhibit.Rules {
	if c.inhibit == nil {
		return &inhibit.Rules{}
	}
	return c.inhibit
}

// defaultFold is how a type of receiver folds unless told otherwise: people want incidents, archives want every event.
func defaultFold(kind string) string {
	switch kind {
	case "webhook", "kafka-rest", "cloudevents":
		return "event"
	}
	return "incident"
}
