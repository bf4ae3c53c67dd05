package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestSilencesAreAddedListedAndExpiredWithoutAnAgent uses the words of amtool on the file.
func TestSilencesAreAddedListedAndExpiredWithoutAnAgent(t *testing.T) {
	d := newDesk(t, stdoutReceiver)
	d.put(1)
	id, _ := d.run("", exitOK, "silence", "add", "--config", d.config, "reason=BackOff", `namespace=~"shop|kiosk"`, "--duration", "2h", "--comment", "moving", "-a", "pi")
	id = strings.TrimSpace(id)
	if !regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`).MatchString(id) {
		t.Fatalf("add printed %q, no UUID", id)
	}
	other, _ := d.run("", exitOK, "silence", "add", "--config", d.config, "NodeNotReady", "-d", "1w2d3h", "-c", "new card", "--critical",
		"--start", time.Now().Add(time.Hour).Format(time.RFC3339))
	out, _ := d.run("", exitOK, "silence", "ls", "--config", d.config)
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if len(lines) != 3 || !strings.HasPrefix(lines[0], "ID  ") || !strings.HasPrefix(lines[1], id+`  reason="BackOff" namespace=~"shop|kiosk"  `) ||
		!strings.HasSuffix(lines[1], " UTC  pi          moving") || !strings.Contains(lines[2], `alertname="NodeNotReady" (critical too)`) {
		t.Errorf("ls printed:\n%s", out)
	}
	var all []struct {
		ID       string `json:"id"`
		Matchers []struct {
			Name    string
			Value   string
			IsRegex bool
			IsEqual bool
		}
		StartsAt, EndsAt   time.Time
		CreatedBy, Comment string
		Critical           bool
		Status             struct{ State string }
	}
	list := func(args ...string) {
		t.Helper()
		out, _ := d.run("", exitOK, append([]string{"silence", "ls", "--config", d.config, "-o", "json"}, args...)...)
		if err := json.Unmarshal([]byte(out), &all); err != nil {
			t.Fatalf("%v:\n%s", err, out)
		}
	}
	list()
	if len(all) != 2 || all[0].ID != id || len(all[0].Matchers) != 2 || !all[0].Matchers[1].IsRegex || !all[0].Matchers[1].IsEqual ||
		all[0].Comment != "moving" || all[0].Status.State != "active" || all[1].Status.State != "pending" || !all[1].Critical {
		t.Errorf("ls -o json shows %+v", all)
	}
	if length := all[1].EndsAt.Sub(all[1].StartsAt); length != (9*24+3)*time.Hour {
		t.Errorf("1w2d3h are %s", length)
	}
	d.run("", exitOK, "silence", "expire", "--config", d.config, id[:8], strings.TrimSpace(other))
	if out, _ := d.run("", exitOK, "silence", "ls", "--config", d.config, "-q"); out != "" {
		t.Errorf("after expire, ls -q prints %s", out)
	}
	list("--expired")
	if len(all) != 2 || all[0].Status.State != "expired" {
		t.Errorf("ls --expired shows %+v", all)
	}
}

func TestWrongSilenceIsRefusedWithTheReason(t *testing.T) {
	d := newDesk(t, stdoutReceiver)
	d.put(1)
	for _, tt := range []struct {
		code int
		want string
		args []string
	}{
		{exitUsage, "name at least one matcher", nil},
		{exitUsage, "comment required", []string{"reason=BackOff"}},
		{exitUsage, `"reson" is no label; there are alertname`, []string{"reson=BackOff", "-c", "x"}},
		{exitUsage, "is no regular expression", []string{"reason=~(", "-c", "x"}},
		{exitUsage, "the operators are", []string{"reason!BackOff", "-c", "x"}},
		{exitUsage, "no duration above 0", []string{"reason=BackOff", "-c", "x", "-d", "0"}},
		{exitUsage, "no duration above 0", []string{"reason=BackOff", "-c", "x", "-d", "2"}},
		{exitUsage, "--end \"tomorrow\" is no time", []string{"reason=BackOff", "-c", "x", "--end", "tomorrow"}},
		{exitFailed, "these would silence everything", []string{"reason!=BackOff", "-c", "x"}},
		{exitFailed, "cannot end in the past", []string{"reason=BackOff", "-c", "x", "--end", "2020-01-01T00:00:00Z"}},
	} {
		_, errOut := d.run("", tt.code, append([]string{"silence", "add", "--config", d.config}, tt.args...)...)
		if !strings.Contains(errOut, tt.want) {
			t.Errorf("%q: it says %s", tt.args, errOut)
		}
	}
	_, errOut := d.run("", exitFailed, "silence", "expire", "--config", d.config, "0123abcd")
	if !strings.Contains(errOut, "no silence has this id: 0123abcd") {
		t.Errorf("expire says %s", errOut)
	}
	if out, _ := d.run("", exitOK, "silence", "ls", "-q", "--expired", "--config", d.config); out != "" {
		t.Errorf("there are silences: %s", out)
	}
}

// TestSilenceHoldsInTheRunningAgent adds a silence to the file, which the agent takes up at its start, and another one and their ends over
// the socket.
func TestSilenceHoldsInTheRunningAgent(t *testing.T) {
	var mu sync.Mutex
	var told strings.Builder
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body := sent(r)
		mu.Lock()
		defer mu.Unlock()
		told.WriteString(body)
	}))
	defer receiver.Close()
	said := func(text string) bool {
		mu.Lock()
		defer mu.Unlock()
		return strings.Contains(told.String(), text)
	}
	d := newDesk(t, "{name: ops, type: webhook, fold: incident, gzip: false, url: '"+receiver.URL+"'}")
	d.put(1)
	first, _ := d.run("", exitOK, "silence", "add", "--config", d.config, "reason=BackOff", "-c", "moving")
	d.putFor("ops", 4)
	appendTo(t, d.config, "kubernetes: {kubeconfig: "+filepath.Join(t.TempDir(), "missing")+"}\n")
	b := runBeside(t, d)
	second, errOut, code := b.command("", "silence", "add", "workload=web1", "-c", "web1 is known")
	if code != exitOK {
		t.Fatalf("add: exit code %d: %s", code, errOut)
	}
	until(t, "the status shows what is held back", func() bool {
		s := b.status()
		held := 0
		for _, m := range s.Receivers[0].Muted {
			held += m.Incidents
		}
		return held == 3 && len(s.Silences) == 2 && strings.Contains(strings.Join(s.Notes, "\n"), "silence "+first[:8]+" holds back what matches reason=\"BackOff\" until ") && strings.Contains(strings.Join(s.Notes, "\n"), "holds 3 incidents with 6 events back from receiver ops")
	})
	if said("BackOff") {
		t.Error("what a silence holds was sent")
	}
	if _, errOut, code := b.command("", "silence", "expire", strings.TrimSpace(first)); code != exitOK {
		t.Fatalf("expire: exit code %d: %s", code, errOut)
	}
	until(t, "the end of the first silence is told, and what it held", func() bool {
		return said("SilenceEnded") && said("The silence "+first[:8]+" is over") && said("web2") && said("web3")
	})
	if said("web1-") || said(`"workload":"web1"`) {
		t.Error("what the second silence holds was sent")
	}
	if out, _, _ := b.command("", "silence", "ls", "-q"); out != second {
		t.Errorf("ls -q prints %q, want %q", out, second)
	}
}
