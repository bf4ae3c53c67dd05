// Package secret looks at the files that hold the addresses and secrets of receivers, at the start of the agent and now and then: a file that is
// missing is said before the first event comes, and not by it.
package secret

import (
	"log/slog"
	"slices"
	"sync"

	"github.com/edge-eventer/edge-eventer/agent/config"
)

// Files are the files of all receivers. Its methods may be called from any goroutine.
type Files struct {
	logger *slog.Logger

	mu sync.Mutex // guards what follows
	// unreadable says of each receiver that has such files which they are and why. It is replaced as a whole.
	unreadable map[string][]string
}

// New returns files of which nothing is known until Look is called. What changes is logged to logger.
func New(logger *slog.Logger) *Files { return &Files{logger: logger} }

// Look reads the files of all receivers, and keeps nothing of them but why one cannot be read. A few files are read, which are in the page
// cache: it costs no disk access and may be called every few seconds.
func (f *Files) Look(receivers []config.Receiver) {
	found := make(map[string][]string)
	for i := range receivers {
		if why := receivers[i].UnreadableSecrets(); len(why) > 0 {
			found[receivers[i].Name] = why
		}
	}
	f.mu.Lock()
	before := f.unreadable
	f.unreadable = found
	f.mu.Unlock()
	for i := range receivers {
		name := receivers[i].Name
		switch now := found[name]; {
		case slices.Equal(before[name], now):
		case len(now) > 0:
			f.logger.Error("receiver has no address or secret, its queue is kept", "receiver", name, "missing", now)
		default:
			f.logger.Info("receiver has its address and secrets", "receiver", name)
		}
	}
}

// Unreadable returns why files of a receiver cannot be read, each as a sentence that names key and file; nothing while all can.
func (f *Files) Unreadable(receiver string) []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.unreadable[receiver]
}

// Any reports whether a file of any receiver cannot be read.
func (f *Files) Any() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.unreadable) > 0
}
