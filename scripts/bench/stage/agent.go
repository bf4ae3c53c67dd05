package stage

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"
)

// Agent is a running agent.
type Agent struct {
	cmd  *exec.Cmd
	done chan struct{}
}

// StartAgent runs the binary with the configuration and appends what it writes to log. It is killed at the end of the stage
// if it still runs then.
func (s *Stage) StartAgent(binary, config string, log *os.File) (*Agent, error) {
	a := &Agent{done: make(chan struct{})}
	// Its end is Stop's or Kill's, not the context's.
	a.cmd = exec.CommandContext(context.WithoutCancel(s.ctx), binary, "run", "--config", config)
	a.cmd.Stdout, a.cmd.Stderr = log, log
	a.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := a.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the agent: %w", err)
	}
	go func() {
		_ = a.cmd.Wait()
		close(a.done)
	}()
	s.Cleanup(a.Kill)
	return a, nil
}

// PID is the process ID.
func (a *Agent) PID() int { return a.cmd.Process.Pid }

// Done is closed when the process has ended.
func (a *Agent) Done() <-chan struct{} { return a.done }

// Kill sends SIGKILL and waits.
func (a *Agent) Kill() {
	_ = a.cmd.Process.Kill()
	<-a.done
}

// Signal sends a signal.
func (a *Agent) Signal(signal syscall.Signal) { _ = a.cmd.Process.Signal(signal) }

// Stop sends SIGTERM and returns the exit code and how long the end took. After most, it kills.
func (a *Agent) Stop(most time.Duration) (code int, took time.Duration) {
	begin := time.Now()
	a.Signal(syscall.SIGTERM)
	timer := time.AfterFunc(most, func() { _ = a.cmd.Process.Kill() })
	defer timer.Stop()
	<-a.done
	return a.cmd.ProcessState.ExitCode(), time.Since(begin)
}

// Status returns a number of /proc/PID/status: a count, or a size in KiB. It returns 0 for a process that has ended.
func (a *Agent) Status(field string) int64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", a.PID()))
	if err != nil {
		return 0
	}
	for line := range bytes.Lines(text) {
		if name, value, ok := bytes.Cut(line, []byte(":")); ok && string(name) == field {
			words := bytes.Fields(value)
			if len(words) == 0 {
				return 0
			}
			n, _ := strconv.ParseInt(string(words[0]), 10, 64)
			return n
		}
	}
	return 0
}

// CPU returns what all threads have used so far: user and system time, from /proc/PID/stat in hundredths of a second.
func (a *Agent) CPU() (user, system time.Duration, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", a.PID()))
	if err != nil {
		return 0, 0, fmt.Errorf("read CPU time: %w", err)
	}
	// Fields 14 and 15; the name, field 2, may hold blanks and ends with a parenthesis.
	fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
	if len(fields) < 13 {
		return 0, 0, fmt.Errorf("read CPU time: %d fields in /proc/PID/stat", len(fields))
	}
	for i, to := range []*time.Duration{&user, &system} {
		ticks, err := strconv.ParseInt(string(fields[11+i]), 10, 64)
		if err != nil {
			return 0, 0, fmt.Errorf("read CPU time: %w", err)
		}
		*to = time.Duration(ticks) * 10 * time.Millisecond
	}
	return user, system, nil
}
