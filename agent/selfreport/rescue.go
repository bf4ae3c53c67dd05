package selfreport

import (
	"context"
	"fmt"

	"github.com/edge-eventer/edge-eventer/agent/retry"
	"github.com/edge-eventer/edge-eventer/spool"
)

// Rescues tells each rescue of the spool, by its opening or while the agent runs, as an incident of the agent's own, and calls relist
// where the watch has to list again what may be lost: it has its position in memory, and asks the spool only after an opening. It
// returns nil when ctx ends.
func (r *Reporter) Rescues(ctx context.Context, relist func()) error {
	for {
		for rescued := r.Spool.NextRescue(); rescued != nil; rescued = r.Spool.NextRescue() {
			if !rescued.AtOpen {
				relist()
			}
			if r.tellRescue(ctx, rescued) != nil {
				return nil
			}
		}
		select {
		case <-r.Spool.Rescues():
		case <-ctx.Done():
			return nil
		}
	}
}

// tellRescue returns when the incident is on disk, or an error when ctx ends before.
func (r *Reporter) tellRescue(ctx context.Context, rescued *spool.Rescue) error {
	records, lost := 0, 0
	for _, n := range rescued.Records {
		records += n
	}
	for _, n := range rescued.Lost {
		lost += n
	}
	r.Logger.Error("the spool was damaged: it was set aside and what could be read was rescued", "set_aside", rescued.SetAside,
		"rescued", records, "lost", lost, "more_may_be_lost", rescued.Unknown, "ledger", rescued.Ledger, "err", rescued.Cause)
	more := ""
	if rescued.Unknown {
		more = ", and more may be, which nobody can tell"
	}
	message := fmt.Sprintf("The spool was damaged (%v). %d waiting incidents were rescued, %d were lost%s; the damaged file is kept as %s.",
		rescued.Cause, records, lost, more, rescued.SetAside)
	loop := retry.Loop{Failed: func(err error) {
		r.Logger.Error("the receivers cannot be told of the damaged spool yet", "err", err)
	}}
	return loop.Do(ctx, func() error {
		return r.TellIn("SpoolDamaged", func(tx *spool.Tx) (string, error) { return message, r.loseUnknown(tx, rescued) })
	}, nil)
}

// loseUnknown counts a loss of unknown size for the receivers whose queues left no trace in the damaged file. The rescue counted for
// all others.
func (r *Reporter) loseUnknown(tx *spool.Tx, rescued *spool.Rescue) error {
	if !rescued.Unknown {
		return nil
	}
	for _, to := range r.Routes() {
		if _, counted := rescued.Records[to.Receiver]; counted {
			continue
		}
		if err := tx.Queue(to.Receiver).Lose(spool.Loss{Cause: spool.Damaged}); err != nil {
			return fmt.Errorf("count what %s may have lost: %w", to.Receiver, err)
		}
	}
	return nil
}
