package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/edge-eventer/edge-eventer/notify/notifytest/engine"
)

// firstRecord is a section of an engine's page: a configuration and three commands, of which the first starts the engine.
type firstRecord struct {
	config, send, read string
}

func readFirstRecord(t *testing.T, page, heading string) firstRecord {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "notify", page, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(text), "\n## "+heading+"\n")
	section, _, _ = strings.Cut(section, "\n## ")
	config, rest, hasConfig := strings.Cut(section, "```\n\n```sh\n")
	_, config, _ = strings.Cut(config, "```yaml\n")
	commands, _, _ := strings.Cut(rest, "```")
	lines := strings.Split(strings.TrimSpace(commands), "\n")
	if !found || !hasConfig || len(lines) != 3 || !strings.HasPrefix(lines[0], "docker run ") {
		t.Fatalf("%s, %s: a configuration and three commands, got %q", page, heading, lines)
	}
	return firstRecord{config: config, send: lines[1], read: lines[2]}
}

// run types the second and the third command as the page prints them, for an engine that is at another address than the page's, and
// returns what the third prints.
func (f *firstRecord) run(t *testing.T, replacements ...string) string {
	t.Helper()
	agent, err := buildAgent()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	replace := strings.NewReplacer(replacements...)
	if err := os.WriteFile(filepath.Join(dir, "first.yaml"), []byte(replace.Replace(f.config)), 0o600); err != nil {
		t.Fatal(err)
	}
	shell := func(line string) string {
		command := exec.CommandContext(t.Context(), "sh", "-c", line)
		command.Dir, command.Env = dir, append(os.Environ(), "PATH="+filepath.Dir(agent)+":"+os.Getenv("PATH"))
		out, err := command.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", line, err, out)
		}
		return string(out)
	}
	t.Logf("%s", shell(f.send))
	if f.read == "" {
		return ""
	}
	var out string
	// An engine shows a record about a second after it said yes.
	engine.Until(t, time.Minute, "the page's third command shows the record", func() bool {
		out = shell(replace.Replace(f.read))
		return strings.Contains(out, "edge-eventer-test") || strings.Contains(out, "kubernetes_events")
	})
	return out
}

// TestThreeCommandsOfAnEnginesPageGiveAFirstRecord runs what the pages print, against the real engines but for the first command, which
// starts one in a container.
func TestThreeCommandsOfAnEnginesPageGiveAFirstRecord(t *testing.T) {
	logs, metrics := engine.VictoriaLogs(t), engine.VictoriaMetrics(t)
	for _, c := range []struct{ page, heading, address, url, want string }{
		{"otlp", "VictoriaLogs", "http://localhost:9428", logs.URL, `"k8s.event.reason":"BackOff"`},
		{"elasticsearch", "VictoriaLogs in its place", "http://localhost:9428", logs.URL, `"workload":"edge-eventer-test"`},
		{"influxdb", "VictoriaMetrics", "http://localhost:8428", metrics.URL, `"reason":"BackOff"`},
	} {
		t.Run(c.page, func(t *testing.T) {
			first := readFirstRecord(t, c.page, c.heading)
			if out := first.run(t, c.address, c.url); !strings.Contains(out, c.want) {
				t.Errorf("the third command prints no %s:\n%s", c.want, out)
			}
		})
	}
	t.Run("kafka", func(t *testing.T) {
		bus := newBus(t, "events-default")
		first := readFirstRecord(t, "kafka", "Redpanda")
		if !strings.HasPrefix(first.read, "kcat -C -b localhost:9092 -t events-default ") {
			t.Errorf("the third command is %q", first.read)
		}
		// Not every machine has kcat.
		first.read = ""
		first.run(t, "localhost:9092", strings.Join(bus.ListenAddrs(), ", "))
		if n := bus.stored("events-default"); n != 1 {
			t.Errorf("%d records, want one", n)
		}
	})
}
