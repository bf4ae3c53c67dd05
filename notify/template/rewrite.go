package template

import (
	"strconv"
	"text/template/parse"
)

// Names of functions that only the rewriter can call, since the parser does not know them.
const (
	stepName  = "_step"
	enterName = "_enter"
	leaveName = "_leave"
)

// rewriter prepares a parsed template: it makes calls of methods into calls of functions, which is all that the executor knows, counts what
// is executed, and notes which functions are used.
type rewriter struct {
	// methods has the name of every method that can be called.
	methods map[string]any
	// used collects the names of the functions that the template calls.
	used map[string]bool
}

// list rewrites the nodes and returns how many steps they take at most. A loop takes one, and charges each pass itself.
func (w *rewriter) list(list *parse.ListNode) int {
	if list == nil {
		return 0
	}
	steps := 0
	for _, node := range list.Nodes {
		steps++
		switch n := node.(type) {
		case *parse.ActionNode:
			steps += w.pipe(n.Pipe)
		case *parse.TemplateNode:
			steps += w.pipe(n.Pipe)
		case *parse.IfNode:
			steps += w.pipe(n.Pipe) + w.list(n.List) + w.list(n.ElseList)
		case *parse.WithNode:
			steps += w.pipe(n.Pipe) + w.list(n.List) + w.list(n.ElseList)
		case *parse.RangeNode:
			pass := w.list(n.List)
			n.List.Nodes = append([]parse.Node{w.counter(stepName, n.Pos, 1+pass)}, n.List.Nodes...)
			steps += w.pipe(n.Pipe) + w.list(n.ElseList)
		}
	}
	return steps
}

// enclose charges each call of a template that others can call.
func (w *rewriter) enclose(list *parse.ListNode, steps int) {
	nodes := append([]parse.Node{w.counter(enterName, list.Pos, 1+steps)}, list.Nodes...)
	list.Nodes = append(nodes, w.action(w.function(leaveName)))
}

// counter is an action that calls one of the counting functions with a number.
func (w *rewriter) counter(name string, at parse.Pos, steps int) parse.Node {
	return w.action(w.function(name).SetPos(at), &parse.NumberNode{
		NodeType: parse.NodeNumber, IsInt: true, Int64: int64(steps), Text: strconv.Itoa(steps),
	})
}

func (w *rewriter) action(args ...parse.Node) parse.Node {
	return &parse.ActionNode{NodeType: parse.NodeAction, Pipe: call(args...)}
}

// function is the name of a function, noted as used.
func (w *rewriter) function(name string) *parse.IdentifierNode {
	w.used[name] = true
	return parse.NewIdentifier(name)
}

func call(args ...parse.Node) *parse.PipeNode {
	return &parse.PipeNode{
		NodeType: parse.NodePipe, Pos: args[0].Position(),
		Cmds: []*parse.CommandNode{{NodeType: parse.NodeCommand, Pos: args[0].Position(), Args: args}},
	}
}

// pipe rewrites a pipeline and returns how many steps it takes.
func (w *rewriter) pipe(pipe *parse.PipeNode) int {
	if pipe == nil {
		return 0
	}
	steps := 0
	for _, command := range pipe.Cmds {
		for i, arg := range command.Args[1:] {
			node, n := w.operand(arg)
			command.Args[1+i] = node
			steps += 1 + n
		}
		first, n := w.operand(command.Args[0])
		steps += 1 + n
		if method, ok := first.(*parse.PipeNode); ok && first != command.Args[0] {
			// The first word of a command takes the others as arguments.
			command.Args = append(method.Cmds[0].Args, command.Args[1:]...)
			continue
		}
		command.Args[0] = first
	}
	return steps
}

// operand rewrites one word of a command. A word that ends with a method becomes a pipeline of one command.
func (w *rewriter) operand(node parse.Node) (parse.Node, int) {
	switch n := node.(type) {
	case *parse.IdentifierNode:
		w.used[n.Ident] = true
	case *parse.PipeNode:
		return n, w.pipe(n)
	case *parse.FieldNode:
		return w.chain(&parse.DotNode{NodeType: parse.NodeDot, Pos: n.Pos}, n.Ident, n)
	case *parse.VariableNode:
		return w.chain(&parse.VariableNode{NodeType: parse.NodeVariable, Pos: n.Pos, Ident: n.Ident[:1]}, n.Ident[1:], n)
	case *parse.ChainNode:
		first, steps := w.operand(n.Node)
		n.Node = first
		chained, more := w.chain(first, n.Field, n)
		return chained, steps + more
	}
	return node, 0
}

// chain rewrites .A.Method.B to (Method .A).B. Without a method in it, the chain stays the node that it was.
func (w *rewriter) chain(value parse.Node, names []string, node parse.Node) (parse.Node, int) {
	var fields []string
	found := false
	for _, name := range names {
		if w.methods[name] == nil {
			fields = append(fields, name)
			continue
		}
		found = true
		value = call(w.function(name).SetPos(node.Position()), fieldsOf(value, fields))
		fields = nil
	}
	if !found {
		return node, len(names)
	}
	return fieldsOf(value, fields), 2 * len(names)
}

// fieldsOf is the node for the fields of a value.
func fieldsOf(value parse.Node, fields []string) parse.Node {
	if len(fields) == 0 {
		return value
	}
	switch v := value.(type) {
	case *parse.DotNode:
		return &parse.FieldNode{NodeType: parse.NodeField, Pos: v.Pos, Ident: fields}
	case *parse.VariableNode:
		return &parse.VariableNode{NodeType: parse.NodeVariable, Pos: v.Pos, Ident: append(v.Ident[:1:1], fields...)}
	}
	return &parse.ChainNode{NodeType: parse.NodeChain, Pos: value.Position(), Node: value, Field: fields}
}
