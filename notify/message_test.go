package notify_test

import (
	"fmt"
	"strings"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/event"
	"github.com/edge-eventer/edge-eventer/notify"
)

// now is the time of all messages in golden files.
var now = time.Date(2026, 11, 21, 5, 6, 0, 0, time.UTC)

// hostile texts try to notify somebody, to break the message around them, or to hide.
var hostile = map[string]string{
	"at-all":        `<at id=all></at><at user_id="all">everyone</at>`,
	"channel":       "<!channel> <!here|here> <!subteam^S123> <@U123>",
	"all":           "@all @everyone @here @channel @所有人 <@all>",
	"markdown":      "*b* **b** _i_ ~s~ `c` ```\ncode\n``` [l](https://evil.example) ![i](x) # h\n# h\n> q\n- l\n1. n\n---\n|a|b|",
	"quotes":        "\"quotes\" 'single' \\ backslash\nnewline\r\nand\ttab {{ .Reason }} ${HOME}",
	"control":       "bell\a escape\x1b[31mred\x1b[0m null\x00 delete\x7f c1\u0085\u009b",
	"invalid-utf8":  "broken \xff\xfe\xc3\x28 \xed\xa0\x80 end\xe4\xbd",
	"bidi":          "user\u202Etxt.exe\u202C zero\u200Bwidth\uFEFF <\u200Bat id=all> tag\U000E0041 iso\u2066late",
	"html":          "<b>bold</b> <script>alert(1)</script> &lt;at id=all&gt; &#60;at id=all&#62; <a href=\"https://evil.example\">x</a></code>",
	"font":          `<font color="warning">x</font> </font> <link>`,
	"emoji":         "😀😀 👨‍👩‍👧 🇨🇳",
	"link":          "[https://evil.example|click] <https://evil.example|click> [click](https://evil.example)",
	"entity-tail":   "&amp; &am &#6 &",
	"phone-mention": "@13800000000 @zhangsan",
}

func plainIncident() notify.Incident {
	return notify.Incident{
		Event: event.Event{
			ObjectMeta: event.ObjectMeta{
				Name: "web-7d9f8c6b5d-x2x4z.18e9f709ff90f259", Namespace: "shop", UID: "ff27b979-a23d-4cda-b30f-b7a11415d493",
				ResourceVersion: "4562", CreationTimestamp: now.Add(-3 * time.Hour),
			},
			InvolvedObject: event.Reference{
				Kind: "Pod", Namespace: "shop", Name: "web-7d9f8c6b5d-x2x4z", UID: "1d3a3fb0-d682-469a-b871-08ff3aa72d01",
				APIVersion: "v1", ResourceVersion: "4428", FieldPath: "spec.containers{web}",
			},
			Reason:              "BackOff",
			Message:             "Back-off restarting failed container web in pod web-7d9f8c6b5d-x2x4z_shop",
			Source:              event.Source{Component: "kubelet", Host: "pi-4b-01"},
			FirstTimestamp:      now.Add(-3 * time.Hour),
			LastTimestamp:       now.Add(-time.Hour),
			Count:               312,
			Type:                "Warning",
			ReportingController: "kubelet",
			ReportingInstance:   "pi-4b-01",
		},
		ID: "0a1b2c3d4e5f-19387a2b3c0-312", Cluster: "shop-1", Workload: "web", Severity: notify.Warning,
		Occurrences: 312, Untold: 9, FirstSeen: now.Add(-3 * time.Hour), LastSeen: now.Add(-time.Hour),
		Objects: []string{"web-7d9f8c6b5d-x2x4z", "web-7d9f8c6b5d-b8k2m"}, ObjectCount: 2,
	}
}

func withText(text string) notify.Incident {
	in := plainIncident()
	in.Message = text
	return in
}

// hostileEverywhere has the text in every field that comes from the cluster.
func hostileEverywhere(text string) notify.Incident {
	in := plainIncident()
	for _, field := range []*string{
		&in.Message, &in.Reason, &in.Name, &in.Namespace, &in.Workload, &in.Source.Component, &in.Source.Host,
		&in.InvolvedObject.Kind, &in.InvolvedObject.Name, &in.InvolvedObject.Namespace, &in.InvolvedObject.FieldPath,
		&in.ReportingController, &in.ReportingInstance, &in.Action, &in.Type, &in.UID,
	} {
		*field = text
	}
	in.Objects = []string{text, text + "2"}
	return in
}

func many(n int) []notify.Incident {
	var all []notify.Incident
	for i := range n {
		in := plainIncident()
		in.ID = fmt.Sprintf("id-%d", i)
		in.Reason = []string{"BackOff", "FailedScheduling", "FailedMount", "NodeNotReady"}[i%4]
		in.Workload = fmt.Sprintf("app-%d", i)
		in.Namespace = []string{"shop", "kube-system"}[i%2]
		in.InvolvedObject.Namespace = in.Namespace
		if i%4 == 3 {
			in.Severity = notify.Critical
			in.InvolvedObject.Kind = "Node"
		}
		in.Message = fmt.Sprintf("%d: 0/1 nodes are available: 1 Insufficient cpu, 1 Insufficient memory. %s", i, strings.Repeat("no new claims to deallocate, ", i%7))
		all = append(all, in)
	}
	return all
}

func message(incidents ...notify.Incident) *notify.Message {
	return &notify.Message{Now: now, Incidents: incidents}
}

func losses() []notify.Loss {
	return []notify.Loss{
		{Cause: "evicted", Incidents: 3, Events: 40, Since: now.Add(-30 * time.Hour)},
		{Cause: "refused", Incidents: 1, Events: 1, Since: now.Add(-2 * time.Hour)},
		{Cause: "unseen", Since: now.Add(-26 * time.Hour)},
	}
}

func digest(incidents []notify.Incident, losses []notify.Loss) *notify.Message {
	m := &notify.Message{Now: now, Incidents: incidents, Losses: losses}
	m.Digest = &notify.Digest{
		Incidents: len(incidents) + 40, Events: 5000, Since: now.Add(-26 * time.Hour), AwaySince: now.Add(-25 * time.Hour), Part: 1,
		MoreIncidents: 40, MoreEvents: 777,
	}
	return m
}

// messages are what golden files exist of.
func messages() map[string]*notify.Message {
	critical := plainIncident()
	critical.Severity, critical.Reason, critical.InvolvedObject = notify.Critical, "NodeNotReady", event.Reference{Kind: "Node", Name: "pi-4b-01"}
	critical.Workload, critical.Objects, critical.ObjectCount = "pi-4b-01", []string{"pi-4b-01"}, 1
	critical.Occurrences, critical.Untold, critical.FirstSeen, critical.LastSeen = 1, 1, now, now
	critical.Message = "Node pi-4b-01 status is now: NodeNotReady"
	all := map[string]*notify.Message{
		"plain":       message(plainIncident()),
		"critical":    message(critical, plainIncident()),
		"cjk":         message(withText("无法拉取镜像 registry.example/网店:最新，磁盘空间不足。" + strings.Repeat("节点压力过大。", 40))),
		"64KiB":       message(withText(strings.Repeat("0123456789abcde\n", 4096))),
		"50":          message(many(50)...),
		"losses":      {Now: now, Incidents: []notify.Incident{plainIncident()}, Losses: losses()},
		"losses-only": {Now: now, Losses: losses()},
	}
	all["digest"] = digest(many(50), losses())
	all["resolved"] = &notify.Message{Now: now, Incidents: []notify.Incident{plainIncident()}, Resolved: many(20)}
	for name, text := range hostile {
		all["hostile-"+name] = message(hostileEverywhere(text))
	}
	return all
}
