package config

import (
	"maps"
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/edge-eventer/edge-eventer/notify"
	"github.com/edge-eventer/edge-eventer/notify/elasticsearch"
	"github.com/edge-eventer/edge-eventer/notify/influxdb"
	"github.com/edge-eventer/edge-eventer/notify/kafka"
	"github.com/edge-eventer/edge-eventer/notify/otlp"
)

// types are the types of receivers that have a package of their own, with the function that returns the settings of one that names
// no key.
func types() map[string]func() notify.Settings {
	return map[string]func() notify.Settings{
		elasticsearch.Type: elasticsearch.Defaults,
		influxdb.Type:      influxdb.Defaults,
		kafka.Type:         kafka.Defaults,
		otlp.Type:          otlp.Defaults,
	}
}

// Types returns the names of all types of receivers, sorted.
func Types() []string {
	return slices.Sorted(func(yield func(string) bool) {
		for _, name := range slices.Concat(notify.Types(), slices.Collect(maps.Keys(types()))) {
			if !yield(name) {
				return
			}
		}
	})
}

// settingsOf returns the settings of a type that has its own, nil for any other.
func settingsOf(name string) notify.Settings {
	if defaults := types()[name]; defaults != nil {
		return defaults()
	}
	return nil
}

// typeOf finds the type of a receiver before it is decoded, since it decides which keys there are.
func typeOf(receiver *yaml.Node) string {
	if receiver.Kind != yaml.MappingNode {
		return ""
	}
	for i := 0; i+1 < len(receiver.Content); i += 2 {
		if receiver.Content[i].Value == "type" {
			return receiver.Content[i+1].Value
		}
	}
	return ""
}

// Common is what package notify is told of every receiver. Version, Logger, DialContext and Output are for the caller to set.
func (r *Receiver) Common(c *Config) notify.Common {
	return notify.Common{
		Name:     r.Name,
		Cluster:  c.Cluster,
		Location: c.Location(),
		Language: c.Language,
		TLS: notify.TLS{
			CAFile: r.TLS.CAFile, CertFile: r.TLS.CertFile, KeyFile: r.TLS.KeyFile, ServerName: r.TLS.ServerName,
			InsecureSkipVerify: r.TLS.InsecureSkipVerify,
		},
		Proxy:       r.Proxy,
		KeyExchange: c.Link.KeyExchange,
	}
}

// New returns the receiver that r describes, with what the caller has set in common. It opens no connection.
func (r *Receiver) New(c *Config, common notify.Common) (notify.Receiver, error) {
	if r.Settings != nil {
		return r.Settings.New(common)
	}
	settings := r.Notify(c)
	settings.Logger, settings.Output = common.Logger, common.Output
	settings.DialContext, settings.Doubt = common.DialContext, common.Doubt
	return notify.New(settings)
}
