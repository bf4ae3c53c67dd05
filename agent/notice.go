package agent

import (
	"fmt"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/dial/budget"
	"github.com/edge-eventer/edge-eventer/agent/incident"
	"github.com/edge-eventer/edge-eventer/notify"
	"github.com/edge-eventer/edge-eventer/spool"
)

// The notices of the agent. They are no trouble that lasts: each is a message of its own, that no other holds back.
const (
	reasonBudget    = "LinkBudget"
	reasonReport    = "DailyStatistics"
	reasonHeartbeat = "Heartbeat"
)

func isNotice(reason string) bool {
	return reason == reasonBudget || reason == reasonReport || reason == reasonHeartbeat
}

// foldOwn folds an observation of the agent's own into a queue. A notice begins anew once the last one was told, so that it
// is not held back as a repeat; of those that wait, the latest is told.
func foldOwn(q *spool.Queue, policy incident.Policy, o *incident.Observation) error {
	record, waiting, err := waitingFor(q, policy, o)
	if err != nil {
		return err
	}
	if waiting != nil && isNotice(o.Event.Reason) && waiting.Untold() == 0 {
		waiting = nil
	}
	folded, due, ok := policy.Fold(waiting, o)
	if !ok {
		return nil
	}
	return putIncident(q, record.Key, due, folded)
}

// passes reports whether an incident is sent at the level of the budget. What the agent tells of itself is: the notice that the
// budget is used up, a heartbeat that somebody waits for, the statistics.
func passes(level budget.Level, in *incident.Incident, severity notify.Severity) bool {
	return level != budget.CriticalOnly || severity == notify.Critical || in.Own
}

// freshen makes the notices in m say what is true now that they leave; they may have waited for days. untold counts the observations
// in the queue.
func (d *delivery) freshen(m *notify.Message, untold uint64) {
	for i := range m.Incidents {
		untold -= min(untold, uint64(m.Incidents[i].Untold))
	}
	for i := range m.Incidents {
		in := &m.Incidents[i]
		switch {
		case !in.Own:
		case in.Reason == reasonHeartbeat && (untold > 0 || len(m.Incidents) > 1 || len(m.Losses) > 0):
			in.Message = heartbeatWithout(d.language, untold)
		case in.Reason == reasonBudget && d.budget != nil:
			in.Message = budgetNow(d.budget)
		}
	}
}

// heartbeatText is what a heartbeat says to which there was nothing to tell.
func heartbeatText(language string, interval time.Duration) string {
	if language == "zh" {
		return fmt.Sprintf("代理运行正常，%s 内没有需要通知的事件。", interval)
	}
	return fmt.Sprintf("The agent is well. There was nothing to tell for %s.", interval)
}

// heartbeatWithout is what a heartbeat says that waits with others, or goes along with them.
func heartbeatWithout(language string, untold uint64) string {
	switch {
	case language == "zh" && untold > 0:
		return fmt.Sprintf("代理运行正常，另有 %d 个事件等待通知。", untold)
	case language == "zh":
		return "代理运行正常。"
	case untold > 0:
		return fmt.Sprintf("The agent is well. %d further events wait to be told.", untold)
	}
	return "The agent is well."
}

// budgetNow says how the scarcer budget stands.
func budgetNow(b *budget.Budget) string {
	n, scarce := b.Scarcest()
	if !scarce {
		return fmt.Sprintf("The budget is no longer scarce: %d of the %d bytes of this %s are used. Everything is told again.", n.Used, n.Limit, n.Period)
	}
	return budgetText(n)
}

func budgetText(n budget.Notice) string {
	text := fmt.Sprintf("%d of the %d bytes of this %s are used, until %s. ", n.Used, n.Limit, n.Period, n.Ends.Format(time.RFC3339))
	if n.Level == budget.CriticalOnly {
		return text + "Only critical incidents are told; all others wait on disk."
	}
	return text + "Everything is told in digests, at most one an hour."
}
