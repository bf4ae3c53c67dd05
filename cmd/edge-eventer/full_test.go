package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/edge-eventer/edge-eventer/agent/event"
	"github.com/edge-eventer/edge-eventer/agent/incident"
	"github.com/edge-eventer/edge-eventer/spool"
)

// TestFullSpoolStaysWithinTheMemoryBudget starts the agent on a spool that evicts, all of which is looked at then and after a failed commit.
func TestFullSpoolStaysWithinTheMemoryBudget(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d := &desk{t: t, config: filepath.Join(dir, "config.yaml"), spool: filepath.Join(dir, "spool.db")}
	address := freeAddress(t)
	text := fmt.Sprintf("cluster: shop-1\nkubernetes: {kubeconfig: %q}\nspool: {path: %q}\nserver: {listen: %q}\nnotify: {groupWait: 0s}\nreceivers:\n"+
		"  - {name: ops, type: webhook, url: %q}\n  - {name: chat, type: webhook, fold: incident, url: %[4]q}\n",
		filepath.Join(dir, "no-kubeconfig"), d.spool, address, "http://127.0.0.1:1/")
	if err := os.WriteFile(d.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := spool.Open(spool.Options{Path: d.spool, MaxBytes: 16 << 20})
	if err != nil {
		t.Fatal(err)
	}
	message := strings.Repeat("0123456789abcdef", 75)
	evicted := false
	for i := 0; !evicted; i += 100 {
		err := s.Update(func(tx *spool.Tx) error {
			for j := range 100 {
				name := fmt.Sprintf("web%d", i+j)
				in, due, _ := incident.Policy{GroupWait: time.Second, ResolveAfter: time.Hour}.Fold(nil, &incident.Observation{
					Event:    event.Event{InvolvedObject: event.Reference{Kind: "Pod", Namespace: "shop", Name: name}, Reason: "BackOff", Message: message, Count: 2, Type: "Warning"},
					Workload: name, New: 2, At: time.Now(),
				})
				for _, receiver := range []string{"ops", "chat"} {
					if err := tx.Queue(receiver).Put(spool.Record{Key: incident.Key("shop", "Pod", name, "BackOff"), Due: due, Untold: in.Untold(), Body: in.Append(nil)}); err != nil {
						return err
					}
				}
			}
			evicted = len(tx.Queue("ops").TotalLosses()) > 0
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	file, used := s.Size()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	p := startAgent(t, d.config)
	until(t, "it answers", func() bool { code, _ := askPort(t, address, "localhost", "/healthz"); return code == http.StatusOK })
	p.waitForLog("delivery failed")
	t.Logf("%s of %s in use: VmHWM %s", mib(used), mib(file), mib(p.memory("VmHWM")))
	// A commit that fails has bbolt look through the whole file.
	if err := unix.Prlimit(p.cmd.Process.Pid, unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: 0, Max: unix.RLIM_INFINITY}, nil); err != nil {
		t.Fatal(err)
	}
	if _, errOut := d.run("", exitFailed, "spool", "drop", "--yes", "--config", d.config, "--receiver", "ops"); !strings.Contains(errOut, "file too large") {
		t.Errorf("dropping the queue: %s", errOut)
	}
	peak, files := p.memory("VmHWM"), p.memory("RssFile")
	t.Logf("after a failed commit: VmHWM %s, of which files have %s", mib(peak), mib(files))
	if peak >= 32<<20 {
		t.Errorf("peak of the resident memory after a failed commit %s", mib(peak))
	}
	// They are given back when the loop that touched them has ended, which may be after the answer to the command.
	until(t, "the pages of the spool are given back", func() bool { return p.memory("RssFile") <= used })
	p.signal(syscall.SIGTERM)
	if code, _ := p.exit(); code != exitOK {
		t.Errorf("exit code %d", code)
	}
}
