package memory

import (
	"os"
	"path/filepath"
	"testing"
)

// tree writes files below a root of its own.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestCgroupLimitIsFound(t *testing.T) {
	const v1None = "9223372036854771712\n"
	for _, c := range []struct {
		name  string
		files map[string]string
		want  int64
	}{
		{"v2 service", map[string]string{
			"proc/self/cgroup": "0::/system.slice/edge-eventer.service\n",
			"sys/fs/cgroup/system.slice/edge-eventer.service/memory.max": "33554432\n",
			"sys/fs/cgroup/system.slice/memory.max":                      "max\n",
		}, 32 << 20},
		{"v2, the limit is above", map[string]string{
			"proc/self/cgroup": "0::/kubepods/burstable/pod1/c1\n",
			"sys/fs/cgroup/kubepods/burstable/pod1/c1/memory.max": "max\n",
			"sys/fs/cgroup/kubepods/burstable/pod1/memory.max":    "16777216\n",
			"sys/fs/cgroup/kubepods/memory.max":                   "1073741824\n",
		}, 16 << 20},
		{"v2 in a container", map[string]string{
			"proc/self/cgroup":         "0::/\n",
			"sys/fs/cgroup/memory.max": "25165824\n",
		}, 24 << 20},
		{"v2, the process was moved out of its namespace", map[string]string{
			"proc/self/cgroup":         "0::/../../other\n",
			"sys/fs/cgroup/memory.max": "25165824\n",
		}, 24 << 20},
		{"v2 without a limit", map[string]string{
			"proc/self/cgroup":                    "0::/user.slice\n",
			"sys/fs/cgroup/user.slice/memory.max": "max\n",
		}, 0},
		{"v1", map[string]string{
			"proc/self/cgroup": "9:name=systemd:/a\n4:memory:/system.slice/e\n3:cpu,cpuacct:/\n0::/\n",
			"sys/fs/cgroup/memory/system.slice/e/memory.limit_in_bytes": "33554432\n",
			"sys/fs/cgroup/memory/system.slice/memory.limit_in_bytes":   v1None,
			"sys/fs/cgroup/memory/memory.limit_in_bytes":                v1None,
		}, 32 << 20},
		{"v1 in a container that sees the host's path", map[string]string{
			"proc/self/cgroup":                           "4:memory:/kubepods/pod1/c1\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes": "16777216\n",
		}, 16 << 20},
		{"v1 without a limit", map[string]string{
			"proc/self/cgroup":                           "4:memory:/\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes": v1None,
		}, 0},
		{"the memory controller is off, as on a Pi without cgroup_enable=memory", map[string]string{
			"proc/self/cgroup":                    "0::/system.slice\n",
			"sys/fs/cgroup/system.slice/pids.max": "10\n",
		}, 0},
		{"nonsense", map[string]string{
			"proc/self/cgroup":         "nonsense\n::\n0:/\n",
			"sys/fs/cgroup/memory.max": "16777216\n",
		}, 0},
		{"a limit that is no number", map[string]string{
			"proc/self/cgroup":         "0::/\n",
			"sys/fs/cgroup/memory.max": "-5\n",
		}, 0},
		{"no /proc", nil, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := cgroupLimit(tree(t, c.files)); got != c.want {
				t.Errorf("got %d, want %d", got, c.want)
			}
		})
	}
}

func TestEnvironmentWinsOverTheCgroup(t *testing.T) {
	for _, c := range []struct {
		limit int64
		env   map[string]string
		want  Settings
	}{
		{0, nil, Settings{0, 12 << 20, 50}},
		{1 << 30, nil, Settings{1 << 30, 12 << 20, 50}},
		{32 << 20, nil, Settings{32 << 20, 12 << 20, 50}},
		{16 << 20, nil, Settings{16 << 20, 8 << 20, 50}},
		{1 << 20, nil, Settings{1 << 20, 7 << 20, 50}},
		{16 << 20, map[string]string{"GOMEMLIMIT": "9MiB"}, Settings{16 << 20, 0, 50}},
		{16 << 20, map[string]string{"GOMEMLIMIT": "off", "GOGC": "100"}, Settings{CgroupLimit: 16 << 20}},
	} {
		if got := settings(c.limit, func(name string) string { return c.env[name] }); got != c.want {
			t.Errorf("limit %d, environment %v: got %+v, want %+v", c.limit, c.env, got, c.want)
		}
	}
}
