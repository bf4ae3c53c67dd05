package watch_test

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/clustertest"
	"github.com/edge-eventer/edge-eventer/agent/clustertest/faultproxy"
	"github.com/edge-eventer/edge-eventer/agent/event"
	. "github.com/edge-eventer/edge-eventer/agent/watch"
	"github.com/edge-eventer/edge-eventer/agent/watch/health"
)

// Each of these watches a namespace of its own as the agent's ServiceAccount, which may get, list and watch events and
// nothing else.

// warnings makes n events and returns their names.
func warnings(t *testing.T, c *clustertest.Cluster, namespace, prefix string, n int) []string {
	t.Helper()
	return c.CreateEvents(t, n, clustertest.EventTemplate{Namespace: namespace, Prefix: prefix})
}

// wantAll waits until each observation of each event that the API server has was taken, and fails if one was taken twice.
func wantAll(t *testing.T, c *clustertest.Cluster, namespace string, sink *tap) {
	t.Helper()
	events, _ := c.Events(t, namespace, "Warning")
	want := make(map[string]int32, len(events))
	for i := range events {
		want[events[i].Name] = events[i].Count
	}
	sink.wait(t, fmt.Sprintf("the arrival of %d events", len(want)), func(s *tap) bool {
		for name, count := range want {
			if s.taken[name] < count {
				return false
			}
		}
		return true
	})
	taken, _, _ := sink.snapshot()
	for name, n := range taken {
		if n != want[name] {
			t.Errorf("event %s: %d observations taken, the API server has %d", name, n, want[name])
		}
	}
}

// watchAs watches a namespace as the agent's ServiceAccount.
func watchAs(t *testing.T, c *clustertest.Cluster, namespace string, sink *tap, o Options) (w *Watcher, stop func()) {
	t.Helper()
	o.Namespaces = []string{namespace}
	if o.Kubeconfig == "" {
		o.Kubeconfig = c.AgentKubeconfig
	}
	// A watch counts as one that works after half a second instead of two.
	w, err := New(WithShort(WithPauses(o, 100*time.Millisecond, 2*time.Second), 500*time.Millisecond), sink)
	if err != nil {
		t.Fatal(err)
	}
	return w, runUntil(t, w)
}

// watching waits for a watch that works.
func watching(t *testing.T, w *Watcher) {
	t.Helper()
	eventually(t, "a watch", func() bool { s := w.Status().Namespaces[0]; return s.State == health.Watching && s.Failing == nil })
}

func TestTwentyThousandEventsAtStartAreEachTakenOnce(t *testing.T) {
	c, ns := clustertest.Shared(t), "many"
	names := c.StoreEvents(t, 20_000, clustertest.EventTemplate{Namespace: ns})
	// Normal events are left out by the API server.
	c.CreateEvents(t, 100, clustertest.EventTemplate{Namespace: ns, Prefix: "normal", Type: "Normal", Reason: "Pulled"})
	sink := newTap(t)
	begin := time.Now()
	w, stop := watchAs(t, c, ns, sink, Options{})
	// To look into the spool after each page would read 20,000 events a hundred times.
	eventually(t, "the list", func() bool { return w.Status().Namespaces[0].Lists == 1 })
	t.Logf("listed in %v", time.Since(begin))
	wantAll(t, c, ns, sink)
	watching(t, w)
	c.PatchEvent(t, ns, names[7], 5)
	wantAll(t, c, ns, sink)
	stop()
	_, pages, _ := sink.snapshot()
	// There is one page more when Normal events are behind the last Warning.
	if fewest := 20_000 / DefaultPageSize; len(pages) < fewest || len(pages) > fewest+1 || slices.ContainsFunc(pages[1:], func(p Page) bool { return p.First }) {
		t.Errorf("%d pages, want %d of one list", len(pages), 20_000/DefaultPageSize)
	}
}

func TestExpiredEventsAreShownAsDeletedAndMoveThePosition(t *testing.T) {
	c, ns := clustertest.Shared(t), "deleted"
	names := warnings(t, c, ns, "event", 5)
	sink := newTap(t)
	var deleted atomic.Int32
	sink.onWatched = func(c Change) error {
		if c.Deleted && c.Event.UID != "" {
			deleted.Add(1)
		}
		return nil
	}
	w, stop := watchAs(t, c, ns, sink, Options{})
	watching(t, w)
	listed := sink.at()
	c.DeleteEvents(t, ns, names[:3]...)
	eventually(t, "the end of three events", func() bool { return deleted.Load() == 3 })
	stop()
	if now := sink.at(); now == listed || event.WentBack(now, listed) {
		t.Errorf("position was %s and is %s", listed, now)
	}
}

