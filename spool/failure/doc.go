// Package failure has the errors of a spool that tell its caller what to do, and says which of them an error of the disk is.
package failure
