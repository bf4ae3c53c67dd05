package notify_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/config/configtest"
	"github.com/edge-eventer/edge-eventer/notify"
	"github.com/edge-eventer/edge-eventer/notify/notifytest"
)

// TestRetryAfterDateIsBounded: a date of next year holds a receiver for an hour, one of last year not at all.
func TestRetryAfterDateIsBounded(t *testing.T) {
	forEach(t, func(t *testing.T, s *subject) {
		server, r := s.start(t)
		for name, c := range map[string]struct {
			at   time.Duration
			want time.Duration
		}{
			"next year": {365 * 24 * time.Hour, time.Hour}, "last year": {-365 * 24 * time.Hour, 0},
		} {
			at := time.Now().Add(c.at).UTC().Format(http.TimeFormat)
			server.Fail(1, notifytest.Answer{Status: 503, Header: map[string]string{"Retry-After": at}})
			if e := failure(t, send(t, r)); e.RetryAfter != c.want {
				t.Errorf("%s: retry after %s, want %s", name, e.RetryAfter, c.want)
			}
		}
	})
}

// inMemory returns a dialer whose far ends are served by serve.
func inMemory(serve func(net.Conn)) func(context.Context, string, string) (net.Conn, error) {
	return func(context.Context, string, string) (net.Conn, error) {
		near, far := net.Pipe()
		go serve(far)
		return near, nil
	}
}

// TestSendWithoutADeadlineEnds has answers whose body comes byte by byte, so that no limit of a phase ends them.
func TestSendWithoutADeadlineEnds(t *testing.T) {
	forEach(t, func(t *testing.T, s *subject) {
		for _, trap := range notifytest.Traps() {
			if trap.Name != "body bytes" && trap.Name != "trailer bytes" {
				continue
			}
			synctest.Test(t, func(t *testing.T) {
				r := s.receiver(t, "http://receiver.example", func(c *configtest.Keys) {
					c.DialContext = inMemory(func(far net.Conn) { trap.Serve(far, nil) })
				})
				begin := time.Now()
				_ = r.Send(context.Background(), render(t, r, message(plainIncident()), notify.Full))
				if took := time.Since(begin); took > 3*time.Minute {
					t.Errorf("%s: the request took %s, want at most 3 minutes", trap.Name, took)
				}
				r.Close()
				<-time.After(time.Minute)
			})
		}
	})
}

// TestIdleConnectionIsClosed: a NAT on the way forgets a connection that nobody uses, and a socket costs memory.
func TestIdleConnectionIsClosed(t *testing.T) {
	forEach(t, func(t *testing.T, s *subject) {
		synctest.Test(t, func(t *testing.T) {
			closed := make(chan time.Time, 1)
			r := s.receiver(t, "http://receiver.example", func(c *configtest.Keys) {
				c.DialContext = inMemory(func(far net.Conn) {
					b := make([]byte, 64<<10)
					if n, err := far.Read(b); n > 0 && err == nil {
						// The body may come in another piece.
						go func() {
							_, _ = io.Copy(io.Discard, far)
							closed <- time.Now()
						}()
						_, _ = io.WriteString(far, "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
					}
				})
			})
			_ = r.Send(t.Context(), render(t, r, message(plainIncident()), notify.Full))
			idle := time.Now()
			if took := (<-closed).Sub(idle); took < time.Minute || took > 2*time.Minute {
				t.Errorf("the connection was closed after %s, want 90 seconds", took)
			}
		})
	})
}

func TestSecretFileIsBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "url")
	for size, fits := range map[int]bool{8 << 10: true, 8<<10 + 1: false, 1 << 20: false} {
		if err := os.WriteFile(path, []byte(strings.Repeat("u", size)), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := notify.SecretFile(path).Read(); (err == nil) != fits {
			t.Errorf("a file of %d bytes: %v", size, err)
		}
	}
}

func TestTLSFileIsBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ca.pem")
	writeFile(t, path, []byte(strings.Repeat(" ", 2<<20)+string(newAuthority(t).PEM())))
	s := webhookSubject()
	r := s.receiver(t, "https://127.0.0.1:1", func(c *configtest.Keys) { c.CAFile = path })
	if e := failure(t, send(t, r)); e.Outcome != notify.Retry || !strings.Contains(e.Error(), "larger than") {
		t.Errorf("%v, want a retry because the file is too large", e)
	}
}

// TestHeaderOfAnAnswerIsReadTo64KiB has a header of 4 MiB, which a proxy would pass on.
func TestHeaderOfAnAnswerIsReadTo64KiB(t *testing.T) {
	forEach(t, func(t *testing.T, s *subject) {
		synctest.Test(t, func(t *testing.T) {
			taken := make(chan int, 1)
			r := s.receiver(t, "http://receiver.example", func(c *configtest.Keys) {
				c.DialContext = inMemory(func(far net.Conn) {
					go func() { _, _ = io.Copy(io.Discard, far) }()
					line := "X-A: " + strings.Repeat("a", 1000) + "\r\n"
					n, err := io.WriteString(far, "HTTP/1.1 500 Oops\r\n")
					for err == nil && n < 4<<20 {
						var wrote int
						wrote, err = io.WriteString(far, line)
						n += wrote
					}
					_, _ = io.WriteString(far, "Content-Length: 0\r\n\r\n")
					taken <- n
				})
			})
			if e := failure(t, send(t, r)); e.Outcome != notify.Retry {
				t.Errorf("%v, want retry", e)
			}
			if n := <-taken; n > 80<<10 {
				t.Errorf("%d bytes of a header were taken", n)
			}
			r.Close()
		})
	})
}
