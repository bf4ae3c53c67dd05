// Package stdout prints what a person at a terminal wants to read. It takes no answer: what was written was delivered.
package stdout
