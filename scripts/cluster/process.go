package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
)

// spawner starts processes from one OS thread that lives as long as the program. The kernel sends a child's parent-death
// signal when the thread that made it ends, and Go ends threads as it likes.
type spawner chan func()

func newSpawner() spawner {
	s := make(spawner)
	go func() {
		runtime.LockOSThread()
		for f := range s {
			f()
		}
	}()
	return s
}

func (s spawner) start(cmd *exec.Cmd) error {
	done := make(chan error, 1)
	s <- func() { done <- cmd.Start() }
	return <-done
}

// process is one component, running or not.
type process struct {
	name    string
	args    []string
	spawner spawner
	stderr  io.Writer
	// ready answers nil once the component does its work.
	ready func(context.Context) error

	mu sync.Mutex
	// cmd is nil while the component does not run.
	cmd *exec.Cmd
	// exited is closed when cmd has ended.
	exited chan struct{}
	// expected says that the end of cmd was asked for.
	expected bool
}

func (p *process) log() string { return p.name + ".log" }

// start starts the component in the current directory; its output is appended to its log.
func (p *process) start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd != nil {
		return fmt.Errorf("%s runs already", p.name)
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	log, err := os.OpenFile(p.log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open the log of %s: %w", p.name, err)
	}
	defer log.Close()
	cmd := exec.Command(self, append([]string{"component", p.name}, p.args...)...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Pdeathsig: syscall.SIGKILL,
		// Ctrl-C is for the supervisor alone.
		Setpgid: true,
	}
	if err := p.spawner.start(cmd); err != nil {
		return fmt.Errorf("start %s: %w", p.name, err)
	}
	p.cmd, p.exited, p.expected = cmd, make(chan struct{}), false
	go p.wait(cmd, p.exited)
	return nil
}

// wait collects the process and tells an end that nobody asked for.
func (p *process) wait(cmd *exec.Cmd, exited chan struct{}) {
	err := cmd.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.expected {
		fmt.Fprintf(p.stderr, "cluster: %s ended by itself: %v\n%s", p.name, err, p.tail())
	}
	p.cmd = nil
	close(exited)
}

// tail returns the end of the component's log, at most 4 KiB.
func (p *process) tail() string {
	const most = 4 << 10
	text, err := os.ReadFile(p.log())
	if err != nil {
		return ""
	}
	return string(text[max(0, len(text)-most):])
}

// end sends a signal that ends the process and waits for that. A component that does not run is no error.
func (p *process) end(sig syscall.Signal) error {
	p.mu.Lock()
	cmd, exited := p.cmd, p.exited
	p.expected = true
	p.mu.Unlock()
	if cmd == nil {
		return nil
	}
	if err := cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("end %s: %w", p.name, err)
	}
	<-exited
	return nil
}

// signal sends a signal that the process survives.
func (p *process) signal(sig syscall.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return fmt.Errorf("%s does not run", p.name)
	}
	if err := p.cmd.Process.Signal(sig); err != nil {
		return fmt.Errorf("signal %s: %w", p.name, err)
	}
	return nil
}

// waitReady waits until the component does its work, or ends.
func (p *process) waitReady(ctx context.Context) error {
	p.mu.Lock()
	cmd, exited := p.cmd, p.exited
	p.mu.Unlock()
	if cmd == nil {
		return fmt.Errorf("%s does not run", p.name)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-exited:
			cancel(fmt.Errorf("%s ended before it was ready", p.name))
		case <-ctx.Done():
		}
	}()
	return waitFor(ctx, p.name+" to be ready", p.ready)
}

func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }

func removeIfExists(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
