package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/edge-eventer/edge-eventer/agent/control"
	"github.com/edge-eventer/edge-eventer/agent/status"
)

// beside is an agent that runs as a process, and the commands that an operator gives beside it.
type beside struct {
	t      *testing.T
	agent  *process
	config string
	binary string
}

// runBeside starts an agent on a spool that d.put filled. Its cluster is away.
func runBeside(t *testing.T, d *desk) *beside {
	t.Helper()
	binary, err := buildAgent()
	if err != nil {
		t.Fatal(err)
	}
	b := &beside{t: t, agent: startAgent(t, d.config), config: d.config, binary: binary}
	b.agent.waitForLog("cannot sign in to the cluster")
	until(b.t, "the control socket answers", func() bool {
		_, err := os.Stat(control.SocketPath(d.spool))
		return err == nil
	})
	return b
}

// command runs the binary with the configuration's flag behind all others, and returns what it printed and its exit code.
func (b *beside) command(in string, args ...string) (out, errOut string, code int) {
	b.t.Helper()
	command := exec.CommandContext(b.t.Context(), b.binary, append(args, "--config", b.config)...)
	var o, e bytes.Buffer
	command.Stdin, command.Stdout, command.Stderr = strings.NewReader(in), &o, &e
	err := command.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return o.String(), e.String(), exit.ExitCode()
	}
	if err != nil {
		b.t.Fatal(err)
	}
	return o.String(), e.String(), exitOK
}

func (b *beside) status() status.Document {
	b.t.Helper()
	out, errOut, code := b.command("", "status", "-o", "json")
	var s status.Document
	if err := json.Unmarshal([]byte(out), &s); err != nil || code != exitOK {
		b.t.Fatalf("status: exit code %d, %v\n%s%s", code, err, out, errOut)
	}
	return s
}

// queue returns the entries of ops as export prints them.
func (b *beside) queue() []control.Entry {
	b.t.Helper()
	out, errOut, code := b.command("", "spool", "export")
	if code != exitOK {
		b.t.Fatalf("export: exit code %d: %s", code, errOut)
	}
	var entries []control.Entry
	for line := range strings.Lines(out) {
		var e control.Entry
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			b.t.Fatalf("export: %v in %s", err, line)
		}
		entries = append(entries, e)
	}
	return entries
}

