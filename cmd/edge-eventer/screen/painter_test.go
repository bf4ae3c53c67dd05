package screen

import (
	"errors"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/status"
	"github.com/edge-eventer/edge-eventer/cmd/edge-eventer/cli"
)

func TestStatusAnswersInItsFirstLines(t *testing.T) {
	now := time.Now()
	base := status.Document{
		Agent: status.Agent{Version: "v1", Cluster: "shop-1", Now: now, Started: now.Add(-26 * time.Hour)}, Link: status.Link{LinkState: "up"},
		Watch: []status.Watch{{State: "watching", LastEvent: now.Add(-3 * time.Minute), LastAnswer: now}},
		Receivers: []status.Receiver{
			{Name: "ops", Type: "feishu", Sending: status.Sending{State: "idle", LastDelivered: now.Add(-time.Hour)}},
			{Name: "a-receiver-with-a-very-long-name", Type: "webhook", Sending: status.Sending{State: "idle"}},
		},
	}
	for _, c := range []struct {
		name  string
		stage func(*status.Document)
		first string
		then  string
	}{
		{"sound", func(*status.Document) {}, "WORKING  shop-1", ""},
		{"link away", func(s *status.Document) {
			s.Receivers[0].State, s.Receivers[0].LastError, s.Receivers[0].Next = "backoff", "cannot be reached: connection refused", now.Add(time.Minute)
			s.Receivers[0].Untold, s.LinkState = 12, "down"
		}, "WORKING, link away  shop-1: 12 events wait on disk", "ops: cannot be reached"},
		{"receiver away", func(s *status.Document) {
			s.Receivers[0].State, s.Receivers[0].LastError, s.Receivers[0].Next = "backoff", "not available (HTTP status 503)", now.Add(time.Minute)
			s.Receivers[0].Untold = 12
		}, "WORKING, 1 of 2 receivers not delivering: ops  shop-1: 12 events wait on disk", "ops: not available"},
		{"one of many away, and repeats held back", func(s *status.Document) {
			s.Receivers[0].State, s.Receivers[0].LastError, s.Receivers[0].Next = "backoff", "not available (HTTP status 503)", now.Add(time.Minute)
			s.Receivers[0].Untold = 69
			s.Receivers[1].Untold, s.Receivers[1].Held, s.Receivers[1].NextDue = 176, 176, now.Add(200*time.Second)
		}, "WORKING, 1 of 2 receivers not delivering: ops  shop-1", "245 events wait: 69 due, 176 held back, the next in 3m20s"},
		{"in Chinese", func(s *status.Document) {
			s.Language = "zh"
			s.Receivers[0].State, s.Receivers[0].LastError, s.Receivers[0].Next = "backoff", "not available (HTTP status 503)", now.Add(time.Minute)
			s.Receivers[0].Untold = 12
		}, "正常，2 个接收方中有 1 个无法投递：ops  shop-1：磁盘上有 12 个事件等待投递", "1m00s 后再试"},
		{"budget used up", func(s *status.Document) {
			s.Budget = &status.Budget{Level: "critical-only", Day: 2 << 20, DayMax: 1 << 20}
			s.Receivers[0].Untold = 3
		}, "WORKING, budget used up  shop-1: 3 events wait on disk", "the link's budget is used up"},
		{"bot removed", func(s *status.Document) {
			s.Receivers[0].RefusedSince, s.Receivers[0].LastError = now, "the bot was removed from the group (code 19001)"
		}, "NOT WORKING  shop-1", "receiver ops refuses every message"},
		{"no secret", func(s *status.Document) {
			s.Receivers[0].MissingFiles = []string{"urlFile: open /etc/edge-eventer/url: no such file"}
		}, "NOT WORKING  shop-1", "receiver ops has no address or secret"},
		{"API server away", func(s *status.Document) {
			failure := strings.Repeat("connection refused ", 40)
			s.Watch = []status.Watch{{FailingSince: now, Unseen: true, Failure: failure}}
		}, "NOT WORKING  shop-1", "no sight of all namespaces"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := base
			s.Receivers = append([]status.Receiver(nil), base.Receivers...)
			c.stage(&s)
			s.Judge()
			var p Painter
			text := p.Status(&s)
			lines := strings.Split(text, "\n")
			if lines[0] != c.first || !strings.Contains(lines[1], c.then) {
				t.Errorf("it begins with\n%s\n%s", lines[0], lines[1])
			}
			for _, line := range lines {
				if n := cli.Width(line); n > cli.Columns {
					t.Errorf("a line has %d columns: %s", n, line)
				}
			}
			if c.name == "no secret" && !strings.Contains(text, "NO SECRET") {
				t.Errorf("the table does not say it:\n%s", text)
			}
			if strings.Contains(text, "\x1b") {
				t.Error("colours without a terminal")
			}
		})
	}
}

