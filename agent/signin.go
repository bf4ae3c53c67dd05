package agent

import (
	"context"
	"errors"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/intake"
	"github.com/edge-eventer/edge-eventer/agent/ledger"
	"github.com/edge-eventer/edge-eventer/agent/retry"
	"github.com/edge-eventer/edge-eventer/agent/watch"
	"github.com/edge-eventer/edge-eventer/agent/watch/health"
	"github.com/edge-eventer/edge-eventer/spool"
)

// watch runs the watch. What keeps it from starting, such as the kubeconfig of a K3s that is not up yet, is waited for:
// the receivers go on meanwhile.
func (a *Agent) watch(ctx context.Context, sink watch.Sink) error {
	var w *watch.Watcher
	loop := retry.Loop{
		Failed: func(err error) { a.logger.Error("cannot sign in to the cluster, will be tried again", "err", err) },
		Recovered: func(s retry.Streak) {
			a.logger.Info("the cluster's credential is there", "failures", s.Failures, "after", s.Duration)
		},
	}
	err := loop.Do(ctx, func() (err error) {
		w, err = watch.New(watch.Options{
			Kubeconfig: a.config.Kubernetes.Kubeconfig,
			Namespaces: a.config.Kubernetes.Namespaces,
			Version:    a.options.Version,
			Logger:     a.logger,
		}, sink)
		a.signedIn(w, err)
		return err
	}, nil)
	if err != nil {
		return nil
	}
	// Run returns only when ctx ends, which is no failure of the agent.
	_ = w.Run(ctx)
	return nil
}

func (a *Agent) signedIn(w *watch.Watcher, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.seen.watcher, a.seen.signInError = w, ""
	if err != nil {
		a.seen.signInError = err.Error()
	}
}

// relist has the watch list everything again.
func (a *Agent) relist() {
	a.mu.Lock()
	watcher := a.seen.watcher
	a.mu.Unlock()
	if watcher != nil {
		watcher.Relist()
	}
}

// namespaces returns how the watches stand; none before the agent has signed in.
func (a *Agent) namespaces() []health.Status {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.seen.watcher == nil {
		return nil
	}
	return a.seen.watcher.Status().Namespaces
}

// failing returns each namespace that is to be watched and its failure, nil where it is seen. Before the agent has signed in, nothing
// is.
func (a *Agent) failing() map[string]*health.Failing {
	namespaces := make(map[string]*health.Failing)
	for _, n := range a.namespaces() {
		namespaces[n.Namespace] = n.Failing
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.seen.watcher == nil {
		namespaces[""] = &health.Failing{Since: a.started, Unseen: true, Err: errors.New(a.seen.signInError)}
	}
	return namespaces
}

// sightStamp is how often a quiet watch notes on disk that it still sees: 48 small commits a day.
const sightStamp = 30 * time.Minute

// keepSight notes on disk up to when the watches saw, so that a later absence is measured from here. The history of the status page
// is written in the same transaction.
func (a *Agent) keepSight(ctx context.Context, in *intake.Intake) error {
	for retry.Wait(ctx, sightStamp) == nil {
		// It is read before it takes its place behind what was shown: of that nothing arrived later, however long the disk refuses.
		namespaces := a.namespaces()
		err := in.Note(ctx, func(tx *spool.Tx) error {
			for _, n := range namespaces {
				if err := ledger.NoteSight(tx, n.Namespace, n.Seen); err != nil {
					return err
				}
			}
			return a.storeHistory(tx)
		})
		if err != nil {
			a.logger.Debug("cannot note that the watch is well, and the history of the status page", "err", err)
		}
	}
	return nil
}
