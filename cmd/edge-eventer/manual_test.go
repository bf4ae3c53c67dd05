package main

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// commandLine maps each command ("status", "spool ls") to its flags ("--config", "-o"), as the program itself has them: the
// commands are the cases of run, the flags what each prints for --help.
func commandLine(t *testing.T) map[string][]string {
	t.Helper()
	commands := map[string][]string{}
	add := func(words ...string) {
		var out, help bytes.Buffer
		if code := run(append(words, "--help"), strings.NewReader(""), &out, &help); code != exitOK {
			t.Fatalf("edge-eventer %s --help: exit code %d\n%s", strings.Join(words, " "), code, &help)
		}
		flags := []string{}
		for _, m := range regexp.MustCompile(`(?m)^  -([a-z][a-z-]*)`).FindAllStringSubmatch(help.String(), -1) {
			flags = append(flags, dashes(m[1]))
		}
		commands[strings.Join(words, " ")] = flags
	}
	file, err := parser.ParseFile(token.NewFileSet(), "command.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, declaration := range file.Decls {
		if function, ok := declaration.(*ast.FuncDecl); ok && function.Name.Name == "run" {
			ast.Inspect(function, func(n ast.Node) bool {
				clause, ok := n.(*ast.CaseClause)
				if !ok {
					return true
				}
				for _, value := range clause.List {
					name, err := strconv.Unquote(value.(*ast.BasicLit).Value)
					if err != nil {
						t.Fatal(err)
					}
					if name != "spool" && name != "help" {
						add(name)
					}
				}
				return false
			})
		}
	}
	for _, m := range regexp.MustCompile(`(?m)^  edge-eventer (spool [a-z]+)`).FindAllStringSubmatch(spoolUsage, -1) {
		add(strings.Fields(m[1])...)
	}
	if len(commands) < 8 {
		t.Fatalf("found the commands %v only", commands)
	}
	return commands
}

func dashes(flag string) string {
	if len(flag) == 1 {
		return "-" + flag
	}
	return "--" + flag
}

// same compares two sets of words and says what is in one of them only.
func same(t *testing.T, where string, got, want []string) {
	t.Helper()
	for _, word := range want {
		if !slices.Contains(got, word) {
			t.Errorf("%s: %s is missing", where, word)
		}
	}
	for _, word := range got {
		if !slices.Contains(want, word) {
			t.Errorf("%s: the program has no %s", where, word)
		}
	}
}

func TestManPageHasEachCommandWithItsFlags(t *testing.T) {
	page, err := os.ReadFile("../../manifests/man/edge-eventer.1")
	if err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(string(page), `\-`, "-")
	text = regexp.MustCompile(`\\f[BIR]`).ReplaceAllString(text, "")
	commands := commandLine(t)

	_, synopsis, _ := strings.Cut(text, ".SH SYNOPSIS\n")
	synopsis, description, _ := strings.Cut(synopsis, ".SH DESCRIPTION\n")
	shown := map[string][]string{}
	for line := range strings.SplitSeq(synopsis, ".br\n") {
		line = regexp.MustCompile(`(?m)^\.[BIR]+ `).ReplaceAllString(line, "")
		words := regexp.MustCompile(`[A-Za-z|-]+`).FindAllString(line, -1)
		names := []string{words[1]}
		if words[1] == "spool" {
			names = strings.Split("spool "+strings.ReplaceAll(words[2], "|", "|spool "), "|")
		}
		for _, name := range names {
			shown[name] = slices.DeleteFunc(slices.Clone(words[2:]), func(word string) bool { return !strings.HasPrefix(word, "-") })
		}
	}
	same(t, "synopsis", slices.Collect(maps.Keys(shown)), slices.Collect(maps.Keys(commands)))

	sections := map[string][]string{}
	_, rest, _ := strings.Cut(description, ".SH COMMANDS\n")
	rest, _, _ = strings.Cut(rest, "\n.SH ")
	for _, section := range strings.Split(rest, ".SS ")[1:] {
		heading, body, _ := strings.Cut(section, "\n")
		sections[heading] = regexp.MustCompile(`(?m)^\.BR? (--?[a-z][a-z-]*)`).FindAllString(body, -1)
		for i, item := range sections[heading] {
			sections[heading][i] = strings.Fields(item)[1]
		}
	}
	same(t, "commands", slices.Collect(maps.Keys(sections)), slices.Collect(maps.Keys(commands)))
	for name, flags := range commands {
		same(t, "the section "+name, sections[name], flags)
		same(t, "the synopsis of "+name, shown[name], flags)
	}
}

// complete asks the completion, as a shell with these words on its line does, what may stand in place of the last.
func complete(t *testing.T, words ...string) []string {
	t.Helper()
	shell := exec.CommandContext(t.Context(), "bash", "--norc", "-c",
		`. "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _edge_eventer; printf '%s\n' "${COMPREPLY[@]}"`,
		"bash", "../../manifests/completion/edge-eventer.bash", "edge-eventer")
	shell.Args = append(shell.Args, words...)
	shell.Stderr = os.Stderr
	out, err := shell.Output()
	if err != nil {
		t.Fatalf("complete %q: %v", words, err)
	}
	return strings.Fields(string(out))
}

func TestCompletionKnowsEachCommandWithItsFlags(t *testing.T) {
	commands := commandLine(t)
	first := []string{"spool", "help"}
	var actions []string
	for name, flags := range commands {
		if action, ok := strings.CutPrefix(name, "spool "); ok {
			actions = append(actions, action)
		} else {
			first = append(first, name)
		}
		same(t, name+" -", complete(t, append(strings.Fields(name), "-")...), flags)
	}
	same(t, "the first word", complete(t, ""), append(first, commands["run"]...))
	same(t, "the second word of spool", complete(t, "spool", ""), actions)
	if got := complete(t, "spool", "--receiver", "ops", "sh"); len(got) > 0 {
		t.Errorf("spool takes its flags after its command, and the completion offers %q", got)
	}
}

func TestCompletionOffersValuesThatTheProgramTakes(t *testing.T) {
	takes := func(args ...string) bool {
		var out, said bytes.Buffer
		run(append(args, "--config", "missing.yaml"), strings.NewReader(""), &out, &said)
		// Arguments are looked at before the configuration.
		return strings.Contains(said.String(), "missing.yaml")
	}
	for _, words := range [][]string{{"status", "-o"}, {"run", "--log-format"}, {"run", "--log-level"}, {"--log-level"}} {
		values := complete(t, append(words, "")...)
		if len(values) < 2 || takes(append(words, "no-such-value")...) {
			t.Errorf("%v: offered %q", words, values)
		}
		for _, value := range values {
			if !takes(append(words, value)...) {
				t.Errorf("%v takes no %q", words, value)
			}
		}
	}

	config := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(config, []byte("receivers:\n  - name: ops # at night\n    type: stdout\n  - name: archive\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, words := range [][]string{{"send-test"}, {"spool", "ls"}} {
		same(t, "--receiver", complete(t, append(words, "--config", config, "--receiver", "")...), []string{"ops", "archive"})
	}
}
