package notify_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/edge-eventer/edge-eventer/agent/config/configtest"
	"github.com/edge-eventer/edge-eventer/notify"
	"github.com/edge-eventer/edge-eventer/notify/notifytest"
)

func TestDingtalkWrongClockIsNamedAndCorrected(t *testing.T) {
	s := dingtalkSubject()
	server, r := s.start(t)
	server.SetClock(9 * time.Hour)
	if e := failure(t, send(t, r)); e.Outcome != notify.Retry || !strings.Contains(e.Reason, "clock is 9h") && !strings.Contains(e.Reason, "clock is 8h59m") {
		t.Errorf("%v, want the clock to be blamed", e)
	}
	if err := send(t, r); err != nil {
		t.Errorf("signed with the server's time: %v", err)
	}
}

func TestDingtalkBlockOfTenMinutesIsARetry(t *testing.T) {
	s := dingtalkSubject()
	server := notifytest.Start(notifytest.New(&notifytest.Dingtalk{PerMinute: 2}))
	t.Cleanup(server.Close)
	r := s.receiver(t, server.URL())
	var waits []time.Duration
	for range 4 {
		if err := send(t, r); err != nil {
			waits = append(waits, failure(t, err).RetryAfter)
		}
	}
	if diff := cmp.Diff([]time.Duration{time.Minute, time.Minute}, waits); diff != "" {
		t.Error(diff)
	}
}

func TestWecomMentionsAllByATextMessage(t *testing.T) {
	s := wecomSubject()
	r := s.receiver(t, "http://127.0.0.1:1", func(c *configtest.Keys) { c.Mention = []string{"all"} })
	critical := plainIncident()
	critical.Severity = notify.Critical
	if got := render(t, r, message(critical), notify.Full).Body; !bytes.Contains(got, []byte(`"mentioned_list":["@all"]`)) {
		t.Errorf("%s", got)
	}
	if got := render(t, r, message(plainIncident()), notify.Full).Body; bytes.Contains(got, []byte("@all")) || !bytes.Contains(got, []byte(`"msgtype":"markdown"`)) {
		t.Errorf("%s", got)
	}
}

func TestTelegramFollowsTheGroupToItsNewID(t *testing.T) {
	var logged bytes.Buffer
	s := telegramSubject()
	platform := &notifytest.Telegram{Token: telegramToken, ChatID: telegramChat, MigratedTo: -1009999999999}
	server := notifytest.Start(notifytest.New(platform))
	t.Cleanup(server.Close)
	r := s.receiver(t, server.URL(), func(c *configtest.Keys) { c.Logger = slog.New(slog.NewTextHandler(&logged, nil)) })
	for range 3 {
		if err := send(t, r); err != nil {
			t.Fatal(err)
		}
	}
	if len(server.Received()) != 3 || server.Requests() != 4 {
		t.Errorf("%d messages in %d requests, want 3 in 4", len(server.Received()), server.Requests())
	}
	if strings.Count(logged.String(), "new=-1009999999999") != 1 || strings.Contains(logged.String(), "AAHd") {
		t.Errorf("log: %s", logged.String())
	}
}

func TestTelegramSimpleFormHasNoMarkup(t *testing.T) {
	s := telegramSubject()
	r := s.receiver(t, "http://127.0.0.1:1")
	if got := render(t, r, message(plainIncident()), notify.Simple).Body; bytes.Contains(got, []byte("parse_mode")) || bytes.Contains(got, []byte("<b>")) {
		t.Errorf("%s", got)
	}
}

func TestTelegramConfigurationIsChecked(t *testing.T) {
	for _, c := range []struct {
		cfg  configtest.Keys
		want []string
	}{
		{configtest.Keys{}, []string{"token: must be set, or tokenFile", "chatId: must be set: a number such as -1001234567890, or @ and the name of a public channel"}},
		{configtest.Keys{Token: notify.SecretValue("110201543:AA/../x"), ChatID: "@shop_alerts"}, []string{"token: must be the token of a bot, such as 110201543:AAHd…"}},
		{configtest.Keys{Token: notify.SecretFile("/nowhere"), ChatID: "12"}, nil},
		{configtest.Keys{Token: notify.SecretFile("/nowhere"), ChatID: "@a b"}, []string{"chatId: must be set: a number such as -1001234567890, or @ and the name of a public channel"}},
	} {
		c.cfg.Type = "telegram"
		if diff := cmp.Diff(c.want, configtest.Check(c.cfg)); diff != "" {
			t.Error(diff)
		}
	}
}

