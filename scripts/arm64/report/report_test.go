package report_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/edge-eventer/edge-eventer/scripts/arm64/report"
)

// tree writes files as Linux shows them, of a process whose name was chosen to mislead.
func tree(t *testing.T) report.Sampler {
	t.Helper()
	root := t.TempDir()
	for name, content := range map[string]string{
		"proc/meminfo":              "MemTotal:          35612 kB\nMemFree:            1228 kB\nMemAvailable:      15668 kB\n",
		"proc/sys/kernel/osrelease": "6.1.0-50-arm64\n",
		"proc/7/status":             "Name:\ta) R 1 2\nVmHWM:\t   15872 kB\nRssAnon:\t    2868 kB\nRssFile:\t   13004 kB\n",
		"proc/7/stat":               "7 (a) R 1 2) S 1 7 7 0 -1 4194560 900 0 300 0 118 78 0 0 20 0 6 0\n",
		"proc/7/io":                 "rchar: 10\nwrite_bytes: 53248\ncancelled_write_bytes: 0\n",
		"group/memory.current":      "17000000\n",
		"group/memory.peak":         "18000000\n",
		"group/memory.events":       "low 0\nhigh 0\nmax 3\noom 1\noom_kill 1\noom_group_kill 0\n",
	} {
		file := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return report.Sampler{Root: root, PID: 7, Cgroup: filepath.Join(root, "group")}
}

func TestSampleIsWhatTheKernelShows(t *testing.T) {
	s := tree(t)
	got, err := s.Take()
	if err != nil {
		t.Fatal(err)
	}
	want := report.Sample{
		Kernel: "6.1.0-50-arm64", PageSize: os.Getpagesize(), MemTotal: 35612 << 10, MemFree: 1228 << 10, MemAvailable: 15668 << 10,
		RssAnon: 2868 << 10, RssFile: 13004 << 10, HWM: 15872 << 10, PeakAnon: 2868 << 10,
		User: 1180 * time.Millisecond, System: 780 * time.Millisecond, Written: 53248,
		Cgroup: 17000000, CgroupPeak: 18000000, Kills: 1,
	}
	if got != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestPeakIsSinceTheSampleBefore(t *testing.T) {
	s := tree(t)
	status := filepath.Join(s.Root, "proc/7/status")
	for _, step := range []struct {
		anon string
		want int64
	}{{"9000", 9000 << 10}, {"3000", 3000 << 10}} {
		if err := os.WriteFile(status, []byte("RssAnon: "+step.anon+" kB\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		s.Look()
		if err := os.WriteFile(status, []byte("RssAnon: 100 kB\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := s.Take(); err != nil || got.PeakAnon != step.want {
			t.Errorf("peak of %s kB: %d, %v", step.anon, got.PeakAnon, err)
		}
	}
}

func TestMissingProcessIsAnErrorAndKeepsTheMachinesFigures(t *testing.T) {
	s := tree(t)
	if err := os.RemoveAll(filepath.Join(s.Root, "proc/7")); err != nil {
		t.Fatal(err)
	}
	got, err := s.Take()
	if err == nil || !strings.Contains(err.Error(), "proc/7") || got.MemTotal == 0 || got.Kills != 1 {
		t.Errorf("%+v, %v", got, err)
	}
}
