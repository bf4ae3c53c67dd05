package selfreport

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/retry"
	"github.com/edge-eventer/edge-eventer/agent/watch/health"
)

// sightInterval is how often the agent looks whether the API server still shows events.
const sightInterval = 15 * time.Second

// Sight tells an incident when events cannot be seen for longer than after, once per absence: of the API server, or of single
// namespaces while others are seen. The first is the one alert that nothing inside a dead cluster can send. failing returns each
// namespace that is to be watched and its failure, nil where it is seen. It returns nil when ctx ends.
func (r *Reporter) Sight(ctx context.Context, after time.Duration, failing func() map[string]*health.Failing) error {
	if after == 0 {
		return nil
	}
	b := blindness{after: after}
	for retry.Wait(ctx, sightInterval) == nil {
		reason, message := b.look(time.Now(), failing())
		if reason == "" {
			continue
		}
		if err := r.Tell(reason, message); err != nil {
			r.Logger.Error("the receivers cannot be told that events cannot be seen", "err", err)
			continue
		}
		b.notified = b.next
	}
	return nil
}

// maxNamed is how many blind namespaces one message names.
const maxNamed = 8

// blindness says once of each namespace since when it cannot be seen.
type blindness struct {
	after time.Duration
	// notified has since when the namespaces cannot be seen of which that was told, and notified[everywhere] the same of all together.
	notified map[string]time.Time
	// next becomes notified once the receivers were told.
	next map[string]time.Time
}

// everywhere stands for all namespaces together. None has this name.
const everywhere = "*"

// look returns what is to be told now; an empty reason stands for nothing.
func (b *blindness) look(now time.Time, namespaces map[string]*health.Failing) (reason, message string) {
	blind := make(map[string]time.Time)
	var since time.Time
	var cause error
	for name, f := range namespaces {
		if f == nil || !f.Unseen {
			continue
		}
		blind[name] = f.Since
		if f.Since.After(since) {
			since, cause = f.Since, f.Err
		}
	}
	if len(blind) > 0 && len(blind) == len(namespaces) {
		blind[everywhere] = since
		b.next = blind
		if now.Sub(since) < b.after || b.notified[everywhere].Equal(since) {
			return "", ""
		}
		return "APIServerUnreachable", fmt.Sprintf("No events can be seen since %s: %v.", since.UTC().Format(time.RFC3339), cause)
	}
	maps.DeleteFunc(blind, func(_ string, since time.Time) bool { return now.Sub(since) < b.after })
	maps.DeleteFunc(b.notified, func(name string, _ time.Time) bool { _, still := blind[name]; return !still })
	b.next = blind
	var lines []string
	for _, name := range slices.Sorted(maps.Keys(blind)) {
		if !b.notified[name].Equal(blind[name]) {
			lines = append(lines, fmt.Sprintf("%s since %s: %v", name, blind[name].UTC().Format(time.RFC3339), namespaces[name].Err))
		}
	}
	if len(lines) == 0 {
		return "", ""
	}
	more := ""
	if n := len(lines) - maxNamed; n > 0 {
		lines, more = lines[:maxNamed], fmt.Sprintf("; and %d more", n)
	}
	return "NamespaceUnreachable", fmt.Sprintf("No events of these namespaces can be seen, while others are: %s%s.", strings.Join(lines, "; "), more)
}
