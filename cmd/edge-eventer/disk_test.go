package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/edge-eventer/edge-eventer/agent/clustertest"
)

// startAgentOnASmallDisk starts the agent in a mount namespace of its own, in which the folder of its spool is a file system of
// 6 MiB in memory. It returns the path by which the test reaches that folder.
func startAgentOnASmallDisk(t *testing.T, config, dir string) (*process, string) {
	t.Helper()
	path, err := buildAgent()
	if err != nil {
		t.Fatal(err)
	}
	args := []string{"--mount"}
	if os.Getuid() != 0 {
		args = append(args, "--user", "--map-root-user")
	}
	args = append(args, "sh", "-c", `mount -t tmpfs -o size=6m tmpfs "$1" && exec "$2" run --config "$3"`, "sh", dir, path, config)
	p := start(t, exec.Command("unshare", args...))
	return p, filepath.Join("/proc", fmt.Sprint(p.cmd.Process.Pid), "root", dir)
}

// fill writes until the disk is full.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for block := bytes.Repeat([]byte{1}, 4096); ; {
		if _, err := f.Write(block); errors.Is(err, syscall.ENOSPC) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

func TestFullDiskLosesNothingAndTheAgentRecovers(t *testing.T) {
	cluster := clustertest.Shared(t)
	a := newArchive(t)
	dir := t.TempDir()
	config := writeConfig(t, cluster.AgentKubeconfig, a.URL, "")
	text, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	text = bytes.Replace(text, fmt.Appendf(nil, "%q", filepath.Join(filepath.Dir(config), "spool", "spool.db")),
		fmt.Appendf(nil, "%q, maxBytes: 4Mi", filepath.Join(dir, "spool.db")), 1)
	// Only this test's events: those of others would have given the file room already.
	text = bytes.Replace(text, fmt.Appendf(nil, "%q}", cluster.AgentKubeconfig), fmt.Appendf(nil, "%q, namespaces: [full]}", cluster.AgentKubeconfig), 1)
	if err := os.WriteFile(config, text, 0o600); err != nil {
		t.Fatal(err)
	}
	cluster.CreateEvents(t, 1, clustertest.EventTemplate{Namespace: "full", Prefix: "before"})
	p, disk := startAgentOnASmallDisk(t, config, dir)
	waitFor(t, a, func() bool { return a.counts["before-00000"] == 1 }, "the event before")

	// Nothing leaves the spool while the receiver is down, so it must grow, and cannot.
	a.setDown(true)
	filler := filepath.Join(disk, "filler")
	fill(t, filler)
	const n = 600
	cluster.CreateEvents(t, n, clustertest.EventTemplate{Namespace: "full", Prefix: "during", MessageBytes: 1000})
	p.waitForLog("the disk of the spool is full")
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	p.waitForLog("spool takes events again")
	a.setDown(false)
	for i := range n {
		name := fmt.Sprintf("during-%05d", i)
		waitFor(t, a, func() bool { return a.counts[name] == 1 }, name)
	}
	if contents, _ := a.repeated(); contents != 0 {
		t.Errorf("%d events were told twice", contents)
	}
}

// TestStatusSaysWhyTheSpoolCannotBeOpened starts the agent with its spool on a read-only file system: there is no socket to ask then,
// and the HTTP port knows why.
func TestStatusSaysWhyTheSpoolCannotBeOpened(t *testing.T) {
	address := freeAddress(t)
	d := newDesk(t, stdoutReceiver)
	text, err := os.ReadFile(d.config)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(d.config, bytes.Replace(text, []byte(`listen: ""`), []byte("listen: "+address), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	path, err := buildAgent()
	if err != nil {
		t.Fatal(err)
	}
	args := []string{"--mount"}
	if os.Getuid() != 0 {
		args = append(args, "--user", "--map-root-user")
	}
	// The configuration is in the same folder, so it is read before the folder is hidden.
	args = append(args, "sh", "-c", `exec 3<"$3"; mount -t tmpfs -o ro tmpfs "$1" && exec "$2" run --config /dev/fd/3`, "sh", filepath.Dir(d.spool), path, d.config)
	p := start(t, exec.Command("unshare", args...))
	p.waitForLog("its file system is read-only")
	_, errOut := d.run("", exitFailed, "status", "--config", d.config)
	if words := strings.Join(strings.Fields(errOut), " "); !strings.Contains(words, "the spool is not open yet: the spool cannot be written, its file system is read-only") {
		t.Errorf("it says:\n%s", errOut)
	}
	p.signal(syscall.SIGTERM)
	if code, _ := p.exit(); code != exitOK {
		t.Errorf("exit code %d", code)
	}
}
