package recent

import (
	"strings"
	"testing"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/status"
)

func TestANightOfFailuresIsOneDelivery(t *testing.T) {
	var r Deliveries
	begin := time.Now()
	r.Add(status.Delivery{Receiver: "ops", Outcome: "ok", At: begin})
	for i := range 100 {
		r.Add(status.Delivery{Receiver: "ops", Outcome: "retry", At: begin.Add(time.Duration(i+1) * time.Minute)})
		r.Add(status.Delivery{Receiver: "other", Outcome: "bad_target", At: begin.Add(time.Duration(i+1) * time.Minute)})
	}
	list := r.Newest()
	if len(list) != 3 || list[1].Attempts != 100 || !list[1].First.Equal(begin.Add(time.Minute)) || !r.LastOK("ops").Equal(begin) {
		t.Errorf("%+v", list)
	}
}

func TestDeliveriesAreBoundedInMemoryAndOnDisk(t *testing.T) {
	var r Deliveries
	for i := range 3 * maxRecent {
		r.Add(status.Delivery{Receiver: strings.Repeat("x", 63), Outcome: "ok", At: time.Unix(int64(i), 0), Events: 1 << 60, Incidents: 1 << 30})
	}
	data := r.Save(4 << 10)
	var again Deliveries
	if err := again.Load(data); err != nil {
		t.Fatal(err)
	}
	list := again.Newest()
	if len(r.Newest()) != maxRecent || len(data) > 4<<10 || len(list) < 15 || list[0].At.Unix() != 3*maxRecent-1 {
		t.Errorf("%d in memory, %d on disk in %d bytes", len(r.Newest()), len(list), len(data))
	}
	if err := again.Load([]byte("[{")); err == nil || len(again.Newest()) != len(list) {
		t.Errorf("damaged: error %v, %d deliveries", err, len(again.Newest()))
	}
}
