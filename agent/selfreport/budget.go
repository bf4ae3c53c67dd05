package selfreport

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/dial/budget"
	"github.com/edge-eventer/edge-eventer/agent/notice"
	"github.com/edge-eventer/edge-eventer/agent/retry"
	"github.com/edge-eventer/edge-eventer/spool"
)

const (
	// budgetValue names the budget's counters in the spool.
	budgetValue = "budget"
	// budgetInterval is how often the counters are written while bytes flow: what a crash forgets at most.
	budgetInterval = time.Minute
)

// LoadBudget takes up the counters of the last run. Damaged ones begin anew, which is said.
func (r *Reporter) LoadBudget(b *budget.Budget) error {
	err := r.Spool.View(func(tx *spool.Tx) error { return b.Load(tx.Value(budgetValue)) })
	if errors.Is(err, budget.ErrState) {
		r.Logger.Warn("the counters of the link's budget are damaged and begin anew", "err", err)
		return nil
	}
	if err != nil {
		return fmt.Errorf("read budget: %w", err)
	}
	return nil
}

// Budget writes the counters, and tells when a budget comes to a level, until ctx ends; then it writes them once more and returns nil.
func (r *Reporter) Budget(ctx context.Context, b *budget.Budget) error {
	for retry.Wait(ctx, budgetInterval) == nil {
		if err := r.tellBudget(b); err != nil {
			r.Logger.Error("the receivers cannot be told of the link's budget", "err", err)
		}
		r.saveBudget(b)
	}
	r.saveBudget(b)
	return nil
}

func (r *Reporter) saveBudget(b *budget.Budget) {
	if !b.Dirty() {
		return
	}
	if err := r.Spool.Update(func(tx *spool.Tx) error { return tx.SetValue(budgetValue, b.Save()) }); err != nil {
		r.Logger.Debug("the counters of the link's budget are not written", "err", err)
	}
}

// tellBudget tells one incident for each level that a budget comes to, once a period, in the transaction that notes it.
func (r *Reporter) tellBudget(b *budget.Budget) error {
	n, ok := b.Notice()
	if !ok {
		return nil
	}
	return r.TellIn(notice.Budget, func(tx *spool.Tx) (string, error) {
		b.Noticed(n)
		return notice.BudgetText(n), tx.SetValue(budgetValue, b.Save())
	})
}
