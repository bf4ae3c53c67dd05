package notify

import (
	"slices"
	"testing"

	"github.com/edge-eventer/edge-eventer/agent/event"
)

func TestNumbersOfASiteAreReadFromItsRecordOnly(t *testing.T) {
	in := &Incident{Own: true, Event: event.Event{
		Reason:  SiteStatus,
		Message: `{"version":"0.1.0","up":3600,"ready":true,"lostBy":{"expired":12,"a":{"b":1}},"large":18446744073709551615,"gaps":0}`,
	}}
	want := []SiteNumber{{"gaps", 0}, {"lostBy_expired", 12}, {"ready", 1}, {"up", 3600}}
	if got := in.SiteNumbers(); !slices.Equal(got, want) {
		t.Errorf("the numbers are %v, want %v", got, want)
	}
	for _, other := range []func(*Incident){
		// Anybody who may make events can choose their reason.
		func(in *Incident) { in.Own = false },
		func(in *Incident) { in.Reason = "Heartbeat" },
		func(in *Incident) { in.Message = "The agent is well." },
	} {
		in := *in
		other(&in)
		if got := in.SiteNumbers(); got != nil {
			t.Errorf("%+v has the numbers %v", in, got)
		}
	}
}
