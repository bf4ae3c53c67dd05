package status

import "strings"

// problem is a reason why the agent is not ready. Its sentence is the agent's own; why may hold the words of a receiver, of the API server or
// of the system.
type problem struct {
	sentence
	why string
}

// problems returns why events do not reach the spool or a receiver: the watch does not see, the spool cannot be written, a receiver refuses
// everything or has no secret. The link being away is none: that is what the spool is for.
func (d *Document) problems() []problem {
	problems := d.watchProblems()
	if !d.Spool.BlockedSince.IsZero() {
		problems = append(problems, problem{say("%s (since %s)", "%s（自 %s 起）", d.Spool.BlockedBy, stamp(d.Spool.BlockedSince)), ""})
	}
	for i := range d.Receivers {
		r := &d.Receivers[i]
		switch {
		case len(r.MissingFiles) > 0:
			problems = append(problems, problem{
				say("receiver %s has no address or secret", "接收方 %s 缺少地址或密钥", r.Name), strings.Join(r.MissingFiles, "; "),
			})
		case !r.RefusedSince.IsZero():
			problems = append(problems, problem{
				say("receiver %s refuses every message since %s", "接收方 %s 自 %s 起拒收所有消息", r.Name, stamp(r.RefusedSince)), r.LastError,
			})
		}
	}
	return problems
}

// watchProblems returns why events are not seen.
func (d *Document) watchProblems() (problems []problem) {
	switch {
	case d.SignInError != "":
		problems = append(problems, problem{say("cannot sign in to the cluster", "无法登录集群"), d.SignInError})
	case len(d.Watch) == 0:
		problems = append(problems, problem{say("has not signed in to the cluster yet", "尚未登录集群"), ""})
	}
	for i := range d.Watch {
		w := &d.Watch[i]
		where := sentence{"all namespaces", "所有命名空间"}
		if w.Namespace != "" {
			where = say("namespace %s", "命名空间 %s", w.Namespace)
		}
		switch {
		case !w.FailingSince.IsZero() && w.Unseen:
			since := stamp(w.FailingSince)
			problems = append(problems, problem{
				sentence{"no sight of " + where.en + " since " + since, "自 " + since + " 起看不到" + where.zh + "的事件"}, w.Failure,
			})
		case w.LastAnswer.IsZero():
			problems = append(problems, problem{
				sentence{"the API server has not answered yet for " + where.en, "API 服务器尚未就" + where.zh + "作出应答"}, "",
			})
		}
	}
	return problems
}

// sentences returns problems in a language, with the words of others or without.
func sentences(problems []problem, language string, others bool) []string {
	texts := []string{}
	for _, p := range problems {
		text := p.in(language)
		if others && p.why != "" {
			text = sentence{text + ": " + p.why, text + "：" + p.why}.in(language)
		}
		texts = append(texts, text)
	}
	return texts
}

// Unready lists, as English sentences, why the agent is not ready; empty while it is. Without others it leaves out the words of receivers and
// of the API server, which are not for everybody who may ask.
func (d *Document) Unready(others bool) []string { return sentences(d.problems(), "en", others) }
