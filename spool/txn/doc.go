// Package txn is a transaction on the entries of a spool: put, get, delete and scan, checked by their checksums. It turns the panics of
// bbolt and the faults of a mapped page into an error.
package txn
