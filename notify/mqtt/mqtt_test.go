package mqtt_test

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/edge-eventer/edge-eventer/notify"
	"github.com/edge-eventer/edge-eventer/notify/mqtt"
	"github.com/edge-eventer/edge-eventer/notify/record"
)

const events = "edge-eventer/shop-1/events/"

func TestEveryMessageReachesItsSubscriberInEveryFormat(t *testing.T) {
	for _, format := range record.Formats() {
		t.Run(format, func(t *testing.T) {
			b := startBroker(t, nil)
			labels := map[string]string{"site": "harbour"}
			r := receiver(t, b.address, func(s *mqtt.Config) { s.Format = format }, notify.Common{Labels: labels})
			if err := send(t, r, message("shop", 200), time.Minute); err != nil {
				t.Fatal(err)
			}
			if err := send(t, r, message("", 1), time.Minute); err != nil {
				t.Fatal(err)
			}
			for _, pk := range b.take(t, events+"shop", 100) {
				var v map[string]any
				if err := json.Unmarshal(pk.Payload, &v); err != nil {
					t.Fatal(err)
				}
				checkFormat(t, format, v, &pk)
			}
			b.take(t, events+"_cluster", 1)
			if clients := b.hook.connected(); len(clients) != 1 || !strings.HasPrefix(clients[0], "edge-eventer-shop-1-bus") {
				t.Errorf("clients %v, want one connection", clients)
			}
		})
	}
}

func checkFormat(t *testing.T, format string, v map[string]any, pk *packets.Packet) {
	t.Helper()
	user := func(name string) string {
		for _, p := range pk.Properties.User {
			if p.Key == name {
				return p.Val
			}
		}
		return ""
	}
	event := v
	switch format {
	case record.FormatEdgeEventer:
		event, _ = v["event"].(map[string]any)
	case record.FormatCloudEvents:
		data, _ := v["data"].(map[string]any)
		event, _ = data["event"].(map[string]any)
		if v["specversion"] != "1.0" || !strings.HasPrefix(pk.Properties.ContentType, "application/cloudevents+json") {
			t.Errorf("no structured CloudEvent: %v, %+v", v, pk.Properties)
		}
	case record.FormatCloudEventsBinary:
		event, _ = v["event"].(map[string]any)
		if user("specversion") != "1.0" || user("id") == "" || pk.Properties.ContentType != "application/json" {
			t.Errorf("no binary CloudEvent: %+v", pk.Properties)
		}
	case record.FormatKubeEventer:
		text, _ := v["EventValue"].(string)
		if err := json.Unmarshal([]byte(text), &event); err != nil {
			t.Fatal(err)
		}
	case record.FormatEventrouter:
		event, _ = v["event"].(map[string]any)
	}
	if format == record.FormatKubeEventer || format == record.FormatEventrouter {
		if !strings.HasPrefix(user("edge-eventer-id"), "incident-") || user("cluster") != "shop-1" || user("site") != "harbour" {
			t.Errorf("properties %+v", pk.Properties.User)
		}
	}
	metadata, _ := event["metadata"].(map[string]any)
	if metadata["namespace"] != "shop" || event["reason"] != "BackOff" {
		t.Errorf("event %v", event)
	}
}

// TestReasonOfThePubackDecides gives each documented reason to a message, and none to the one after it.
func TestReasonOfThePubackDecides(t *testing.T) {
	b := startBroker(t, nil)
	// This broker writes a reason below 0x80 only beside properties, so the messages have some.
	r := receiver(t, b.address, func(s *mqtt.Config) { s.Format = record.FormatEventrouter }, notify.Common{})
	for _, c := range []struct {
		reason  byte
		outcome notify.Outcome
		ofTopic bool
		says    string
	}{
		{0x10, notify.BadTarget, true, "nobody has subscribed"},
		{0x80, notify.Retry, false, ""},
		{0x83, notify.Retry, false, ""},
		{0x87, notify.BadTarget, true, "not authorized"},
		{0x90, notify.BadTarget, true, "topic"},
		{0x91, notify.Retry, false, ""},
		{0x95, notify.BadPayload, false, "too large"},
		{0x97, notify.Retry, false, "quota"},
		{0x99, notify.BadPayload, false, "format"},
	} {
		b.hook.answer(func(topic, _ string) byte {
			if strings.HasPrefix(topic, events) {
				return c.reason
			}
			return 0
		})
		e := failure(t, send(t, r, message("shop", 1), time.Minute))
		code := fmt.Sprintf("0x%02x", c.reason)
		if e.Outcome != c.outcome || e.GroupOnly != c.ofTopic || e.Code != code || !strings.Contains(e.Reason, c.says) || len(e.Refused) != 0 {
			t.Errorf("%s: %v: outcome %s, of its topic %v, refused %v; want %s, %v", code, e, e.Outcome, e.GroupOnly, e.Refused, c.outcome, c.ofTopic)
		}
		b.hook.answer(nil)
		if err := send(t, r, message("shop", 1), time.Minute); err != nil {
			t.Errorf("after %s: %v", code, err)
		}
	}
}

