package selfreport

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/watch/health"
)

// TestABlindNamespaceIsAnIncidentWhileOthersAreSeen walks through hours in which one namespace of two is forbidden, then both are away.
func TestABlindNamespaceIsAnIncidentWhileOthersAreSeen(t *testing.T) {
	start := time.Now()
	forbidden := &health.Failing{Since: start, Unseen: true, Err: errors.New("403 Forbidden")}
	full := &health.Failing{Since: start, Err: errors.New("disk is full")}
	b := blindness{after: 5 * time.Minute}
	step := func(minute int, shop, kiosk *health.Failing, wantReason, wantText string) {
		t.Helper()
		reason, message := b.look(start.Add(time.Duration(minute)*time.Minute), map[string]*health.Failing{"shop": shop, "kiosk": kiosk})
		if reason != wantReason || !strings.Contains(message, wantText) {
			t.Errorf("minute %d: %q %q, want %q %q", minute, reason, message, wantReason, wantText)
		}
		if reason != "" {
			b.notified = b.next
		}
	}
	step(1, full, forbidden, "", "")
	step(5, full, forbidden, "NamespaceUnreachable", "kiosk since "+start.UTC().Format(time.RFC3339)+": 403 Forbidden.")
	step(6, nil, forbidden, "", "")
	step(300, nil, forbidden, "", "")
	away := &health.Failing{Since: start.Add(301 * time.Minute), Unseen: true, Err: errors.New("connection refused")}
	step(302, away, forbidden, "", "")
	step(306, away, forbidden, "APIServerUnreachable", "connection refused")
	step(307, away, forbidden, "", "")
	step(310, nil, forbidden, "", "")
	step(311, nil, nil, "", "")
	again := &health.Failing{Since: start.Add(312 * time.Minute), Unseen: true, Err: errors.New("403 Forbidden")}
	step(320, nil, again, "NamespaceUnreachable", "kiosk")
}
