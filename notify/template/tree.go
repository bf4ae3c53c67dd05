package template

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

const (
	// maxNodes bounds the values of a tree, maxLevels how deep they lie.
	maxNodes  = 2000
	maxLevels = 32
)

// Tree is a document whose texts may be templates. They are executed one by one before the document is encoded, so nothing in an event
// can break it.
type Tree struct {
	// root is the document with a *Template in place of every string that is one.
	root any
}

// ParseTree parses all templates in the document and returns all errors, each an *Error. The document is made of mappings, lists, strings,
// numbers, booleans and nil. The path names it in errors.
func ParseTree(path string, document any, o Options) (Tree, []error) {
	p := treeParser{options: o}
	t := Tree{p.parse(document, path, 0)}
	if p.nodes > maxNodes {
		p.errs = append(p.errs, &Error{Path: path, Err: fmt.Errorf("has more than %d values", maxNodes)})
	}
	return t, p.errs
}

// Execute returns the document with every template executed, and all errors. What reaches a bound of the budget ends it.
func (t Tree) Execute(b *Budget, data any) (any, []error) {
	e := treeExecutor{budget: b, data: data}
	done := e.execute(t.root)
	return done, e.errs
}

// treeParser replaces templates in a tree by their parsed form.
type treeParser struct {
	options Options
	nodes   int
	errs    []error
}

func (p *treeParser) parse(v any, path string, level int) any {
	p.nodes++
	if p.nodes > maxNodes {
		return nil
	}
	if level > maxLevels {
		p.errs = append(p.errs, &Error{Path: path, Err: fmt.Errorf("is more than %d levels deep", maxLevels)})
		return nil
	}
	switch v := v.(type) {
	case map[string]any:
		tree := make(map[string]any, len(v))
		for _, key := range slices.Sorted(maps.Keys(v)) {
			tree[key] = p.parse(v[key], path+"."+key, level+1)
		}
		return tree
	case []any:
		tree := make([]any, len(v))
		for i := range v {
			tree[i] = p.parse(v[i], path+"["+strconv.Itoa(i)+"]", level+1)
		}
		return tree
	case string:
		if !Is(v) {
			return v
		}
		t, err := Parse(path, v, p.options)
		if err != nil {
			p.errs = append(p.errs, err)
		}
		return t
	case nil, bool, int, int64, uint64, float64:
		return v
	}
	p.errs = append(p.errs, &Error{Path: path, Err: errors.New("must be a mapping, a list, a string, a number, true, false or null")})
	return nil
}

// treeExecutor executes the templates in a tree.
type treeExecutor struct {
	budget *Budget
	data   any
	errs   []error
	// spent says that a bound was reached: what follows would only say so again.
	spent bool
}

func (e *treeExecutor) execute(tree any) any {
	switch v := tree.(type) {
	case map[string]any:
		done := make(map[string]any, len(v))
		for _, key := range slices.Sorted(maps.Keys(v)) {
			done[key] = e.execute(v[key])
		}
		return done
	case []any:
		done := make([]any, len(v))
		for i := range v {
			done[i] = e.execute(v[i])
		}
		return done
	case *Template:
		if e.spent || v == nil {
			return nil
		}
		text, err := v.Execute(e.budget, e.data)
		if err != nil {
			e.errs = append(e.errs, err)
			e.spent = errors.Is(err, ErrSteps) || errors.Is(err, ErrText)
			return nil
		}
		// A reader of JSON needs valid UTF-8, and nothing else.
		return strings.ToValidUTF8(text, "\uFFFD")
	}
	return tree
}
