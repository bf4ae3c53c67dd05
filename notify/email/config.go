package email

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/edge-eventer/edge-eventer/notify"
	"github.com/edge-eventer/edge-eventer/notify/chat"
)

// Type is the word of the configuration.
const Type = "email"

const (
	maxRecipients = 20
	// implicitTLS is the port on which submission begins with TLS: RFC 8314, section 3.3.
	implicitTLS = "465"
)

// The values of security.
const (
	securityTLS      = "tls"
	securityStartTLS = "starttls"
	securityNone     = "none"
)

// Config holds the keys of a receiver of type email.
type Config struct {
	// Smarthost is host:port of the server that takes mail for submission.
	Smarthost string `yaml:"smarthost"`
	// Security is tls, starttls or none. Default: tls on port 465, starttls on any other.
	Security string `yaml:"security"`
	// User and Password sign in, by AUTH PLAIN or LOGIN. Empty: without.
	User     string        `yaml:"user"`
	Password notify.Secret `yaml:"password"`
	// From and To are addresses without a name. Bounces go to From.
	From string   `yaml:"from"`
	To   []string `yaml:"to"`
	// Hello is the name that the agent greets with. Default: localhost.
	Hello string `yaml:"hello"`
}

// Defaults returns the settings of a receiver that names no key.
func Defaults() notify.Settings { return &Config{Hello: "localhost"} }

// Check adds every mistake.
func (c *Config) Check(add notify.AddMistake) {
	host, port, err := net.SplitHostPort(c.Smarthost)
	if number, notNumber := strconv.ParseUint(port, 10, 16); err != nil || notNumber != nil || number == 0 || !notify.Only(host, 253, ".-_:") {
		add("smarthost", "must be host:port of the server that takes your mail, such as smtp.example.com:587")
	}
	if !slices.Contains([]string{"", securityTLS, securityStartTLS, securityNone}, c.Security) {
		add("security", "%q is unknown; allowed: tls, starttls, none", c.Security)
	}
	c.checkUser(add)
	if !isAddress(c.From) {
		add("from", "must be an address such as edge@example.com, without a name")
	}
	if len(c.To) == 0 || len(c.To) > maxRecipients {
		add("to", "must be 1 to %d addresses; use a list of the mail server for more", maxRecipients)
	}
	for i, address := range c.To[:min(len(c.To), maxRecipients)] {
		if !isAddress(address) {
			add(fmt.Sprintf("to[%d]", i), "must be an address such as ops@example.com, without a name")
		}
	}
	if !notify.Only(c.Hello, 253, ".-_:[]") {
		add("hello", "must be the name of a host")
	}
}

func (c *Config) checkUser(add notify.AddMistake) {
	switch {
	case (c.User == "") != c.Password.IsZero():
		add("user", "user and password belong together; set both or none")
	case c.User != "" && c.security() == securityNone:
		add("security", "none would show the password to everybody on the way; use tls or starttls, or no user")
	case len(c.User) > 256 || strings.ContainsFunc(c.User, func(r rune) bool { return r < ' ' || r == 0x7f }):
		add("user", "must be at most 256 bytes without control characters")
	}
}

// security is how the connection is protected.
func (c *Config) security() string {
	switch _, port, _ := net.SplitHostPort(c.Smarthost); {
	case c.Security != "":
		return c.Security
	case port == implicitTLS:
		return securityTLS
	}
	return securityStartTLS
}

// isAddress takes the addresses that need neither quotes nor UTF-8, at most 254 bytes: RFC 5321, section 4.5.3.1.3 with its brackets.
func isAddress(address string) bool {
	local, domain, ok := strings.Cut(address, "@")
	return ok && len(address) <= 254 && notify.Only(local, 64, "!#$%&'*+-/=?^_`{|}~.") && notify.Only(domain, 253, ".-")
}

// New returns the receiver.
func (c *Config) New(common notify.Common) (notify.Receiver, error) {
	// One incident in each message: mail programs make a thread of what names the same root.
	limits := notify.Limits{PerSecond: 1, PerMinute: 20, Batch: 1}
	return &receiver{Chat: chat.New(common, notify.PosterOptions{}, nil, limits), config: c}, nil
}
