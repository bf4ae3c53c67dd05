package agent

import (
	"context"
	"fmt"
	"time"

	"github.com/edge-eventer/edge-eventer/spool"
)

// tellRescues tells each rescue of the spool, by its opening or while the agent runs, as an incident of the agent's own, and has the
// watch list again what may be lost.
func (a *Agent) tellRescues(ctx context.Context, p *parts) error {
	for {
		for rescued := p.spool.NextRescue(); rescued != nil; rescued = p.spool.NextRescue() {
			if a.tellRescue(ctx, p, rescued) != nil {
				return nil
			}
		}
		select {
		case <-p.spool.Rescues():
		case <-ctx.Done():
			return nil
		}
	}
}

// tellRescue returns when the incident is on disk, or an error when ctx ends before.
func (a *Agent) tellRescue(ctx context.Context, p *parts, rescued *spool.Rescue) error {
	if !rescued.AtOpen {
		// The watch has its position in memory; after an opening it asks the spool.
		a.mu.Lock()
		watcher := a.watcher
		a.mu.Unlock()
		if watcher != nil {
			watcher.Relist()
		}
	}
	records, lost := 0, 0
	for _, n := range rescued.Records {
		records += n
	}
	for _, n := range rescued.Lost {
		lost += n
	}
	a.logger.Error("the spool was damaged: it was set aside and what could be read was rescued", "set_aside", rescued.SetAside,
		"rescued", records, "lost", lost, "more_may_be_lost", rescued.Unknown, "ledger", rescued.Ledger, "err", rescued.Cause)
	message := fmt.Sprintf("The spool was damaged (%v). %d waiting incidents were rescued, %d were lost%s; the damaged file is kept as %s.",
		rescued.Cause, records, lost, map[bool]string{true: ", and more may be, which nobody can tell"}[rescued.Unknown], rescued.SetAside)
	pause := newBackoff(time.Second, 30*time.Second)
	var trouble trouble
	for {
		err := p.own.tellIn("SpoolDamaged", func(tx *spool.Tx) (string, error) { return message, p.loseUnknown(tx, rescued) })
		if err == nil {
			return nil
		}
		if trouble.changed(time.Now(), err.Error()) {
			a.logger.Error("the receivers cannot be told of the damaged spool yet", "err", err)
		}
		if err := wait(ctx, pause.NextBackOff()); err != nil {
			return err
		}
	}
}

// loseUnknown counts a loss of unknown size for the receivers whose queues left no trace in the damaged file. The rescue counted for
// all others.
func (p *parts) loseUnknown(tx *spool.Tx, rescued *spool.Rescue) error {
	if !rescued.Unknown {
		return nil
	}
	for _, r := range p.intake.routing() {
		if _, counted := rescued.Records[r.receiver]; counted {
			continue
		}
		if err := tx.Queue(r.receiver).Lose(spool.Loss{Cause: spool.Damaged}); err != nil {
			return fmt.Errorf("count what %s may have lost: %w", r.receiver, err)
		}
	}
	return nil
}
