package deliver_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/agenttest"
	"github.com/edge-eventer/edge-eventer/agent/config/configtest"
	"github.com/edge-eventer/edge-eventer/agent/event"
	"github.com/edge-eventer/edge-eventer/notify"
)

// group is a Feishu group that takes everything, and counts.
type group struct {
	notify.Receiver

	mu     sync.Mutex
	at     []time.Time
	bytes  int
	bodies []string
}

func newGroup(t *testing.T) *group {
	t.Helper()
	r, err := configtest.New(configtest.Keys{Name: "ops", Type: "feishu", Cluster: "shop-1", URL: notify.SecretValue("http://127.0.0.1:1/x")})
	if err != nil {
		t.Fatal(err)
	}
	return &group{Receiver: r}
}

// Send notes the message.
func (g *group) Send(_ context.Context, r *notify.Request) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.at = append(g.at, time.Now())
	g.bytes += len(r.Body)
	g.bodies = append(g.bodies, string(r.Body))
	return nil
}

// find returns the first message that has the text, and how long after begin it came.
func (g *group) find(text string, begin time.Time) (after time.Duration, ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i, body := range g.bodies {
		if strings.Contains(body, text) {
			return g.at[i].Sub(begin), true
		}
	}
	return 0, false
}

// TestStormCostsFewMessages has distinct incidents of one namespace for a minute, while a node and another namespace have news too. How many
// they are makes no difference: with 50,000 it is 3 messages and 12 KB.
func TestStormCostsFewMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t)
		h := agenttest.New(t, map[string]notify.Receiver{"ops": g})
		h.Options["ops"].StormLimit = 6
		h.Start()
		defer h.Close()
		const incidents = 9000
		begin, version := time.Now(), 10
		show := func(e event.Event) {
			version++
			e.ResourceVersion = fmt.Sprint(version)
			h.Show(e)
		}
		for second := range 60 {
			for i := range incidents / 60 {
				show(agenttest.Warning(fmt.Sprintf("job%dx%d", second, i), 0, 1, time.Now()))
			}
			agenttest.Pass(time.Second)
		}
		quiet := agenttest.Warning("till", 0, 1, time.Now())
		quiet.Namespace, quiet.InvolvedObject.Namespace = "kiosk", "kiosk"
		show(quiet)
		agenttest.Pass(2 * time.Minute)
		node := agenttest.Warning("pi-4", 0, 1, time.Now())
		node.Reason, node.InvolvedObject.Kind = "NodeNotReady", "Node"
		critical := time.Now()
		show(node)
		agenttest.Pass(time.Hour - time.Since(begin))
		g.mu.Lock()
		messages, bytes := len(g.at), g.bytes
		g.mu.Unlock()
		t.Logf("%d messages, %d bytes in the first hour", messages, bytes)
		if messages > 6 || bytes > 100<<10 {
			t.Errorf("%d messages, %d bytes in the first hour, want 6 and 100 KiB at most", messages, bytes)
		}
		if after, ok := g.find("NodeNotReady", critical); !ok || after > 30*time.Second {
			t.Errorf("a node's end was told %v after %s, want at once", ok, after)
		}
		if after, ok := g.find("kiosk/till", begin); !ok || after > 10*time.Minute {
			t.Errorf("the news of another namespace was told: %v, after %s", ok, after)
		}
		if _, ok := g.find("the next message not before", begin); !ok {
			t.Error("nobody is told that there is a pause")
		}
		agenttest.Pass(2 * time.Hour)
		if n := h.Untold("ops"); n != 0 {
			t.Errorf("%d observations are still to be told two hours later", n)
		}
		late := time.Now()
		show(agenttest.Warning("after-the-storm", 0, 1, late))
		agenttest.Pass(time.Minute)
		if after, ok := g.find("after-the-storm", late); !ok || after > 30*time.Second {
			t.Errorf("when the storm is over, news is told: %v, after %s", ok, after)
		}
	})
}

// TestStormOfWhatIsCriticalHasItsLimitToo: nobody reads fifty messages of a node each.
func TestStormOfWhatIsCriticalHasItsLimitToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t)
		h := agenttest.New(t, map[string]notify.Receiver{"ops": g})
		h.Options["ops"].StormLimit = 6
		h.Start()
		defer h.Close()
		begin := time.Now()
		for i := range 4000 {
			e := agenttest.Warning(fmt.Sprintf("pi-%d", i), 10+i, 1, time.Now())
			e.Reason, e.InvolvedObject.Kind = "NodeNotReady", "Node"
			h.Show(e)
			if i%20 == 0 {
				agenttest.Pass(5 * time.Second)
			}
		}
		agenttest.Pass(time.Hour - time.Since(begin))
		g.mu.Lock()
		defer g.mu.Unlock()
		t.Logf("%d messages, %d bytes in the first hour", len(g.at), g.bytes)
		if len(g.at) > 6 || g.bytes > 100<<10 {
			t.Errorf("%d messages, %d bytes in the first hour, want 6 and 100 KiB at most", len(g.at), g.bytes)
		}
	})
}