func TestAlertmanagerKeepsIdentityInLabels(t *testing.T) {
	platform := &notifytest.Alertmanager{}
	server := notifytest.Start(notifytest.New(platform))
	t.Cleanup(server.Close)
	s := alertmanagerSubject()
	for _, base := range []string{server.URL(), server.URL() + "/", server.URL() + "/prefix/api/v2/alerts"} {
		r := s.receiver(t, base, func(c *configtest.Keys) {
			c.URL = notify.SecretValue(base)
			c.Labels = map[string]string{"site": "shop-berlin", "severity": "page"}
		})
		in := plainIncident()
		in.Occurrences, in.LastSeen, in.Message, in.ID = 400, now, "another sample", "another-id"
		for _, m := range []*notify.Message{message(plainIncident()), message(in)} {
			if err := r.Send(t.Context(), render(t, r, m, notify.Full)); err != nil {
				t.Fatalf("%s: %v", base, err)
			}
		}
	}
	want := []notifytest.Alert{{
		Labels: map[string]string{
			"alertname": "BackOff", "cluster": "shop-1", "namespace": "shop", "kind": "Pod", "workload": "web", "severity": "page", "site": "shop-berlin",
		},
		Annotations: map[string]string{
			"summary": "BackOff Pod shop/web", "description": "another sample", "occurrences": "400", "objects": "web-7d9f8c6b5d-x2x4z, web-7d9f8c6b5d-b8k2m",
			"lastSeen": "2026-11-21T05:06:00Z", "reporter": "kubelet", "node": "pi-4b-01", "id": "another-id",
		},
		StartsAt: now.Add(-3 * time.Hour), EndsAt: now.Add(time.Hour),
	}}
	if diff := cmp.Diff(want, platform.Alerts()); diff != "" {
		t.Error(diff)
	}
}

