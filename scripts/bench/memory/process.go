package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// sample is what the agent held at one time after its start, in bytes.
type sample struct {
	at                        time.Duration
	anon, file, peak, charged int64
	threads                   int64
}

func (s *sample) resident() int64 { return s.anon + s.file }

// process is the agent under measurement.
type process struct {
	cmd   *exec.Cmd
	group *cgroup
	began time.Time
	// done is closed when it has ended.
	done chan struct{}
	log  *os.File
}

// startAgent starts a copy of the binary that no page cache holds, inside the cgroup.
func startAgent(ctx context.Context, binary, dir string, group *cgroup) (*process, error) {
	fresh := filepath.Join(dir, "edge-eventer")
	// dd writes the file through and tells the kernel that it is not needed in memory.
	for _, args := range [][]string{
		{"dd", "if=" + binary, "of=" + fresh, "bs=1M", "conv=fsync", "status=none"},
		{"dd", "if=" + fresh, "iflag=nocache", "count=0", "status=none"},
		{"chmod", "+x", fresh},
	} {
		if out, err := exec.CommandContext(ctx, args[0], args[1:]...).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("%s: %w\n%s", strings.Join(args, " "), err, out)
		}
	}
	log, err := os.Create(filepath.Join(dir, "agent.log"))
	if err != nil {
		return nil, err
	}
	// The shell enters the cgroup and becomes the agent: nothing of the agent is charged elsewhere.
	p := &process{group: group, done: make(chan struct{}), log: log}
	p.cmd = exec.CommandContext(ctx, "sh", "-c", `echo $$ >"$0" && exec "$@"`, filepath.Join(group.dir, "cgroup.procs"),
		fresh, "run", "--config", filepath.Join(dir, "config.yaml"))
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	p.began = time.Now()
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the agent: %w", err)
	}
	go func() {
		_ = p.cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// stop ends the agent in good order, and with force after ten seconds.
func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	timer := time.AfterFunc(10*time.Second, func() { _ = p.cmd.Process.Kill() })
	defer timer.Stop()
	<-p.done
	_ = p.log.Close()
}

// sample reads /proc/PID/status and the cgroup. It is false once the process is gone.
func (p *process) sample() (sample, bool) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return sample{}, false
	}
	s := sample{at: time.Since(p.began), charged: p.group.usage()}
	for line := range bytes.Lines(text) {
		name, value, _ := strings.Cut(string(line), ":")
		target, unit := (*int64)(nil), int64(1<<10)
		switch name {
		case "RssAnon":
			target = &s.anon
		case "RssFile":
			target = &s.file
		case "VmHWM":
			target = &s.peak
		case "Threads":
			target, unit = &s.threads, 1
		default:
			continue
		}
		n, err := strconv.ParseInt(strings.Fields(value)[0], 10, 64)
		if err != nil {
			return sample{}, false
		}
		*target = n * unit
	}
	// A process that is ending has no memory any more.
	return s, s.anon > 0
}

// mappings are the resident bytes of the process by what is mapped.
type mappings map[string]int64

func (m mappings) total() (n int64) {
	for _, bytes := range m {
		n += bytes
	}
	return n
}

// mappings reads /proc/PID/smaps.
func (p *process) mappings() mappings {
	f, err := os.Open(fmt.Sprintf("/proc/%d/smaps", p.cmd.Process.Pid))
	if err != nil {
		return nil
	}
	defer func() { _ = f.Close() }()
	m := make(mappings)
	name := ""
	scanner := bufio.NewScanner(f)
	for scanner.Scan() {
		fields := strings.Fields(scanner.Text())
		switch {
		case len(fields) >= 5 && strings.Contains(fields[0], "-"):
			path := ""
			if len(fields) > 5 {
				path = fields[5]
			}
			name = mappingName(fields[1], path)
		case len(fields) == 3 && fields[0] == "Rss:":
			kib, _ := strconv.ParseInt(fields[1], 10, 64)
			m[name] += kib << 10
		}
	}
	return m
}

const (
	mapCode, mapData, mapVars   = "binary: code", "binary: read-only data", "binary: variables"
	mapSpool, mapHeap, mapOther = "spool file", "heap and runtime", "stack of the first thread, vdso"
)

func mappingName(access, path string) string {
	switch {
	case strings.HasSuffix(path, "/edge-eventer") && strings.Contains(access, "x"):
		return mapCode
	case strings.HasSuffix(path, "/edge-eventer") && strings.Contains(access, "w"):
		return mapVars
	case strings.HasSuffix(path, "/edge-eventer"):
		return mapData
	case strings.Contains(path, "spool.db"):
		return mapSpool
	case path == "" || strings.HasPrefix(path, "[anon"):
		return mapHeap
	}
	return mapOther
}
