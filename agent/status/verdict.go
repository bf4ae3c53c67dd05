package status

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
	// Broken: events are not seen, cannot be kept, or a receiver takes none of them.
	Broken = "broken"
)

// maxNamed is how many receivers a headline names.
const maxNamed = 5

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

// Judge computes the findings from the rest of the document. Whoever fills a document calls it once, at the end.
func (d *Document) Judge() {
	problems := d.problems()
	d.Problems, d.Ready, d.Notes = sentences(problems, "en", true), len(problems) == 0, d.notes()
	d.Verdict = d.verdict(problems)
}

// Fail makes the document that of an agent that could not say how it stands.
func (d *Document) Fail(err error) {
	problems := append([]problem{{sentence: say("%v", "%v", err)}}, d.problems()...)
	d.Problems, d.Ready = sentences(problems, "en", true), false
	d.Verdict = d.verdict(problems)
}

func (d *Document) verdict(problems []problem) Verdict {
	failing, configured := d.failing()
	working := sentence{"WORKING", "正常"}
	v := Verdict{Level: Degraded}
	switch {
	case len(problems) > 0:
		broken := sentence{"NOT WORKING", "异常"}
		v = Verdict{Level: Broken, Headline: broken.in(d.Language), Reasons: sentences(problems, d.Language, true)}
	case d.LinkState == linkDown:
		v.Headline = d.joined(working, sentence{"link away", "链路断开"})
	case len(failing) > 0:
		v.Headline = d.joined(working, notDelivering(failing, configured))
	case d.Budget != nil && d.Budget.Level == CriticalOnly:
		v.Headline = d.joined(working, sentence{"budget used up", "流量预算已用完"})
	default:
		return Verdict{Level: Working, Headline: working.in(d.Language)}
	}
	if v.Level == Degraded {
		v.Waiting = d.waiting()
		for _, r := range failing {
			v.Reasons = append(v.Reasons, say("%s: %s; next attempt in %s", "%s：%s；%s 后再试", r.Name, r.LastError, Span(r.Next.Sub(d.Now))).in(d.Language))
		}
	}
	v.Hints = d.hints()
	return v
}

// joined puts two parts of a headline together.
func (d *Document) joined(a, b sentence) string {
	return sentence{a.en + ", " + b.en, a.zh + "，" + b.zh}.in(d.Language)
}

// failing returns the configured receivers whose last attempt failed and is repeated, and how many are configured.
func (d *Document) failing() (failing []*Receiver, configured int) {
	for i := range d.Receivers {
		if r := &d.Receivers[i]; r.Type != "" {
			configured++
			if r.State == "backoff" && r.RefusedSince.IsZero() {
				failing = append(failing, r)
			}
		}
	}
	return failing, configured
}

// notDelivering names the receivers that do not deliver.
func notDelivering(failing []*Receiver, configured int) sentence {
	var names []string
	for _, r := range failing[:min(len(failing), maxNamed)] {
		names = append(names, r.Name)
	}
	if len(failing) > len(names) {
		names = append(names, "…")
	}
	en, zh := strings.Join(names, ", "), strings.Join(names, "、")
	if configured == 1 {
		return sentence{"not delivering: " + en, "无法投递：" + zh}
	}
	return sentence{
		fmt.Sprintf("%d of %d receivers not delivering: %s", len(failing), configured, en),
		fmt.Sprintf("%d 个接收方中有 %d 个无法投递：%s", configured, len(failing), zh),
	}
}

// waiting says how many events wait, how many of them do so on purpose, and until when.
func (d *Document) waiting() string {
	var untold, due, held uint64
	var next time.Time
	for i := range d.Receivers {
		r := &d.Receivers[i]
		untold, due, held = untold+r.Untold, due+r.Due(), held+r.Held
		if r.Held > 0 && !r.NextDue.IsZero() && (next.IsZero() || r.NextDue.Before(next)) {
			next = r.NextDue
		}
	}
	switch {
	case held == 0:
		return say("%d events wait on disk", "磁盘上有 %d 个事件等待投递", untold).in(d.Language)
	case next.IsZero():
		return say("%d events wait: %d due, %d held back", "%d 个事件等待：%d 个已到期，%d 个按计划暂缓", untold, due, held).in(d.Language)
	}
	return say("%d events wait: %d due, %d held back, the next in %s", "%d 个事件等待：%d 个已到期，%d 个按计划暂缓，下一批在 %s 后",
		untold, due, held, Span(next.Sub(d.Now))).in(d.Language)
}

// hints say what a fault means for events and what to do, once for each kind of fault.
func (d *Document) hints() []string {
	var hints []sentence
	if len(d.Watch) == 0 || slices.ContainsFunc(d.Watch, func(w Watch) bool { return !w.FailingSince.IsZero() }) {
		hints = append(hints, sentence{
			"the API server keeps events for an hour by default: what is younger when it is back is not lost",
			"API 服务器默认保留事件一小时：恢复时仍在此期限内的事件不会丢失",
		})
	}
	if !d.Spool.BlockedSince.IsZero() {
		// Why it cannot be written is a reason: a full disk, a read-only one, or a spool that makes room by itself.
		hints = append(hints, say("events wait in the API server, an hour by default, until %s can be written",
			"在 %s 可以写入之前，事件留在 API 服务器里（默认一小时）", d.Spool.Path))
	}
	for i := range d.Receivers {
		switch r := &d.Receivers[i]; {
		case len(r.MissingFiles) > 0:
			hints = append(hints, say("%d events wait on disk for %s until the file is there; no restart is needed",
				"有 %d 个事件在磁盘上等待 %s，直到该文件存在；无需重启", r.Untold, r.Name))
		case !r.RefusedSince.IsZero():
			hints = append(hints, say("%d events wait on disk for %s; after the repair: edge-eventer spool retry --receiver %[2]s",
				"有 %d 个事件在磁盘上等待 %s；修复后执行：edge-eventer spool retry --receiver %[2]s", r.Untold, r.Name))
		}
	}
	if d.LinkState == linkDown {
		hints = append(hints, sentence{
			"nothing is lost until the spool is full or an event waits longer than spool.maxAge",
			"在 spool 写满或事件等待超过 spool.maxAge 之前，什么也不会丢失",
		})
	}
	texts := make([]string, 0, len(hints))
	for _, h := range hints {
		texts = append(texts, h.in(d.Language))
	}
	return texts
}
