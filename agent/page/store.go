package page

import (
	"fmt"

	"github.com/edge-eventer/edge-eventer/spool"
)

const (
	// storedValue names the samples in the spool.
	storedValue = "history"
	// maxStored bounds them: the most that the spool takes as one value.
	maxStored = 4 << 10
)

// Store writes the samples with a transaction that is made anyway.
func (h *History) Store(tx *spool.Tx) error {
	if err := tx.SetValue(storedValue, h.Save(maxStored)); err != nil {
		return fmt.Errorf("store history: %w", err)
	}
	return nil
}

// Restore takes up the samples that the last run stored. On an error there are none.
func (h *History) Restore(tx *spool.Tx) error { return h.Load(tx.Value(storedValue)) }