func TestOneRefusedMessageHoldsNoOther(t *testing.T) {
	b := startBroker(t, nil)
	r := receiver(t, b.address, nil, notify.Common{})
	b.hook.answer(func(_, payload string) byte {
		switch {
		case strings.Contains(payload, `"incident-3"`):
			return 0x99
		case strings.Contains(payload, `"incident-7"`):
			return 0x97
		}
		return 0
	})
	e := failure(t, send(t, r, message("shop", 10), time.Minute))
	if e.Outcome != notify.Retry || !slices.Equal(e.Refused, []int{3, 7}) || !slices.Equal(e.Outcomes, []notify.Outcome{notify.BadPayload, notify.Retry}) {
		t.Errorf("%v: outcome %s, refused %v with %v", e, e.Outcome, e.Refused, e.Outcomes)
	}
	b.take(t, events, 8)
}

func TestForbiddenTopicHoldsNoOther(t *testing.T) {
	b := startBroker(t, nil)
	r := receiver(t, b.address, nil, notify.Common{})
	m := message("shop", 2)
	m.Incidents = append(m.Incidents, message("secret", 2).Incidents...)
	first, err := r.Render(m, notify.Full)
	if err != nil {
		t.Fatal(err)
	}
	if first.Group != events+"shop" || !slices.Equal(first.Taken, []int{0, 1}) {
		t.Fatalf("group %q of %v", first.Group, first.Taken)
	}
	if got := r.(notify.Grouper).Group(&m.Incidents[2]); got != events+"secret" {
		t.Errorf("group %q", got)
	}
}

// TestEventChoosesNoTopic lets an event hold what would lead to another topic.
func TestEventChoosesNoTopic(t *testing.T) {
	r := receiver(t, "127.0.0.1:1", func(s *mqtt.Config) { s.Topic = "edge-eventer/{{ .Cluster }}/{{ .Reason }}" }, notify.Common{})
	m := message("shop", 1)
	for reason, want := range map[string]string{
		"../+/#": "..-----", "a/b": "a-b", "x\x00y\n": "x-y ", "": "",
	} {
		m.Incidents[0].Reason = reason
		request, err := r.Render(m, notify.Full)
		if err != nil {
			t.Fatal(err)
		}
		if topic := request.Topic; strings.Count(topic, "/") != 2 || strings.ContainsAny(topic, "+#\x00\n") {
			t.Errorf("reason %q goes to %q, want edge-eventer/shop-1/%s", reason, topic, want)
		}
	}
}

func TestLossIsAMessageOfItsOwn(t *testing.T) {
	b := startBroker(t, nil)
	r := receiver(t, b.address, nil, notify.Common{})
	m := message("shop", 2)
	m.Losses = []notify.Loss{{Cause: "evicted", Incidents: 3, Events: 40, Since: m.Now}}
	request, err := r.Render(m, notify.Full)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Send(t.Context(), request); err != nil || !request.LossesTold(err) || request.Incidents != 2 {
		t.Fatalf("%v, told %v, %d incidents", err, request.LossesTold(err), request.Incidents)
	}
	told := string(b.take(t, events, 3)[2].Payload)
	if !strings.Contains(told, `"events":40`) || !strings.Contains(told, "40 events of 3 incidents were lost: evicted") {
		t.Errorf("no message tells the loss: %s", told)
	}
}

// TestBrokerThatWasRestartedIsMetWithinTheAttempt: the connection that was kept is dead then, and no alert waits for the next attempt.
func TestBrokerThatWasRestartedIsMetWithinTheAttempt(t *testing.T) {
	b := startBroker(t, nil)
	r := receiver(t, b.address, nil, notify.Common{})
	if err := send(t, r, message("shop", 1), time.Minute); err != nil {
		t.Fatal(err)
	}
	b.stop()
	if e := failure(t, send(t, r, message("shop", 1), time.Minute)); e.Outcome != notify.Retry {
		t.Errorf("%v, want a retry while the broker is away", e)
	}
	l, err := net.Listen("tcp", b.address)
	if err != nil {
		t.Fatal(err)
	}
	b.serve(t, l)
	if err := send(t, r, message("shop", 1), time.Minute); err != nil {
		t.Fatal(err)
	}
	b.stop()
	if l, err = net.Listen("tcp", b.address); err != nil {
		t.Fatal(err)
	}
	b.serve(t, l)
	if err := send(t, r, message("shop", 1), time.Minute); err != nil {
		t.Errorf("a broker that was restarted between two attempts: %v", err)
	}
}

