package agent

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/port"
	"github.com/edge-eventer/edge-eventer/agent/server"
)

// healthLimit is how long a loop may stand still before /healthz calls it dead. The longest honest pause is a commit to a
// slow SD card.
const healthLimit = 2 * time.Minute

// serve answers /metrics, /healthz, /readyz and the status page at / on the configured address until ctx ends. Nothing on this port
// changes anything.
func (a *Agent) serve(ctx context.Context) error {
	if a.config.Server.Listen == "" {
		return nil
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", a.config.Server.Listen)
	if err != nil {
		return fmt.Errorf("listen on server.listen: %w", err)
	}
	return server.Serve(ctx, listener, server.Options{Handler: a.handler(), Logger: a.logger})
}

// handler returns what the port answers.
func (a *Agent) handler() http.Handler {
	return port.Handler(port.Options{
		Listen: a.config.Server.Listen, Hosts: a.config.Server.Hosts, Everywhere: a.config.Server.Page == "everywhere",
		Document: a.Status, Stuck: a.Stuck, Incidents: a.eachIncident, History: &a.history,
	})
}