func TestAlertmanagerPartialRefusalIsNarrowed(t *testing.T) {
	s := alertmanagerSubject()
	server, r := s.start(t)
	future := plainIncident()
	// A clock that was wrong: the start would lie after the end.
	future.FirstSeen, future.LastSeen = now.Add(90*time.Hour), now.Add(91*time.Hour)
	if err := r.Send(t.Context(), render(t, r, message(future), notify.Full)); err != nil {
		t.Errorf("an incident from the future: %v", err)
	}
	server.Fail(1, status(400, `"invalid label set"`))
	err := r.Send(t.Context(), render(t, r, message(many(3)...), notify.Full))
	if e := failure(t, err); e.Outcome != notify.BadPayload || !strings.Contains(e.Reason, "took the others") {
		t.Errorf("%v", e)
	}
	got := configtest.Check(configtest.Keys{Type: "alertmanager", URL: notify.SecretValue("http://a.example"), Labels: map[string]string{"1a": "x", "ok": "", "__x": "y"}})
	want := []string{
		"labels.1a: must be the name of a label: letters, digits and _, not beginning with a digit or __",
		"labels.__x: must be the name of a label: letters, digits and _, not beginning with a digit or __",
		"labels.ok: must have a value",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestKafkaFansOutByTopic(t *testing.T) {
	for _, confluent := range []bool{false, true} {
		platform := &notifytest.KafkaRest{Confluent: confluent, User: "eventer", Password: "secret-password"}
		server := notifytest.Start(notifytest.New(platform))
		t.Cleanup(server.Close)
		s := kafkaSubject()
		r := s.receiver(t, server.URL(), func(c *configtest.Keys) {
			c.Header = map[string]notify.Secret{"Authorization": notify.SecretValue(notifytest.BasicAuth("eventer", "secret-password"))}
		})
		left := many(10)
		left[7].Namespace, left[9].Namespace = "", "weird ns/é"
		requests := 0
		for len(left) > 0 {
			request := render(t, r, message(left...), notify.Full)
			if err := r.Send(t.Context(), request); err != nil {
				t.Fatal(err)
			}
			requests++
			left = without(left, request.Indexes())
		}
		if requests != 4 {
			t.Errorf("%d requests for 4 topics", requests)
		}
		got := map[string][]string{}
		for _, topic := range []string{"events-shop", "events-kube-system", "events-default", "events-weird-ns--"} {
			for _, record := range platform.Records(topic) {
				var value struct{ ID string }
				if err := json.Unmarshal(record.Value, &value); err != nil || value.ID != record.Key {
					t.Errorf("record %s: %s", record.Key, record.Value)
				}
				got[topic] = append(got[topic], record.Key)
			}
		}
		want := map[string][]string{
			"events-shop": {"id-0", "id-2", "id-4", "id-6", "id-8"}, "events-kube-system": {"id-1", "id-3", "id-5"},
			"events-default": {"id-7"}, "events-weird-ns--": {"id-9"},
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
}

func TestKafkaRecordsThatFailedAreNamed(t *testing.T) {
	for _, confluent := range []bool{false, true} {
		platform := &notifytest.KafkaRest{Confluent: confluent, FailKeys: []string{"id-2", "id-6"}}
		server := notifytest.Start(notifytest.New(platform))
		t.Cleanup(server.Close)
		s := kafkaSubject()
		r := s.receiver(t, server.URL(), func(c *configtest.Keys) { c.Topic = "all" })
		request := render(t, r, message(many(8)...), notify.Full)
		e := failure(t, r.Send(t.Context(), request))
		if diff := cmp.Diff([]int{2, 6}, e.Refused); diff != "" || e.Outcome != notify.Retry {
			t.Errorf("%v: %s", e, diff)
		}
		// Only these are sent again.
		var again []notify.Incident
		for _, i := range e.Refused {
			again = append(again, many(8)[request.Indexes()[i]])
		}
		platform.SetFailKeys()
		if err := r.Send(t.Context(), render(t, r, message(again...), notify.Full)); err != nil {
			t.Fatal(err)
		}
		var keys []string
		for _, record := range platform.Records("all") {
			keys = append(keys, record.Key)
		}
		slices.Sort(keys)
		if want := []string{"id-0", "id-1", "id-2", "id-3", "id-4", "id-5", "id-6", "id-7"}; !slices.Equal(keys, want) {
			t.Errorf("records %v, want each once", keys)
		}
		platform.SetFailKeys("id-0", "id-1", "id-2")
		if e := failure(t, r.Send(t.Context(), render(t, r, message(many(3)...), notify.Full))); e.Refused != nil || e.Outcome != notify.Retry {
			t.Errorf("all failed: %v, refused %v, want none named", e, e.Refused)
		}
	}
}

func TestKafkaContentTypeIsExact(t *testing.T) {
	s := kafkaSubject()
	server, r := s.start(t)
	if err := send(t, r); err != nil {
		t.Fatal(err)
	}
	got := server.Received()[0]
	if got.Header.Get("Content-Type") != "application/vnd.kafka.json.v2+json" || got.Path != "/secret-bridge/topics/events-shop" {
		t.Errorf("%s %q", got.Path, got.Header)
	}
}

func TestCloudEventsAreBatchedOnlyWhenAsked(t *testing.T) {
	s := cloudEventsSubject()
	for _, c := range []struct{ batchMax, want int }{{0, 1}, {1, 1}, {notify.DefaultBatchMax, 1}, {20, 20}} {
		platform := &notifytest.CloudEvents{Batched: c.want > 1}
		server := notifytest.Start(notifytest.New(platform))
		t.Cleanup(server.Close)
		r := s.receiver(t, server.URL(), func(cfg *configtest.Keys) { cfg.BatchMax = c.batchMax })
		request := render(t, r, message(many(50)...), notify.Full)
		if err := r.Send(t.Context(), request); err != nil {
			t.Errorf("batch.max %d: %v", c.batchMax, err)
		}
		if request.Incidents != c.want || r.Limits().Batch != c.want || platform.Unique() != c.want {
			t.Errorf("batch.max %d: %d incidents, limits %+v, %d unique events", c.batchMax, request.Incidents, r.Limits(), platform.Unique())
		}
		alone := render(t, r, &notify.Message{Now: now, Losses: losses()}, notify.Full)
		if err := r.Send(t.Context(), alone); err != nil || alone.Incidents != 0 {
			t.Errorf("losses alone: %d incidents, %v", alone.Incidents, err)
		}
	}
}

func TestLossesReachEveryReceiver(t *testing.T) {
	forEach(t, func(t *testing.T, s *subject) {
		server, r := s.start(t)
		for _, m := range []*notify.Message{{Now: now, Losses: losses()}, {Now: now, Losses: losses(), Incidents: []notify.Incident{plainIncident()}}} {
			if err := r.Send(t.Context(), render(t, r, m, notify.Full)); err != nil {
				t.Fatal(err)
			}
			got := server.Received()[len(server.Received())-1]
			if !strings.Contains(string(got.Body), "40 events") && !strings.Contains(string(got.Body), `"events":40`) {
				t.Errorf("no loss in %s", got.Body)
			}
		}
	})
}

func TestResolvedIncidentsAreNamedWherePeopleRead(t *testing.T) {
	for name, r := range people(t) {
		for _, form := range []notify.Form{notify.Full, notify.Simple} {
			in := plainIncident()
			in.Workload = "database"
			for _, n := range []int{1, 100} {
				m := &notify.Message{Now: now, Incidents: []notify.Incident{plainIncident()}, Resolved: slices.Repeat([]notify.Incident{in}, n)}
				text := allStrings(render(t, r, m, form).Body)
				if !strings.Contains(text, "resolved: ") || !strings.Contains(text, "database") || strings.Contains(text, " more") != (n > 1) {
					t.Errorf("%s, form %d, %d resolved: %s", name, form, n, text)
				}
			}
		}
	}
}

func TestSampleIsTakenByEveryPlatform(t *testing.T) {
	forEach(t, func(t *testing.T, s *subject) {
		server, r := s.start(t)
		m := notify.Sample("shop-1", time.Now())
		if err := r.Send(t.Context(), render(t, r, m, notify.Full)); err != nil {
			t.Fatal(err)
		}
		if got := server.Received(); len(got) != 1 || !strings.Contains(string(got[0].Body), "This is a test of edge-eventer") {
			t.Errorf("received %d", len(got))
		}
	})
}

// TestNoticeIsNoWarning: statistics and heartbeat have a colour of their own, and no severity, whatever else is said of their reason.
func TestNoticeIsNoWarning(t *testing.T) {
	colors := map[string]string{
		"feishu": `"template":"blue"`, "slack": `"color":"#3370ff"`, "teams": `"style":"accent"`, "worktile": `"color":"#3370ff"`, "wecom": `<font color=\"info\">`,
	}
	for name, r := range people(t) {
		in := plainIncident()
		in.Own, in.Notice, in.Reason, in.Severity = true, true, "DailyStatistics", notify.Critical
		for _, m := range []*notify.Message{message(in), digest([]notify.Incident{in}, nil)} {
			body := string(render(t, r, m, notify.Full).Body)
			if m.Digest == nil && !strings.Contains(body, colors[name]) {
				t.Errorf("%s: no %s in %s", name, colors[name], body)
			}
			if strings.Contains(body, "critical") || strings.Contains(body, "warning ") || strings.Contains(body, `"danger"`) {
				t.Errorf("%s: a severity in %s", name, body)
			}
		}
		both := string(render(t, r, message(in, plainIncident()), notify.Full).Body)
		if colors[name] != "" && name != "slack" && strings.Contains(both, colors[name]) {
			t.Errorf("%s: a warning beside it looks like a notice: %s", name, both)
		}
	}
}