func TestPasswordIsReadAtEachConnectionAndNeverShown(t *testing.T) {
	b := startBroker(t, nil)
	b.hook.user, b.hook.password = "shop-1", "right-password"
	file := filepath.Join(t.TempDir(), "password")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("wrong-password")
	r := receiver(t, b.address, func(s *mqtt.Config) { s.User, s.Password = "shop-1", notify.SecretFile(file) }, notify.Common{})
	e := failure(t, send(t, r, message("shop", 1), time.Minute))
	if e.Outcome != notify.BadTarget || e.Code != "0x86" || strings.Contains(e.Error(), "wrong-password") {
		t.Errorf("%v: outcome %s", e, e.Outcome)
	}
	write("right-password")
	if err := send(t, r, message("shop", 1), time.Minute); err != nil {
		t.Fatal(err)
	}
	write("another-password")
	if e := failure(t, send(t, r, message("shop", 1), time.Minute)); e.Outcome != notify.BadTarget {
		t.Errorf("%v, want a new connection with the password that changed", e)
	}
}

// TestBrokerItselfSaysThatASiteIsLost reads the retained state of a site that is up, whose connection is cut, that is back, and that is
// stopped.
func TestBrokerItselfSaysThatASiteIsLost(t *testing.T) {
	b := startBroker(t, nil)
	r := receiver(t, b.address, func(s *mqtt.Config) { s.Connection = "kept" }, notify.Common{Version: "1.2.3"})
	stop := keep(t, r)
	states := func(n int) (all []string) {
		for _, pk := range b.take(t, "edge-eventer/shop-1/state", n) {
			var s struct{ State, Cluster string }
			if err := json.Unmarshal(pk.Payload, &s); err != nil || s.Cluster != "shop-1" || !pk.FixedHeader.Retain && pk.FixedHeader.Qos != 1 {
				t.Errorf("%v: %s", err, pk.Payload)
			}
			all = append(all, s.State)
		}
		return all
	}
	if got := states(1); got[0] != "up" {
		t.Errorf("state %v after the connection", got)
	}
	if err := send(t, r, message("shop", 1), time.Minute); err != nil {
		t.Fatal(err)
	}
	for _, cl := range b.Clients.GetAll() {
		if strings.HasPrefix(cl.ID, "edge-eventer") {
			_ = cl.Net.Conn.Close()
		}
	}
	if got := states(2); !slices.Equal(got, []string{"lost", "up"}) {
		t.Errorf("states %v after the connection was cut", got)
	}
	stop()
	if got := states(1); got[0] != "stopped" {
		t.Errorf("state %v after the end", got)
	}
	if got := b.hook.connected(); !slices.Equal(got, []string{"edge-eventer-shop-1-bus", "edge-eventer-shop-1-bus"}) {
		t.Errorf("clients %v, want one name", got)
	}
	retained := b.Topics.Messages("edge-eventer/shop-1/state")
	if len(retained) != 1 || !strings.Contains(string(retained[0].Payload), `"stopped"`) {
		t.Errorf("retained: %v", retained)
	}
}

// TestConnectionOnDemandTellsItsSiteToo: without a last will, but each contact is told.
func TestConnectionOnDemandTellsItsSiteToo(t *testing.T) {
	b := startBroker(t, nil)
	r := receiver(t, b.address, nil, notify.Common{})
	if err := send(t, r, message("shop", 1), time.Minute); err != nil {
		t.Fatal(err)
	}
	b.take(t, events, 1)
	if len(b.Topics.Messages("edge-eventer/shop-1/state")) != 0 {
		t.Error("a test message says that the agent is up")
	}
	stop := keep(t, r)
	for len(b.Topics.Messages("edge-eventer/shop-1/state")) == 0 {
		if err := send(t, r, message("shop", 1), time.Minute); err != nil {
			t.Fatal(err)
		}
		b.take(t, "edge-eventer/shop-1/", 1)
	}
	stop()
	if got := b.Topics.Messages("edge-eventer/shop-1/state"); len(got) != 1 || !strings.Contains(string(got[0].Payload), `"up"`) {
		t.Errorf("retained: %v", got)
	}
}
