package stdout

import (
	"os"

	"github.com/edge-eventer/edge-eventer/notify"
	"github.com/edge-eventer/edge-eventer/notify/chat"
)

// Type is the word of the configuration.
const Type = "stdout"

// Config holds the keys of a receiver of type stdout.
type Config struct {
}

// Defaults returns the settings of a receiver that names no key.
func Defaults() notify.Settings { return &Config{} }

// Check adds every mistake.
func (c *Config) Check(_ notify.AddMistake) {
}

// New returns the receiver. It prints in colours where the output is a terminal.
func (c *Config) New(common notify.Common) (notify.Receiver, error) {
	r := &receiver{Chat: chat.New(common, notify.PosterOptions{}, nil, notify.Limits{Batch: notify.DefaultBatchMax}), out: common.Output, busy: make(chan struct{}, 1)}
	if r.out == nil {
		r.out = os.Stdout
	}
	if f, ok := r.out.(*os.File); ok && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" {
		info, err := f.Stat()
		r.color = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	return r, nil
}
