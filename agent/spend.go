package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/dial/budget"
	"github.com/edge-eventer/edge-eventer/spool"
)

const (
	// spendValue names the budget's counters in the spool.
	spendValue = "budget"
	// spendInterval is how often the counters are written while bytes flow: what a crash forgets at most.
	spendInterval = time.Minute
)

// loadBudget takes up the counters of the last run. Damaged ones begin anew, which is said.
func (a *Agent) loadBudget(s *spool.Spool) error {
	err := s.View(func(tx *spool.Tx) error { return a.budget.Load(tx.Value(spendValue)) })
	if errors.Is(err, budget.ErrState) {
		a.logger.Warn("the counters of the link's budget are damaged and begin anew", "err", err)
		return nil
	}
	if err != nil {
		return fmt.Errorf("read budget: %w", err)
	}
	return nil
}

// keepBudget writes the counters, and tells when a budget comes to a level, until ctx ends.
func (a *Agent) keepBudget(ctx context.Context, p *parts) error {
	for wait(ctx, spendInterval) == nil {
		if err := a.tellBudget(p); err != nil {
			a.logger.Error("the receivers cannot be told of the link's budget", "err", err)
		}
		a.saveBudget(p.spool)
	}
	a.saveBudget(p.spool)
	return nil
}

func (a *Agent) saveBudget(s *spool.Spool) {
	if !a.budget.Dirty() {
		return
	}
	if err := s.Update(func(tx *spool.Tx) error { return tx.SetValue(spendValue, a.budget.Save()) }); err != nil {
		a.logger.Debug("the counters of the link's budget are not written", "err", err)
	}
}

// tellBudget tells one incident for each level that a budget comes to, once a period, in the transaction that notes it.
func (a *Agent) tellBudget(p *parts) error {
	n, ok := a.budget.Notice()
	if !ok {
		return nil
	}
	return p.own.tellIn(reasonBudget, func(tx *spool.Tx) (string, error) {
		a.budget.Noticed(n)
		return budgetText(n), tx.SetValue(spendValue, a.budget.Save())
	})
}