func TestContinueTokenThatExpiresInMidListLosesNothing(t *testing.T) {
	c, ns := clustertest.Shared(t), "expired"
	names := warnings(t, c, ns, "event", 500)
	sink := newTap(t)
	pages := 0
	sink.onList = func(Page) error {
		if pages++; pages == 4 {
			c.PatchEvent(t, ns, names[0], 3)
			c.PatchEvent(t, ns, names[499], 2)
			warnings(t, c, ns, "another", 3)
			c.Compact(t)
		}
		return nil
	}
	w, stop := watchAs(t, c, ns, sink, Options{PageSize: 50})
	watching(t, w)
	wantAll(t, c, ns, sink)
	if s := w.Status().Namespaces[0]; s.Expired != 1 || s.Lists != 1 {
		t.Errorf("%d tokens expired, %d lists complete, want 1 and 1", s.Expired, s.Lists)
	}
	stop()
}

func TestStoppedAndStartedAgain(t *testing.T)                 { stoppedAndStarted(t, false) }
func TestStoppedAndStartedAgainAfterACompaction(t *testing.T) { stoppedAndStarted(t, true) }

func stoppedAndStarted(t *testing.T, compacted bool) {
	c, ns := clustertest.Shared(t), fmt.Sprintf("stopped-%t", compacted)
	names := warnings(t, c, ns, "event", 60)
	sink := newTap(t)
	w, stop := watchAs(t, c, ns, sink, Options{PageSize: 25})
	watching(t, w)
	warnings(t, c, ns, "watched", 20)
	wantAll(t, c, ns, sink)
	stop()
	warnings(t, c, ns, "meanwhile", 50)
	c.PatchEvent(t, ns, names[3], 9)
	if compacted {
		c.Compact(t)
	}
	w, stop = watchAs(t, c, ns, sink, Options{PageSize: 25})
	watching(t, w)
	wantAll(t, c, ns, sink)
	stop()
	s := w.Status().Namespaces[0]
	t.Logf("lists %d, watches %d, expired %d, failures %d", s.Lists, s.Watches, s.Expired, s.Failures)
	if listed := sink.lists() > 1; listed != compacted {
		t.Errorf("listed after the start: %t, want %t", listed, compacted)
	}
}

func TestAPIServerKilledAndRestarted(t *testing.T) {
	restarted(t, clustertest.APIServer, false)
}

func TestAPIServerKilledAndRestartedAfterACompaction(t *testing.T) {
	restarted(t, clustertest.APIServer, true)
}

// TestDatastoreRestarted also stands for old events that come back: kine counts each TTL anew.
func TestDatastoreRestarted(t *testing.T) { restarted(t, clustertest.Datastore, false) }

func TestDatastoreRestartedAndCompacted(t *testing.T) { restarted(t, clustertest.Datastore, true) }

func restarted(t *testing.T, component string, compacted bool) {
	c, ns := clustertest.Shared(t), fmt.Sprintf("restarted-%s-%t", component, compacted)
	names := warnings(t, c, ns, "event", 60)
	sink := newTap(t)
	w, stop := watchAs(t, c, ns, sink, Options{PageSize: 25})
	watching(t, w)
	wantAll(t, c, ns, sink)
	c.Kill(t, component)
	if component == clustertest.APIServer {
		eventually(t, "the loss of the API server", func() bool {
			f := w.Status().Namespaces[0].Failing
			return f != nil && f.Unseen
		})
	}
	if compacted && component != clustertest.Datastore {
		c.Compact(t)
	}
	c.StartComponent(t, component)
	if compacted && component == clustertest.Datastore {
		c.Compact(t)
	}
	warnings(t, c, ns, "later", 30)
	c.PatchEvent(t, ns, names[3], 9)
	wantAll(t, c, ns, sink)
	watching(t, w)
	warnings(t, c, ns, "last", 5)
	wantAll(t, c, ns, sink)
	s := w.Status().Namespaces[0]
	t.Logf("lists %d, watches %d, expired %d, failures %d", s.Lists, s.Watches, s.Expired, s.Failures)
	stop()
}

