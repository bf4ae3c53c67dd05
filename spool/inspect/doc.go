// Package inspect reads all of a spool's file and says whether it is sound: each page, each entry, and whether records, their indexes and
// the counts of them agree.
package inspect
