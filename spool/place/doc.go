// Package place is where a spool lies: its path, whose file it is, the lock that makes it ours, the file that replaces it and the damaged
// ones that were set aside.
package place
