package agent

import (
	"context"

	"github.com/edge-eventer/edge-eventer/agent/control"
)

// control answers the status and spool commands until ctx ends. An agent that cannot be asked still delivers, so a socket that
// cannot be made is told and no reason to end.
func (a *Agent) control(ctx context.Context) error {
	server := &control.Server{
		Status: a.Status,
		Group:  a.config.Server.SocketGroup,
		Queues: func() (control.Queues, error) { return a.queues() },
	}
	if err := server.Serve(ctx, a.config.Socket()); err != nil && ctx.Err() == nil {
		a.logger.Warn("the status and spool commands cannot reach this agent", "err", err)
	}
	return nil
}

// queues returns the queues of the open spool.
func (a *Agent) queues() (*control.SpoolQueues, error) {
	st := a.running()
	if st == nil {
		return nil, errNotStarted
	}
	return &control.SpoolQueues{
		Spool: st.spool,
		Again: a.receivers.TryAgain,
		Dropped: func(receiver string, r control.Result) {
			a.logger.Warn("records dropped by an operator", "receiver", receiver, "records", r.Records, "events", r.Events)
		},
		Silenced: func() { a.silenced(st.spool) },
	}, nil
}
