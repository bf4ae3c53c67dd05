package control

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// The levels of a verdict.
const (
	// Working: events are seen, and delivered or held back on purpose.
	Working = "working"
	// Degraded: events are seen and kept, and some are not delivered.
	Degraded = "degraded"
	// Broken: events are not seen, cannot be kept, or a receiver refuses all of them.
	Broken = "broken"
)

// Verdict is the answer to the first question: does it work, and if not, why. The terminal, the page and -o json show the same one, in the
// configured language.
type Verdict struct {
	// Level is working, degraded or broken.
	Level string `json:"level"`
	// Headline is the level in words, such as "WORKING, 1 of 6 receivers not delivering: chat".
	Headline string `json:"headline"`
	// Waiting says what waits and until when; empty where nothing is amiss.
	Waiting string `json:"waiting,omitempty"`
	// Reasons are sentences that say why, and Hints what that means for events and what to do.
	Reasons []string `json:"reasons,omitempty"`
	Hints   []string `json:"hints,omitempty"`
}

// words are the sentences of a verdict in one language.
type words struct {
	working, broken, linkAway, budget, notDelivering, notDeliveringOne string
	wait, waitSplit, waitSplitNext                                     string
	next                                                               string
	hintWatch, hintSpool, hintRefused, hintLink                        string
	separator, list                                                    string
}

func wordsOf(language string) words {
	if language == "zh" {
		return words{
			working: "正常", broken: "异常", linkAway: "链路断开", budget: "流量预算已用完",
			notDelivering: "%[2]d 个接收方中有 %[1]d 个无法投递：%[3]s", notDeliveringOne: "无法投递：%[3]s",
			wait: "磁盘上有 %d 个事件等待投递", waitSplit: "%d 个事件等待：%d 个已到期，%d 个按计划暂缓",
			waitSplitNext: "%d 个事件等待：%d 个已到期，%d 个按计划暂缓，下一批在 %s 后",
			next:          "%s：%s；%s 后再试",
			hintWatch:     "API 服务器默认保留事件一小时：恢复时仍在此期限内的事件不会丢失",
			hintSpool:     "在 %s 可以写入之前，事件留在 API 服务器里（默认一小时）",
			hintRefused:   "有 %d 个事件在磁盘上等待 %s；修复后执行：edge-eventer spool retry --receiver %s",
			hintLink:      "在 spool 写满或事件等待超过 spool.maxAge 之前，什么也不会丢失",
			separator:     "，", list: "、",
		}
	}
	return words{
		working: "WORKING", broken: "NOT WORKING", linkAway: "link away", budget: "budget used up",
		notDelivering: "%d of %d receivers not delivering: %s", notDeliveringOne: "not delivering: %[3]s",
		wait: "%d events wait on disk", waitSplit: "%d events wait: %d due, %d held back",
		waitSplitNext: "%d events wait: %d due, %d held back, the next in %s",
		next:          "%s: %s; next attempt in %s",
		hintWatch:     "the API server keeps events for an hour by default: what is younger when it is back is not lost",
		hintSpool:     "events wait in the API server, an hour by default, until %s can be written",
		hintRefused:   "%d events wait on disk for %s; after the repair: edge-eventer spool retry --receiver %s",
		hintLink:      "nothing is lost until the spool is full or an event waits longer than spool.maxAge",
		separator:     ", ", list: ", ",
	}
}

// Judge computes the verdict. Reasons say in the configured language why the status is not ready.
func (s *Status) Judge(reasons []string) {
	w := wordsOf(s.Language)
	var failing []*Receiver
	configured := 0
	for i := range s.Receivers {
		if r := &s.Receivers[i]; r.Type != "" {
			configured++
			if r.State == "backoff" && r.RefusedSince.IsZero() {
				failing = append(failing, r)
			}
		}
	}
	v := Verdict{Level: Working, Headline: w.working}
	switch {
	case !s.Ready:
		v.Level, v.Headline, v.Reasons = Broken, w.broken, reasons
	case s.Link == "down":
		v.Level, v.Headline = Degraded, w.working+w.separator+w.linkAway
	case len(failing) > 0:
		v.Level, v.Headline = Degraded, w.working+w.separator+w.failing(failing, configured)
	case s.Budget != nil && s.Budget.Level == "critical-only":
		v.Level, v.Headline = Degraded, w.working+w.separator+w.budget
	}
	if v.Level == Degraded {
		v.Waiting = w.waiting(s)
		for _, r := range failing {
			v.Reasons = append(v.Reasons, fmt.Sprintf(w.next, r.Name, r.LastError, Span(r.Next.Sub(s.Now))))
		}
	}
	if v.Level != Working {
		v.Hints = w.hints(s)
	}
	s.Verdict = v
}

// Fail makes the status that of an agent that could not say how it stands.
func (s *Status) Fail(err error) {
	s.Ready, s.Problems = false, append([]string{err.Error()}, s.Problems...)
	s.Judge(s.Problems)
}

// failing names the receivers that do not deliver, at most five of them.
func (w *words) failing(failing []*Receiver, configured int) string {
	var names []string
	for _, r := range failing[:min(len(failing), 5)] {
		names = append(names, r.Name)
	}
	if len(failing) > len(names) {
		names = append(names, "…")
	}
	text := w.notDelivering
	if configured == 1 {
		text = w.notDeliveringOne
	}
	return fmt.Sprintf(text, len(failing), configured, strings.Join(names, w.list))
}

// waiting says how many events wait, and how many of them do so on purpose.
func (w *words) waiting(s *Status) string {
	var untold, held uint64
	var next time.Time
	for _, r := range s.Receivers {
		untold += r.Untold
		held += r.Held
		if r.Held > 0 && !r.NextDue.IsZero() && (next.IsZero() || r.NextDue.Before(next)) {
			next = r.NextDue
		}
	}
	switch {
	case held == 0:
		return fmt.Sprintf(w.wait, untold)
	case next.IsZero():
		return fmt.Sprintf(w.waitSplit, untold, untold-min(held, untold), held)
	}
	return fmt.Sprintf(w.waitSplitNext, untold, untold-min(held, untold), held, Span(next.Sub(s.Now)))
}

// hints say what a fault means for events and what to do, once for each kind of fault.
func (w *words) hints(s *Status) []string {
	var hints []string
	if len(s.Watch) == 0 || slices.ContainsFunc(s.Watch, func(n Watch) bool { return !n.FailingSince.IsZero() }) {
		hints = append(hints, w.hintWatch)
	}
	if !s.Spool.BlockedSince.IsZero() {
		// Why it cannot be written is a reason: a full disk, a read-only one, or a spool that makes room by itself.
		hints = append(hints, fmt.Sprintf(w.hintSpool, s.Spool.Path))
	}
	for _, r := range s.Receivers {
		if !r.RefusedSince.IsZero() {
			hints = append(hints, fmt.Sprintf(w.hintRefused, r.Untold, r.Name, r.Name))
		}
	}
	if s.Link == "down" {
		hints = append(hints, w.hintLink)
	}
	return hints
}

// Span shortens a duration to its two largest units.
func Span(d time.Duration) string {
	switch d = max(0, d.Round(time.Second)); {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%dd%02dh", int(d.Hours())/24, int(d.Hours())%24)
}
