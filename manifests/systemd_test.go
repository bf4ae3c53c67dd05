package manifests_test

import (
	"bufio"
	"bytes"
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// unit is a systemd unit: the values of each key in their order.
type unit map[string][]string

// get returns the last value of a key, which is the one in force where a key takes one value.
func (u unit) get(key string) string {
	values := u[key]
	if len(values) == 0 {
		return ""
	}
	return values[len(values)-1]
}

// command is a command line of the unit as systemd starts it: without the prefixes of the path, and with its own escapes undone.
func (u unit) command(key string) string {
	line := strings.TrimLeft(u.get(key), "-+!@:")
	return strings.NewReplacer("$$", "$", "%%", "%", "%n", "edge-eventer.service").Replace(line)
}

func readUnit(t *testing.T) unit {
	t.Helper()
	f, err := os.Open("systemd/edge-eventer.service")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	u := unit{}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		line := lines.Text()
		if line == "" || line[0] == '#' || line[0] == '[' {
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		if !ok || strings.HasSuffix(line, `\`) {
			t.Fatalf("line %q is no KEY=VALUE", line)
		}
		u[key] = append(u[key], value)
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return u
}

// TestUnitKeepsTheAgentSmallAloneAndWatched holds what `systemd-analyze security` and the design ask for.
func TestUnitKeepsTheAgentSmallAloneAndWatched(t *testing.T) {
	u := readUnit(t)
	for key, want := range map[string]string{
		"Type": "notify", "NotifyAccess": "main", "Restart": "always", "MemoryMax": "32M", "DynamicUser": "yes",
		"StateDirectory": "edge-eventer", "Before": "k3s.service", "NoNewPrivileges": "yes", "ProtectSystem": "strict",
		"CapabilityBoundingSet": "", "PrivateUsers": "yes", "MemoryDenyWriteExecute": "yes", "WantedBy": "multi-user.target",
		"StartLimitIntervalSec": "0", "ExecReload": `/bin/sh -c "kill -HUP $MAINPID"`,
	} {
		if got, ok := u[key]; !ok || got[len(got)-1] != want {
			t.Errorf("%s=%v, want %q", key, got, want)
		}
	}
	// The agent must come up before K3s and stay when K3s goes.
	for _, key := range []string{"Requires", "BindsTo", "PartOf", "Wants", "Requisite"} {
		if got := u[key]; got != nil {
			t.Errorf("%s=%v ties the agent to another unit", key, got)
		}
	}
	if slices.Contains(strings.Fields(u.get("After")), "network-online.target") {
		t.Error("the agent waits for the network, which may be away for days")
	}
}

// TestNoCredentialIsNeededToStart: systemd refuses to start a unit when a file that LoadCredential= names is missing; a folder
// may be empty. Whoever installs the unit makes the folder.
func TestNoCredentialIsNeededToStart(t *testing.T) {
	for _, value := range readUnit(t)["LoadCredential"] {
		_, folder, _ := strings.Cut(value, ":")
		if folder != "/etc/edge-eventer/secrets" {
			t.Errorf("LoadCredential=%s: not the folder of secrets", value)
		}
		for _, script := range []string{"../scripts/deb", "../scripts/install.sh"} {
			text, err := os.ReadFile(script)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(string(text), `install -d -m 700 "$`) || !strings.Contains(string(text), `/secrets"`) {
				t.Errorf("%s does not make %s for root alone", script, folder)
			}
		}
	}
}

// TestSystemdHearsThatTheAgentIsReadyAliveAndStopping starts the real binary as systemd does. No API server answers and no
// receiver is reachable: neither delays the start nor starves the watchdog.
func TestSystemdHearsThatTheAgentIsReadyAliveAndStopping(t *testing.T) {
	dir, err := os.MkdirTemp("", "ee.") // A socket's path has at most 107 bytes, which t.TempDir may exceed.
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	binary := filepath.Join(dir, "edge-eventer")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "../cmd/edge-eventer").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	files := map[string]string{
		"config.yaml": `
kubernetes: {kubeconfig: ` + dir + `/kubeconfig}
spool: {path: ` + dir + `/spool/spool.db}
server: {listen: ""}
receivers:
  - {name: ops, type: feishu, urlFile: ` + dir + `/missing}
`,
		"kubeconfig": `
apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "https://127.0.0.1:1"}}]
contexts: [{name: c, context: {cluster: c, user: u}}]
users: [{name: u, user: {token: t}}]
current-context: c
`,
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram", Name: filepath.Join(dir, "notify")})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = socket.Close() }()

	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var log bytes.Buffer
	agent := exec.CommandContext(ctx, binary, "run", "--config", filepath.Join(dir, "config.yaml"))
	agent.Env = append(os.Environ(), "NOTIFY_SOCKET="+filepath.Join(dir, "notify"), "WATCHDOG_USEC="+strconv.Itoa(300_000))
	agent.Stderr = &log
	if err := agent.Start(); err != nil {
		t.Fatal(err)
	}
	// The process is waited for once, here or below.
	exited := make(chan error, 1)
	go func() { exited <- agent.Wait() }()

	deadline, _ := ctx.Deadline()
	if err := socket.SetReadDeadline(deadline); err != nil {
		t.Fatal(err)
	}
	hear := func() string {
		t.Helper()
		b := make([]byte, 4096)
		n, err := socket.Read(b)
		if err != nil {
			cancel()
			t.Fatalf("nothing heard: %v; the agent ended with: %v\n%s", err, <-exited, log.String())
		}
		return strings.TrimSpace(string(b[:n]))
	}
	for i, want := range []string{"READY=1", "WATCHDOG=1", "WATCHDOG=1", "WATCHDOG=1"} {
		if got := hear(); got != want {
			t.Fatalf("message %d is %q, want %q", i, got, want)
		}
	}
	if err := agent.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for {
		if got := hear(); got == "STOPPING=1" {
			break
		} else if got != "WATCHDOG=1" {
			t.Fatalf("heard %q, want STOPPING=1", got)
		}
	}
	if err := <-exited; err != nil {
		t.Errorf("the agent ended with %v\n%s", err, log.String())
	}
}

// TestReloadChecksTheConfigurationFirst: a command that fails ends the reload, and the agent keeps running.
func TestReloadChecksTheConfigurationFirst(t *testing.T) {
	u := readUnit(t)
	want := []string{"/usr/bin/edge-eventer check-config /etc/edge-eventer/config.yaml", `/bin/sh -c "kill -HUP $MAINPID"`}
	if got := u["ExecReload"]; !slices.Equal(got, want) {
		t.Errorf("ExecReload=%q, want %q", got, want)
	}
	if start := u.get("ExecStart"); !strings.HasSuffix(start, " run --config /etc/edge-eventer/config.yaml") {
		t.Errorf("the agent reads another file: %s", start)
	}
	root := t.TempDir()
	install(t, unpacked(t, program), root, "")
	if text := readText(t, filepath.Join(root, "etc/systemd/system/edge-eventer.service")); strings.Contains(text, "=/usr/bin/edge-eventer") {
		t.Error("a command of install.sh's unit is not there")
	}
}

// TestUnitThatCannotStartBacksOffUntilTheConfigurationChanges runs the unit's own command with a clock that jumps.
func TestUnitThatCannotStartBacksOffUntilTheConfigurationChanges(t *testing.T) {
	command := readUnit(t).command("ExecStartPre")
	const fakes = `printf '#!/bin/sh\n[ "$*" = "show -P NRestarts edge-eventer.service" ] && cat /tmp/restarts\n' >/fake/systemctl
printf '#!/bin/sh\necho "$1" >>/tmp/slept\n[ ! -e /tmp/change ] || touch -d @1900000000 /etc/edge-eventer/config.yaml\n' >/fake/sleep
chmod 755 /fake/*
mkdir /etc/edge-eventer
`
	for _, c := range []struct {
		before string
		want   int // seconds
	}{
		{"echo 0 >/tmp/restarts", 0}, {"echo 5 >/tmp/restarts", 0}, {"echo 6 >/tmp/restarts", 60}, {"echo 8 >/tmp/restarts", 180},
		{"echo 14 >/tmp/restarts", 540}, {"echo 15 >/tmp/restarts", 590}, {"echo 4000 >/tmp/restarts", 590}, {": >/tmp/restarts", 0},
		{"echo 4000 >/tmp/restarts; : >/etc/edge-eventer/config.yaml", 590},
		{"echo 4000 >/tmp/restarts; : >/etc/edge-eventer/config.yaml; : >/tmp/change", 10},
		{"echo 4000 >/tmp/restarts; : >/tmp/change", 10},
	} {
		out, err := machine(t, unpacked(t, program), fakes+c.before+"\n: >/tmp/slept\n"+command+"\ncat /tmp/slept")
		slept := 0
		for line := range strings.FieldsSeq(out) {
			n, err := strconv.Atoi(line)
			if err != nil {
				t.Fatalf("%s: it says: %s", c.before, out)
			}
			slept += n
		}
		if err != nil || slept != c.want {
			t.Errorf("%s: it waits %d s, want %d: %v\n%s", c.before, slept, c.want, err, out)
		}
	}
	u := readUnit(t)
	if got, want := u.get("TimeoutStartSec"), "11min"; got != want {
		t.Errorf("TimeoutStartSec=%s would end the pause, want %s", got, want)
	}
}
