package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// clockVariable names the file that says by how much the agent's clock is wrong.
const clockVariable = "SOAK_CLOCK"

// clock is the wall clock of an agent that was built by buildWithClock: the machine's, plus what stands in a file, in seconds. The
// clock that timers go by stays as it is, as it does when a clock is set.
type clock struct{ file *os.File }

func newClock(path string) (*clock, error) {
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	c := &clock{f}
	return c, c.set(0)
}

// set puts the clock ahead, or back where ahead is negative.
func (c *clock) set(ahead time.Duration) error {
	_, err := c.file.WriteAt(binary.NativeEndian.AppendUint64(nil, uint64(ahead/time.Second)), 0)
	return err
}

// The agent's own code is not touched for this, nor does it know: time.Now of the Go it is built with gets a line more, in the
// overlay that go build has for such things.
const (
	nowBefore = "func Now() Time {\n\tsec, nsec, mono := runtimeNow()\n"
	nowAfter  = nowBefore + "\tsec += soakAhead.Load()\n"
	soakAhead = `package time

import (
	"sync/atomic"
	"syscall"
	"unsafe"
)

var soakAhead = func() *atomic.Int64 {
	path, ok := syscall.Getenv("` + clockVariable + `")
	if !ok {
		return new(atomic.Int64)
	}
	fd, err := syscall.Open(path, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		panic(path + ": " + err.Error())
	}
	page, err := syscall.Mmap(fd, 0, 8, syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		panic(path + ": " + err.Error())
	}
	return (*atomic.Int64)(unsafe.Pointer(&page[0]))
}()
`
)

// buildWithClock builds the program into dir, with a clock that can be set.
func buildWithClock(ctx context.Context, dir, program string) (binary string, err error) {
	root, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if err != nil {
		return "", fmt.Errorf("go env GOROOT: %w", err)
	}
	// The file of Now, and one that the package has not.
	now, added := filepath.Join(strings.TrimSpace(string(root)), "src/time/time.go"), filepath.Join(strings.TrimSpace(string(root)), "src/time/soak.go")
	source, err := os.ReadFile(now)
	if err != nil {
		return "", err
	}
	if n := strings.Count(string(source), nowBefore); n != 1 {
		return "", fmt.Errorf("%s has %d places that read %q, want 1: another Go than this was written for", now, n, nowBefore)
	}
	files := map[string]string{now: strings.Replace(string(source), nowBefore, nowAfter, 1), added: soakAhead}
	replaced := make(map[string]string)
	for path, text := range files {
		replaced[path] = filepath.Join(dir, filepath.Base(path)+".overlay")
		if err := os.WriteFile(replaced[path], []byte(text), 0o600); err != nil {
			return "", err
		}
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replaced})
	if err != nil {
		return "", err
	}
	list := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(list, overlay, 0o600); err != nil {
		return "", err
	}
	binary = filepath.Join(dir, "program")
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-overlay", list, "-o", binary, program)
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s with a clock that can be set: %w\n%s", program, err, out)
	}
	return binary, nil
}
