package control

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// TestVerdictNamesTheReceiversThatDoNotDeliver is one of six that is away, while another holds repeats back on purpose.
func TestVerdictNamesTheReceiversThatDoNotDeliver(t *testing.T) {
	now := time.Now()
	s := Status{Now: now, Ready: true, Link: "up", Watch: []Watch{{State: "watching"}}}
	for _, name := range []string{"chat", "a", "b", "c", "d", "e"} {
		s.Receivers = append(s.Receivers, Receiver{Name: name, Type: "webhook", State: "idle"})
	}
	// A queue that no receiver empties does not count.
	s.Receivers = append(s.Receivers, Receiver{Name: "gone"})
	if s.Judge(nil); s.Verdict.Level != Working || s.Verdict.Headline != "WORKING" || s.Verdict.Waiting != "" {
		t.Errorf("all is well: %+v", s.Verdict)
	}
	s.Receivers[0].State, s.Receivers[0].LastError, s.Receivers[0].Untold, s.Receivers[0].Next = "backoff", "HTTP status 503", 69, now.Add(time.Minute)
	s.Receivers[1].Untold, s.Receivers[1].Held, s.Receivers[1].NextDue = 176, 176, now.Add(5*time.Minute)
	for language, want := range map[string][]string{
		"en": {"WORKING, 1 of 6 receivers not delivering: chat", "245 events wait: 69 due, 176 held back, the next in 5m00s", "chat: HTTP status 503; next attempt in 1m00s"},
		"zh": {"正常，6 个接收方中有 1 个无法投递：chat", "245 个事件等待：69 个已到期，176 个按计划暂缓，下一批在 5m00s 后", "chat：HTTP status 503；1m00s 后再试"},
	} {
		s.Language = language
		s.Judge(nil)
		if v := s.Verdict; v.Level != Degraded || v.Headline != want[0] || v.Waiting != want[1] || len(v.Reasons) != 1 || v.Reasons[0] != want[2] {
			t.Errorf("%s: %+v", language, v)
		}
	}
	s.Language, s.Ready = "en", false
	s.Receivers[0].RefusedSince = now
	s.Judge([]string{"receiver chat refuses every message"})
	if v := s.Verdict; v.Level != Broken || v.Headline != "NOT WORKING" || !strings.Contains(strings.Join(v.Hints, "\n"), "spool retry --receiver chat") {
		t.Errorf("refused: %+v", v)
	}
	s.Fail(errors.New("the spool is not open yet"))
	if v := s.Verdict; v.Level != Broken || v.Reasons[0] != "the spool is not open yet" {
		t.Errorf("failed: %+v", v)
	}
}
