package daily_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/agenttest"
	"github.com/edge-eventer/edge-eventer/agent/daily"
	"github.com/edge-eventer/edge-eventer/notify"
)

func TestFullStatisticsFitIntoAValueOfTheSpool(t *testing.T) {
	h := agenttest.New(t, map[string]notify.Receiver{"ops": &agenttest.Receiver{}})
	defer h.Close()
	d := new(daily.Statistics)
	for i := range 100 {
		e := agenttest.Warning(fmt.Sprintf("%0100d", i), 10, 1<<30, time.Now())
		e.Reason = strings.Repeat("\x01", i%50) + fmt.Sprint(i)
		o := agenttest.Observation(e, time.Now())
		d.Add(&o)
	}
	if err := h.Spool.Update(d.Write); err != nil {
		t.Error(err)
	}
	sum := d.Others
	for _, r := range d.Rows {
		sum += r.Count
	}
	if want := uint64(100 << 30); sum != want {
		t.Errorf("the rows and the others make %d, want %d", sum, want)
	}
}
