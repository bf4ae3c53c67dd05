//go:build mosquitto

package mqtt_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/edge-eventer/edge-eventer/notify"
	"github.com/edge-eventer/edge-eventer/notify/mqtt"
	"github.com/edge-eventer/edge-eventer/notify/notifytest"
)

// mosquitto is Debian's broker, with TLS, passwords and rules of who may write where.
type mosquitto struct {
	dir, config, address string
	command              *exec.Cmd
}

const mosquittoPassword = "right-password"

func startMosquitto(t *testing.T, authority *notifytest.Authority) *mosquitto {
	t.Helper()
	dir := t.TempDir()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	_ = l.Close()
	m := &mosquitto{dir: dir, config: filepath.Join(dir, "m.conf"), address: address}
	write(t, m.file("ca.pem"), authority.PEM())
	identity(t, authority, "127.0.0.1", m.file("cert.pem"), m.file("key.pem"))
	if out, err := exec.Command("mosquitto_passwd", "-c", "-b", m.file("passwd"), "shop-1", mosquittoPassword).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if out, err := exec.Command("mosquitto_passwd", "-b", m.file("passwd"), "centre", mosquittoPassword).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	// As the guide says: a site writes below its own name only.
	write(t, m.file("acl"), []byte("user centre\ntopic read edge-eventer/#\npattern write edge-eventer/%u/#\n"))
	_, port, _ := net.SplitHostPort(address)
	// It may run as root in CI, and would become a user that cannot read the folder.
	write(t, m.config, fmt.Appendf(nil, `user root
listener %s 127.0.0.1
cafile %s
certfile %s
keyfile %s
allow_anonymous false
password_file %s
acl_file %s
persistence true
persistence_location %s/
message_size_limit 20000
`, port, m.file("ca.pem"), m.file("cert.pem"), m.file("key.pem"), m.file("passwd"), m.file("acl"), dir))
	m.start(t)
	t.Cleanup(m.kill)
	return m
}

func (m *mosquitto) file(name string) string { return filepath.Join(m.dir, name) }

