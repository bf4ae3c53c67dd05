package main

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// sector is what a power cut writes wholly or not at all.
const sector = 512

type kind int

const (
	written kind = iota
	resized
	synced
	renamed
	removed
	// committed: an Update returned.
	committed
)

// op is one system call on a file of the spool.
type op struct {
	kind     kind
	path, to string
	at       int64
	data     []byte
	// number is that of a commit.
	number int
}

// call is a line of strace's: the process, the call, its arguments, and perhaps its result.
var call = regexp.MustCompile(`^(\d+) +(<\.\.\. )?(\w+)(?:\(| resumed>)(.*)$`)

// readTrace returns the operations on the files under home. A write counts from its begin, a sync from its end.
func readTrace(r io.Reader, home string) ([]op, error) {
	var ops []op
	begun := make(map[string]string)
	scanner := bufio.NewReaderSize(r, 1<<20)
	for {
		line, err := scanner.ReadString('\n')
		if errors.Is(err, io.EOF) {
			return ops, nil
		}
		if err != nil {
			return nil, err
		}
		line = strings.TrimSuffix(line, "\n")
		m := call.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		thread, resumed, name, rest := m[1], m[2] != "", m[3], m[4]
		sync := name == "fdatasync" || name == "fsync"
		unfinished := strings.HasSuffix(rest, "<unfinished ...>")
		switch {
		case resumed && sync:
			rest = begun[thread] + rest
		case resumed:
			continue
		case unfinished && sync:
			begun[thread] = strings.TrimSuffix(rest, "<unfinished ...>")
			continue
		}
		if !unfinished && strings.Contains(rest, ") = -1 ") {
			continue
		}
		o, ok, err := parse(name, rest, home)
		if err != nil {
			return nil, fmt.Errorf("%w in %.200s", err, line)
		}
		if ok {
			ops = append(ops, o)
		}
	}
}

// The arguments: a descriptor with its path, a buffer, and numbers. strace -xx writes strings and paths in hexadecimal.
var (
	descriptor = regexp.MustCompile(`^(\d+)<([^>]*)>`)
	quoted     = regexp.MustCompile(`"((?:\\x[0-9a-f]{2})*)"`)
	numbers    = regexp.MustCompile(`, (\d+), (\d+)`)
	size       = regexp.MustCompile(`>, (\d+)`)
)

func parse(name, args, home string) (o op, ok bool, err error) {
	var fd, path string
	if m := descriptor.FindStringSubmatch(args); m != nil {
		fd = m[1]
		if path, err = unhex(m[2]); err != nil {
			return o, false, err
		}
	}
	ours := func(path string) bool { return path == home || filepath.Dir(path) == home }
	switch name {
	case "write":
		text, err := firstString(args)
		if err != nil || fd != "1" {
			return o, false, err
		}
		number, err := strconv.Atoi(strings.TrimSpace(text))
		return op{kind: committed, number: number}, err == nil, err
	case "pwrite64":
		if !ours(path) {
			return o, false, nil
		}
		text, err := firstString(args)
		if err != nil {
			return o, false, err
		}
		m := numbers.FindStringSubmatch(args[strings.LastIndexByte(args, '"'):])
		if m == nil {
			return o, false, errors.New("no offset")
		}
		at, err := strconv.ParseInt(m[2], 10, 64)
		if n, _ := strconv.Atoi(m[1]); n != len(text) {
			return o, false, fmt.Errorf("%d bytes of %d recorded", len(text), n)
		}
		return op{kind: written, path: path, at: at, data: []byte(text)}, true, err
	case "fdatasync", "fsync":
		return op{kind: synced, path: path}, ours(path), nil
	case "ftruncate":
		m := size.FindStringSubmatch(args)
		if !ours(path) || m == nil {
			return o, false, nil
		}
		at, err := strconv.ParseInt(m[1], 10, 64)
		return op{kind: resized, path: path, at: at}, true, err
	case "rename", "renameat", "renameat2", "unlink", "unlinkat":
		var paths []string
		for _, m := range quoted.FindAllStringSubmatch(args, -1) {
			path, err := unhex(m[1])
			if err != nil {
				return o, false, err
			}
			paths = append(paths, path)
		}
		switch {
		case len(paths) == 2 && ours(paths[0]):
			return op{kind: renamed, path: paths[0], to: paths[1]}, true, nil
		case len(paths) == 1 && ours(paths[0]):
			return op{kind: removed, path: paths[0]}, true, nil
		}
		return o, false, nil
	}
	if ours(path) {
		return o, false, fmt.Errorf("a call of %s, which is not understood", name)
	}
	return o, false, nil
}

