package agent

import (
	"errors"
	"log/slog"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/agenttest"
	"github.com/edge-eventer/edge-eventer/agent/config"
	"github.com/edge-eventer/edge-eventer/spool"
)

// TestStartWaitsForASpoolCommand: a spool command that found no agent opens the file itself, and must not keep the agent from
// starting a moment later. Another agent does.
func TestStartWaitsForASpoolCommand(t *testing.T) {
	for held, want := range map[time.Duration]error{3 * time.Second: nil, 10 * time.Second: spool.ErrLocked} {
		t.Run(held.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "spool.db")
				command := agenttest.OpenSpool(t, path)
				closed := make(chan error, 1)
				time.AfterFunc(held, func() { closed <- command.Close() })
				a := &Agent{config: &config.Config{Spool: config.Spool{Path: path, MaxBytes: 1 << 20}}, logger: slog.New(slog.DiscardHandler)}
				s, err := a.openSpool(t.Context())
				if !errors.Is(err, want) {
					t.Errorf("open: %v, want %v", err, want)
				}
				if err := <-closed; err != nil {
					t.Error(err)
				}
				if s != nil {
					if err := s.Close(); err != nil {
						t.Error(err)
					}
				}
			})
		})
	}
}
