// Package boltfile reads a bbolt file that may be damaged in any way: a page that was never written, one from long ago, a bit that
// flipped, an end that is missing. bbolt itself trusts what it reads, and panics, faults or breaks its tree over such a file.
//
// [ReadMetas] says which transactions the file knows. [File.Walk] follows the tree of one of them and visits each entry of its bucket; what it
// could not read it notes as ranges of keys, so that the caller knows what may be missing. [File.Orphans] visits what lies in all
// pages that no walk has seen. The package knows nothing of what the entries mean.
package boltfile
