package deliver_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/agenttest"
	"github.com/edge-eventer/edge-eventer/notify"
)

// TestRepeatedFailureIsLoggedAtItsStartItsChangeAndItsEnd has a receiver fail for three hours: a line for each attempt would fill a
// journal on an SD card and hide what matters.
func TestRepeatedFailureIsLoggedAtItsStartItsChangeAndItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		r := &agenttest.Receiver{Answer: func(context.Context, *notify.Message, notify.Form) error {
			switch since := time.Since(begin); {
			case since < time.Hour:
				return &notify.Error{Outcome: notify.Retry, Reason: "cannot be reached"}
			case since < 2*time.Hour:
				return &notify.Error{Outcome: notify.Retry, Reason: "is not available", Status: 503}
			case since < 3*time.Hour:
				return &notify.Error{Outcome: notify.BadTarget, Reason: "does not know the token"}
			}
			return nil
		}}
		h := agenttest.New(t, map[string]notify.Receiver{"ops": r})
		var log bytes.Buffer
		h.Options["ops"].Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelInfo}))
		h.Start()
		h.List("9", false, agenttest.Warning("web", 1, 1, time.Now()))
		agenttest.Pass(4 * time.Hour)
		h.Close()
		lines := strings.Split(strings.TrimSpace(log.String()), "\n")
		want := []string{"level=WARN msg=\"delivery failed, will be tried again\"", "503", "level=ERROR msg=\"receiver refuses every message", "level=INFO msg=\"receiver takes messages again\" failures="}
		if len(lines) != len(want) {
			t.Fatalf("%d attempts made %d lines, want %d:\n%s", r.Tries(), len(lines), len(want), &log)
		}
		for i, text := range want {
			if !strings.Contains(lines[i], text) {
				t.Errorf("line %d lacks %s:\n%s", i+1, text, lines[i])
			}
		}
		if last := lines[len(lines)-1]; !strings.Contains(last, "after=3h") {
			t.Errorf("the last line does not say how long: %s", last)
		}
		if r.Tries() < 30 {
			t.Errorf("only %d attempts: the test sees nothing", r.Tries())
		}
	})
}
