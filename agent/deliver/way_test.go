package deliver_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/agenttest"
	"github.com/edge-eventer/edge-eventer/agent/config/configtest"
	"github.com/edge-eventer/edge-eventer/agent/deliver"
	"github.com/edge-eventer/edge-eventer/agent/dial"
	"github.com/edge-eventer/edge-eventer/agent/dial/budget"
	"github.com/edge-eventer/edge-eventer/agent/link"
	"github.com/edge-eventer/edge-eventer/notify"
)

// mutedConn is a connection that can die without a word: what is written is lost, and nothing comes any more.
type mutedConn struct {
	net.Conn

	dead   atomic.Bool
	closed chan struct{}
	once   sync.Once
}

func (c *mutedConn) Write(p []byte) (int, error) {
	if c.dead.Load() {
		return len(p), nil
	}
	return c.Conn.Write(p)
}

func (c *mutedConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

// TestConnectionOfTheWayOutBeforeIsNotUsed changes the way out under a kept connection: the next alert takes another one at once,
// and does not wait for the time-out of an attempt on the dead one.
func TestConnectionOfTheWayOutBeforeIsNotUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told []time.Time
		dial, stop := agenttest.ServeIn(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			told = append(told, time.Now())
		}))
		defer stop()
		var conns []*mutedConn
		r, err := configtest.New(configtest.Keys{
			Name: "ops", Type: "webhook", URL: notify.SecretValue("http://receiver.test"),
			DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
				c, err := dial(ctx, network, address)
				if err != nil {
					return nil, err
				}
				conns = append(conns, &mutedConn{Conn: c, closed: make(chan struct{})})
				return conns[len(conns)-1], nil
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		h := agenttest.New(t, map[string]notify.Receiver{"ops": r})
		way := agenttest.NewLink(link.Up)
		h.Options["ops"].Link = way
		h.Start()
		defer h.Close()
		for i := range 3 {
			h.Show(agenttest.Warning(fmt.Sprintf("web%d", i), 10+i, 1, time.Now()))
			begin := time.Now()
			agenttest.Pass(time.Minute)
			if len(told) != i+1 {
				t.Fatalf("%d messages arrived, want %d", len(told), i+1)
			}
			if late := told[i].Sub(begin); late > agenttest.Policy().GroupWait+3*time.Second {
				t.Errorf("message %d arrived after %s", i, late)
			}
			// The modem comes back with another address.
			conns[len(conns)-1].dead.Store(true)
			way.Set(link.Up)
		}
		if len(conns) != 3 {
			t.Errorf("%d connections, want one for each way out", len(conns))
		}
	})
}

// TestReceiverThatIsNearGoesOnWithoutADefaultRoute asks the kernel of the machine that runs the test for its routes: loopback has
// one of its own, and an address for documentation has none but the default.
func TestReceiverThatIsNearGoesOnWithoutADefaultRoute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var lock sync.Mutex
		told := map[string]int{}
		receiverAt := func(name, url string) (notify.Receiver, func()) {
			return agenttest.ReceiverOn(t, configtest.Keys{Type: "webhook", URL: notify.SecretValue(url)},
				http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
					_, _ = io.Copy(io.Discard, r.Body)
					lock.Lock()
					defer lock.Unlock()
					told[name]++
				}))
		}
		count := func(name string) int {
			lock.Lock()
			defer lock.Unlock()
			return told[name]
		}
		near, stopNear := receiverAt("near", "http://127.0.0.1:9")
		defer stopNear()
		far, stopFar := receiverAt("far", "http://203.0.113.7")
		defer stopFar()
		h := agenttest.New(t, map[string]notify.Receiver{"near": near, "far": far})
		way := agenttest.NewLink(link.Down)
		counter := budget.New(budget.Options{})
		dialer := dial.New(counter, nil)
		for _, o := range h.Options {
			o.Link, o.Budget, o.Dialer = way, counter, dialer
		}
		h.Start()
		defer h.Close()
		h.Show(agenttest.Warning("web", 10, 1, time.Now()))
		agenttest.Pass(time.Minute)
		if count("near") != 1 || count("far") != 0 {
			t.Errorf("%d messages arrived nearby and %d beyond the default route, want 1 and 0", count("near"), count("far"))
		}
		if s := h.Deliveries["far"].Status(); s.State != deliver.StateLinkDown || len(s.Attempts) > 0 {
			t.Errorf("the far receiver: %+v, want no attempt while the link is down", s)
		}
		way.Set(link.Up)
		agenttest.Pass(time.Minute)
		if count("far") != 1 {
			t.Errorf("%d messages arrived after the link came back, want 1", count("far"))
		}
	})
}

// TestPageOfAPortalMakesNoDeadLetter stands a portal before each kind of chat for a while, with the statuses that they use.
func TestPageOfAPortalMakesNoDeadLetter(t *testing.T) {
	for _, c := range []struct {
		cfg configtest.Keys
		yes string
	}{
		{configtest.Keys{Type: "feishu"}, `{"code":0,"msg":"success","data":{}}`},
		{configtest.Keys{Type: "dingtalk"}, `{"errcode":0,"errmsg":"ok"}`},
		{configtest.Keys{Type: "wecom"}, `{"errcode":0,"errmsg":"ok"}`},
		{configtest.Keys{Type: "slack"}, "ok"},
		{configtest.Keys{Type: "telegram", Token: notify.SecretValue("1:token"), ChatID: "1"}, `{"ok":true,"result":{}}`},
		{configtest.Keys{Type: "worktile"}, `{"code":200}`},
		{configtest.Keys{Type: "webhook"}, ""},
		{configtest.Keys{Type: "alertmanager"}, ""},
		{configtest.Keys{Type: "cloudevents"}, ""},
	} {
		t.Run(c.cfg.Type, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const page = "<!DOCTYPE html><html><body>Please sign in</body></html>"
				statuses := []int{451, 400, 200, 511, 422, 402, 302, 413, 418}
				begin, asked := time.Now(), 0
				r, stop := agenttest.ReceiverOn(t, c.cfg, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					_, _ = io.Copy(io.Discard, r.Body)
					asked++
					if time.Since(begin) < 20*time.Minute {
						w.WriteHeader(statuses[asked%len(statuses)])
						_, _ = io.WriteString(w, page)
						return
					}
					_, _ = io.WriteString(w, c.yes)
				}))
				defer stop()
				h := agenttest.New(t, map[string]notify.Receiver{"ops": r})
				h.Start()
				defer h.Close()
				for i := range 8 {
					h.Show(agenttest.Warning(fmt.Sprintf("web%d", i), 10+i, 1, time.Now()))
					agenttest.Pass(time.Minute)
				}
				agenttest.Pass(2 * time.Hour)
				if dead, untold := h.Dead("ops"), h.Untold("ops"); dead != 0 || untold != 0 {
					t.Errorf("%d dead letters and %d untold observations, want none", dead, untold)
				}
				if asked < 8 {
					t.Errorf("the portal was met %d times", asked)
				}
			})
		})
	}
}
