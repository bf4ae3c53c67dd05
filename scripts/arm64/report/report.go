// Package report is what the emulated machine of scripts/arm64 says of the agent in it.
package report

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// tick is the unit of CPU times in /proc/PID/stat: USER_HZ is 100 on every architecture of Linux that Go has but one.
const tick = 10 * time.Millisecond

// Sample is the state of the agent and of its machine at one moment. Sizes are in bytes.
type Sample struct {
	// Kernel is its release.
	Kernel   string
	PageSize int
	// MemTotal, MemFree and MemAvailable are the machine's.
	MemTotal, MemFree, MemAvailable int64
	// RssAnon and RssFile are resident now, PeakAnon is the most that RssAnon was since the sample before, HWM (VmHWM) the most
	// that was resident ever.
	RssAnon, RssFile, HWM, PeakAnon int64
	// User and System are the CPU times since the agent's start.
	User, System time.Duration
	// Written is what the agent caused to be written to the disk since its start.
	Written int64
	// Cgroup is the memory that the agent's cgroup is charged with, files of the page cache included, CgroupPeak its peak, and
	// Kills how often the kernel killed in it.
	Cgroup, CgroupPeak, Kills int64
	// Exited says that the agent has ended. All but the machine's figures and the cgroup's is then missing.
	Exited   bool
	ExitCode int
}

// Sampler takes samples of one process.
type Sampler struct {
	// Root is the folder with proc in it.
	Root   string
	PID    int
	Cgroup string

	mu   sync.Mutex
	peak int64
}

// Look notes the process's anonymous memory, if it still runs, for PeakAnon of the next sample.
func (s *Sampler) Look() {
	if status, err := s.fields(s.process("status")); err == nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.peak = max(s.peak, status["RssAnon"])
	}
}

// Take takes a sample. What could be read is in it also when there is an error.
func (s *Sampler) Take() (Sample, error) {
	s.Look()
	sample := Sample{PageSize: os.Getpagesize()}
	machine, err := s.fields(filepath.Join(s.Root, "proc/meminfo"))
	sample.MemTotal, sample.MemFree, sample.MemAvailable = machine["MemTotal"], machine["MemFree"], machine["MemAvailable"]
	events, err2 := s.fields(filepath.Join(s.Cgroup, "memory.events"))
	sample.Kills = events["oom_kill"]
	status, err3 := s.fields(s.process("status"))
	sample.RssAnon, sample.RssFile, sample.HWM = status["RssAnon"], status["RssFile"], status["VmHWM"]
	io, err4 := s.fields(s.process("io"))
	sample.Written = io["write_bytes"]
	var err5, err6, err7 error
	sample.Cgroup, err5 = number(filepath.Join(s.Cgroup, "memory.current"))
	sample.CgroupPeak, err6 = number(filepath.Join(s.Cgroup, "memory.peak"))
	sample.User, sample.System, err7 = s.times()
	release, err8 := os.ReadFile(filepath.Join(s.Root, "proc/sys/kernel/osrelease"))
	sample.Kernel = strings.TrimSpace(string(release))
	s.mu.Lock()
	defer s.mu.Unlock()
	sample.PeakAnon, s.peak = s.peak, 0
	return sample, errors.Join(err, err2, err3, err4, err5, err6, err7, err8)
}

func (s *Sampler) process(file string) string {
	return filepath.Join(s.Root, "proc", strconv.Itoa(s.PID), file)
}

// fields reads lines of a name, a number and perhaps kB. Other lines are left out.
func (s *Sampler) fields(file string) (map[string]int64, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	fields := map[string]int64{}
	for line := range strings.Lines(string(text)) {
		words := strings.Fields(line)
		if len(words) < 2 {
			continue
		}
		n, err := strconv.ParseInt(words[1], 10, 64)
		if err != nil {
			continue
		}
		if len(words) == 3 && words[2] == "kB" {
			n <<= 10
		}
		fields[strings.TrimSuffix(words[0], ":")] = n
	}
	return fields, nil
}

// times reads fields 14 and 15 of /proc/PID/stat. The second is the program's name in brackets, which may hold anything.
func (s *Sampler) times() (user, system time.Duration, err error) {
	text, err := os.ReadFile(s.process("stat"))
	if err != nil {
		return 0, 0, err
	}
	words := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	if len(words) < 13 {
		return 0, 0, fmt.Errorf("read the CPU times: %q", text)
	}
	u, err := strconv.ParseInt(words[11], 10, 64)
	k, err2 := strconv.ParseInt(words[12], 10, 64)
	return time.Duration(u) * tick, time.Duration(k) * tick, errors.Join(err, err2)
}

func number(file string) (int64, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
}
