// Command size tells which module brings how much of the agent's binary. It builds the agent with symbols, adds up their sizes by the
// package that their names begin with, and shares the table of functions and lines (.gopclntab), which has no symbols of its own, out by
// size of code. What the linker makes for all together (types, strings, headers) is a row of its own.
package main

import (
	"cmp"
	"context"
	"debug/elf"
	"flag"
	"fmt"
	"maps"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// shared names what belongs to no package.
const shared = "types, strings, tables of the linker"

func main() {
	packages := flag.Bool("packages", false, "a row for each package instead of each module")
	arches := flag.String("arch", "amd64,arm64,armv7", "architectures")
	flag.Parse()
	if err := run(context.Background(), strings.Split(*arches, ","), *packages); err != nil {
		fmt.Fprintln(os.Stderr, "size:", err)
		os.Exit(1)
	}
}

// sizes are bytes of the stripped binary by module or package.
type sizes map[string]float64

func run(ctx context.Context, arches []string, byPackage bool) error {
	dir, err := os.MkdirTemp("", "edge-eventer-size.")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	columns := make([]sizes, len(arches))
	for i, arch := range arches {
		if columns[i], err = measure(ctx, dir, arch, byPackage); err != nil {
			return fmt.Errorf("%s: %w", arch, err)
		}
	}
	all := make(sizes)
	for _, column := range columns {
		for name := range column {
			all[name] = max(all[name], column[name])
		}
	}
	names := slices.SortedFunc(maps.Keys(all), func(a, b string) int { return cmp.Or(cmp.Compare(all[b], all[a]), strings.Compare(a, b)) })
	fmt.Printf("| kB | %s |\n|---|%s\n", strings.Join(arches, " | "), strings.Repeat("---:|", len(arches)))
	row := func(name string, value func(sizes) float64) {
		fmt.Printf("| %s |", name)
		for _, column := range columns {
			fmt.Printf(" %.0f |", value(column)/1e3)
		}
		fmt.Println()
	}
	for _, name := range names {
		// Below 5 kB a row says nothing.
		if all[name] >= 5e3 {
			row(name, func(s sizes) float64 { return s[name] })
		}
	}
	row("together", func(s sizes) (sum float64) {
		for _, bytes := range s {
			sum += bytes
		}
		return sum
	})
	return nil
}

// measure builds for one architecture and adds up.
func measure(ctx context.Context, dir, arch string, byPackage bool) (sizes, error) {
	env := append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+strings.TrimSuffix(arch, "v7"), "GOARM=7")
	binary := filepath.Join(dir, arch)
	// -w leaves the symbols and drops DWARF.
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-w", "-o", binary, "./cmd/edge-eventer")
	build.Env = env
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build: %w\n%s", err, out)
	}
	modules, err := modulesOf(ctx, env)
	if err != nil {
		return nil, err
	}
	f, err := elf.Open(binary)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	symbols, err := f.Symbols()
	if err != nil {
		return nil, fmt.Errorf("read symbols: %w", err)
	}
	total, code := make(sizes), make(sizes)
	attributed := 0.0
	for _, s := range symbols {
		if int(s.Section) >= len(f.Sections) || f.Sections[s.Section].Type == elf.SHT_NOBITS {
			continue
		}
		pkg := packageOf(s.Name)
		name, known := modules[pkg]
		if !known {
			continue
		}
		if byPackage {
			name = pkg
		}
		total[name] += float64(s.Size)
		attributed += float64(s.Size)
		if f.Sections[s.Section].Name == ".text" {
			code[name] += float64(s.Size)
		}
	}
	// Everything that is loaded from the file; symbols and their strings are not in the stripped binary.
	loaded, lines, codeSum := 0.0, 0.0, 0.0
	for _, section := range f.Sections {
		if section.Flags&elf.SHF_ALLOC == 0 || section.Type == elf.SHT_NOBITS {
			continue
		}
		loaded += float64(section.Size)
		if section.Name == ".gopclntab" {
			lines = float64(section.Size)
		}
	}
	for _, bytes := range code {
		codeSum += bytes
	}
	for name, bytes := range code {
		total[name] += lines * bytes / codeSum
	}
	total[shared] = loaded - attributed - lines
	return total, nil
}

// modulesOf maps each linked package to the module that brings it; for the standard library to its top folder.
func modulesOf(ctx context.Context, env []string) (map[string]string, error) {
	list := exec.CommandContext(ctx, "go", "list", "-deps", "-f", `{{.ImportPath}} {{with .Module}}{{.Path}}{{end}}`, "./cmd/edge-eventer")
	list.Env = env
	out, err := list.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w", err)
	}
	modules := map[string]string{"main": "github.com/edge-eventer/edge-eventer"}
	for line := range strings.Lines(string(out)) {
		pkg, module, _ := strings.Cut(strings.TrimSpace(line), " ")
		if module == "" {
			top, _, _ := strings.Cut(strings.TrimPrefix(pkg, "vendor/golang.org/x/"), "/")
			module = "Go: " + stdGroup(top)
		}
		modules[pkg] = module
	}
	return modules, nil
}

// stdGroup puts the many folders of the standard library into few rows.
func stdGroup(top string) string {
	switch top {
	case "runtime", "internal", "sync", "reflect", "syscall", "os", "unicode", "strings", "bytes", "errors", "iter", "unsafe", "slices", "maps":
		return "runtime, os, reflect, basics"
	case "crypto":
		return "crypto, TLS"
	case "net", "mime", "text":
		// vendor/golang.org/x/text and net serve net/http; text/template is counted here too, 0.15 MB.
		return "net, HTTP, templates"
	case "encoding", "compress", "hash", "bufio", "io", "fmt", "strconv", "log", "time", "regexp", "math":
		return "encoding, fmt, slog, time, regexp, math"
	}
	return "other"
}

// packageOf returns the package of a symbol: what stands before the first dot behind the last slash. Type arguments and the
// receiver in parentheses may have slashes of their own.
func packageOf(symbol string) string {
	symbol = strings.TrimPrefix(strings.TrimPrefix(symbol, "type:.eq."), "type:.hash.")
	path := symbol
	if end := strings.IndexAny(path, "([{"); end >= 0 {
		path = path[:end]
	}
	dot := strings.IndexByte(path[strings.LastIndexByte(path, '/')+1:], '.')
	if dot < 0 {
		return path
	}
	path = path[:strings.LastIndexByte(path, '/')+1+dot]
	// The linker writes a dot in the last part of a path as %2e.
	if unescaped, err := url.PathUnescape(path); err == nil {
		return unescaped
	}
	return path
}
