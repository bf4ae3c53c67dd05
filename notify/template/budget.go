package template

import "fmt"

const (
	// MaxSteps bounds what all templates of one message may do: each part of a template that is executed is a step, each time a loop passes
	// it, and so is each KiB that a function reads. It is a hundred times what a busy template needs, and some 50 ms.
	MaxSteps = 100_000
	// MaxText bounds the bytes that all templates of one message may print.
	MaxText = 1 << 20
	// maxMade bounds the bytes that functions may make in one execution of one template, since variables can hold them all.
	maxMade = 1 << 20
	// maxDepth bounds how deep templates may call each other, since each call takes stack.
	maxDepth = 100
	// textStep is how many bytes are read in a step.
	textStep = 1 << 10
)

// ErrSteps says that templates take more than MaxSteps steps, or call each other too deep. A shorter message would hardly help.
var ErrSteps error = &boundError{text: fmt.Sprintf("the templates take more than %d steps: is there a loop?", MaxSteps)}

// ErrText says that templates make more than MaxText bytes of text. With a shorter message it may be less.
var ErrText error = &boundError{text: "the result is larger than 1 MiB"}

// errDepth is a kind of ErrSteps.
var errDepth error = &boundError{fmt.Sprintf("templates call each other more than %d deep", maxDepth), ErrSteps}

// boundError says which bound was reached.
type boundError struct {
	text string
	kind error
}

// Error returns the bound.
func (e *boundError) Error() string { return e.text }

// Unwrap returns the exported error of which this is a kind, or nil.
func (e *boundError) Unwrap() error { return e.kind }

// Budget is what the templates of one message may take together. It belongs to one goroutine.
type Budget struct{ steps, text int }

// NewBudget returns a budget of MaxSteps and MaxText.
func NewBudget() *Budget { return &Budget{steps: MaxSteps, text: MaxText} }

// take charges steps.
func (b *Budget) take(steps int) error {
	if b.steps -= steps; b.steps < 0 {
		b.steps = 0
		return ErrSteps
	}
	return nil
}

// write charges bytes that are printed.
func (b *Budget) write(bytes int) error {
	if b.text -= bytes; b.text < 0 {
		b.text = 0
		return ErrText
	}
	return nil
}

// step is called in each pass of a loop, with the number of steps in the pass.
func (r *run) step(steps int) (string, error) { return "", r.budget.take(steps) }

// enter is called where a template that was called begins.
func (r *run) enter(steps int) (string, error) {
	if r.depth++; r.depth > maxDepth {
		return "", errDepth
	}
	return "", r.budget.take(steps)
}

// leave is called where such a template ends.
func (r *run) leave() string {
	r.depth--
	return ""
}

// read charges what a function is about to read, and fails if its result could not be kept anyway.
func (r *run) read(bytes int) error {
	if bytes > r.made {
		return ErrText
	}
	return r.budget.take(bytes / textStep)
}

// keep charges what a function made.
func (r *run) keep(text string) (string, error) {
	if r.made -= len(text); r.made < 0 {
		r.made = 0
		return "", ErrText
	}
	return text, nil
}
