package main

import (
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/event"
	"github.com/edge-eventer/edge-eventer/agent/incident"
	"github.com/edge-eventer/edge-eventer/notify/notifytest"
	"github.com/edge-eventer/edge-eventer/spool"
)

// putEach stores one incident for each queue.
func putEach(t *testing.T, path string, queues []string) {
	t.Helper()
	s, err := spool.Open(spool.Options{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	err = s.Update(func(tx *spool.Tx) error {
		for _, queue := range queues {
			in, due, _ := incident.Policy{ResolveAfter: time.Hour}.Fold(nil, &incident.Observation{
				Event: event.Event{
					InvolvedObject: event.Reference{Kind: "Pod", Namespace: "shop", Name: "web"},
					Reason:         "BackOff", Message: "Back-off restarting", Count: 1, Type: "Warning",
				},
				Workload: "web", New: 1, At: time.Now(),
			})
			record := spool.Record{Key: incident.Key("shop", "Pod", "web", "BackOff"), Due: due, Untold: in.Untold(), Body: in.Append(nil)}
			if err := tx.Queue(queue).Put(record); err != nil {
				return err
			}
		}
		return nil
	})
	if closed := s.Close(); err != nil || closed != nil {
		t.Fatal(err, closed)
	}
}

// TestAgentStopsAndReloadsWhateverItsReceiversDo gives the real process receivers that each go wrong in another phase of an
// exchange. While attempts at all of them are under way a reload passes, the probe is content, and a stop takes less than 5 s.
func TestAgentStopsAndReloadsWhateverItsReceiversDo(t *testing.T) {
	authority, err := notifytest.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := authority.Issue("127.0.0.1", "receiver.test")
	if err != nil {
		t.Fatal(err)
	}
	// The configuration allows 32 receivers.
	for group := range slices.Chunk(notifytest.Traps(), 20) {
		var traps []*notifytest.TrapServer
		var receivers, names []string
		for i, trap := range group {
			s, err := notifytest.StartTrap(trap, certificate)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(s.Close)
			traps = append(traps, s)
			scheme := "http://"
			if trap.TLS {
				scheme = "https://"
			}
			where := fmt.Sprintf("url: '%s%s'", scheme, s.Address())
			if trap.Proxy {
				where = fmt.Sprintf("url: 'https://receiver.test', proxy: 'http://%s'", s.Address())
			}
			name := fmt.Sprintf("trap%d", i)
			names = append(names, name)
			receivers = append(receivers, fmt.Sprintf("{name: %s, type: webhook, %s, tls: {insecureSkipVerify: true}, success: {json: {code: 0}}, groupWait: 0s}",
				name, where))
		}
		d := newDesk(t, receivers...)
		listen := freeAddress(t)
		text, err := os.ReadFile(d.config)
		if err != nil {
			t.Fatal(err)
		}
		config := strings.Replace(string(text), `server: {listen: ""}`, "server: {listen: '"+listen+"'}", 1) +
			"kubernetes: {kubeconfig: " + d.spool + ".missing}\n"
		writeText(t, d.config, config)
		putEach(t, d.spool, names)
		p := startAgent(t, d.config)
		allConnected(t, traps)

		writeText(t, d.config, strings.Replace(config, "cluster: shop-1", "cluster: shop-2", 1))
		begin := time.Now()
		p.signal(syscall.SIGHUP)
		p.waitForLog("configuration reloaded")
		// An attempt under way has 3 s to end.
		if took := time.Since(begin); took > 10*time.Second {
			t.Errorf("the reload took %s", took)
		}
		allConnected(t, traps)
		response, err := http.Get("http://" + listen + "/healthz")
		if err != nil {
			t.Fatal(err)
		}
		if err := response.Body.Close(); err != nil || response.StatusCode != http.StatusOK {
			t.Errorf("/healthz answers %d, %v", response.StatusCode, err)
		}
		p.signal(syscall.SIGTERM)
		if code, took := p.exit(); code != exitOK || took > 5*time.Second {
			t.Errorf("exit code %d after %s, want %d within 5 s", code, took, exitOK)
		}
	}
}

// allConnected waits until the agent has connected to each trap since it was last asked.
func allConnected(t *testing.T, traps []*notifytest.TrapServer) {
	t.Helper()
	patience := time.After(time.Minute)
	for _, trap := range traps {
		select {
		case <-trap.Connected():
		case <-patience:
			t.Fatal("the agent did not try every receiver within a minute")
		}
	}
}

func writeText(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
