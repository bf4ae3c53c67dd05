package chat

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/edge-eventer/edge-eventer/notify"
	"github.com/edge-eventer/edge-eventer/notify/untrusted"
)

// Words are the labels of messages in one language.
type Words struct {
	warning, critical string
	// incidents and events are formats of one count.
	incident, incidents, event, events string
	// news is the format of the observations that were not told yet.
	news    string
	objects string
	more    string
	late    string
	from    string
	node    string
	lost    string
	// lostUnknown is said where nobody can know how much was lost.
	lostUnknown string
	since       string
	causes      map[string]string
	separator   string
	LostTitle   string
	// inAll is the format of events and incidents, part of a number, away of a time and a span, oldest of a time.
	inAll, part, away, oldest string
	// pause is the format of a time and a span.
	pause    string
	unnamed  string
	resolved string
}

// WordsOf returns the words of a language: zh, or English for any other.
func WordsOf(language string) *Words {
	if language == "zh" {
		return &Words{
			warning: "警告", critical: "严重",
			incident: "%d 个故障", incidents: "%d 个故障", event: "%d 个事件", events: "%d 个事件",
			news: "新增 %d", objects: "对象", more: "另有 %d 个", late: "延迟 %s 送达", from: "来源", node: "节点",
			lost: "丢失", lostUnknown: "可能有事件丢失", since: "自", separator: "，", LostTitle: "有事件丢失",
			inAll: "%[2]s，共 %[1]s", part: "（第 %d 条）", away: "自 %s 起无法送达（%s）", oldest: "最早始于 %s", pause: "故障太多，无法逐一通知；下一条不早于 %s（%s 后），严重的立即通知", unnamed: "未列出：",
			resolved: "已恢复：",
			causes: map[string]string{
				"evicted": "存储已满", "expired": "等待过久", "refused": "接收方拒收", "damaged": "存储文件损坏", "unseen": "未能观察集群", "dropped": "操作员删除",
				"undecodable": "内容过大或无法解析",
			},
		}
	}
	return &Words{
		warning: "warning", critical: "critical",
		incident: "%d incident", incidents: "%d incidents", event: "%d event", events: "%d events",
		news: "%d new", objects: "objects", more: "%d more", late: "told %s late", from: "from", node: "on",
		lost: "lost", lostUnknown: "events may have been lost", since: "since", separator: ", ", LostTitle: "events lost",
		inAll: "%s in %s", part: " (part %d)", away: "out of reach since %s (%s)", oldest: "the oldest began %s",
		pause: "more than can be told one by one; the next message not before %s (in %s), what is critical at once", unnamed: "not named here: ",
		resolved: "resolved: ",
		causes: map[string]string{
			"evicted": "the spool was full", "expired": "they waited too long", "refused": "this receiver refused them",
			"damaged": "the spool was damaged", "unseen": "the cluster was not watched", "dropped": "an operator dropped them",
			"undecodable": "they were too large or could not be read",
		},
	}
}

func (w *Words) severity(s notify.Severity) string {
	if s == notify.Critical {
		return w.critical
	}
	return w.warning
}

// count writes n with the singular or the plural.
func count(n uint64, one, many string) string {
	if n == 1 {
		return fmt.Sprintf(one, n)
	}
	return fmt.Sprintf(many, n)
}

// Loss is one sentence about l, without a full stop.
func (w *Words) Loss(l *notify.Loss, zone *time.Location) string {
	var parts []string
	if l.Incidents > 0 {
		parts = append(parts, count(l.Incidents, w.incident, w.incidents))
	}
	if l.Events > 0 {
		parts = append(parts, count(l.Events, w.event, w.events))
	}
	text := w.lostUnknown
	if len(parts) > 0 {
		text = w.lost + " " + strings.Join(parts, w.separator)
	}
	cause := w.causes[l.Cause]
	if cause == "" {
		cause = untrusted.Name(l.Cause, 64)
	}
	text += ": " + cause
	if !l.Since.IsZero() {
		text += w.separator + w.since + " " + clockText(l.Since, zone)
	}
	return text
}

// digest says how many events in how many incidents.
func (w *Words) digest(d *notify.Digest) string {
	text := fmt.Sprintf(w.inAll, count(d.Events, w.event, w.events), count(uint64(max(0, d.Incidents)), w.incident, w.incidents))
	if d.Part > 1 {
		text += fmt.Sprintf(w.part, d.Part)
	}
	return text
}