// TestSpoolCommandsWorkBesideTheRunningAgent gives every spool command to a process, while the agent, another process, holds the
// spool's lock and its receiver is down.
func TestSpoolCommandsWorkBesideTheRunningAgent(t *testing.T) {
	a := newArchive(t)
	a.setDown(true)
	d := newDesk(t, "{name: ops, type: webhook, url: '"+a.URL+"', maxBackoff: 1h}")
	d.put(5)
	appendTo(t, d.config, "kubernetes: {kubeconfig: "+filepath.Join(t.TempDir(), "missing")+"}\n")
	b := runBeside(t, d)

	out, _, code := b.command("", "spool", "ls")
	if code != exitOK || strings.Count(out, "\n") != 6 || strings.Count(out, " dead ") != 1 {
		t.Errorf("ls: exit code %d\n%s", code, out)
	}
	entries := b.queue()
	if len(entries) != 5 || !entries[4].Dead {
		t.Fatalf("export shows %d entries", len(entries))
	}
	waiting, dead := entries[0], entries[4]

	// Flags may stand behind the IDs.
	out, errOut, code := b.command("", "spool", "show", waiting.ID[:12], "--receiver", "ops")
	var shown control.Entry
	if err := json.Unmarshal([]byte(out), &shown); err != nil || code != exitOK || shown.ID != waiting.ID {
		t.Errorf("show: exit code %d, %v\n%s%s", code, err, out, errOut)
	}
	if _, errOut, code := b.command("", "spool", "show", "0000000000"); code != exitFailed || !strings.Contains(errOut, "nothing in the spool has this id") {
		t.Errorf("show of what is not there: exit code %d: %s", code, errOut)
	}

	// No answer, a no, and then a yes.
	for _, no := range []string{"", "no\n"} {
		if _, errOut, code := b.command(no, "spool", "drop", waiting.ID, "--receiver", "ops"); code != exitFailed || !strings.Contains(errOut, "Type yes") || len(b.queue()) != 5 {
			t.Errorf("drop, answered %q: exit code %d: %s; %d entries are left", no, code, errOut, len(b.queue()))
		}
	}
	if out, errOut, code := b.command("yes\n", "spool", "drop", waiting.ID); code != exitOK || out != "dropped 1 incidents with 2 untold events\n" {
		t.Errorf("drop: exit code %d: %s%s", code, out, errOut)
	}
	if out, errOut, code := b.command("", "spool", "drop", "--receiver", "ops", entries[1].ID, "--yes"); code != exitOK || len(b.queue()) != 3 {
		t.Errorf("drop --yes: exit code %d: %s%s", code, out, errOut)
	}
	if losses := b.status().Receivers[0].Losses; len(losses) != 2 || losses[0].Cause != "dropped" || losses[0].Events != 4 {
		t.Errorf("losses: %+v", losses)
	}

	// The receiver is back. Without retry it would be tried in up to an hour; the dead letter goes along.
	a.setDown(false)
	if out, errOut, code := b.command("", "spool", "retry", "--receiver", "ops"); code != exitOK || out != "1 incidents with 2 events are due now\n" {
		t.Errorf("retry: exit code %d: %s%s", code, out, errOut)
	}
	until(b.t, "what waited and the dead letter "+dead.ID[:8]+" are delivered", func() bool {
		r := b.status().Receivers[0]
		return r.Untold == 0 && r.Dead == 0 && r.Delivered >= 6
	})
	b.agent.signal(15)
	if code, _ := b.agent.exit(); code != exitOK {
		t.Errorf("exit code %d", code)
	}
	// The agent is gone, and its socket with it: the same command opens the file, from which everything was delivered.
	if _, err := os.Stat(control.SocketPath(d.spool)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket: %v", err)
	}
	if out, errOut, code := b.command("", "spool", "ls"); code != exitOK || strings.Count(out, "\n") != 1 {
		t.Errorf("ls on the file: exit code %d\n%s%s", code, out, errOut)
	}
}

// TestClosedOutputStopsOneReceiverOnly gives the agent a standard output, and then also a log, that nobody reads any more, as
// `edge-eventer run | head -1` does.
func TestClosedOutputStopsOneReceiverOnly(t *testing.T) {
	a := newArchive(t)
	d := newDesk(t, stdoutReceiver, "{name: archive, type: webhook, url: '"+a.URL+"'}")
	appendTo(t, d.config, "kubernetes: {kubeconfig: "+filepath.Join(t.TempDir(), "missing")+"}\n")
	binary, err := buildAgent()
	if err != nil {
		t.Fatal(err)
	}
	for _, logToo := range []bool{false, true} {
		d.putFor("ops", 3)
		d.putFor("archive", 3)
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		command := exec.Command(binary, "run", "--config", d.config)
		command.Stdout = w
		if logToo {
			command.Stderr = w
		}
		b := &beside{t: t, agent: start(t, command), config: d.config, binary: binary}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		until(t, "the control socket answers", func() bool { _, _, code := b.command("", "status"); return code == exitOK })
		until(t, "the archive has its events, and the output was tried", func() bool {
			s := b.status()
			return s.Receivers[1].Untold == 0 && s.Receivers[0].Attempts["retry"] > 0
		})
		if r := b.status().Receivers[0]; r.LastError == "" || r.Untold == 0 {
			t.Errorf("the receiver of the output is %+v", r)
		}
		b.agent.signal(syscall.SIGTERM)
		if code, _ := b.agent.exit(); code != exitOK {
			t.Errorf("exit code %d", code)
		}
	}
}