func firstString(args string) (string, error) {
	m := quoted.FindStringSubmatch(args)
	if m == nil {
		return "", errors.New("no buffer")
	}
	return unhex(m[1])
}

// unhex decodes \x2f\x74; a path without it is as it is.
func unhex(text string) (string, error) {
	if !strings.HasPrefix(text, `\x`) {
		return text, nil
	}
	b, err := hex.DecodeString(strings.ReplaceAll(text, `\x`, ""))
	return string(b), err
}

// disk is what a power cut would leave: of each file what is synced, and what came since; and renames that the directory's
// sync has not made durable.
type disk struct {
	// files are by the names that a running process sees, names those on the disk for certain.
	files, names map[string]*file
	// moves are renames and removals that are not durable, in their order.
	moves []op
}

type file struct {
	synced  []byte
	pending []op
}

func newDisk() *disk {
	return &disk{files: make(map[string]*file), names: make(map[string]*file)}
}

// clone shares the synced bytes, which are only replaced.
func (d *disk) clone() *disk {
	c := newDisk()
	copies := make(map[*file]*file)
	copyOf := func(f *file) *file {
		if copies[f] == nil {
			copies[f] = &file{synced: f.synced, pending: slices.Clone(f.pending)}
		}
		return copies[f]
	}
	for name, f := range d.files {
		c.files[name] = copyOf(f)
	}
	for name, f := range d.names {
		c.names[name] = copyOf(f)
	}
	c.moves = slices.Clone(d.moves)
	return c
}

func (d *disk) file(path string) *file {
	if d.files[path] == nil {
		// A name that is new is taken to be durable: the spool syncs the directory before it counts on it, and Open makes a
		// file that is missing.
		d.files[path] = new(file)
		d.names[path] = d.files[path]
	}
	return d.files[path]
}

func (d *disk) apply(o *op) {
	switch o.kind {
	case written, resized:
		f := d.file(o.path)
		f.pending = append(f.pending, *o)
	case synced:
		f, ok := d.files[o.path]
		if !ok {
			// The directory: what was renamed is renamed for good.
			for i := range d.moves {
				move(d.names, &d.moves[i])
			}
			d.moves = nil
			return
		}
		f.synced = f.after(func(*op, int) bool { return true }, len(f.pending))
		f.pending = nil
	case renamed, removed:
		move(d.files, o)
		d.moves = append(d.moves, *o)
	}
}

func move(names map[string]*file, o *op) {
	if f, ok := names[o.path]; ok && o.kind == renamed {
		names[o.to] = f
	}
	delete(names, o.path)
}

// after returns the bytes with the first n pending operations applied, as far as keep says of each sector.
func (f *file) after(keep func(o *op, at int) bool, n int) []byte {
	b := bytes.Clone(f.synced)
	for i := range f.pending[:n] {
		o := &f.pending[i]
		if o.kind == resized {
			if keep(o, 0) {
				b = resize(b, int(o.at))
			}
			continue
		}
		for at := 0; at < len(o.data); at += sector {
			if !keep(o, at) {
				continue
			}
			end := min(at+sector, len(o.data))
			if need := int(o.at) + end; need > len(b) {
				b = resize(b, need)
			}
			copy(b[int(o.at)+at:], o.data[at:end])
		}
	}
	return b
}

func resize(b []byte, n int) []byte {
	if n <= len(b) {
		return b[:n]
	}
	return append(b, make([]byte, n-len(b))...)
}

// cut writes into dir what is left.
func (d *disk) cut(dir string, how way, random *rand.Rand) error {
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	names := maps.Clone(d.names)
	if how != dropped && len(d.moves) > 0 {
		for i := range d.moves[:random.IntN(len(d.moves)+1)] {
			move(names, &d.moves[i])
		}
	}
	for _, path := range slices.Sorted(maps.Keys(names)) {
		f := names[path]
		var left []byte
		switch how {
		case dropped:
			left = f.synced
		case short:
			// In order, up to one that is torn.
			n := random.IntN(len(f.pending) + 1)
			left = f.after(func(*op, int) bool { return true }, n)
			if n < len(f.pending) {
				torn := &file{synced: left, pending: f.pending[n : n+1]}
				upTo := random.IntN(len(f.pending[n].data) + 1)
				left = torn.after(func(_ *op, at int) bool { return at+sector <= upTo }, 1)
			}
		default:
			left = f.after(func(*op, int) bool { return random.IntN(2) == 0 }, len(f.pending))
		}
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(path)), left, 0o600); err != nil {
			return err
		}
	}
	return nil
}
