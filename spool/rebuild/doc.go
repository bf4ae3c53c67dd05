// Package rebuild writes a new file in the place of one that is too sparse or damaged. What it saves of a damaged file is what was committed and
// can be read, and all that is missing is counted.
package rebuild
