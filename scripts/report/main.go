// Command report reads what `go test -json` prints, for scripts/test.
//
//	go test -json ./... | report -to FILE    prints a line for each package, and in full what failed; appends each test's end to FILE
//	report -promises promises.txt FILE       prints for each promise which of its tests ran, and fails where the list names none
//
// A test counts as run where one of the runs in FILE passed it; it may be left out of others, such as those with -short.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"
)

func main() {
	to := flag.String("to", "", "`FILE` to which the end of each test is appended")
	promises := flag.String("promises", "", "`FILE` that names the promises and their tests")
	flag.Parse()
	if err := report(*to, *promises, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "report:", err)
		os.Exit(1)
	}
}

func report(to, promises string, args []string) error {
	if promises == "" {
		ends, err := os.OpenFile(to, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		defer ends.Close()
		return follow(os.Stdin, os.Stdout, ends)
	}
	list, err := os.ReadFile(promises)
	if err != nil {
		return err
	}
	ends, err := os.ReadFile(args[0])
	if err != nil {
		return err
	}
	return account(string(list), string(ends), os.Stdout)
}

// event is one of `go doc test2json`.
type event struct {
	Action, Package, Test, Output string
	// ImportPath is set in place of Package for the output of a build.
	ImportPath string
}

// follow prints as `go test` does without -v, and writes package, test and end of each test to ends.
func follow(in io.Reader, out, ends io.Writer) error {
	said := make(map[string][]string)
	lines := bufio.NewReader(in)
	for {
		text, err := lines.ReadString('\n')
		if err != nil && text == "" {
			if err == io.EOF {
				return nil
			}
			return err
		}
		var e event
		if json.Unmarshal([]byte(text), &e) != nil {
			// What the go command itself says is no JSON.
			fmt.Fprint(out, text)
			continue
		}
		// What a subtest says belongs to its test.
		test, sub, isSub := strings.Cut(e.Test, "/")
		key := e.Package + " " + test
		switch {
		case e.Action == "build-output":
			fmt.Fprint(out, e.Output)
		case e.Action == "output" && e.Test == "":
			if line := strings.TrimSpace(e.Output); line != "PASS" && !strings.HasSuffix(line, "[no test files]") && line != "" {
				fmt.Fprint(out, e.Output)
			}
		case e.Action == "output":
			said[key] = append(said[key], e.Output)
		case e.Test == "" || isSub && sub != "":
		case e.Action == "fail":
			fmt.Fprint(out, strings.Join(said[key], ""))
			fallthrough
		case e.Action == "pass", e.Action == "skip":
			delete(said, key)
			fmt.Fprintf(ends, "%s %s %s\n", e.Package, e.Test, e.Action)
		}
		if e.Action == "fail" && e.Test == "" {
			// A test that the process died in has no end of its own.
			for key, text := range said {
				if strings.HasPrefix(key, e.Package+" ") {
					fmt.Fprint(out, strings.Join(text, ""))
					delete(said, key)
				}
			}
		}
	}
}

// account prints a line for each promise. A line of the list that is not indented is a promise; those below it are packages and the
// names of their tests, which may also stand in a package below.
func account(list, ends string, out io.Writer) error {
	// results says of each test and each package that has it whether it passed once.
	results := make(map[string]map[string]bool)
	for line := range strings.Lines(ends) {
		words := strings.Fields(line)
		if len(words) != 3 {
			continue
		}
		if results[words[1]] == nil {
			results[words[1]] = make(map[string]bool)
		}
		results[words[1]][words[0]] = results[words[1]][words[0]] || words[2] == "pass"
	}
	find := func(listed, test string) (known, passed bool) {
		for pkg, ok := range results[test] {
			// The module's path is no part of the list.
			if strings.Contains(pkg+"/", "/"+listed+"/") {
				known, passed = true, passed || ok
			}
		}
		return known, passed
	}
	var promise string
	var ran, missing []string
	var unknown []string
	flush := func() {
		if promise != "" {
			fmt.Fprintf(out, "%s: %d tests ran\n", promise, len(ran))
		}
		for _, name := range missing {
			fmt.Fprintf(out, "  left out: %s\n", name)
		}
		ran, missing = nil, nil
	}
	for line := range strings.Lines(list) {
		text := strings.TrimSpace(line)
		switch {
		case text == "" || strings.HasPrefix(text, "#"):
		case line[0] != ' ' && line[0] != '\t':
			flush()
			promise = text
		default:
			words := strings.Fields(text)
			for _, test := range words[1:] {
				name := path.Base(words[0]) + "." + test
				switch known, passed := find(words[0], test); {
				case passed:
					ran = append(ran, name)
				case known:
					missing = append(missing, name)
				default:
					missing = append(missing, name+", which is not there")
					unknown = append(unknown, name)
				}
			}
		}
	}
	flush()
	slices.Sort(unknown)
	if len(unknown) > 0 {
		return fmt.Errorf("no such tests: %s", strings.Join(unknown, ", "))
	}
	return nil
}
