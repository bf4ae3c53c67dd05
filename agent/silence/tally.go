package silence

import (
	"fmt"
	"strings"

	"github.com/edge-eventer/edge-eventer/agent/matcher"
	"github.com/edge-eventer/edge-eventer/notify"
)

// Tally counts what was held back.
type Tally struct {
	Incidents int
	Events    uint64
	// StillOn counts the incidents among them that go on after the end.
	StillOn int
	// worst is the worst and newest of them; its zero value: there was none.
	worst matcher.Subject
}

// Add counts an incident, of which the untold observations were held back.
func (t *Tally) Add(s *matcher.Subject) {
	t.Incidents++
	t.Events += uint64(s.Incident.Untold())
	if t.worst.Incident == nil || rank(s) > rank(&t.worst) || rank(s) == rank(&t.worst) && s.Incident.Last.After(t.worst.Incident.Last) {
		t.worst = *s
	}
}

func rank(s *matcher.Subject) int {
	if s.Severity == notify.Critical {
		return 1
	}
	return 0
}

// Ended is the line that is told at the end of a silence: what it held, in the language en or zh.
func (s *Silence) Ended(t *Tally, language string) string {
	what := s.Matchers.String()
	worst := t.worst.Incident
	subject := strings.TrimSpace(worst.Event.InvolvedObject.Namespace + " " + worst.Workload)
	if language == "zh" {
		text := fmt.Sprintf("静默 %s 已结束（%s；%s）。期间压住了 %d 个故障、%d 个事件，最严重的是 %s：%s（%s）。",
			s.Short(), what, s.Comment, t.Incidents, t.Events, t.worst.Severity, worst.Event.Reason, subject)
		if t.StillOn > 0 {
			text += fmt.Sprintf("其中 %d 个仍在继续，另行通知。", t.StillOn)
		}
		return text
	}
	text := fmt.Sprintf("The silence %s is over (%s; %s). It held back %s with %s, the worst: %s %s of %s.",
		s.Short(), what, s.Comment, plural(uint64(t.Incidents), "incident"), plural(t.Events, "event"), t.worst.Severity, worst.Event.Reason, subject)
	if t.StillOn > 0 {
		text += fmt.Sprintf(" %d of them still go on and are told on their own.", t.StillOn)
	}
	return text
}

func plural(n uint64, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}
