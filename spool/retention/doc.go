// Package retention decides what leaves a spool before it was delivered: what is too old by a clock that nobody can set, and what is oldest
// where there is no room.
package retention
