package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// cgroup is a memory cgroup of the agent alone, of version 1 or 2.
type cgroup struct {
	dir string
	v2  bool
}

// newCgroup makes a memory cgroup below the one of this process. A limit of 0 is none. Swap is off, as it is on a K3s node.
func newCgroup(limit int64) (*cgroup, error) {
	c, err := ownCgroup()
	if err != nil {
		return nil, err
	}
	if c.v2 {
		// The controller is usually on already; where it is not, the mkdir below works and the limit fails with a better word.
		_ = os.WriteFile(filepath.Join(c.dir, "cgroup.subtree_control"), []byte("+memory"), 0)
	}
	if c.dir, err = os.MkdirTemp(c.dir, "edge-eventer-bench."); err != nil {
		return nil, fmt.Errorf("make a cgroup: %w", err)
	}
	if limit > 0 {
		if err := c.limit(limit); err != nil {
			return nil, errors.Join(err, c.remove())
		}
	}
	return c, nil
}

func (c *cgroup) limit(bytes int64) error {
	file, swap, swapValue := "memory.limit_in_bytes", "memory.memsw.limit_in_bytes", strconv.FormatInt(bytes, 10)
	if c.v2 {
		file, swap, swapValue = "memory.max", "memory.swap.max", "0"
	}
	if err := os.WriteFile(filepath.Join(c.dir, file), []byte(strconv.FormatInt(bytes, 10)), 0); err != nil {
		return fmt.Errorf("set the limit: %w", err)
	}
	// A kernel without swap accounting has no such file.
	if err := os.WriteFile(filepath.Join(c.dir, swap), []byte(swapValue), 0); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("turn swap off: %w", err)
	}
	return nil
}

// ownCgroup finds the folder in which a memory cgroup can be made: in version 1 that of this process; in version 2 the root, since
// only there may a cgroup have processes and controllers for its children at the same time.
func ownCgroup() (*cgroup, error) {
	const root = "/sys/fs/cgroup"
	if _, err := os.Stat(filepath.Join(root, "cgroup.controllers")); err == nil {
		return &cgroup{dir: root, v2: true}, nil
	}
	text, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(text)) {
		// 4:memory:/path
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(fields) != 3 || fields[1] != "memory" {
			continue
		}
		dir := filepath.Join(root, "memory", fields[2])
		if _, err := os.Stat(dir); err != nil {
			// In a container the path is the host's, and the mount shows the container's own.
			dir = filepath.Join(root, "memory")
		}
		return &cgroup{dir: dir}, nil
	}
	return nil, errors.New("this kernel has no memory cgroups")
}

func (c *cgroup) remove() error { return os.Remove(c.dir) }

// usage returns what is charged now, page cache included, in bytes.
func (c *cgroup) usage() int64 {
	if c.v2 {
		return c.number("memory.current")
	}
	return c.number("memory.usage_in_bytes")
}

func (c *cgroup) number(file string) int64 {
	text, err := os.ReadFile(filepath.Join(c.dir, file))
	if err != nil {
		return 0
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// field returns a number of a file of lines "name number"; a name that is not there is 0.
func (c *cgroup) field(file, name string) int64 {
	text, err := os.ReadFile(filepath.Join(c.dir, file))
	if err != nil {
		return 0
	}
	for line := range bytes.Lines(text) {
		if fields := bytes.Fields(line); len(fields) == 2 && string(fields[0]) == name {
			n, _ := strconv.ParseInt(string(fields[1]), 10, 64)
			return n
		}
	}
	return 0
}

// pressure says what the limit caused so far.
type pressure struct {
	// peak of the usage in bytes, page cache included.
	peak int64
	// kills by the kernel for want of memory.
	kills int64
	// refaults are bytes of files, the binary's above all, that were reclaimed and had to be read again. How often the limit was met
	// is not among these numbers: version 1 stopped counting it (failcnt stays 0 on Linux 6.18).
	refaults int64
	// majorFaults waited for the disk: pages that were reclaimed and needed again, or needed for the first time.
	majorFaults int64
}

func (c *cgroup) pressure() pressure {
	p := pressure{
		refaults:    c.field("memory.stat", "workingset_refault_file") * int64(os.Getpagesize()),
		majorFaults: c.field("memory.stat", "pgmajfault"),
	}
	if c.v2 {
		p.peak, p.kills = c.number("memory.peak"), c.field("memory.events", "oom_kill")
		return p
	}
	p.peak, p.kills = c.number("memory.max_usage_in_bytes"), c.field("memory.oom_control", "oom_kill")
	return p
}
