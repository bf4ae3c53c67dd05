package intake

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/daily"
	"github.com/edge-eventer/edge-eventer/agent/disk"
	"github.com/edge-eventer/edge-eventer/agent/event"
	"github.com/edge-eventer/edge-eventer/agent/inbox"
	"github.com/edge-eventer/edge-eventer/agent/incident"
	"github.com/edge-eventer/edge-eventer/agent/ledger"
	"github.com/edge-eventer/edge-eventer/agent/retry"
	"github.com/edge-eventer/edge-eventer/agent/watch"
	"github.com/edge-eventer/edge-eventer/notify"
	"github.com/edge-eventer/edge-eventer/spool"
)

// transaction is one transaction of the intake. What it did counts only once it is durable.
type transaction struct {
	tx      *spool.Tx
	ledger  *ledger.Transaction
	options *Options
	rules   *Rules
	tally   tally
	// receivers are those into whose queue something was put.
	receivers map[string]bool
	// statistics are those of the day; nil until something is counted.
	statistics *daily.Statistics
}

// commit makes one transaction of what take does, however long the spool refuses it, unless a list has to begin anew. It is tried once
// even when ctx has ended. The rules are the same from its begin to its end.
func (in *Intake) commit(ctx context.Context, take func(*transaction) error) error {
	loop := retry.Loop{
		Failed: func(err error) { in.options.Logger.Error(disk.Advice(err), "err", err) },
		Recovered: func(s retry.Streak) {
			in.options.Logger.Info("spool takes events again", "failures", s.Failures, "after", s.Duration)
		},
	}
	var done *transaction
	err := loop.Do(ctx, func() (err error) {
		begin := time.Now()
		if done, err = in.try(take); err == nil {
			in.stats.committed(&done.tally, time.Since(begin))
		} else if !errors.Is(err, ledger.ErrAnew) {
			in.stats.refused(err)
		}
		return err
	}, func(err error) bool { return errors.Is(err, ledger.ErrAnew) })
	switch {
	case errors.Is(err, ledger.ErrAnew):
		return err
	case err != nil:
		return fmt.Errorf("commit to spool: %w", errors.Join(err, ctx.Err()))
	}
	for receiver := range done.receivers {
		in.options.Arrived(receiver)
	}
	return nil
}

// try makes the transaction once.
func (in *Intake) try(take func(*transaction) error) (*transaction, error) {
	t := &transaction{options: &in.options, rules: &in.rules, receivers: make(map[string]bool)}
	err := in.options.Spool.Update(func(tx *spool.Tx) error {
		in.mu.RLock()
		defer in.mu.RUnlock()
		t.tx, t.ledger = tx, in.options.Ledger.Begin(tx)
		if err := take(t); err != nil {
			return err
		}
		return t.close()
	})
	if err != nil {
		return nil, err
	}
	in.options.Ledger.Committed(t.ledger)
	return t, nil
}

// close writes what is written once per transaction.
func (t *transaction) close() error {
	if t.statistics != nil {
		if err := t.statistics.Write(t.tx); err != nil {
			return err
		}
	}
	return t.ledger.Close()
}

// takeChanges takes what watches showed, in its order.
func (t *transaction) takeChanges(changes []watch.Change) error {
	for i := range changes {
		c := &changes[i]
		if err := t.takeChange(c); err != nil {
			return err
		}
		t.ledger.Saw(c.Namespace, c.Event.ResourceVersion, c.At)
	}
	return nil
}

func (t *transaction) takeChange(c *watch.Change) error {
	a := ledger.Arrival{At: c.At}
	switch {
	case c.Deleted:
		return t.ledger.Forget(&c.Event, c.Unreadable)
	case c.Unreadable:
		lost, err := t.ledger.TakeUnreadable(&c.Event.ObjectMeta, a)
		return t.loseUnreadable(lost, a, err)
	}
	verdict, isNew, err := t.ledger.Take(&c.Event, a)
	return t.take(&c.Event, a, verdict, isNew, err)
}

