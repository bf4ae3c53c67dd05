package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"github.com/edge-eventer/edge-eventer/cmd/edge-eventer/cli"
)

// terminal is a pseudo-terminal with a program on it.
type terminal struct {
	t      *testing.T
	master *os.File
	cmd    *exec.Cmd
	screen *lockedBuffer
	done   chan struct{}
}

// onTerminal runs a command with a terminal of its own as its three streams, as a login shell would.
func onTerminal(t *testing.T, command *exec.Cmd) *terminal {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer slave.Close()
	x := &terminal{t: t, master: master, cmd: command, screen: new(lockedBuffer), done: make(chan struct{})}
	command.Stdin, command.Stdout, command.Stderr = slave, slave, slave
	command.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Pdeathsig: syscall.SIGKILL}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		// The read ends with EIO once the program has closed the other end.
		buffer := make([]byte, 4096)
		for {
			n, err := master.Read(buffer)
			_, _ = x.screen.Write(buffer[:n])
			if err != nil {
				return
			}
		}
	}()
	go func() {
		_ = command.Wait()
		<-read
		close(x.done)
	}()
	t.Cleanup(func() {
		_ = command.Process.Kill()
		<-x.done
		_ = master.Close()
	})
	return x
}

// until waits until the screen was sent text n times.
func (x *terminal) until(text string, n int) {
	x.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	timeout := time.After(time.Minute)
	for strings.Count(x.screen.String(), text) < n {
		select {
		case <-tick.C:
		case <-x.done:
			x.t.Fatalf("it ended with exit code %d:\n%s", x.cmd.ProcessState.ExitCode(), x.screen)
		case <-timeout:
			x.t.Fatalf("a minute later the terminal shows:\n%q", x.screen)
		}
	}
}

// exit types ^C and returns the exit code.
func (x *terminal) exit() int {
	x.t.Helper()
	if _, err := x.master.WriteString("\x03"); err != nil {
		x.t.Fatal(err)
	}
	select {
	case <-x.done:
	case <-time.After(time.Minute):
		x.t.Fatal("it did not end at ^C")
	}
	return x.cmd.ProcessState.ExitCode()
}

var (
	escapes = regexp.MustCompile(`\x1b\[[0-9;]*[A-Za-z]`)
	colour  = regexp.MustCompile(`\x1b\[[0-9;]+m`)
)

// TestWatchRedrawsOnATerminal runs status --watch beside an agent on a real terminal, with and without colours and control
// sequences, until ^C.
func TestWatchRedrawsOnATerminal(t *testing.T) {
	t.Parallel()
	d := newDesk(t, stdoutReceiver)
	d.put(3)
	appendTo(t, d.config, "kubernetes: {kubeconfig: "+filepath.Join(t.TempDir(), "missing")+"}\n")
	b := runBeside(t, d)
	const clear = "\x1b[H\x1b[J"
	for _, c := range []struct {
		name, environment string
		colours, redraws  bool
	}{
		{"colours", "TERM=xterm-256color", true, true},
		{"NO_COLOR", "NO_COLOR=1", false, true},
		{"dumb", "TERM=dumb", false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			command := exec.Command(b.binary, "status", "--watch", "--config", b.config)
			command.Env = append(os.Environ(), "NO_COLOR=", "TERM=linux", c.environment)
			x := onTerminal(t, command)
			x.until("RECEIVER", 4) // twice a frame
			if code := x.exit(); code != exitOK {
				t.Errorf("exit code %d after ^C", code)
			}
			screen := x.screen.String()
			if n := strings.Count(screen, clear); (n >= 2) != c.redraws {
				t.Errorf("it cleared the screen %d times", n)
			}
			if colour.MatchString(screen) != c.colours || !c.redraws && strings.Contains(screen, "\x1b") {
				t.Errorf("it shows\n%q", screen)
			}
			if !strings.Contains(screen, "NOT WORKING  shop-1") || !strings.Contains(screen, "cannot sign in to the cluster") {
				t.Errorf("it does not say why:\n%s", screen)
			}
			for line := range strings.Lines(escapes.ReplaceAllString(screen, "")) {
				if n := utf8.RuneCountInString(strings.TrimRight(line, "\r\n")); n > cli.Columns {
					t.Errorf("a line has %d columns: %s", n, line)
				}
			}
		})
	}
	if out, _, code := b.command("", "status"); code != exitOK || strings.Contains(out, "\x1b") {
		t.Errorf("into a pipe, exit code %d:\n%q", code, out)
	}
}

