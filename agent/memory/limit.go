package memory

import (
	"math"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
)

// none is more memory than any limit that someone meant. Version 1 says "no limit" as a number near the largest int64.
const none = math.MaxInt64 / 2

// cgroupLimit returns the smallest memory limit of the process's cgroup and those above it, in bytes, as far as they can be seen
// below root, which is "/" but in tests; 0: there is none.
func cgroupLimit(root string) int64 {
	// The file is bounded: a line for each hierarchy.
	text, err := os.ReadFile(filepath.Join(root, "proc/self/cgroup"))
	if err != nil {
		return 0
	}
	mount, file, group := "", "", ""
	for line := range strings.Lines(string(text)) {
		// 4:memory:/path in version 1, 0::/path in version 2. A machine may have both: then the memory is where its name is.
		fields := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(fields) != 3 {
			continue
		}
		if fields[1] == "memory" {
			mount, file, group = "sys/fs/cgroup/memory", "memory.limit_in_bytes", fields[2]
			break
		}
		if fields[0] == "0" {
			mount, file, group = "sys/fs/cgroup", "memory.max", fields[2]
		}
	}
	if mount == "" {
		return 0
	}
	limit := int64(none)
	// In a container the path may be the host's, of which the mount shows only the last part, as its root: what does not exist is
	// passed over on the way up. Cleaning keeps a path with ".." below the mount.
	for group = path.Clean("/" + group); ; group = path.Dir(group) {
		if n := readLimit(filepath.Join(root, mount, group, file)); n > 0 {
			limit = min(limit, n)
		}
		if group == "/" {
			break
		}
	}
	if limit == none {
		return 0
	}
	return limit
}

// readLimit returns 0 for "max" and for anything else that is no number.
func readLimit(file string) int64 {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	if err != nil {
		return 0
	}
	return n
}
