package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/edge-eventer/edge-eventer/scripts/bench/stage"
)

// process is a running program.
type process struct {
	cmd     *exec.Cmd
	done    chan struct{}
	written int64
}

func startProcess(s *stage.Stage, command []string, log *os.File) (*process, error) {
	// Its end is Stop's, not the context's.
	p := &process{cmd: exec.CommandContext(context.WithoutCancel(s.Context()), command[0], command[1:]...), done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", command[0], err)
	}
	go func() {
		_ = p.cmd.Wait()
		close(p.done)
	}()
	s.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.done
	})
	return p, nil
}

// Done is closed when the process has ended.
func (p *process) Done() <-chan struct{} { return p.done }

// Stop sends SIGTERM, and SIGKILL after most.
func (p *process) Stop(most time.Duration) {
	p.written = p.field("io", "write_bytes")
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	timer := time.AfterFunc(most, func() { _ = p.cmd.Process.Kill() })
	defer timer.Stop()
	<-p.done
}

// CPU is user and system time of a process that has ended.
func (p *process) CPU() time.Duration {
	return p.cmd.ProcessState.UserTime() + p.cmd.ProcessState.SystemTime()
}

// Status returns a number of /proc/PID/status, 0 where there is none.
func (p *process) Status(name string) int64 { return p.field("status", name) }

func (p *process) field(file, name string) int64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", p.cmd.Process.Pid, file))
	if err != nil {
		return 0
	}
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		key, value, _ := strings.Cut(lines.Text(), ":")
		if words := strings.Fields(value); key == name && len(words) > 0 {
			n, _ := strconv.ParseInt(words[0], 10, 64)
			return n
		}
	}
	return 0
}
