package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/control"
)

// listOf is an API server that holds n events and whose watch shows nothing.
func listOf(n int, lists *atomic.Int64) http.Handler {
	var items bytes.Buffer
	at := time.Now().UTC().Format(time.RFC3339)
	for i := range n {
		fmt.Fprintf(&items, `,{"metadata":{"name":"app%d.1","namespace":"shop","uid":"%08x-5b1c-4c43-8e0a-%012x","resourceVersion":"%d",`+
			`"creationTimestamp":%q},"involvedObject":{"kind":"Pod","namespace":"shop","name":"app%d"},"reason":"BackOff",`+
			`"message":"Back-off restarting failed container","source":{"component":"kubelet","host":"pi-3"},"firstTimestamp":%q,`+
			`"lastTimestamp":%q,"count":1,"type":"Warning"}`, i, uint32(i)*2654435761, i, 101+i, at, i, at, at)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.FormValue("watch") != "" {
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
			return
		}
		if r.FormValue("limit") != "1" {
			lists.Add(1)
		}
		_, _ = fmt.Fprintf(w, `{"kind":"EventList","apiVersion":"v1","metadata":{"resourceVersion":"1000"},"items":[%s]}`, items.Bytes()[1:])
	})
}

// TestDamageWhileTheAgentRunsIsToldAndClosedByAList has pages of the open spool overwritten while 500 events wait.
func TestDamageWhileTheAgentRunsIsToldAndClosedByAList(t *testing.T) {
	var lists atomic.Int64
	api := httptest.NewServer(listOf(500, &lists))
	t.Cleanup(api.Close)
	a := newArchive(t)
	a.setDown(true)
	config := writeConfig(t, anonymous(t, api.URL), a.URL, "")
	p := startAgent(t, config)
	path := filepath.Join(filepath.Dir(config), "spool", "spool.db")
	client := control.NewClient(control.SocketPath(path))
	defer client.Close()
	waiting := func() uint64 {
		s, err := client.Status(context.Background())
		if err != nil || len(s.Receivers) == 0 {
			return 0
		}
		return s.Receivers[0].Untold
	}
	until(t, "500 events wait", func() bool { return waiting() == 500 })

	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	size, err := file.Seek(0, io.SeekEnd)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.WriteAt(bytes.Repeat([]byte("garbage!"), int(size-8192)/8), 8192); err != nil {
		t.Fatal(err)
	}
	p.waitForLog("the spool was damaged")
	until(t, "all events were listed again", func() bool { return lists.Load() >= 2 && waiting() >= 500 })
	a.setDown(false)
	// 500 events, and the incident of the agent's own.
	until(t, "everything arrived", func() bool { return a.events() == 501 })
	a.mu.Lock()
	defer a.mu.Unlock()
	told := ""
	for name := range a.counts {
		if strings.HasPrefix(name, "edge-eventer.") {
			told = name
		}
	}
	if told == "" || !strings.Contains(a.losses, `"cause":"damaged"`) {
		t.Errorf("told of %d events and of losses %q: the damage is not among them", len(a.counts), a.losses)
	}
}
