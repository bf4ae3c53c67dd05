// Package ledger knows which version of an event was taken last, so that what is shown again is known.
package ledger
