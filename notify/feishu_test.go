package notify_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/config/configtest"
	"github.com/edge-eventer/edge-eventer/notify"
	"github.com/edge-eventer/edge-eventer/notify/notifytest"
)

func shanghai(t *testing.T) *time.Location {
	t.Helper()
	zone, err := time.LoadLocation("Asia/Shanghai")
	if err != nil {
		return time.FixedZone("CST", 8*3600)
	}
	return zone
}

func TestFeishuSignsEachAttemptAnew(t *testing.T) {
	s := feishuSubject()
	server, r := s.start(t)
	old := render(t, r, message(plainIncident()), notify.Full)
	old.Time = time.Now().Add(-30 * time.Hour)
	for range 2 {
		if err := r.Send(t.Context(), old); err != nil {
			t.Fatalf("a request rendered long ago: %v", err)
		}
	}
	if len(server.Received()) != 2 {
		t.Errorf("%d messages were taken, want 2", len(server.Received()))
	}
}

func TestFeishuWrongClockIsNamedAndCorrected(t *testing.T) {
	for _, c := range []struct {
		ahead time.Duration
		says  string
	}{
		{4*time.Hour + 10*time.Minute, "clock is 4h"},
		{-26 * time.Hour, "clock is 1d"},
	} {
		s := feishuSubject()
		server, r := s.start(t)
		server.SetClock(c.ahead)
		e := failure(t, send(t, r))
		direction := "behind"
		if c.ahead < 0 {
			direction = "ahead"
		}
		if e.Outcome != notify.Retry || e.Code != "19021" || !strings.Contains(e.Reason, c.says) || !strings.Contains(e.Reason, direction) {
			t.Errorf("the fake's clock is %s ahead: %v", c.ahead, e)
		}
		if err := send(t, r); err != nil {
			t.Errorf("signed with the server's time: %v", err)
		}
		// The machine's clock is set: the correction must end.
		server.SetClock(0)
		err := send(t, r)
		if err != nil {
			err = send(t, r)
		}
		if err != nil {
			t.Errorf("after the clock was set: %v", err)
		}
	}
}

func TestFeishuWrongSecretIsNotBlamedOnTheClock(t *testing.T) {
	s := feishuSubject()
	server, r := s.start(t, func(c *configtest.Keys) { c.Secret = notify.SecretValue("another-secret") })
	for _, ahead := range []time.Duration{0, 10 * time.Minute} {
		server.SetClock(ahead)
		if e := failure(t, send(t, r)); e.Outcome != notify.BadTarget || !strings.Contains(e.Reason, "secret is wrong") {
			t.Errorf("the fake's clock is %s ahead: %v", ahead, e)
		}
	}
	server.SetClock(5 * time.Hour)
	if e := failure(t, send(t, r)); e.Outcome != notify.Retry {
		t.Errorf("both wrong, first attempt: %v", e)
	}
	if e := failure(t, send(t, r)); e.Outcome != notify.BadTarget {
		t.Errorf("both wrong, signed with the server's time: %v", e)
	}
	unsigned := s.receiver(t, server.URL(), func(c *configtest.Keys) { c.Secret = notify.Secret{} })
	if e := failure(t, send(t, unsigned)); e.Outcome != notify.BadTarget || !strings.Contains(e.Reason, "set secret") {
		t.Errorf("no secret: %v", e)
	}
}

func TestFeishuAllowListAndRateOfTheFakeAreUnderstood(t *testing.T) {
	s := feishuSubject()
	server := notifytest.Start(notifytest.New(&notifytest.Feishu{AllowIP: []string{"203.0.113.7"}}))
	t.Cleanup(server.Close)
	if e := failure(t, send(t, s.receiver(t, server.URL()))); e.Code != "19022" {
		t.Errorf("%v, want 19022", e)
	}
	fast := notifytest.Start(notifytest.New(&notifytest.Feishu{PerSecond: 5, PerMinute: 6}))
	t.Cleanup(fast.Close)
	r := s.receiver(t, fast.URL())
	var codes []string
	for range 8 {
		if err := send(t, r); err != nil {
			codes = append(codes, failure(t, err).Code)
		}
	}
	if !slices.Contains(codes, "11232") || len(fast.Received()) > 6 {
		t.Errorf("8 messages at once: codes %v, %d taken", codes, len(fast.Received()))
	}
}

func TestFeishuCardShowsWhatAnOperatorNeeds(t *testing.T) {
	s := feishuSubject()
	r := s.receiver(t, "http://127.0.0.1:1", func(c *configtest.Keys) { c.Location = shanghai(t) })
	in := plainIncident()
	in.Severity = notify.Critical
	request := render(t, r, message(in, plainIncident()), notify.Full)
	var m struct {
		Card struct {
			Header struct {
				Title    struct{ Content string }
				Template string
			}
		}
	}
	if err := json.Unmarshal(request.Body, &m); err != nil {
		t.Fatal(err)
	}
	if m.Card.Header.Template != "red" || m.Card.Header.Title.Content != "shop-1: 2 incidents, 1 critical" {
		t.Errorf("header %+v", m.Card.Header)
	}
	shown := allStrings(request.Body)
	for _, want := range []string{
		"**BackOff** Pod shop/web ×312 &#40;9 new&#41;", in.Message, "web-7d9f8c6b5d-x2x4z, web-7d9f8c6b5d-b8k2m",
		"2026-11-21 10:06:00 – 12:06:00 CST", "told 1h late", "from kubelet on pi-4b-01", "<at id=ou_18eac85d35a26f989317ad4f02e8bbbb></at>",
	} {
		if !strings.Contains(shown, want) {
			t.Errorf("%q is missing in\n%s", want, shown)
		}
	}
	if warning := render(t, r, message(plainIncident()), notify.Full); !strings.Contains(string(warning.Body), `"template":"orange"`) {
		t.Errorf("a warning is not orange: %s", warning.Body)
	}
}
