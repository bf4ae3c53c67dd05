// Package format is how a spool lies on disk: the keys of its entries, their values, and the checksum that covers both. It knows how one entry
// reads, not how entries belong together.
package format
