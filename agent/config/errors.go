package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

const (
	// maxMistakes bounds what is reported; a file with more is none of this program's.
	maxMistakes = 100
	// maxKept bounds what is kept until the mistakes are sorted by line.
	maxKept = 1000
)

// Mistake is one thing that is wrong with a file.
type Mistake struct {
	// Line is where it is, from 1.
	Line int
	// Path is the path of the key, such as receivers[0].url; empty: the file as a whole.
	Path string
	// Text says what is wrong and what is allowed. It holds no secret and no line break.
	Text string
}

// String returns the mistake as one line: line 12: receivers[0].typo: unknown key; allowed: name, type.
func (m Mistake) String() string {
	if m.Path == "" {
		return fmt.Sprintf("line %d: %s", m.Line, m.Text)
	}
	return fmt.Sprintf("line %d: %s: %s", m.Line, m.Path, m.Text)
}

// In returns the mistake as one line that names the file, as compilers do and editors take: config.yaml:12: receivers[0].typo: unknown key.
func (m Mistake) In(path string) string {
	if m.Path == "" {
		return fmt.Sprintf("%s:%d: %s", path, m.Line, m.Text)
	}
	return fmt.Sprintf("%s:%d: %s: %s", path, m.Line, m.Path, m.Text)
}

// Errors is what Parse finds wrong with a file, in the order of its lines.
type Errors struct {
	// Mistakes are at least one and at most 100.
	Mistakes []Mistake
	// More is how many further mistakes there are.
	More int
}

// Error returns one line for each mistake.
func (e *Errors) Error() string {
	lines := make([]string, 0, len(e.Mistakes)+1)
	for _, m := range e.Mistakes {
		lines = append(lines, m.String())
	}
	if e.More > 0 {
		lines = append(lines, fmt.Sprintf("and %d more", e.More))
	}
	return strings.Join(lines, "\n")
}

// result returns the mistakes as an error, nil if there are none.
func (d *decoder) result() error {
	if len(d.mistakes) == 0 {
		return nil
	}
	slices.SortStableFunc(d.mistakes, func(a, b Mistake) int { return cmp.Compare(a.Line, b.Line) })
	shown := min(len(d.mistakes), maxMistakes)
	return &Errors{Mistakes: d.mistakes[:shown], More: len(d.mistakes) - shown + d.more}
}