// TestWatchOutlivesTheAgent shows that status --watch says when the agent ends, and goes on.
func TestWatchOutlivesTheAgent(t *testing.T) {
	t.Parallel()
	d := newDesk(t, stdoutReceiver)
	d.put(1)
	appendTo(t, d.config, "kubernetes: {kubeconfig: "+filepath.Join(t.TempDir(), "missing")+"}\n")
	b := runBeside(t, d)
	command := exec.Command(b.binary, "status", "--watch", "--config", b.config)
	command.Env = append(os.Environ(), "TERM=linux")
	x := onTerminal(t, command)
	x.until("RECEIVER", 1)
	b.agent.kill()
	x.until("no agent is running here", 1)
	again := startAgent(t, d.config)
	x.until("agent is running here", 1)
	shown := strings.Count(x.screen.String(), "RECEIVER")
	x.until("RECEIVER", shown+1)
	if code := x.exit(); code != exitOK {
		t.Errorf("exit code %d after ^C", code)
	}
	again.signal(syscall.SIGTERM)
	again.exit()
}

// TestLogIsTextOnATerminalAndJSONElsewhere also shows that a level leaves out what is below it.
func TestLogIsTextOnATerminalAndJSONElsewhere(t *testing.T) {
	d := newDesk(t, stdoutReceiver)
	appendTo(t, d.config, "kubernetes: {kubeconfig: "+filepath.Join(t.TempDir(), "missing")+"}\n")
	binary, err := buildAgent()
	if err != nil {
		t.Fatal(err)
	}
	x := onTerminal(t, exec.Command(binary, "run", "--config", d.config))
	x.until("cannot sign in to the cluster", 1)
	if code := x.exit(); code != exitOK {
		t.Errorf("exit code %d after ^C", code)
	}
	if screen := x.screen.String(); !strings.Contains(screen, "level=INFO msg=started") || strings.Contains(screen, `{"time"`) {
		t.Errorf("on a terminal it logs\n%s", screen)
	}
	p := start(t, exec.Command(binary, "run", "--config", d.config, "--log-level", "error"))
	p.waitForLog(`"level":"ERROR","msg":"cannot sign in to the cluster`)
	p.signal(syscall.SIGTERM)
	if code, _ := p.exit(); code != exitOK || strings.Contains(p.log.String(), `"INFO"`) {
		t.Errorf("exit code %d; at level error it logs\n%s", code, p.log)
	}
}

// TestListFitsTheTerminal gives spool ls a terminal of 50 columns.
func TestListFitsTheTerminal(t *testing.T) {
	binary, err := buildAgent()
	if err != nil {
		t.Fatal(err)
	}
	d := newDesk(t, stdoutReceiver)
	d.put(2)
	command := exec.Command("sh", "-c", `stty cols 50; exec "$0" spool ls --config "$1"`, binary, d.config)
	x := onTerminal(t, command)
	<-x.done
	out := strings.ReplaceAll(x.screen.String(), "\r", "")
	lines := strings.Split(strings.TrimSpace(out), "\n")
	for _, line := range lines {
		if utf8.RuneCountInString(line) > 50 {
			t.Errorf("more than 50 columns: %s", line)
		}
	}
	if len(lines) != 3 || !strings.HasSuffix(lines[1], "…") {
		t.Errorf("the terminal shows:\n%s", out)
	}
}
