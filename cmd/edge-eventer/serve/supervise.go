package serve

import (
	"context"
	"log/slog"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// supervise tells systemd that the agent is ready, and feeds its watchdog for as long as the agent's loops make progress. Without
// NOTIFY_SOCKET it does nothing.
func supervise(ctx context.Context, stuck func() []string, logger *slog.Logger) {
	if sent, err := daemon.SdNotify(false, daemon.SdNotifyReady); err != nil {
		logger.Warn("cannot tell systemd that the agent is ready", "err", err)
	} else if !sent {
		return
	}
	interval, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		logger.Warn("cannot read the watchdog's interval", "err", err)
	}
	var tick <-chan time.Time
	if interval > 0 {
		ticker := time.NewTicker(interval / 3)
		defer ticker.Stop()
		tick = ticker.C
	}
	for {
		select {
		case <-ctx.Done():
			_, _ = daemon.SdNotify(false, daemon.SdNotifyStopping)
			return
		case <-tick:
			if problems := stuck(); len(problems) > 0 {
				logger.Error("the watchdog is not fed", "problems", problems)
				continue
			}
			if _, err := daemon.SdNotify(false, daemon.SdNotifyWatchdog); err != nil {
				logger.Warn("cannot feed the watchdog", "err", err)
			}
		}
	}
}
