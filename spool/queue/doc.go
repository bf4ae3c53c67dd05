// Package queue keeps the queue of each receiver: its records in their order, by key and by due time, its dead letters, and what was lost
// of it.
package queue
