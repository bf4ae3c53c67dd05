package main

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/config/configtest"
	"github.com/edge-eventer/edge-eventer/notify"
	"github.com/edge-eventer/edge-eventer/notify/email"
)

// receivers are one of each type, as the page's own configuration says.
func receivers(t *testing.T, base string) map[string]notify.Receiver {
	t.Helper()
	all := map[string]notify.Receiver{}
	for _, p := range newRoom(base, "", "demo-secret").places {
		if p.mail != nil {
			c := *email.Defaults().(*email.Config)
			c.Smarthost = regexp.MustCompile(`smarthost: (\S+)`).FindStringSubmatch(get(t, base+"/"))[1]
			c.Security, c.From, c.To = "none", "edge@shop.example", []string{"ops@example.com"}
			r, err := c.New(notify.Common{Name: p.name, Cluster: "shop-1"})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(r.Close)
			all[p.name] = r
			continue
		}
		cfg := configtest.Keys{Name: p.name, Type: p.name, Cluster: "shop-1"}
		for _, line := range p.config {
			key, value, _ := strings.Cut(line, ": ")
			switch key {
			case "url":
				cfg.URL = notify.SecretValue(value)
			case "secret":
				cfg.Secret = notify.SecretValue(value)
			case "token":
				cfg.Token = notify.SecretValue(value)
			case "chatId":
				cfg.ChatID = strings.Trim(value, `"`)
			default:
				t.Fatalf("%s: %s", p.name, line)
			}
		}
		r, err := configtest.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(r.Close)
		all[p.name] = r
	}
	return all
}

func start(t *testing.T) (*room, string) {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := newRoom("", listener.Addr().String(), "demo-secret")
	r.mail().Listen(listener)
	server := httptest.NewServer(r.handler())
	t.Cleanup(func() {
		r.mail().Close()
		r.heal()
		server.CloseClientConnections()
		server.Close()
	})
	return r, server.URL
}

func get(t *testing.T, url string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("status %d, %v: %s", resp.StatusCode, err, text)
	}
	return string(text)
}

func post(t *testing.T, base, place, fault string) int {
	t.Helper()
	form := strings.NewReader(url.Values{"place": {place}, "fault": {fault}}.Encode())
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, base+"/fault", form)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}

func send(ctx context.Context, r notify.Receiver, m *notify.Message) error {
	request, err := r.Render(m, notify.Full)
	if err != nil {
		return err
	}
	return r.Send(ctx, request)
}

func TestPageShowsWhatArrivedAtEveryReceiver(t *testing.T) {
	_, base := start(t)
	for name, r := range receivers(t, base) {
		m := notify.Sample("shop-1", time.Now())
		m.Incidents[0].Severity = notify.Critical
		if err := send(t.Context(), r, m); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		page := get(t, base+"/?only="+name)
		if strings.Count(page, "<article") != 1 || !strings.Contains(page, "This is a test of edge-eventer") || !strings.Contains(page, "1 taken of 1") {
			t.Errorf("%s: the page does not show the message:\n%s", name, page[strings.Index(page, "<main>"):])
		}
	}
	page := get(t, base+"/?only=feishu")
	for _, want := range []string{`<h3 style="background: #d8342b">shop-1: BackOff Pod default/edge-eventer-test</h3>`, "<b>BackOff</b>", `<span style="color:#d8342b">critical</span>`, `<div class="note">`} {
		if !strings.Contains(page, want) {
			t.Errorf("feishu: %s is missing in\n%s", want, page[strings.Index(page, "<main>"):])
		}
	}
}

func TestHostileTextStaysText(t *testing.T) {
	_, base := start(t)
	hostile := `<script>alert(1)</script><img src=x onerror=alert(1)> </pre></div></b> &lt;script&gt; <at id=all></at> [x](javascript:alert(1)) **b** <font color="x" onclick=y>`
	for name, r := range receivers(t, base) {
		m := notify.Sample("", time.Now())
		m.Incidents[0].Message, m.Incidents[0].Reason, m.Incidents[0].Workload = hostile, hostile, hostile
		if err := send(t.Context(), r, m); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		page := get(t, base+"/?part&only="+name)
		for _, live := range []string{"<script", "<img", "onclick=y>", `href="javascript`, "</at>", `<span class="at">`} {
			if strings.Contains(page, live) {
				t.Errorf("%s: %s in the page", name, live)
			}
		}
		for _, tag := range []string{"div", "b", "span", "pre", "u"} {
			if opened, closed := strings.Count(page, "<"+tag+">")+strings.Count(page, "<"+tag+" "), strings.Count(page, "</"+tag+">"); opened != closed {
				t.Errorf("%s: %d <%s> and %d </%s>", name, opened, tag, closed, tag)
			}
		}
	}
}

func TestButtonsSetFaults(t *testing.T) {
	_, base := start(t)
	all := receivers(t, base)
	m := notify.Sample("", time.Now())
	for fault, outcome := range map[string]notify.Outcome{
		"down": notify.Retry, "500": notify.Retry, "rate": notify.Retry, "refuse": notify.BadTarget, "portal": notify.Retry, "hang": notify.Retry,
	} {
		if got := post(t, base, "feishu", fault); got != http.StatusSeeOther {
			t.Fatalf("%s: status %d", fault, got)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		if fault == "hang" {
			ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
		}
		err := send(ctx, all["feishu"], m)
		cancel()
		if err == nil || notify.OutcomeOf(err) != outcome {
			t.Errorf("%s: %v, want %s", fault, err, outcome)
		}
		if err := send(t.Context(), all["dingtalk"], m); err != nil {
			t.Errorf("%s of feishu: dingtalk: %v", fault, err)
		}
		post(t, base, "email", fault)
		ctx, cancel = context.WithTimeout(t.Context(), time.Minute)
		if fault == "hang" {
			ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
		}
		err = send(ctx, all["email"], m)
		cancel()
		if err == nil || notify.OutcomeOf(err) != outcome {
			t.Errorf("email, %s: %v, want %s", fault, err, outcome)
		}
		if page := get(t, base+"/?part"); !strings.Contains(page, `value="`+fault+`" class="`+fault+` on"`) {
			t.Errorf("the button %s is not lit", fault)
		}
	}
	if got := post(t, base, "all", "heal"); got != http.StatusSeeOther {
		t.Fatalf("status %d", got)
	}
	if err := send(t.Context(), all["feishu"], m); err != nil {
		t.Errorf("healed: %v", err)
	}
	if got := post(t, base, "feishu", "nonsense"); got != http.StatusBadRequest {
		t.Errorf("unknown fault: status %d", got)
	}
}

func TestWrongUseIsExplained(t *testing.T) {
	var stderr bytes.Buffer
	if code := run([]string{"-nonsense"}, io.Discard, &stderr); code != 2 || !strings.Contains(stderr.String(), "-listen") {
		t.Errorf("exit code %d: %s", code, stderr.String())
	}
	if code := run([]string{"-listen", "127.0.0.1:99999"}, io.Discard, &stderr); code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
}

func TestServerEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	reader, writer := io.Pipe()
	done := make(chan error, 1)
	go func() { done <- serve(ctx, "127.0.0.1:0", "127.0.0.1:0", "", writer) }()
	line := make([]byte, 200)
	n, err := reader.Read(line)
	if err != nil || !strings.HasPrefix(string(line[:n]), "open http://127.0.0.1:") {
		t.Fatalf("%q, %v", line[:n], err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