func (m *mosquitto) start(t *testing.T) {
	t.Helper()
	log, err := os.OpenFile(m.file("log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = log.Close() }()
	m.command = exec.Command("mosquitto", "-c", m.config)
	m.command.Stdout, m.command.Stderr = log, log
	if err := m.command.Start(); err != nil {
		t.Fatal(err)
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	patience := time.After(time.Minute)
	for {
		if c, err := net.Dial("tcp", m.address); err == nil {
			_ = c.Close()
			return
		}
		select {
		case <-tick.C:
		case <-patience:
			text, _ := os.ReadFile(m.file("log"))
			t.Fatalf("mosquitto does not listen: %s", text)
		}
	}
}

func (m *mosquitto) kill() {
	_ = m.command.Process.Kill()
	_ = m.command.Wait()
}

// reader is mosquitto_sub, a foreign client with a session that outlives the broker.
type reader struct {
	command *exec.Cmd
	lines   chan string
}

// readers counts them: each has a name of its own.
var readers atomic.Int64

func (m *mosquitto) read(t *testing.T, filter string) *reader {
	t.Helper()
	host, port, _ := net.SplitHostPort(m.address)
	c := exec.Command("stdbuf", "-oL", "mosquitto_sub", "-V", "mqttv5", "-h", host, "-p", port, "--cafile", m.file("ca.pem"), "-u", "centre", "-P", mosquittoPassword,
		"-q", "1", "-c", "-x", "3600", "-i", fmt.Sprintf("centre-%d", readers.Add(1)), "-t", filter, "-F", "%r %t %p", "-d")
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.Stderr = c.Stdout
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	r := &reader{command: c, lines: make(chan string, 10_000)}
	subscribed, once := make(chan struct{}), new(sync.Once)
	go func() {
		defer close(r.lines)
		for s := bufio.NewScanner(io.LimitReader(out, 64<<20)); s.Scan(); {
			line := s.Text()
			if strings.HasPrefix(line, "Subscribed ") {
				once.Do(func() { close(subscribed) })
			}
			if strings.Contains(line, " edge-eventer/") && (line[0] == '0' || line[0] == '1') {
				r.lines <- line
			}
		}
	}()
	t.Cleanup(func() { _ = c.Process.Kill(); _ = c.Wait() })
	select {
	case <-subscribed:
	case <-time.After(20 * time.Second):
		text, _ := os.ReadFile(m.file("log"))
		t.Fatalf("mosquitto_sub has not subscribed: %s", text)
	}
	return r
}

func (r *reader) take(t *testing.T, n int) (lines []string) {
	t.Helper()
	patience := time.After(time.Minute)
	for len(lines) < n {
		select {
		case line := <-r.lines:
			lines = append(lines, line)
		case <-patience:
			t.Fatalf("mosquitto_sub shows %d of %d messages", len(lines), n)
		}
	}
	return lines
}

// TestMosquitto goes through what a fleet meets at Debian's broker.
func TestMosquitto(t *testing.T) {
	authority, err := notifytest.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	m := startMosquitto(t, authority)
	common := notify.Common{TLS: notify.TLS{CAFile: m.file("ca.pem")}}
	signedIn := func(s *mqtt.Config) {
		s.URL, s.User, s.Password = notify.SecretValue("mqtts://"+m.address), "shop-1", notify.SecretValue(mosquittoPassword)
	}
	r := receiver(t, m.address, signedIn, common)

	e := failure(t, send(t, r, message("shop", 3), time.Minute))
	if e.Outcome != notify.BadTarget || e.Code != "0x10" || !e.GroupOnly {
		t.Errorf("before anybody has subscribed: %v, %s", e, e.Outcome)
	}
	centre := m.read(t, "edge-eventer/+/events/#")
	if err := send(t, r, message("shop", 100), time.Minute); err != nil {
		t.Fatal(err)
	}
	for i, line := range centre.take(t, 100) {
		_, text, _ := strings.Cut(line, "edge-eventer/shop-1/events/shop ")
		var v struct{ ID string }
		if err := json.Unmarshal([]byte(text), &v); err != nil || v.ID != fmt.Sprintf("incident-%d", i) {
			t.Fatalf("%v: message %d is %.200s", err, i, line)
		}
	}

	long := message("shop", 2)
	long.Incidents[0].Message = strings.Repeat("x", 30_000)
	if e := failure(t, send(t, r, long, time.Minute)); e.Outcome != notify.BadPayload || !slices.Equal(e.Refused, []int{0}) {
		t.Errorf("too long a message: %v, %s, refused %v", e, e.Outcome, e.Refused)
	}
	elsewhere := receiver(t, m.address, func(s *mqtt.Config) { signedIn(s); s.Topic = "edge-eventer/shop-2/events/x" }, common)
	if e := failure(t, send(t, elsewhere, message("shop", 2), time.Minute)); e.Outcome != notify.BadTarget || e.Code != "0x87" || !e.GroupOnly {
		t.Errorf("the topic of another site: %v, %s", e, e.Outcome)
	}
	stranger := receiver(t, m.address, func(s *mqtt.Config) { signedIn(s); s.Password = notify.SecretValue("wrong-password") }, common)
	if e := failure(t, send(t, stranger, message("shop", 1), time.Minute)); e.Outcome != notify.BadTarget || !strings.Contains(e.Error(), "not authorized") {
		t.Errorf("a wrong password: %v, %s", e, e.Outcome)
	}

	// Killed between two attempts and started again, with a reader whose session it keeps on disk.
	centre.take(t, 1)
	m.kill()
	if e := failure(t, send(t, r, message("shop", 1), time.Minute)); e.Outcome != notify.Retry {
		t.Errorf("without a broker: %v, %s", e, e.Outcome)
	}
	m.start(t)
	again := m.read(t, "edge-eventer/+/events/#")
	if err := send(t, r, message("shop", 5), time.Minute); err != nil {
		t.Fatalf("a broker that was killed and is back: %v", err)
	}
	again.take(t, 5)
}

// TestMosquittoSaysThatASiteIsLost reads the retained state with a client that connects only afterwards.
func TestMosquittoSaysThatASiteIsLost(t *testing.T) {
	authority, err := notifytest.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	m := startMosquitto(t, authority)
	var near []net.Conn
	common := notify.Common{TLS: notify.TLS{CAFile: m.file("ca.pem")}}
	dialled := make(chan net.Conn, 10)
	common.DialContext = noting(dialled)
	r := receiver(t, m.address, func(s *mqtt.Config) {
		s.URL, s.User, s.Password, s.Connection = notify.SecretValue("mqtts://"+m.address), "shop-1", notify.SecretValue(mosquittoPassword), "kept"
	}, common)
	stop := keep(t, r)
	watching := m.read(t, "edge-eventer/+/state")
	state := func(want string) {
		t.Helper()
		if line := watching.take(t, 1)[0]; !strings.Contains(line, `"state":"`+want+`"`) {
			t.Errorf("%s, want %s", line, want)
		}
	}
	state("up")
	near = append(near, <-dialled)
	_ = near[0].Close()
	state("lost")
	state("up")
	stop()
	state("stopped")
	late := m.read(t, "edge-eventer/shop-1/state")
	if line := late.take(t, 1)[0]; !strings.HasPrefix(line, "1 ") || !strings.Contains(line, "stopped") {
		t.Errorf("a reader that came later sees %s", line)
	}
}

// noting dials, and notes the sockets.
func noting(dialled chan<- net.Conn) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, network, address)
		if err == nil {
			dialled <- c
		}
		return c, err
	}
}