func TestAPIServerThatHangsIsNoticed(t *testing.T) {
	c, ns := clustertest.Shared(t), "paused"
	warnings(t, c, ns, "event", 10)
	sink := newTap(t)
	o := WithPings(Options{}, time.Second, time.Second)
	w, stop := watchAs(t, c, ns, sink, o)
	watching(t, w)
	c.Pause(t, clustertest.APIServer)
	eventually(t, "the loss of the API server", func() bool { f := w.Status().Namespaces[0].Failing; return f != nil && f.Unseen })
	c.Resume(t, clustertest.APIServer)
	warnings(t, c, ns, "later", 10)
	wantAll(t, c, ns, sink)
	watching(t, w)
	stop()
}

func TestRevokedTokenIsSaidAndReplacedByTheNewFile(t *testing.T) {
	c, ns := clustertest.Shared(t), "revoked"
	warnings(t, c, ns, "event", 10)
	sink := newTap(t)
	var log logBuffer
	w, stop := watchAs(t, c, ns, sink, Options{Logger: log.logger()})
	watching(t, w)
	c.Revoke(t)
	c.Restart(t, clustertest.APIServer) // The open watch is not asked again who it is.
	eventually(t, "the refusal", func() bool {
		f := w.Status().Namespaces[0].Failing
		return f != nil && f.Reason == "unauthorized"
	})
	warnings(t, c, ns, "unseen", 10)
	c.NewToken(t, time.Hour)
	wantAll(t, c, ns, sink)
	watching(t, w)
	if !strings.Contains(log.String(), "the API server refused the credential (401 Unauthorized)") {
		t.Errorf("log:\n%s", &log)
	}
	t.Logf("log:\n%s", &log)
	stop()
}

// The API server in the next tests is real; what it does not do on demand comes from the proxy.

func TestFaultsOfAWatchLoseNothingAndRepeatNothing(t *testing.T) {
	c := clustertest.Shared(t)
	for name, fault := range map[string]faultproxy.Fault{
		"gone-status": faultproxy.Gone(), "gone-frame": faultproxy.GoneInStream(), "silent": faultproxy.SilentClose(),
		"reset": faultproxy.Break(), "cut": faultproxy.CutInFrame(1), "busy": faultproxy.TooManyRequests(time.Second),
		"unauthorized": faultproxy.Unauthorized(), "forbidden": faultproxy.Forbidden(), "error": faultproxy.InternalError(),
	} {
		t.Run(name, func(t *testing.T) {
			// Each waits for pauses, in a namespace and behind a proxy of its own.
			t.Parallel()
			ns := "fault-" + name
			proxy, sink := faultproxy.Before(t, c), newTap(t)
			names := warnings(t, c, ns, "event", 20)
			w, stop := watchAs(t, c, ns, sink, Options{Kubeconfig: proxy.Kubeconfig(t), PageSize: 10})
			watching(t, w)
			wantAll(t, c, ns, sink)
			// The watch ends, the next two fail, and meanwhile there is news.
			proxy.Arm(faultproxy.Watch, 2, fault)
			proxy.CutConnections()
			warnings(t, c, ns, "later", 10)
			c.PatchEvent(t, ns, names[3], 4)
			wantAll(t, c, ns, sink)
			watching(t, w)
			warnings(t, c, ns, "last", 3)
			wantAll(t, c, ns, sink)
			stop()
			if n := len(proxy.Requests(faultproxy.Any)); n > 40 {
				t.Errorf("%d requests", n)
			}
		})
	}
}

func TestFrozenLinkToTheAPIServerIsNoticed(t *testing.T) {
	c, ns := clustertest.Shared(t), "frozen"
	proxy, sink := faultproxy.Before(t, c), newTap(t)
	warnings(t, c, ns, "event", 20)
	o := WithPings(Options{Kubeconfig: proxy.Kubeconfig(t)}, time.Second, time.Second)
	w, stop := watchAs(t, c, ns, sink, o)
	watching(t, w)
	proxy.Freeze(false)
	warnings(t, c, ns, "later", 10)
	wantAll(t, c, ns, sink)
	watching(t, w)
	stop()
	proxy.Thaw()
}
