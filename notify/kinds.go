package notify

import (
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"
)

// kind is a type of receiver.
type kind struct {
	// keys are the keys of the configuration that the type uses, besides those that every type has.
	keys []string
	// check adds the mistakes that only this type can have.
	check func(cfg *Config, add addMistake)
	make  func(cfg Config, p *poster) Receiver
}

// kinds is the table of all types.
func kinds() map[string]kind {
	generic := []string{"url", "tls", "proxy", "headers", "gzip", "batch"}
	chat := []string{"url", "tls", "proxy"}
	with := func(keys []string, more ...string) []string { return slices.Concat(keys, more) }
	return map[string]kind{
		"feishu":       {keys: with(chat, "secret", "mention"), check: checkFeishu, make: newFeishu},
		"dingtalk":     {keys: with(chat, "secret", "mention"), make: newDingtalk},
		"wecom":        {keys: with(chat, "mention"), make: newWecom},
		"slack":        {keys: chat, make: newSlack},
		"telegram":     {keys: with(chat, "token", "chatId"), check: checkTelegram, make: newTelegram},
		"worktile":     {keys: chat, make: newWorktile},
		"webhook":      {keys: with(generic, "method", "body", "success"), check: checkWebhook, make: newWebhook},
		"alertmanager": {keys: with(generic, "labels"), check: checkAlertmanager, make: newAlertmanager},
		"kafka-rest":   {keys: with(generic, "topic"), check: checkKafkaRest, make: newKafkaRest},
		"cloudevents":  {keys: generic, make: newCloudEvents},
		"stdout":       {make: newStdout},
	}
}

// Types returns the names of all types of receivers, sorted.
func Types() []string { return slices.Sorted(maps.Keys(kinds())) }

// New returns the receiver that cfg describes. It opens no connection. It fails if Check finds a mistake.
func New(cfg Config) (Receiver, error) {
	if mistakes := Check(cfg); len(mistakes) > 0 {
		return nil, fmt.Errorf("receiver %s: %s", cfg.Name, strings.Join(mistakes, "; "))
	}
	if cfg.Location == nil {
		cfg.Location = time.UTC
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.BatchMax == 0 {
		cfg.BatchMax = DefaultBatchMax
	}
	if cfg.BatchBytes == 0 {
		cfg.BatchBytes = DefaultBatchBytes
	}
	if cfg.Type == "telegram" && cfg.URL.IsZero() {
		cfg.URL = SecretValue(telegramAPI)
	}
	if cfg.Method == "" {
		cfg.Method = "POST"
	}
	if cfg.Topic == "" {
		cfg.Topic = DefaultTopic
	}
	return kinds()[cfg.Type].make(cfg, newPoster(&cfg)), nil
}
