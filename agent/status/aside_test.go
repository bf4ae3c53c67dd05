package status_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/status"
)

// TestStatusNamesWhatIsSetAside looks at the document of the status command.
func TestStatusNamesWhatIsSetAside(t *testing.T) {
	report := &status.Document{Receivers: []status.Receiver{{Name: "ops", Type: "kafka-rest", Sending: status.Sending{AsideCount: 6, Aside: []status.Aside{
		{Group: "events-shop", Since: time.Unix(0, 0), Next: time.Unix(600, 0), Tries: 7, Failure: "the topic does not exist"},
		{Workload: "web", Reason: "BackOff", Since: time.Unix(0, 0), Next: time.Unix(600, 0), Tries: 7, Failure: "code 230001"},
	}}}}}
	report.Judge()
	text, err := json.Marshal(report)
	if err != nil {
		t.Fatal(err)
	}
	notes := strings.Join(report.Notes, "\n")
	for _, want := range []string{
		"receiver ops does not take what goes to events-shop since 1970-01-01T00:00:00Z, while it takes others (7 tries, the next at 1970-01-01T00:10:00Z): the topic does not exist",
		"receiver ops does not take BackOff of web since", "code 230001", "receiver ops does not take 2 more messages",
	} {
		if !strings.Contains(notes, want) {
			t.Errorf("the notes do not say %q:\n%s", want, notes)
		}
	}
	if !strings.Contains(string(text), `"group":"events-shop"`) || !strings.Contains(string(text), `"asideCount":6`) {
		t.Errorf("the document does not name it: %s", text)
	}
}
