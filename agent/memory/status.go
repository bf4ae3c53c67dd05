package memory

import (
	"os"
	"strconv"
	"strings"

	"github.com/edge-eventer/edge-eventer/agent/status"
)

// Status reads the lines of proc(5) status that tell the memory budget. Where there are none, it is 0.
func Status() (m status.Memory) {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return m
	}
	fields := map[string]*int64{"VmRSS": &m.Resident, "RssAnon": &m.Anonymous, "RssFile": &m.File, "VmHWM": &m.Peak}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(line, ":")
		if field := fields[name]; field != nil {
			kib, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
			*field = kib << 10
		}
	}
	return m
}
