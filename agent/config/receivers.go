package config

import (
	"fmt"
	"maps"
	"net/url"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/edge-eventer/edge-eventer/notify"
	"github.com/edge-eventer/edge-eventer/notify/alertmanager"
	"github.com/edge-eventer/edge-eventer/notify/cloudevents"
	"github.com/edge-eventer/edge-eventer/notify/dingtalk"
	"github.com/edge-eventer/edge-eventer/notify/elasticsearch"
	"github.com/edge-eventer/edge-eventer/notify/email"
	"github.com/edge-eventer/edge-eventer/notify/feishu"
	"github.com/edge-eventer/edge-eventer/notify/influxdb"
	"github.com/edge-eventer/edge-eventer/notify/kafka"
	"github.com/edge-eventer/edge-eventer/notify/kafkarest"
	"github.com/edge-eventer/edge-eventer/notify/mqtt"
	"github.com/edge-eventer/edge-eventer/notify/otlp"
	"github.com/edge-eventer/edge-eventer/notify/slack"
	"github.com/edge-eventer/edge-eventer/notify/stdout"
	"github.com/edge-eventer/edge-eventer/notify/teams"
	"github.com/edge-eventer/edge-eventer/notify/telegram"
	"github.com/edge-eventer/edge-eventer/notify/webhook"
	"github.com/edge-eventer/edge-eventer/notify/wecom"
	"github.com/edge-eventer/edge-eventer/notify/worktile"
)

// types is the only list of the types of receivers: the word of each, and the function that returns the settings of one that names no key.
func types() map[string]func() notify.Settings {
	return map[string]func() notify.Settings{
		alertmanager.Type:  alertmanager.Defaults,
		cloudevents.Type:   cloudevents.Defaults,
		dingtalk.Type:      dingtalk.Defaults,
		elasticsearch.Type: elasticsearch.Defaults,
		email.Type:         email.Defaults,
		feishu.Type:        feishu.Defaults,
		influxdb.Type:      influxdb.Defaults,
		kafka.Type:         kafka.Defaults,
		kafkarest.Type:     kafkarest.Defaults,
		mqtt.Type:          mqtt.Defaults,
		otlp.Type:          otlp.Defaults,
		slack.Type:         slack.Defaults,
		stdout.Type:        stdout.Defaults,
		teams.Type:         teams.Defaults,
		telegram.Type:      telegram.Defaults,
		webhook.Type:       webhook.Defaults,
		wecom.Type:         wecom.Defaults,
		worktile.Type:      worktile.Defaults,
	}
}

// Engines returns the names of the receivers that are engines: they store records by their time, and answer questions over many sites.
func (c *Config) Engines() (names []string) {
	engines := []string{elasticsearch.Type, influxdb.Type, kafka.Type, mqtt.Type, otlp.Type}
	for i := range c.Receivers {
		if slices.Contains(engines, c.Receivers[i].Type) {
			names = append(names, c.Receivers[i].Name)
		}
	}
	return names
}

// Types returns the names of all types of receivers, sorted.
func Types() []string { return slices.Sorted(maps.Keys(types())) }

// typesWith lists the types that have a key.
func typesWith(key string) []string {
	var with []string
	for name, defaults := range types() {
		fields(reflect.ValueOf(defaults()).Elem(), func(known string, _ field) {
			if known == key {
				with = append(with, name)
			}
		})
	}
	slices.Sort(with)
	return with
}

// DefaultSettings returns the settings of a type that names no key, nil for a word that is no type.
func DefaultSettings(name string) notify.Settings {
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
		Labels:   c.Labels,
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
func (r *Receiver) New(common notify.Common) (notify.Receiver, error) { return r.Settings.New(common) }

// address returns the text of the receiver's URL, "" where it has none or a file holds it.
func (r *Receiver) address() string {
	f := reflect.ValueOf(r.Settings).Elem().FieldByName("URL")
	if !f.IsValid() {
		return ""
	}
	secret, ok := reflect.TypeAssert[notify.Secret](f)
	if !ok || secret.File() != "" {
		return ""
	}
	text, err := secret.Read()
	if err != nil {
		return ""
	}
	return text
}

// platformOf returns the type of receiver whose platform answers at an address, "" where none is known.
func platformOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return map[string]string{
		"open.feishu.cn": feishu.Type, "open.larksuite.com": feishu.Type, "oapi.dingtalk.com": dingtalk.Type, "qyapi.weixin.qq.com": wecom.Type,
		"hooks.slack.com": slack.Type, "api.telegram.org": telegram.Type, "hook.worktile.com": worktile.Type,
	}[strings.ToLower(u.Hostname())]
}

// UnreadableSecrets returns why files with an address or a secret of the receiver cannot be used: each as a sentence that begins with the key
// and names the file, in the order of the keys.
func (r *Receiver) UnreadableSecrets() []string {
	var why []string
	files := r.SecretFiles()
	for _, key := range slices.Sorted(maps.Keys(files)) {
		if _, err := notify.SecretFile(files[key]).Read(); err != nil {
			why = append(why, fmt.Sprintf("%s: %v", key, err))
		}
	}
	return why
}

// SecretFiles returns the files that hold secrets of the receiver, by their keys: urlFile, headers.Authorization.
func (r *Receiver) SecretFiles() map[string]string {
	files := make(map[string]string)
	if r.Settings == nil {
		return files
	}
	nested := ""
	var visit func(v reflect.Value)
	visit = func(v reflect.Value) {
		fields(v, func(name string, f field) {
			if !f.value.IsValid() {
				return
			}
			switch value := f.value.Interface().(type) {
			case notify.Secret:
				if value.File() != "" {
					files[nested+name+"File"] = value.File()
				}
			case map[string]notify.Secret:
				for header, secret := range value {
					if secret.File() != "" {
						files[nested+name+"."+header] = secret.File()
					}
				}
			default:
				if f.value.Kind() == reflect.Struct {
					outer := nested
					nested += name + "."
					visit(f.value)
					nested = outer
				}
			}
		})
	}
	visit(reflect.ValueOf(r.Settings).Elem())
	return files
}
