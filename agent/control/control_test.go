package control

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/event"
	"github.com/edge-eventer/edge-eventer/agent/incident"
	"github.com/edge-eventer/edge-eventer/agent/status"
	"github.com/edge-eventer/edge-eventer/spool"
)

// served is a spool with a server on its socket.
type served struct {
	spool  *spool.Spool
	client *Client
	path   string
	again  chan string
}

func serve(t *testing.T) *served {
	t.Helper()
	// The path of a socket has at most 107 bytes, which t.TempDir can exceed.
	dir, err := os.MkdirTemp("", "control")
	if err != nil {
		t.Fatal(err)
	}
	s, err := spool.Open(spool.Options{Path: filepath.Join(dir, "spool.db")})
	if err != nil {
		t.Fatal(err)
	}
	v := &served{spool: s, path: SocketPath(filepath.Join(dir, "spool.db")), again: make(chan string, 100)}
	queues := &SpoolQueues{Spool: s, Again: func(name string) { v.again <- name }}
	server := &Server{
		Status: func() (status.Document, error) {
			return status.Document{Agent: status.Agent{Version: "v1", Cluster: "shop-1"}}, nil
		},
		Queues: func() (Queues, error) { return queues, nil },
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server.Serve(ctx, v.path) }()
	v.client = NewClient(v.path)
	t.Cleanup(func() {
		v.client.Close()
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		_ = os.RemoveAll(dir)
	})
	deadline := time.After(time.Minute)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		if _, err := v.client.Status(t.Context()); err == nil {
			return v
		}
		select {
		case <-tick.C:
		case err := <-done:
			t.Fatalf("the server ended: %v", err)
		case <-deadline:
			t.Fatal("the server does not answer")
		}
	}
}