// troubled is the document of an agent with every fault.
func troubled() *status.Document {
	now := time.Now()
	return &status.Document{
		Agent: status.Agent{Cluster: "shop-1", Now: now, Started: now.Add(-time.Hour)}, Link: status.Link{LinkState: "down", LinkSince: now, LinkReason: "no default route"},
		Watch: []status.Watch{
			{FailingSince: now.Add(-time.Minute), Unseen: true, Failure: "connection refused"},
			{Namespace: "shop", State: "watching", LastEvent: now.Add(-time.Minute), LastAnswer: now},
		},
		Spool: status.Spool{
			Path: "/var/lib/edge-eventer/spool.db", BlockedSince: now.Add(-time.Minute), BlockedBy: "the disk of the spool is full",
			Syncs: status.Syncs{Count: 3, Mean: 0.012, Max: 2.5},
		},
		Receivers: []status.Receiver{{
			Name: "ops", Type: "feishu",
			Sending: status.Sending{State: "refused", RefusedSince: now.Add(-time.Hour), LastDelivered: now.Add(-time.Hour)},
			Queue: status.Queue{
				Untold: 7, Held: 2, NextDue: now.Add(time.Minute), Oldest: now.Add(-time.Hour), Losses: []status.Loss{{Cause: "evicted", Events: 3, Incidents: 1, Since: now}},
			},
		}},
		Budget: &status.Budget{Level: status.CriticalOnly, Day: 2 << 20, DayMax: 1 << 20, Forecast: 5 << 20},
		Deliveries: []status.Delivery{
			{At: now.Add(-5 * time.Second), First: now.Add(-time.Hour), Receiver: "ops", Incidents: 20, Events: 91, Outcome: "bad_target", Attempts: 12},
			{At: now.Add(-2 * time.Hour), Receiver: "ops", Incidents: 1, Events: 1, Outcome: "ok", Digest: true, Attempts: 1},
		},
	}
}

// TestStatusIsInTheConfiguredLanguage looks for English in a Chinese one: no word may be left but names, units, causes and what others said.
func TestStatusIsInTheConfiguredLanguage(t *testing.T) {
	d := troubled()
	d.Language = status.Chinese
	d.Judge()
	var p Painter
	text := p.Status(d)
	rest := text
	for _, name := range []string{
		"/var/lib/edge-eventer/spool.db", "the disk of the spool is full", "connection refused", "shop-1", "shop", "ops", "API", "spool", "edge-eventer", "retry", "--receiver",
		"no default route", "evicted", "fsync", "maxAge", "KiB", "MiB",
	} {
		rest = strings.ReplaceAll(rest, name, "")
	}
	if left := regexp.MustCompile(`[A-Za-z]{3,}`).FindAllString(rest, -1); len(left) != 0 {
		t.Errorf("English is left: %q\n%s", left, text)
	}
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		if cli.Width(line) > cli.Columns {
			t.Errorf("a line has %d columns: %s", cli.Width(line), line)
		}
		// The columns of a table begin at the same place, however wide the characters before them are.
		if before, _, ok := strings.Cut(line, "状态"); ok {
			if got, _, _ := strings.Cut(lines[i+1], "拒收"); cli.Width(got) != cli.Width(before) {
				t.Errorf("the table is not aligned:\n%s\n%s", line, lines[i+1])
			}
		}
	}
	if !strings.HasPrefix(p.Absent(errors.New("x"), nil), "异常\n") {
		t.Error("an agent that does not answer is told in English")
	}
}

// TestStatusSaysWhatToDo: a stranger has the fault, what it means for events and the next step on one screen.
func TestStatusSaysWhatToDo(t *testing.T) {
	s := troubled()
	s.Judge()
	var p Painter
	text := strings.Join(strings.Fields(p.Status(s)), " ")
	for _, want := range []string{
		"> the API server keeps events for an hour by default", "> events wait in the API server, an hour by default, until /var/lib/edge-eventer/spool.db can be written",
		"> 7 events wait on disk for ops; after the repair: edge-eventer spool retry --receiver ops",
		"> nothing is lost until the spool is full", "link down for 0s, no default route", "fsync 12 ms, max 2500 ms",
		"5s ago ops 20 91 receiver refuses ×12 in 59m55s", "2h00m ago ops 1 1 delivered, digest",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("it does not say %q:\n%s", want, p.Status(s))
		}
	}
	if strings.Count(text, "connection refused") != 1 {
		t.Errorf("a failure is said twice:\n%s", p.Status(s))
	}
}
