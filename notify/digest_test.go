package notify_test

import (
	"bytes"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/edge-eventer/edge-eventer/notify"
)

// people are the receivers that a person reads, with what shows their text.
func people(t *testing.T) map[string]notify.Receiver {
	t.Helper()
	all := map[string]notify.Receiver{"stdout": printer(t, new(bytes.Buffer))}
	for _, s := range subjects() {
		r := s.receiver(t, "http://127.0.0.1:1")
		if r.Limits().Digest {
			all[s.name] = r
		}
		if r.Limits().Digest == s.structure {
			t.Errorf("%s: Limits.Digest is %v", s.name, r.Limits().Digest)
		}
	}
	return all
}

func TestDigestNamesOrCountsEveryIncident(t *testing.T) {
	unnamed := regexp.MustCompile(`not named here: (\d+) incidents, (\d+) events`)
	for name, r := range people(t) {
		for _, form := range []notify.Form{notify.Full, notify.Simple} {
			incidents := many(50)
			for i := range incidents {
				incidents[i].Untold, incidents[i].Workload = 100, fmt.Sprintf("workload-%d.", i)
			}
			m := digest(incidents, losses())
			m.Digest.Events = 5777
			var named, countedIncidents, countedEvents, parts, size int
			for done := false; !done; {
				m.Digest.Last = m.Digest.Part == 5
				request := render(t, r, m, form)
				text := allStrings(request.Body)
				if !strings.Contains(text, "5777 events in 90 incidents") {
					t.Errorf("%s: the sum is missing in %s", name, text)
				}
				if first := m.Digest.Part == 1; strings.Contains(text, "out of reach since 2026-11-20 04:06:00 UTC (1d1h)") != first || strings.Contains(text, "40 events") != (m.Losses != nil) {
					t.Errorf("%s, part %d: %s", name, m.Digest.Part, text)
				}
				for _, in := range m.Incidents[:request.Incidents] {
					if strings.Contains(text, in.Workload) {
						named++
					}
				}
				done = m.Digest.Last || request.Incidents == len(m.Incidents)
				found := unnamed.FindStringSubmatch(text)
				if done != (found != nil) {
					t.Errorf("%s, part %d: done %v, counted %q", name, m.Digest.Part, done, found)
				}
				if found != nil {
					countedIncidents, _ = strconv.Atoi(found[1])
					countedEvents, _ = strconv.Atoi(found[2])
				}
				m.Incidents, m.Losses = m.Incidents[request.Incidents:], nil
				m.Digest.Part++
				parts++
				size += len(request.Body)
			}
			if named+countedIncidents != 90 || named*100+countedEvents != 5777 {
				t.Errorf("%s: %d named, %d incidents and %d events counted, want 90 and 5777 in all", name, named, countedIncidents, countedEvents)
			}
			t.Logf("%s, form %d: 50 incidents, %d of them named, in %d messages with %d bytes", name, form, named, parts, size)
			if name == "feishu" && size > 12_000 {
				// The aim is 16 KiB on the wire, with headers, answers and the handshake.
				t.Errorf("%d bytes for 50 incidents, want 12,000 at most", size)
			}
		}
	}
}

func TestDigestMentionsOnce(t *testing.T) {
	s := feishuSubject()
	r := s.receiver(t, "http://127.0.0.1:1")
	m := digest(many(8), nil)
	for part := 1; part <= 2; part++ {
		m.Digest.Part = part
		if got := bytes.Contains(render(t, r, m, notify.Full).Body, []byte("<at id=ou_")); got != (part == 1) {
			t.Errorf("part %d mentions: %v", part, got)
		}
	}
}