// commitPage commits a page in as many transactions as the spool's bound demands. Only the last one of the list moves the
// position, so a list that is cut short here is begun again.
func (in *Intake) commitPage(ctx context.Context, page watch.Page) error {
	events, first, last := page.Events, page.First, page.Last
	for {
		n, size := 0, 0
		for n < len(events) && (n == 0 || size < in.commitBytes()) {
			size += len(events[n].Message) + recordBytes
			n++
		}
		page.Events, events = events[:n], events[n:]
		page.First, page.Last = first, last && len(events) == 0
		if err := in.commit(ctx, func(t *transaction) error { return t.takePage(page) }); err != nil {
			return err
		}
		if len(events) == 0 {
			return nil
		}
		first, page.Unreadable = false, nil
	}
}

// takePage takes a page of a list.
func (t *transaction) takePage(page watch.Page) error {
	list, err := t.ledger.Page(&page, time.Now())
	if err != nil {
		return err
	}
	for i := range page.Events {
		e := &page.Events[i]
		verdict, isNew, err := list.Take(e)
		if err := t.take(e, list.Arrival, verdict, isNew, err); err != nil {
			return err
		}
	}
	for i := range page.Unreadable {
		lost, err := list.TakeUnreadable(&page.Unreadable[i])
		if err := t.loseUnreadable(lost, list.Arrival, err); err != nil {
			return err
		}
	}
	if !page.Last {
		return nil
	}
	unseen, err := list.End()
	if err != nil || unseen == nil {
		return err
	}
	return t.lose(*unseen)
}

// take counts what the ledger says of an event, and puts news into the queue of each receiver that wants it.
func (t *transaction) take(e *event.Event, a ledger.Arrival, verdict ledger.Verdict, isNew uint32, err error) error {
	if err != nil {
		return err
	}
	t.tally.seen++
	switch {
	case verdict == ledger.Known:
		t.tally.known++
		return nil
	case verdict == ledger.Old:
		t.tally.old++
		return nil
	case t.options.Ignores(e), !t.rules.Filter.Keep(e):
		t.tally.filtered++
		return nil
	}
	t.tally.committed++
	if t.options.Severity != nil && t.options.Severity(e.Reason) == notify.Critical {
		t.tally.critical++
	}
	o := observe(e, isNew, a.At)
	o.List, o.RecordKey = a.List, ledger.RecordKey(t.tx, e)
	if err := t.count(o); err != nil {
		return err
	}
	if isNew > 0 {
		t.options.Observed(o)
	}
	return t.fold(o)
}

// count adds the observation to the statistics of the day.
func (t *transaction) count(o *incident.Observation) (err error) {
	if !t.rules.Daily {
		return nil
	}
	if t.statistics == nil {
		if t.statistics, err = daily.Read(t.tx); err != nil {
			return err
		}
	}
	t.statistics.Add(o)
	return nil
}

// fold puts the observation into the queue of each receiver that wants it.
func (t *transaction) fold(o *incident.Observation) error {
	for i := range t.rules.Routes {
		r := &t.rules.Routes[i]
		if !r.Match.Match(&o.Event) {
			continue
		}
		joined, err := inbox.Fold(t.tx.Queue(r.Receiver), r.Policy, o)
		if err != nil {
			return fmt.Errorf("queue for %s: %w", r.Receiver, err)
		}
		if joined {
			t.tally.folded++
		}
		t.receivers[r.Receiver] = true
	}
	return nil
}

// loseUnreadable counts an event that could not be read, where the ledger says that it is a loss.
func (t *transaction) loseUnreadable(lost bool, a ledger.Arrival, err error) error {
	if err != nil || !lost {
		return err
	}
	return t.lose(spool.Loss{Cause: spool.Undecodable, Events: 1, Since: a.At})
}

// lose counts a loss for each receiver: nobody knows which of them it would have matched.
func (t *transaction) lose(l spool.Loss) error {
	for i := range t.rules.Routes {
		receiver := t.rules.Routes[i].Receiver
		if err := t.tx.Queue(receiver).Lose(l); err != nil {
			return fmt.Errorf("count loss for %s: %w", receiver, err)
		}
	}
	return nil
}
