// Package texttemplate is text/template of Go 1.26 with one difference: a template can call only the methods that methods.go names.
//
// text/template looks methods up by a name that is known only when it runs. For that the linker keeps every exported method of every
// type that becomes an interface anywhere in the program: 2.4 MB of 15.9, and in a memory cgroup of 16 MiB most of what the agent read
// again and again from its own binary. Here the names are constants, and the linker keeps the methods that have them.
//
// exec.go, funcs.go, template.go and option.go are Go's, under the licence in LICENSE; the parser is still text/template/parse. Changed are
// the names of the package, the call of methodByName in evalField, and the order in which range goes over a map (by the keys' text, since
// internal/fmtsort cannot be imported). What is not used here is left in, so that a diff with a later Go is short.
package texttemplate