// TestExportThatNobodyReadsKeepsNoAgentFromItsStart is `spool export | less` on a stopped agent, which is started then.
func TestExportThatNobodyReadsKeepsNoAgentFromItsStart(t *testing.T) {
	const n = 1000
	a := newArchive(t)
	a.setDown(true)
	d := newDesk(t, "{name: ops, type: webhook, url: '"+a.URL+"'}")
	d.put(n)
	appendTo(t, d.config, "kubernetes: {kubeconfig: "+filepath.Join(t.TempDir(), "missing")+"}\n")
	binary, err := buildAgent()
	if err != nil {
		t.Fatal(err)
	}
	export := exec.CommandContext(t.Context(), binary, "spool", "export", "--config", d.config)
	out, err := export.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := export.Start(); err != nil {
		t.Fatal(err)
	}
	// The first line is there; the pipe takes 64 KiB more, and then it waits for us.
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	if !lines.Scan() {
		t.Fatalf("export printed nothing: %v", lines.Err())
	}
	b := runBeside(t, d)
	if s := b.status(); s.Receivers[0].Records != n-1 || s.Receivers[0].Dead != 1 {
		t.Errorf("the agent has %+v", s.Receivers[0])
	}
	ids := make(map[string]bool)
	for printed := true; printed; printed = lines.Scan() {
		var e control.Entry
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			t.Fatalf("export: %v in %s", err, lines.Bytes())
		}
		ids[e.ID] = true
	}
	if err := errors.Join(lines.Err(), export.Wait()); err != nil || len(ids) != n {
		t.Errorf("export printed %d of %d entries: %v", len(ids), n, err)
	}
}

func appendTo(t *testing.T, path, text string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
}

// asNobody runs the binary as another user.
func (b *beside) asNobody(group uint32, args ...string) (said string, code int) {
	b.t.Helper()
	command := exec.CommandContext(b.t.Context(), b.binary, append(args, "--config", b.config)...)
	if os.Getuid() != 0 {
		return "", exitUnknown
	}
	command.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: group}}
	out, err := command.CombinedOutput()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return string(out), exit.ExitCode()
	}
	if err != nil {
		b.t.Fatal(err)
	}
	return string(out), exitOK
}

// TestStatusWithoutPermissionIsNotTakenForAFault asks as another user, and as a member of server.socketGroup. Only root can become one.
func TestStatusWithoutPermissionIsNotTakenForAFault(t *testing.T) {
	binary, err := buildAgent()
	if err != nil {
		t.Fatal(err)
	}
	const group = 64321
	for _, open := range []bool{false, true} {
		d := newDesk(t, stdoutReceiver)
		text, err := os.ReadFile(d.config)
		if err != nil {
			t.Fatal(err)
		}
		server := "server: {listen: \"\"}"
		if open {
			server = "server: {listen: \"\", socketGroup: \"64321\"}"
		}
		if err := os.WriteFile(d.config, []byte(strings.Replace(string(text), "server: {listen: \"\"}", server, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
		appendTo(t, d.config, "kubernetes: {kubeconfig: "+filepath.Join(t.TempDir(), "missing")+"}\n")
		// Others may reach the socket's folder, the binary and the configuration.
		for _, dir := range []string{filepath.Dir(d.config), filepath.Dir(filepath.Dir(d.config)), filepath.Dir(binary)} {
			if err := os.Chmod(dir, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		b := runBeside(t, d)
		if said, code := b.asNobody(65534, "status"); os.Getuid() == 0 && (code != exitUnknown || !strings.Contains(said, "run it with sudo")) {
			t.Errorf("a configuration that may not be read: exit code %d: %s", code, said)
		}
		if err := os.Chmod(d.config, 0o644); err != nil {
			t.Fatal(err)
		}
		if os.Getuid() != 0 {
			continue
		}
		said, code := b.asNobody(65534, "status")
		if words := strings.Join(strings.Fields(said), " "); code != exitUnknown || !strings.HasPrefix(words, "UNKNOWN ! cannot ask the agent: permission denied; run it with sudo") {
			t.Errorf("as nobody: exit code %d: %s", code, said)
		}
		if said, code := b.asNobody(65534, "spool", "ls"); code != exitFailed || !strings.Contains(said, "permission denied; run it with sudo") {
			t.Errorf("spool ls as nobody: exit code %d: %s", code, said)
		}
		if said, code := b.asNobody(group, "status"); (code == exitOK) != open {
			t.Errorf("with a socket for the group %v, a member's exit code is %d: %s", open, code, said)
		}
	}
}
