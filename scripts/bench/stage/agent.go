package stage

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
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
// if it still runs then. What env has, the environment has besides its own.
func (s *Stage) StartAgent(binary, config string, log *os.File, env ...string) (*Agent, error) {
	return s.StartAgentIn(nil, binary, config, log, env...)
}

// StartAgentIn is StartAgent by way of another command, which becomes the agent: the prefix are its name and first arguments.
func (s *Stage) StartAgentIn(prefix []string, binary, config string, log *os.File, env ...string) (*Agent, error) {
	a := &Agent{done: make(chan struct{})}
	args := append(slices.Clone(prefix), binary, "run", "--config", config)
	// Its end is Stop's or Kill's, not the context's.
	a.cmd = exec.CommandContext(context.WithoutCancel(s.ctx), args[0], args[1:]...)
	a.cmd.Stdout, a.cmd.Stderr = log, log
	a.cmd.Env = append(os.Environ(), env...)
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
func (a *Agent) Status(name string) int64 {
	return field(fmt.Sprintf("/proc/%d/status", a.PID()), name)
}

// field returns the number after a name and a colon, and 0 where there is none.
func field(path, name string) int64 {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	for line := range bytes.Lines(text) {
		key, value, ok := bytes.Cut(line, []byte(":"))
		if words := bytes.Fields(value); ok && string(key) == name && len(words) > 0 {
			n, _ := strconv.ParseInt(string(words[0]), 10, 64)
			return n
		}
	}
	return 0
}

// LoadAverage is that of the last minute, as the machine says.
func LoadAverage() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	load, _, _ := bytes.Cut(text, []byte(" "))
	return fmt.Sprintf("%s on %d cores", load, runtime.NumCPU())
}

// Work is what all threads of a process have done so far.
type Work struct {
	// CPU is user and system time together, which the scheduler counts in nanoseconds.
	CPU time.Duration
	// Waits counts how often a thread went to sleep of its own accord: each is a wake-up. Preempted counts how often one was
	// made to.
	Waits, Preempted int64
	// Written is what went to the storage, in bytes.
	Written int64
}

// Work reads /proc. A thread that has ended is no longer counted; the agent's live as long as it does.
func (a *Agent) Work() (w Work, err error) {
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", a.PID()))
	if err != nil || len(tasks) == 0 {
		return w, fmt.Errorf("list the agent's threads: %d found, %w", len(tasks), err)
	}
	for _, task := range tasks {
		text, err := os.ReadFile(filepath.Join(task, "schedstat"))
		if err != nil {
			return w, fmt.Errorf("read CPU time: %w", err)
		}
		first, _, _ := bytes.Cut(text, []byte(" "))
		nanos, err := strconv.ParseInt(string(first), 10, 64)
		if err != nil {
			return w, fmt.Errorf("read CPU time: %w", err)
		}
		w.CPU += time.Duration(nanos)
		w.Waits += field(filepath.Join(task, "status"), "voluntary_ctxt_switches")
		w.Preempted += field(filepath.Join(task, "status"), "nonvoluntary_ctxt_switches")
	}
	w.Written = field(fmt.Sprintf("/proc/%d/io", a.PID()), "write_bytes")
	return w, nil
}
