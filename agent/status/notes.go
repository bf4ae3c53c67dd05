package status

import "fmt"

// fullTenths is from how many tenths of the spool in use on it is called nearly full; above three quarters the oldest go.
const fullTenths = 7

// maxSilenceNotes is how many silences are named in the notes.
const maxSilenceNotes = 4

// maxAsideNotes is how many messages that a receiver does not take are named in the notes.
const maxAsideNotes = 4

// notes lists, as sentences in the configured language, what an operator should know and what keeps no event from its way.
func (d *Document) notes() []string {
	var notes []sentence
	if !d.Config.Refused.IsZero() {
		notes = append(notes, say("the changed configuration was refused, the one before stays: %s", "修改后的配置被拒绝，仍使用之前的配置：%s", d.Config.Mistakes))
	}
	for _, s := range d.Config.NeedsRestart {
		notes = append(notes, sentence{s, s})
	}
	if d.Budget != nil {
		switch d.Budget.Level {
		case Frugal:
			notes = append(notes, sentence{
				"four fifths of the link's budget are used: everything is told in digests, at most one an hour",
				"链路流量预算已用去五分之四：所有内容以摘要形式发送，每小时最多一条",
			})
		case CriticalOnly:
			notes = append(notes, sentence{
				"the link's budget is used up: only critical incidents are sent, all others wait on disk until the period ends",
				"链路流量预算已用完：只发送严重故障，其余在磁盘上等待，直到本周期结束",
			})
		}
	}
	if d.Spool.Max > 0 && d.Spool.Used > d.Spool.Max/10*fullTenths {
		notes = append(notes, sentence{
			"the spool is nearly full: the oldest incidents go next, counted and told (spool.maxBytes)",
			"spool 快满了：接下来会删除最旧的故障，并计数、告知（spool.maxBytes）",
		})
	}
	notes = append(notes, d.silenceNotes()...)
	for i := range d.Receivers {
		notes = append(notes, d.Receivers[i].notes()...)
	}
	texts := make([]string, 0, len(notes))
	for _, n := range notes {
		texts = append(texts, n.in(d.Language))
	}
	return texts
}

// silenceNotes names the silences that are active, those that end first.
func (d *Document) silenceNotes() (notes []sentence) {
	active := 0
	for i := range d.Silences {
		s := &d.Silences[i]
		if s.State != "active" {
			continue
		}
		if active++; active <= maxSilenceNotes {
			notes = append(notes, say("silence %s holds back what matches %s until %s: %s", "静默 %s 压住匹配 %s 的故障，直到 %s：%s",
				s.ID[:min(len(s.ID), 8)], s.Matchers, stamp(s.EndsAt), s.Comment))
		}
	}
	if more := active - maxSilenceNotes; more > 0 {
		notes = append(notes, say("%d more silences are active: silence ls", "另有 %d 条静默生效：silence ls", more))
	}
	return notes
}

// notes lists what is worth knowing of a receiver.
func (r *Receiver) notes() (notes []sentence) {
	if r.Type == "" {
		return []sentence{say(
			"queue %s has no receiver: %d records and %d dead letters wait; configure it again, or spool drop --receiver %[1]s",
			"队列 %s 没有接收方：有 %d 条记录和 %d 条死信等待；请重新配置，或执行 spool drop --receiver %[1]s", r.Name, r.Records, r.Dead,
		)}
	}
	if r.Dead > 0 {
		notes = append(notes, say(
			"receiver %s refused %d messages for good: spool ls --receiver %[1]s shows them, spool retry sends them again",
			"接收方 %s 永久拒收了 %d 条消息：用 spool ls --receiver %[1]s 查看，用 spool retry 重新发送", r.Name, r.Dead,
		))
	}
	for i := range r.Aside[:min(len(r.Aside), maxAsideNotes)] {
		notes = append(notes, r.Aside[i].note(r.Name))
	}
	if more := r.AsideCount - maxAsideNotes; more > 0 {
		notes = append(notes, say("receiver %s does not take %d more messages while it takes others", "接收方 %s 另有 %d 条消息不接收，但接收其他消息", r.Name, more))
	}
	for _, m := range r.Muted {
		notes = append(notes, m.note(r.Name))
	}
	if r.MuteOnLosses {
		notes = append(notes, say(
			"receiver %s cannot be told what was lost: no template of its body uses .Message; the losses stay untold",
			"无法告知接收方 %s 丢失了什么：其 body 的模板都没有使用 .Message；丢失的内容尚未告知", r.Name,
		))
	}
	return notes
}

// note says what holds how much back from a receiver.
func (m *Muted) note(receiver string) sentence {
	by := say("the silence %s", "静默 %s", m.Name[:min(len(m.Name), 8)])
	switch {
	case m.Reason == "inhibition":
		by = say("another incident (rule %s)", "另一个故障（规则 %s）", m.Name)
	case m.Reason == "time interval" && m.Name == "":
		by = sentence{"its activeTimeIntervals", "其 activeTimeIntervals"}
	case m.Reason == "time interval":
		by = say("the time interval %s", "时段 %s", m.Name)
	}
	return sentence{
		fmt.Sprintf("%s holds %d incidents with %d events back from receiver %s, which are told afterwards", by.en, m.Incidents, m.Events, receiver),
		fmt.Sprintf("%s暂时压住了发往接收方 %s 的 %d 个故障、%d 个事件，之后再通知", by.zh, receiver, m.Incidents, m.Events),
	}
}

// note says what a receiver does not take while it takes others, since when, and what it answers.
func (a *Aside) note(receiver string) sentence {
	what := say("%s of %s", "%[2]s 的 %[1]s", a.Reason, a.Workload)
	if a.Group != "" {
		what = say("what goes to %s", "发往 %s 的内容", a.Group)
	}
	return sentence{
		fmt.Sprintf("receiver %s does not take %s since %s, while it takes others (%d tries, the next at %s): %s",
			receiver, what.en, stamp(a.Since), a.Tries, stamp(a.Next), a.Failure),
		fmt.Sprintf("接收方 %s 自 %s 起不接收%s，但接收其他消息（已尝试 %d 次，下次在 %s）：%s",
			receiver, stamp(a.Since), what.zh, a.Tries, stamp(a.Next), a.Failure),
	}
}
