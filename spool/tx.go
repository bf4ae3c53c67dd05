package spool

import (
	"errors"

	"go.etcd.io/bbolt"

	"github.com/edge-eventer/edge-eventer/spool/ledger"
	"github.com/edge-eventer/edge-eventer/spool/queue"
	"github.com/edge-eventer/edge-eventer/spool/retention"
	"github.com/edge-eventer/edge-eventer/spool/table"
	"github.com/edge-eventer/edge-eventer/spool/txn"
)

// fillPercent is how full bbolt makes a page before it splits it. Records and ledger entries mostly come at the end of
// their range, where a page that is split in halves would stay half empty.
const fillPercent = 0.9

// Tx is a transaction. It is valid until the function it was given to returns, and only in its goroutine.
type Tx struct {
	*queue.Set
	*ledger.Ledger
	*table.Tables

	spool *Spool
	txn   *txn.Txn
	// evicting, if not 0, is how much makeRoom wants to evict at most.
	evicting int
	// evicted, if not nil, counts what was evicted.
	evicted *int
}

func (s *Spool) newTx(btx *bbolt.Tx) *Tx {
	t := txn.New(&s.env, btx)
	return &Tx{Set: queue.NewSet(t), Ledger: ledger.New(t), Tables: table.New(t), spool: s, txn: t}
}

// run calls fn.
func (tx *Tx) run(fn func(*Tx) error) error {
	if err := tx.txn.Open(fillPercent); err != nil {
		return err
	}
	err := fn(tx)
	if err == nil && tx.txn.Writable {
		err = tx.Flush()
	}
	if tx.txn.Err != nil {
		return tx.txn.Err
	}
	return err
}

// seal writes what goes with every change, and makes room. used is what was in use before the transaction, in bytes.
func (tx *Tx) seal(used int64) error {
	s := tx.spool
	evicted, err := s.retention.Trim(retention.Room{
		Txn: tx.txn, Queues: tx.Set, Ledger: tx.Ledger, Used: used, Reserve: s.reserve(), Evicting: tx.evicting,
	})
	if tx.evicted != nil {
		*tx.evicted += evicted
	}
	if err != nil {
		return err
	}
	tx.txn.BumpRevision()
	s.retention.Stamp(&tx.txn.Totals)
	return errors.Join(tx.WriteStats(), tx.txn.WriteTotals())
}

// Generation counts the rescues since the process began. Where it differs between two transactions, positions and whatever else was
// read in the first may be gone, and what was put may be lost.
func (tx *Tx) Generation() uint64 { return tx.spool.generation.Load() }
