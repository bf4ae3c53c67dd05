package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/config"
	"github.com/edge-eventer/edge-eventer/agent/retry"
)

// errNoReload is returned by Reload of an agent that cannot read its configuration again.
var errNoReload = errors.New("this agent cannot read its configuration again")

// Reload reads the configuration again and puts it to use. One that has mistakes is refused: its error lists them, and the one before
// stays. It waits until the agent runs.
func (a *Agent) Reload(ctx context.Context) error {
	if a.options.Reread == nil {
		return errNoReload
	}
	c, err := a.options.Reread()
	if err == nil {
		err = a.receivers.Reload(ctx, c)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		a.receivers.Refuse(err)
		a.logger.Error("the changed configuration is refused, the one before stays", "config", a.options.ConfigPath, "err", err)
		return fmt.Errorf("reload configuration: %w", err)
	}
	return nil
}

// watchConfig reloads the configuration when its file changes.
func (a *Agent) watchConfig(ctx context.Context) error {
	if a.options.ConfigPath == "" || a.options.Reread == nil {
		return nil
	}
	// The error is logged by Reload.
	config.Changes(ctx, a.options.ConfigPath, func() { _ = a.Reload(ctx) })
	return nil
}

// secretsInterval is how often the files of receivers' secrets are looked at.
const secretsInterval = 15 * time.Second

// watchSecrets looks at the files of the receivers' addresses and secrets now and then, so that what is missing is said before an event
// needs it.
func (a *Agent) watchSecrets(ctx context.Context) error {
	for retry.Wait(ctx, secretsInterval) == nil {
		c, _ := a.receivers.Settings()
		a.secrets.Look(c.Receivers)
	}
	return nil
}

// secretMissing tells whether a receiver waits for a file with its address or its secret.
func (a *Agent) secretMissing() bool { return a.secrets.Any() || a.receivers.SecretMissing() }
