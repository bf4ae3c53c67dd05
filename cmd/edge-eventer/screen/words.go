package screen

import "github.com/edge-eventer/edge-eventer/agent/status"

// in returns a text of the status in the Painter's language. English ones stand where they are used.
func (p *Painter) in(english string) string {
	if p.Language == status.Chinese {
		if text, ok := chinese()[english]; ok {
			return text
		}
	}
	return english
}

// chinese returns the Chinese texts by the English ones, with the same arguments in the same order.
func chinese() map[string]string {
	return map[string]string{
		"NOT WORKING": "异常", "UNKNOWN": "未知",
		"agent": "代理", "watch": "监听", "events": "事件", "link": "链路", "budget": "预算", "traffic": "流量",
		"%s, up %s, memory %s (peak %s)":                          "%s，已运行 %s，内存 %s（峰值 %s）",
		"%d committed, %d filtered, %d already known, %d too old": "%d 已写入，%d 被过滤，%d 已知，%d 过旧",
		"%s of %s used, file %s":                                  "已用 %s / %s，文件 %s",
		", fsync %.0f ms, max %.0f ms":                            "，fsync %.0f ms，最长 %.0f ms",
		"%s: today %s, month %s%s":                                "%s：今天 %s，本月 %s%s",
		"today %s, month %s%s, no budget":                         "今天 %s，本月 %s%s，无预算",
		" of ":                                                    " / ",
		", forecast %s":                                           "，预计 %s",
		"%s for %s":                                               "%s，已持续 %s",
		"%s, %s":                                                  "%s，%s",
		"%s: %s":                                                  "%s：%s",
		"%s: failing for %s":                                      "%s：已失败 %s",
		"%s: %s, %s":                                              "%s：%s，%s",
		"all namespaces":                                          "所有命名空间",
		"no event yet":                                            "尚无事件",
		"last event %s ago":                                       "上次事件在 %s前",
		"%s ago":                                                  "%s前",
		"never":                                                   "从未",
		"held back: repeats, and what waits for its group; the next is due in %s": "暂缓：重复事件，以及等待同组的事件；下一批在 %s后",
		"lost (%s): %d events in %d incidents since %s":                           "丢失（%s）：%d 个事件，%d 个故障，自 %s 起",

		"RECEIVER": "接收方", "STATE": "状态", "DUE": "到期", "HELD": "暂缓", "OLDEST": "最早", "DEAD": "死信", "LOST": "丢失", "LAST DELIVERED": "上次投递",
		"DELIVERIES": "投递", "INCIDENTS": "故障", "EVENTS": "事件", "RESULT": "结果",
		"delivered": "已投递", "delivered, digest": "已投递，摘要", "failed": "失败", "message refused": "消息被拒收", "receiver refuses": "接收方拒收",
		" ×%d in %s": " ×%d，历时 %s",

		// The states of a link, a watch, a budget and a receiver.
		"up": "通", "down": "断", "unknown": "未知",
		"listing": "列举中", "watching": "监听中",
		status.Free: "充足", status.Frugal: "节省", status.CriticalOnly: "仅限严重",
		"idle": "空闲", "link down": "链路断开", "waiting": "等待中", "sending": "发送中", "retrying": "重试中", "REFUSED": "拒收", "NO SECRET": "缺少密钥", "no config": "未配置",
	}
}
