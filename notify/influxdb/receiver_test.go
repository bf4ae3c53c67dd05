package influxdb_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/edge-eventer/edge-eventer/notify"
	"github.com/edge-eventer/edge-eventer/notify/influxdb"
	"github.com/edge-eventer/edge-eventer/notify/notifytest"
	"github.com/edge-eventer/edge-eventer/notify/untrusted"
)

func receiver(t testing.TB, api, url string, change func(*influxdb.Config)) notify.Receiver {
	t.Helper()
	s := influxdb.Defaults().(*influxdb.Config)
	s.API, s.URL = api, notify.SecretValue(url)
	if api == "2" {
		s.Organization, s.Bucket = "shops", "events"
	} else {
		s.Database = "events"
	}
	if change != nil {
		change(s)
	}
	s.Check(func(key, format string, args ...any) { t.Errorf("%s: "+format, append([]any{key}, args...)...) })
	r, err := s.New(notify.Common{Name: "points", Cluster: "shop-1", Labels: map[string]string{"site": "shop-17", "time": "never"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

func sample(id, pod string, at time.Time) notify.Incident {
	in := notify.Sample("shop-1", at).Incidents[0]
	in.ID, in.InvolvedObject.Name, in.LastSeen = id, pod, at
	return in
}

// TestPointsOfOneSecondNeverOverwriteEachOther holds for each address of the line protocol: Kubernetes tells whole seconds, and two
// pods of one workload differ in no tag.
func TestPointsOfOneSecondNeverOverwriteEachOther(t *testing.T) {
	for _, api := range []string{"1", "2", "3"} {
		t.Run("api "+api, func(t *testing.T) {
			engine := &notifytest.InfluxDB{API: api, Token: "token"}
			if api == "1" {
				engine.Token = ""
			}
			server := notifytest.Start(notifytest.New(engine))
			t.Cleanup(server.Close)
			r := receiver(t, api, server.URL(), func(c *influxdb.Config) {
				if api != "1" {
					c.Token = notify.SecretValue("token")
				}
			})
			at := time.Date(2026, 11, 21, 5, 6, 7, 0, time.UTC)
			m := &notify.Message{Now: at, Losses: []notify.Loss{{Cause: "evicted", Incidents: 1, Events: 5, Since: at}}}
			for i := range 60 {
				m.Incidents = append(m.Incidents, sample(fmt.Sprintf("incident-%d", i), fmt.Sprintf("web-%d", i), at))
			}
			request, err := r.Render(m, notify.Full)
			if err != nil {
				t.Fatal(err)
			}
			for range 3 {
				if err := r.Send(t.Context(), request); err != nil {
					t.Fatal(err)
				}
			}
			points := engine.Points()
			if len(points) != 61 {
				t.Fatalf("%d points of 60 incidents and a loss that were sent three times", len(points))
			}
			for _, p := range points {
				if p.Tags["cluster"] != "shop-1" || p.Tags["site"] != "shop-17" || p.Tags["time"] != "" || !p.Time.Truncate(time.Second).Equal(at) {
					t.Fatalf("point %+v", p)
				}
			}
		})
	}
}

func TestPartialWriteIsJudged(t *testing.T) {
	for _, api := range []string{"1", "2", "3"} {
		engine := &notifytest.InfluxDB{API: api, Oldest: time.Now().Add(-time.Hour)}
		server := notifytest.Start(notifytest.New(engine))
		t.Cleanup(server.Close)
		r := receiver(t, api, server.URL(), nil)
		m := &notify.Message{Now: time.Now(), Incidents: []notify.Incident{
			sample("old", "web-1", time.Now().Add(-2*time.Hour)), sample("new", "web-2", time.Now()),
		}}
		request, err := r.Render(m, notify.Full)
		if err != nil {
			t.Fatal(err)
		}
		err = r.Send(t.Context(), request)
		e, ok := errors.AsType[*notify.Error](err)
		if !ok || e.Outcome != notify.BadPayload || !strings.Contains(e.Reason, "partial write") || len(engine.Points()) != 1 {
			t.Errorf("api %s: %v with %d points", api, err, len(engine.Points()))
		}
	}
}

func TestNumbersOnlyHasNoText(t *testing.T) {
	r := receiver(t, "2", "http://127.0.0.1:1", func(c *influxdb.Config) { c.NumbersOnly = true })
	m := &notify.Message{Now: time.Now(), Incidents: []notify.Incident{sample("a", "web-1", time.Now())}, Losses: []notify.Loss{{Cause: "evicted", Events: 1}}}
	request, err := r.Render(m, notify.Full)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(request.Body), `"`) {
		t.Errorf("text in %s", request.Body)
	}
}

// TestRecordOfASiteIsNumbers has what VictoriaMetrics keeps, and a label that would be a field.
func TestRecordOfASiteIsNumbers(t *testing.T) {
	r := receiver(t, "2", "http://127.0.0.1:1", func(c *influxdb.Config) { c.NumbersOnly = true })
	in := sample("a", "shop-1", time.Now())
	in.Own, in.Reason, in.Message = true, notify.SiteStatus, `{"version":"0.1.0","ready":true,"queue":70,"lostBy":{"expired":13}}`
	request, err := r.Render(&notify.Message{Now: time.Now(), Incidents: []notify.Incident{in}}, notify.Full)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(request.Body), ",site_lostBy_expired=13i,site_queue=70i,site_ready=1i ") {
		t.Errorf("the point is %s", request.Body)
	}
}

// FuzzLine holds the escaping against a strict parser: whatever an event says, a point has its tags and its message, and no other.
func FuzzLine(f *testing.F) {
	r := receiver(f, "2", "http://127.0.0.1:1", nil)
	for _, text := range []string{"plain", `a,b=c d`, `back\slash\`, "line\nbreak\r\n", `"quoted"`, "\x00\x1b\xff", "", "=,=", `\ `, strings.Repeat("x", 70000), "世界 "} {
		f.Add(text, text, text, text)
	}
	f.Fuzz(func(t *testing.T, namespace, kind, reason, text string) {
		in := sample("incident", "web", time.Unix(1_790_000_000, 0))
		in.InvolvedObject.Namespace, in.InvolvedObject.Kind, in.Reason, in.Message = namespace, kind, reason, text
		request, err := r.Render(&notify.Message{Now: time.Now(), Incidents: []notify.Incident{in}}, notify.Full)
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSuffix(string(request.Body), "\n"), "\n")
		if len(lines) != 1 {
			t.Fatalf("%d lines: %q", len(lines), request.Body)
		}
		p, err := notifytest.ParseLine(lines[0])
		if err != nil {
			t.Fatalf("%v in %q", err, lines[0])
		}
		if got := p.Fields["message"]; got != untrusted.Line(text, 32<<10) {
			t.Errorf("message %q of %q", got, text)
		}
		if got, want := p.Tags["reason"], strings.ReplaceAll(untrusted.Line(reason, 128), `\`, "/"); got != want {
			t.Errorf("reason %q, want %q", got, want)
		}
	})
}
