// Package configtest makes receivers of any type for tests that go over all of them. It is in no binary.
package configtest

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"reflect"
	"strings"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/config"
	"github.com/edge-eventer/edge-eventer/notify"
)

// Keys are the keys of a receiver in the configuration file, whichever type has them, and what the agent sets.
type Keys struct {
	Name, Type         string
	URL, Secret        notify.Secret
	Mention            []string
	CAFile             string
	CertFile, KeyFile  string
	ServerName         string
	InsecureSkipVerify bool
	Proxy              string
	Token              notify.Secret
	ChatID             string
	Header             map[string]notify.Secret
	Gzip               bool
	BatchMax           int
	BatchBytes         int64
	Method             string
	Body               any
	SuccessStatus      []int
	SuccessJSON        map[string]any
	Topic              string
	Labels             map[string]string
	SiteLabels         map[string]string
	Cluster            string
	Location           *time.Location
	Language           string
	Logger             *slog.Logger
	KeyExchange        string
	DialContext        func(ctx context.Context, network, address string) (net.Conn, error)
	Doubt              func(host string, wrong bool)
	Output             io.Writer
}

func (c *Keys) common() notify.Common {
	return notify.Common{
		Name: c.Name, Cluster: c.Cluster, Labels: c.SiteLabels, Location: c.Location, Language: c.Language, Logger: c.Logger,
		TLS: notify.TLS{
			CAFile: c.CAFile, CertFile: c.CertFile, KeyFile: c.KeyFile, ServerName: c.ServerName, InsecureSkipVerify: c.InsecureSkipVerify,
		},
		Proxy: c.Proxy, KeyExchange: c.KeyExchange, DialContext: c.DialContext, Doubt: c.Doubt, Output: c.Output,
	}
}

// settings are those of the type with what c says of its keys.
func (c *Keys) settings() notify.Settings {
	settings := config.DefaultSettings(c.Type)
	if settings == nil {
		panic("no type " + c.Type)
	}
	v := reflect.ValueOf(settings).Elem()
	set := func(value any, path ...string) {
		if reflect.ValueOf(value).IsZero() {
			return
		}
		f := v
		for _, name := range path {
			if f = f.FieldByName(name); !f.IsValid() {
				panic(fmt.Sprintf("type %s has no %s", c.Type, strings.Join(path, ".")))
			}
		}
		f.Set(reflect.ValueOf(value))
	}
	set(c.URL, "URL")
	set(c.Secret, "Secret")
	set(c.Mention, "Mention")
	set(c.Token, "Token")
	set(c.ChatID, "ChatID")
	set(c.Header, "Headers")
	set(c.Gzip, "Gzip")
	set(c.BatchMax, "Batch", "Max")
	set(c.BatchBytes, "Batch", "MaxBytes")
	set(c.Method, "Method")
	if c.Body != nil {
		v.FieldByName("Body").Set(reflect.ValueOf(c.Body))
	}
	set(c.SuccessStatus, "Success", "Status")
	set(c.SuccessJSON, "Success", "JSON")
	set(c.Topic, "Topic")
	set(c.Labels, "Labels")
	return settings
}

// Check returns every mistake, as the configuration file's reader gathers them.
func Check(c Keys) []string {
	var mistakes []string
	add := func(key, format string, args ...any) {
		mistakes = append(mistakes, key+": "+fmt.Sprintf(format, args...))
	}
	common := c.common()
	common.CheckConnection(add)
	c.settings().Check(add)
	return mistakes
}

// New returns the receiver, if nothing is wrong with c.
func New(c Keys) (notify.Receiver, error) {
	if mistakes := Check(c); len(mistakes) > 0 {
		return nil, fmt.Errorf("receiver %s: %s", c.Name, strings.Join(mistakes, "; "))
	}
	return c.settings().New(c.common())
}