// put stores incidents of workloads w0, w1, …, which are due in an hour, and returns their ids.
func (v *served) put(t *testing.T, receiver string, n int) []string {
	t.Helper()
	var ids []string
	for at := 0; at < n; at += 100 {
		err := v.spool.Update(func(tx *spool.Tx) error {
			for i := at; i < min(n, at+100); i++ {
				in, _, _ := incident.Policy{GroupWait: time.Hour, ResolveAfter: time.Hour}.Fold(nil, &incident.Observation{
					Event: event.Event{
						ObjectMeta:     event.ObjectMeta{Name: "e", Namespace: "shop", UID: fmt.Sprint(i)},
						InvolvedObject: event.Reference{Kind: "Pod", Namespace: "shop", Name: fmt.Sprintf("w%d", i)},
						Reason:         "BackOff", Message: "Back-off restarting failed container", Count: 3, Type: "Warning",
					},
					Workload: fmt.Sprintf("w%d", i), New: 3, At: time.Now(),
				})
				key := incident.Key("shop", "Pod", fmt.Sprintf("w%d", i), "BackOff")
				ids = append(ids, fmt.Sprintf("%x", key))
				err := tx.Queue(receiver).Put(spool.Record{Key: key, Due: time.Now().Add(time.Hour), Untold: in.Untold(), Body: in.Append(nil)})
				if err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return ids
}

func (v *served) all(t *testing.T, q Queues, receiver string) []Entry {
	t.Helper()
	var all []Entry
	query := Query{Receiver: receiver}
	for {
		p, err := q.Entries(t.Context(), query)
		if err != nil {
			t.Fatal(err)
		}
		if len(p.Entries) > maxPage {
			t.Fatalf("a page has %d entries, the limit is %d", len(p.Entries), maxPage)
		}
		all = append(all, p.Entries...)
		if p.Next == nil {
			return all
		}
		query.After = *p.Next
	}
}

func (v *served) view(t *testing.T, fn func(tx *spool.Tx)) {
	t.Helper()
	if err := v.spool.View(func(tx *spool.Tx) error { fn(tx); return nil }); err != nil {
		t.Fatal(err)
	}
}

func (v *served) bury(t *testing.T, receiver, id string) {
	t.Helper()
	var key []byte
	if _, err := fmt.Sscanf(id, "%x", &key); err != nil {
		t.Fatal(err)
	}
	err := v.spool.Update(func(tx *spool.Tx) error {
		return tx.Queue(receiver).Bury(key, "the message is too long", []byte(`{"code":230025}`), time.Now())
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestSocketIsForItsOwnerOnly(t *testing.T) {
	v := serve(t)
	info, err := os.Stat(v.path)
	if err != nil {
		t.Fatal(err)
	}
	if mode := info.Mode().Perm(); mode != 0o600 {
		t.Errorf("the socket has mode %o, want 600", mode)
	}
}

func TestSocketOfAKilledAgentIsReplaced(t *testing.T) {
	dir, err := os.MkdirTemp("", "control")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "s.sock")
	// A killed agent leaves its socket and perhaps one that has no name yet.
	for _, left := range []string{path, path + ".new"} {
		l, err := new(net.ListenConfig).Listen(t.Context(), "unix", left)
		if err != nil {
			t.Fatal(err)
		}
		l.(*net.UnixListener).SetUnlinkOnClose(false)
		_ = l.Close()
	}
	if _, err := NewClient(path).Status(t.Context()); !errors.Is(err, ErrNotRunning) {
		t.Errorf("a dead socket gives %v, want ErrNotRunning", err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	server := &Server{Status: func() (status.Document, error) { stop(); return status.Document{}, nil }}
	go func() { done <- server.Serve(ctx, path) }()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	client := NewClient(path)
	defer client.Close()
	for {
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			return
		case <-tick.C:
			_, _ = client.Status(t.Context())
		}
	}
}

func TestNobodyListeningIsSaid(t *testing.T) {
	_, err := NewClient(filepath.Join(t.TempDir(), "none.sock")).Status(t.Context())
	if !errors.Is(err, ErrNotRunning) {
		t.Errorf("got %v, want ErrNotRunning", err)
	}
}

func TestPagesLeadThroughAllQueues(t *testing.T) {
	v := serve(t)
	ids := v.put(t, "ops", 600)
	v.put(t, "archive", 10)
	v.bury(t, "ops", ids[5])
	seen := make(map[string]int)
	dead := 0
	for _, e := range v.all(t, v.client, "") {
		seen[e.Receiver]++
		if e.Dead {
			dead++
			if e.ID != ids[5] || e.Reason != "the message is too long" || e.Answer != `{"code":230025}` {
				t.Errorf("the dead letter shows as %+v", e)
			}
		}
		if e.Incident == nil || e.Incident.Event.Reason != "BackOff" || e.Untold != 3 {
			t.Fatalf("an entry shows as %+v", e)
		}
	}
	if seen["ops"] != 600 || seen["archive"] != 10 || dead != 1 {
		t.Errorf("saw %v with %d dead letters, want 600 and 10 with 1", seen, dead)
	}
	if n := len(v.all(t, v.client, "archive")); n != 10 {
		t.Errorf("saw %d entries of archive, want 10", n)
	}
}

func TestRetryRevivesDeadLettersAndWakesTheReceiver(t *testing.T) {
	v := serve(t)
	ids := v.put(t, "ops", 3)
	v.bury(t, "ops", ids[1])
	r, err := v.client.Retry(t.Context(), Selection{Receiver: "ops"})
	if err != nil {
		t.Fatal(err)
	}
	if r.Records != 1 || r.Events != 3 {
		t.Errorf("retry says %+v, want 1 record with 3 events", r)
	}
	if name := <-v.again; name != "ops" {
		t.Errorf("woke %s, want ops", name)
	}
	v.view(t, func(tx *spool.Tx) {
		q := tx.Queue("ops")
		if q.Len() != 3 || q.DeadLen() != 0 || len(q.TotalLosses()) != 0 {
			t.Errorf("%d records, %d dead letters, losses %v; want 3, 0 and none", q.Len(), q.DeadLen(), q.TotalLosses())
		}
	})
}

func TestRetryOfAWaitingRecordMakesItDue(t *testing.T) {
	v := serve(t)
	ids := v.put(t, "ops", 3)
	if _, err := v.client.Retry(t.Context(), Selection{IDs: []string{ids[2][:12]}}); err != nil {
		t.Fatal(err)
	}
	v.view(t, func(tx *spool.Tx) {
		for range tx.Queue("ops").Due(time.Now()) {
			return
		}
		t.Error("none is due, want one")
	})
}

func TestRetryKeepsADeadLetterWhoseIncidentWaits(t *testing.T) {
	v := serve(t)
	ids := v.put(t, "ops", 1)
	v.bury(t, "ops", ids[0])
	v.put(t, "ops", 1)
	r, err := v.client.Retry(t.Context(), Selection{Receiver: "ops"})
	if err != nil {
		t.Fatal(err)
	}
	if r.Records != 0 || len(r.Kept) != 1 {
		t.Errorf("retry says %+v, want one kept", r)
	}
}

func TestDropIsCountedAsALoss(t *testing.T) {
	v := serve(t)
	ids := v.put(t, "ops", 3)
	r, err := v.client.Drop(t.Context(), Selection{IDs: []string{ids[0]}})
	if err != nil {
		t.Fatal(err)
	}
	if r.Records != 1 || r.Events != 3 {
		t.Errorf("drop says %+v, want 1 record with 3 events", r)
	}
	v.view(t, func(tx *spool.Tx) {
		l := tx.Queue("ops").UntoldLosses()
		if len(l) != 1 || l[0].Cause != status.Dropped || l[0].Records != 1 || l[0].Events != 3 {
			t.Errorf("losses are %+v, want 1 record and 3 events dropped", l)
		}
	})
}

func TestDropOfAQueueTakesAllOfItAndNoOther(t *testing.T) {
	v := serve(t)
	ids := v.put(t, "ops", 700)
	v.bury(t, "ops", ids[3])
	v.put(t, "archive", 5)
	r, err := v.client.Drop(t.Context(), Selection{Receiver: "ops"})
	if err != nil {
		t.Fatal(err)
	}
	if r.Records != 700 || r.Events != 699*3 {
		t.Errorf("drop says %+v, want 700 records with 2097 events", r)
	}
	v.view(t, func(tx *spool.Tx) {
		if n := tx.Queue("ops").Len() + tx.Queue("ops").DeadLen(); n != 0 {
			t.Errorf("%d are left in ops", n)
		}
		if n := tx.Queue("archive").Len(); n != 5 {
			t.Errorf("archive has %d, want 5", n)
		}
	})
}

func TestWrongNamesAreTold(t *testing.T) {
	v := serve(t)
	v.put(t, "ops", 1)
	v.put(t, "archive", 1)
	id := v.all(t, v.client, "ops")[0].ID
	for _, c := range []struct {
		name string
		s    Selection
		want error
	}{
		{"unknown id", Selection{IDs: []string{"0000beef"}}, ErrNoEntry},
		{"id in two queues", Selection{IDs: []string{id}}, ErrAmbiguous},
		{"unknown receiver", Selection{Receiver: "nobody"}, ErrNoQueue},
		{"short id", Selection{IDs: []string{"a"}}, nil},
		{"nothing named", Selection{}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := v.client.Drop(t.Context(), c.s)
			if err == nil || c.want != nil && !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
	if n := len(v.all(t, v.client, "")); n != 2 {
		t.Errorf("%d entries are left, want 2", n)
	}
}