// span says since when a digest's incidents wait.
func (w *Words) span(d *notify.Digest, now time.Time, zone *time.Location) []string {
	var lines []string
	if !d.AwaySince.IsZero() {
		lines = append(lines, fmt.Sprintf(w.away, clockText(d.AwaySince, zone), Span(now.Sub(d.AwaySince))))
	}
	if !d.Since.IsZero() {
		lines = append(lines, fmt.Sprintf(w.oldest, clockText(d.Since, zone)))
	}
	if d.Pause > 0 {
		lines = append(lines, fmt.Sprintf(w.pause, clockText(now.Add(d.Pause), zone), Span(d.Pause)))
	}
	return lines
}

// notNamed counts what a digest has no room for, and says where it stands.
func (w *Words) notNamed(incidents int, events uint64) string {
	return w.unnamed + count(uint64(incidents), w.incident, w.incidents) + w.separator + count(events, w.event, w.events) +
		" (edge-eventer spool ls)"
}

// over names incidents that are over in one line of at most maxResolved bytes, and counts those that have no room.
func (w *Words) over(incidents []notify.Incident) string {
	text := w.resolved
	for i := range incidents {
		in := &incidents[i]
		name := strings.Join(Filled(untrusted.Name(in.Reason, 64), Subject(in), w.observed(in)), " ")
		if i > 0 {
			name = w.separator + name
		}
		if len(text)+len(name) > maxResolved {
			return text + w.separator + fmt.Sprintf(w.more, len(incidents)-i)
		}
		text += name
	}
	return text
}

// observed is how often: "×312 (9 new)", or nothing for a single observation.
func (w *Words) observed(in *notify.Incident) string {
	if in.Occurrences <= 1 {
		return ""
	}
	text := "×" + strconv.Itoa(in.Occurrences)
	if in.Untold > 0 && in.Untold < in.Occurrences {
		text += " (" + fmt.Sprintf(w.news, in.Untold) + ")"
	}
	return text
}

// Affected lists objects that the workload's name does not already say.
func (w *Words) Affected(in *notify.Incident) string {
	const shown = 5
	var names []string
	for _, name := range in.Objects[:min(len(in.Objects), shown)] {
		names = append(names, untrusted.Name(name, 80))
	}
	if len(names) == 0 || in.ObjectCount <= 1 && len(names) == 1 && names[0] == in.Workload {
		return ""
	}
	if rest := in.ObjectCount - len(names); rest > 0 {
		more := fmt.Sprintf(w.more, rest)
		if in.ObjectCount >= 64 {
			more = strings.Replace(more, strconv.Itoa(rest), strconv.Itoa(rest)+"+", 1)
		}
		names = append(names, more)
	}
	return strings.Join(names, ", ")
}

// delay says how late the news is; 2 minutes and less are not worth a word.
func (w *Words) delay(in *notify.Incident, now time.Time) string {
	late := now.Sub(in.LastSeen)
	if in.LastSeen.IsZero() || late <= 2*time.Minute {
		return ""
	}
	return fmt.Sprintf(w.late, Span(late))
}

// Span shows a duration in its two largest units.
func Span(d time.Duration) string {
	d = d.Abs()
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%dm", d/time.Minute)
	case d < 24*time.Hour:
		return twoUnits(d, time.Hour, "h", time.Minute, "m")
	}
	return twoUnits(d, 24*time.Hour, "d", time.Hour, "h")
}

func twoUnits(d, large time.Duration, largeName string, small time.Duration, smallName string) string {
	text := strconv.Itoa(int(d/large)) + largeName
	if rest := d % large / small; rest > 0 {
		text += strconv.Itoa(int(rest)) + smallName
	}
	return text
}

func clockText(t time.Time, zone *time.Location) string {
	return t.In(zone).Format("2006-01-02 15:04:05 MST")
}

// times shows the first and the last observation, the date once if it is the same.
func times(first, last time.Time, zone *time.Location) string {
	switch {
	case last.IsZero():
		return ""
	case first.IsZero(), first.Truncate(time.Second).Equal(last.Truncate(time.Second)):
		return clockText(last, zone)
	}
	first, last = first.In(zone), last.In(zone)
	format := "2006-01-02 15:04:05"
	if first.Format(time.DateOnly) == last.Format(time.DateOnly) {
		format = "15:04:05"
	}
	return first.Format("2006-01-02 15:04:05") + " – " + last.Format(format+" MST")
}
