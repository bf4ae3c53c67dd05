// Package notice has the words of what the agent reports of itself at times of its own: the budget, the daily statistics, the
// heartbeat, the end of a silence, the record of the site. They are no trouble that lasts: each is a message of its own, that no other holds back.
package notice

import (
	"fmt"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/dial/budget"
	"github.com/edge-eventer/edge-eventer/notify"
)

// The reasons of the notices.
const (
	Budget    = "LinkBudget"
	Report    = "DailyStatistics"
	Heartbeat = "Heartbeat"
	Silence   = "SilenceEnded"
)

// Is reports whether an incident of the agent's own with this reason is a notice.
func Is(reason string) bool {
	return reason == Budget || reason == Report || reason == Heartbeat || reason == Silence || reason == notify.SiteStatus
}

// IsCalm reports whether a notice is told when all is well: it is no warning.
func IsCalm(reason string) bool { return reason == Report || reason == Heartbeat }

// HeartbeatText is what a heartbeat says to which there was nothing to tell.
func HeartbeatText(language string, interval time.Duration) string {
	if language == "zh" {
		return fmt.Sprintf("代理运行正常，%s 内没有需要通知的事件。", interval)
	}
	return fmt.Sprintf("The agent is well. There was nothing to tell for %s.", interval)
}

// HeartbeatBeside is what a heartbeat says that waits with others, or goes along with them, while so many observations are pending.
func HeartbeatBeside(language string, pending uint64) string {
	switch {
	case language == "zh" && pending > 0:
		return fmt.Sprintf("代理运行正常，另有 %d 个事件等待通知。", pending)
	case language == "zh":
		return "代理运行正常。"
	case pending > 0:
		return fmt.Sprintf("The agent is well. %d further events wait to be told.", pending)
	}
	return "The agent is well."
}

// BudgetNow says how the scarcer budget stands.
func BudgetNow(b *budget.Budget) string {
	n, scarce := b.Scarcest()
	if !scarce {
		return fmt.Sprintf("The budget is no longer scarce: %d of the %d bytes of this %s are used. Everything is told again.", n.Used, n.Limit, n.Period)
	}
	return BudgetText(n)
}

// BudgetText says what a budget that has come to a level means.
func BudgetText(n budget.Notice) string {
	text := fmt.Sprintf("%d of the %d bytes of this %s are used, until %s. ", n.Used, n.Limit, n.Period, n.Ends.Format(time.RFC3339))
	if n.Level == budget.CriticalOnly {
		return text + "Only critical incidents are told; all others wait on disk."
	}
	return text + "Everything is told in digests, at most one an hour."
}
