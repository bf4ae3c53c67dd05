package template

import (
	"bytes"
	"text/template/parse"
)

// Names of the functions that escape for a URL or a topic of MQTT; only the rewriter can call them.
const (
	pathName  = "_path"
	queryName = "_query"
	levelName = "_level"
)

// ParseURL parses a URL whose path or query holds templates. What an action prints is escaped for where it stands.
func ParseURL(path, text string, o Options) (*Template, error) {
	e := escaper{place: pathName}
	return parseText(path, text, o, e.list)
}

// escaper adds the escaping function to the end of each pipeline that prints, as html/template does it.
type escaper struct{ place string }

func (e *escaper) list(list *parse.ListNode) {
	if list == nil {
		return
	}
	for _, node := range list.Nodes {
		switch n := node.(type) {
		case *parse.TextNode:
			if e.place == pathName && bytes.ContainsRune(n.Text, '?') {
				e.place = queryName
			}
		case *parse.ActionNode:
			if len(n.Pipe.Decl) == 0 {
				n.Pipe.Cmds = append(n.Pipe.Cmds, &parse.CommandNode{
					NodeType: parse.NodeCommand,
					Args:     []parse.Node{parse.NewIdentifier(e.place).SetPos(n.Pos)},
				})
			}
		case *parse.IfNode:
			e.list(n.List)
			e.list(n.ElseList)
		case *parse.RangeNode:
			e.list(n.List)
			e.list(n.ElseList)
		case *parse.WithNode:
			e.list(n.List)
			e.list(n.ElseList)
		}
	}
}
