// Package table keeps what a spool holds beside queues and ledger: an entry for each scope, counters, and named values.
package table
