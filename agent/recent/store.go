package recent

import (
	"fmt"

	"github.com/edge-eventer/edge-eventer/spool"
)

const (
	// storedValue names the deliveries in the spool.
	storedValue = "deliveries"
	// maxStored bounds them: the most that the spool takes as one value.
	maxStored = 4 << 10
)

// Store writes the deliveries with a transaction that is made anyway.
func (r *Deliveries) Store(tx *spool.Tx) error {
	if err := tx.SetValue(storedValue, r.Save(maxStored)); err != nil {
		return fmt.Errorf("store deliveries: %w", err)
	}
	return nil
}

// Restore takes up the deliveries that the last run stored. On an error there are none.
func (r *Deliveries) Restore(tx *spool.Tx) error { return r.Load(tx.Value(storedValue)) }
