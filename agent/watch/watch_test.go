package watch_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	. "github.com/edge-eventer/edge-eventer/agent/watch"
	"github.com/edge-eventer/edge-eventer/agent/watch/apiclient"
	"github.com/edge-eventer/edge-eventer/agent/watch/health"
	"github.com/edge-eventer/edge-eventer/agent/watch/stream"
	"github.com/edge-eventer/edge-eventer/spool"
)

func names(prefix string, n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf("%s-%05d", prefix, i)
	}
	return list
}

// wantOnce fails unless each observation of each event of the server was taken once.
func wantOnce(t *testing.T, server *fakeServer, sink *tap) {
	t.Helper()
	server.mu.Lock()
	defer server.mu.Unlock()
	taken, _, _ := sink.snapshot()
	for name, e := range server.events {
		if taken[name] != int32(e.count) {
			t.Errorf("event %s: %d observations taken, want %d", name, taken[name], e.count)
		}
	}
}

// after lets the bubble's time pass and everything settle.
func after(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func TestNextPageIsAskedForWhenTheSinkHasTheOneBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, sink := newFakeServer(), newTap(t)
		server.put(names("old", 25)...)
		release := make(chan struct{})
		sink.onList = func(Page) error { <-release; return nil }
		_, stop := start(t, server, sink, Options{PageSize: 10})
		for page := 1; page <= 3; page++ {
			synctest.Wait()
			if got := server.count(fakeRequest.list); got != page {
				t.Fatalf("%d pages were asked for while the sink had page %d in hand", got, page)
			}
			release <- struct{}{}
		}
		synctest.Wait()
		_, pages, _ := sink.snapshot()
		for i, p := range pages {
			if p.First != (i == 0) || p.Last != (i == 2) || p.ResourceVersion != "125" || p.Replaced {
				t.Errorf("page %d: %+v", i, p)
			}
		}
		if got := server.count(fakeRequest.continued); got != 2 {
			t.Errorf("%d pages were asked for by a continue token, want 2", got)
		}
		wantOnce(t, server, sink)
		stop()
	})
}

func TestChangesAreShownInOrderAfterTheList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, sink := newFakeServer(), newTap(t)
		w, stop := start(t, server, sink, Options{})
		synctest.Wait()
		server.put("a", "b", "a")
		synctest.Wait()
		server.put("a")
		after(5 * time.Second)
		wantOnce(t, server, sink)
		if _, _, changes := sink.snapshot(); changes != 4 {
			t.Errorf("%d changes, want 4", changes)
		}
		s := w.Status().Namespaces[0]
		if s.State != health.Watching || s.Failing != nil || s.Lists != 1 || s.Watches != 1 || s.LastEvent.IsZero() {
			t.Errorf("status %+v", s)
		}
		stop()
		if s := w.Status().Namespaces[0]; s.State != health.Waiting {
			t.Errorf("state after the end is %s", s.State)
		}
	})
}

func TestStoppedForTenMinutesAndStartedAgain(t *testing.T) {
	for _, compacted := range []bool{false, true} {
		t.Run(fmt.Sprintf("compacted=%t", compacted), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server, sink := newFakeServer(), newTap(t)
				server.put(names("old", 30)...)
				_, stop := start(t, server, sink, Options{PageSize: 10})
				after(time.Minute)
				stop()
				server.put(names("meanwhile", 50)...)
				server.put(names("old", 5)...)
				if compacted {
					server.compact()
				}
				lists := server.count(fakeRequest.list)
				after(10 * time.Minute)
				_, stop = start(t, server, sink, Options{PageSize: 10})
				after(time.Minute)
				wantOnce(t, server, sink)
				if listed := server.count(fakeRequest.list) > lists; listed != compacted {
					t.Errorf("listed again: %t, want %t", listed, compacted)
				}
				stop()
			})
		})
	}
}

func TestPositionTooOldIsListedAgain(t *testing.T) {
	asStatus := func() *http.Response { return answerStatus(410, "Expired", "too old resource version: 1 (2)", "") }
	asGone := func() *http.Response { return answerStatus(410, "Gone", "gone", "") }
	asFrame := func() *http.Response { return answer200(goneFrame) }
	silent := func() *http.Response { return answer200("") }
	for name, answer := range map[string]func() *http.Response{
		"410 as HTTP status": asStatus, "410 Gone as HTTP status": asGone, "410 as ERROR frame": asFrame, "200 that closes at once": silent,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server, sink := newFakeServer(), newTap(t)
				var log logBuffer
				server.put(names("old", 7)...)
				first := true
				server.setFault(func(r fakeRequest) *http.Response {
					if r.watch() && first {
						first = false
						server.put("missed", "old-00003")
						return answer()
					}
					return nil
				})
				w, stop := start(t, server, sink, Options{PageSize: 5, Logger: log.logger()})
				after(10 * time.Second)
				server.put("later")
				synctest.Wait()
				wantOnce(t, server, sink)
				if lists, requests := w.Status().Namespaces[0].Lists, server.count(func(fakeRequest) bool { return true }); lists != 2 || requests != 6 {
					t.Errorf("%d lists with %d requests, want 2 lists of 2 pages and 2 watches", lists, requests)
				}
				if log.String() != "" {
					t.Errorf("what happens each day was logged:\n%s", &log)
				}
				stop()
			})
		})
	}
}

func TestWatchThatAlwaysClosesDoesNotLoopHot(t *testing.T) {
	for name, answer := range map[string]string{"silently": "", "with 410": goneFrame, "with garbage": "<html>captive portal</html>"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server, sink := newFakeServer(), newTap(t)
				var log logBuffer
				server.put(names("old", 3)...)
				server.setFault(func(r fakeRequest) *http.Response {
					if r.watch() {
						return answer200(answer)
					}
					return nil
				})
				w, stop := start(t, server, sink, Options{Logger: log.logger()})
				after(10 * time.Minute)
				// The pause is 15 s on average once it has grown, and each round has a list or a probe, and a watch.
				if n := server.count(func(fakeRequest) bool { return true }); n < 30 || n > 200 {
					t.Errorf("%d requests in 10 minutes, want about 90", n)
				}
				server.setFault(nil)
				server.put("late")
				after(time.Minute)
				wantOnce(t, server, sink)
				if s := w.Status().Namespaces[0]; s.Failing != nil || s.State != health.Watching {
					t.Errorf("status %+v", s)
				}
				if lines := log.lines(); len(lines) != 2 || !strings.Contains(lines[1], "events are watched again") {
					t.Errorf("want one line at the begin and one at the end:\n%s", &log)
				}
				stop()
			})
		})
	}
}

func TestExpiredContinueInMidListLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, sink := newFakeServer(), newTap(t)
		server.put(names("old", 95)...)
		pages := 0
		sink.onList = func(Page) error {
			if pages++; pages == 4 {
				server.compact()
				server.put("aaa", "zzz", "old-00001", "old-00090")
			}
			return nil
		}
		w, stop := start(t, server, sink, Options{PageSize: 10})
		after(time.Minute)
		wantOnce(t, server, sink)
		_, all, _ := sink.snapshot()
		if !all[4].First || all[4].ResourceVersion == all[3].ResourceVersion {
			t.Errorf("after the expired token came %+v, want the first page of another list", all[4])
		}
		if s := w.Status().Namespaces[0]; s.Lists != 1 || s.Expired != 1 || s.Failing != nil {
			t.Errorf("status %+v", s)
		}
		stop()
	})
}

func TestListThatAlwaysExpiresIsEndedByTheServersOffer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, sink := newFakeServer(), newTap(t)
		server.put(names("old", 95)...)
		var fast atomic.Bool
		pages := 0
		sink.onList = func(Page) error {
			// The sink is so slow that each state lives for three pages.
			if pages++; !fast.Load() && pages%3 == 0 {
				server.compact()
				server.put("aaa", "zzz")
			}
			return nil
		}
		w, stop := start(t, server, sink, Options{PageSize: 10})
		after(10 * time.Minute)
		if taken, _, _ := sink.snapshot(); taken["old-00094"] == 0 {
			t.Error("the end of the list was never reached")
		}
		first := ""
		for _, p := range sink.pages {
			if p.First {
				first = p.ResourceVersion
			}
			if p.ResourceVersion != first {
				t.Errorf("a list that begun at resourceVersion %s goes on at %s: the first part would be missed", first, p.ResourceVersion)
			}
		}
		if n := server.count(func(fakeRequest) bool { return true }); n > 1500 {
			t.Errorf("%d requests in 10 minutes", n)
		}
		fast.Store(true)
		after(2 * time.Minute)
		wantOnce(t, server, sink)
		if s := w.Status().Namespaces[0]; s.State != health.Watching {
			t.Errorf("status %+v", s)
		}
		stop()
	})
}

func TestWatchIsAskedToStayForHalfAnHourAndResumesWithoutList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, sink := newFakeServer(), newTap(t)
		w, stop := start(t, server, sink, Options{})
		after(24 * time.Hour)
		s := w.Status().Namespaces[0]
		if s.Lists != 1 || s.Failures != 0 || s.Watches < 24 || s.Watches > 49 {
			t.Errorf("in a quiet day: %d lists, %d watches, %d failures", s.Lists, s.Watches, s.Failures)
		}
		for _, r := range server.requests {
			if !r.watch() {
				continue
			}
			if seconds, err := strconv.Atoi(r.query.Get("timeoutSeconds")); err != nil || seconds < 1800 || seconds > 3600 {
				t.Errorf("timeoutSeconds is %s", r.query.Get("timeoutSeconds"))
			}
		}
		stop()
	})
}

func TestReplacedDatastoreIsListedAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, sink := newFakeServer(), newTap(t)
		server.put(names("old", 20)...)
		_, stop := start(t, server, sink, Options{})
		after(time.Minute)
		stop()
		restored := newFakeServer()
		restored.version = 3
		restored.put("old-00001", "fresh")
		_, stop = start(t, restored, sink, Options{})
		after(time.Minute)
		taken, pages, _ := sink.snapshot()
		if last := pages[len(pages)-1]; !last.Replaced || last.ResourceVersion != "5" {
			t.Errorf("page of the new history: %+v", last)
		}
		if taken["old-00001"] != 1 || taken["fresh"] != 1 {
			t.Errorf("old-00001 taken %d times, fresh %d times, want 1 and 1", taken["old-00001"], taken["fresh"])
		}
		restored.put("fresh")
		synctest.Wait()
		wantOnce(t, restored, sink)
		stop()
	})
}

func TestAPIServerAwayIsToldOnceAndFoundAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, sink := newFakeServer(), newTap(t)
		var log logBuffer
		server.put("a")
		server.setFault(func(fakeRequest) *http.Response { return refused() })
		w, stop := start(t, server, sink, Options{Logger: log.logger()})
		began := time.Now()
		after(time.Hour)
		f := w.Status().Namespaces[0].Failing
		if f == nil || f.Reason != "unreachable" || !f.Unseen || f.Since.Sub(began) > time.Second {
			t.Errorf("failing: %+v", f)
		}
		if n := server.count(func(fakeRequest) bool { return true }); n < 120 || n > 400 {
			t.Errorf("%d tries in an hour, want one in 15 s on average", n)
		}
		server.setFault(nil)
		after(time.Minute)
		wantOnce(t, server, sink)
		lines := log.lines()
		if len(lines) != 2 || !strings.Contains(lines[0], "the API server cannot be reached; trying again") ||
			!strings.Contains(lines[0], "connection refused") || !strings.Contains(lines[1], "failures=") {
			t.Errorf("log:\n%s", &log)
		}
		stop()
	})
}

func TestRefusedCredentialIsSaidAndKeepsTrying(t *testing.T) {
	for _, c := range []struct {
		code                 int
		reason, word, phrase string
		namespaces           []string
	}{
		{401, "Unauthorized", "unauthorized", "the API server refused the credential (401 Unauthorized)", nil},
		{403, "Forbidden", "forbidden", "the agent may not list events in namespace shop (403 Forbidden): it needs get, list and watch on events", []string{"shop"}},
	} {
		t.Run(c.word, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server, sink := newFakeServer(), newTap(t)
				var log logBuffer
				server.setFault(func(fakeRequest) *http.Response { return answerStatus(c.code, c.reason, "no", "") })
				w, stop := start(t, server, sink, Options{Logger: log.logger(), Namespaces: c.namespaces})
				after(10 * time.Minute)
				if lines := log.lines(); len(lines) != 1 || !strings.Contains(lines[0], c.phrase) {
					t.Errorf("log:\n%s", &log)
				}
				if f := w.Status().Namespaces[0].Failing; f == nil || f.Reason != c.word || !f.Unseen || f.Count < 20 {
					t.Errorf("failing: %+v", f)
				}
				server.setFault(nil)
				server.put("a")
				after(time.Minute)
				wantOnce(t, server, sink)
				stop()
			})
		})
	}
}

func TestMissingWatchVerbIsSaidOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, sink := newFakeServer(), newTap(t)
		var log logBuffer
		server.setFault(func(r fakeRequest) *http.Response {
			if r.watch() {
				return answerStatus(403, "Forbidden", "no", "")
			}
			return nil
		})
		_, stop := start(t, server, sink, Options{Logger: log.logger()})
		after(10 * time.Minute)
		if lines := log.lines(); len(lines) != 1 || !strings.Contains(lines[0], "the agent may not watch events in all namespaces") {
			t.Errorf("log:\n%s", &log)
		}
		stop()
	})
}

func TestRetryAfterIsHonouredAndClamped(t *testing.T) {
	for _, c := range []struct{ told, want time.Duration }{{20 * time.Second, 20 * time.Second}, {time.Hour, time.Minute}} {
		t.Run(c.told.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server, sink := newFakeServer(), newTap(t)
				first := true
				server.setFault(func(fakeRequest) *http.Response {
					if !first {
						return nil
					}
					first = false
					response := answerStatus(429, "TooManyRequests", "busy", "")
					response.Header.Set("Retry-After", strconv.Itoa(int(c.told.Seconds())))
					return response
				})
				_, stop := start(t, server, sink, Options{})
				after(2 * time.Minute)
				if pause := server.requests[1].at.Sub(server.requests[0].at); pause != c.want {
					t.Errorf("paused %v, want %v", pause, c.want)
				}
				stop()
			})
		})
	}
}

func TestPageThatStallsIsAskedForAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, sink := newFakeServer(), newTap(t)
		server.put(names("old", 30)...)
		stalls := 0
		server.setFault(func(r fakeRequest) *http.Response {
			if stalls < 2 && r.continued() {
				stalls++
				body, out := io.Pipe()
				go func() { _, _ = out.Write([]byte(`{"kind":"EventList","metadata":{`)) }()
				return &http.Response{StatusCode: http.StatusOK, Body: body}
			}
			return nil
		})
		w, stop := start(t, server, sink, Options{PageSize: 10})
		after(90 * time.Second)
		if f := w.Status().Namespaces[0].Failing; f == nil || f.Reason != "stalled" {
			t.Errorf("failing: %+v", f)
		}
		after(2 * time.Minute)
		wantOnce(t, server, sink)
		if got := server.count(func(r fakeRequest) bool { return r.list() && !r.continued() }); got != 1 {
			t.Errorf("the list was begun %d times: a page that can be asked for again does not begin it anew", got)
		}
		stop()
	})
}

func TestChangeThatTheSinkRefusesIsShownAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, sink := newFakeServer(), newTap(t)
		server.put("a")
		var listed, watched atomic.Int32
		sink.onWatched = func(Change) error {
			if watched.Add(1) <= 3 {
				return errors.New("disk is full")
			}
			return nil
		}
		sink.onList = func(Page) error {
			if listed.Add(1) <= 1 {
				return errors.New("disk is full")
			}
			return nil
		}
		w, stop := start(t, server, sink, Options{})
		after(10 * time.Second)
		server.put("b")
		synctest.Wait()
		if f := w.Status().Namespaces[0].Failing; f == nil || f.Reason != "sink" || f.Unseen {
			t.Errorf("failing: %+v", f)
		}
		after(time.Minute)
		wantOnce(t, server, sink)
		stop()
	})
}

func TestEventThatCannotBeReadDoesNotHoldUpOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, sink := newFakeServer(), newTap(t)
		var log logBuffer
		server.put("a", "b", "c", "d")
		server.events["b"].uid = ""
		server.events["c"].message = strings.Repeat("x", 3<<20)
		server.events["d"].name = "d"
		w, stop := start(t, server, sink, Options{Logger: log.logger()})
		after(5 * time.Second)
		server.mu.Lock()
		server.version += 2
		huge := `{"type":"ADDED","object":{"metadata":{"name":"huge","uid":"uid-huge","resourceVersion":"105","annotations":{` + strings.Repeat(`"k":"`+strings.Repeat("v", 1000)+`",`, 3000) + `"z":""}}}}`
		server.history = append(server.history, fakeChange{server.version - 1, huge},
			fakeChange{server.version, `{"type":"ADDED","object":{"metadata":{"name":"x","uid":"u","resourceVersion":"0x1"}}}`})
		server.mu.Unlock()
		server.put("e")
		synctest.Wait()
		delete(server.events, "b")
		wantOnce(t, server, sink)
		if s := w.Status().Namespaces[0]; s.Skipped != 3 || s.Failures != 0 {
			t.Errorf("skipped %d, failures %d, want 3 and 0", s.Skipped, s.Failures)
		}
		if losses := sink.lost(); len(losses) != 1 || losses[0].Cause != spool.Undecodable || losses[0].Events != 3 {
			t.Errorf("counted as lost: %+v, want 3 events that cannot be read", losses)
		}
		var shown []string
		for _, m := range sink.unreadable {
			shown = append(shown, m.Name+" "+m.ResourceVersion)
		}
		if want := []string{"b 102", "huge 105", "x 0x1"}; !slices.Equal(shown, want) {
			t.Errorf("the sink was shown %q as unreadable, want %q", shown, want)
		}
		stop()
	})
}

func TestLargeMessagesAreGivenInPartsOfHalfAMebibyte(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, sink := newFakeServer(), newTap(t)
		server.put(names("old", 300)...)
		for _, e := range server.events {
			e.message = strings.Repeat("m", 20<<10)
		}
		most := 0
		sink.onList = func(p Page) error {
			size := 0
			for i := range p.Events {
				size += len(p.Events[i].Message)
			}
			most = max(most, size)
			return nil
		}
		_, stop := start(t, server, sink, Options{PageSize: 250})
		after(time.Minute)
		wantOnce(t, server, sink)
		if most == 0 || most > MaxPageText+2*stream.MaxMessage {
			t.Errorf("a page held %d bytes of messages", most)
		}
		_, pages, _ := sink.snapshot()
		for i, p := range pages {
			if p.First != (i == 0) || p.Last != (i == len(pages)-1) {
				t.Errorf("part %d of %d: %+v", i, len(pages), p)
			}
		}
		if second := server.requests[1].query.Get("limit"); second != "125" {
			t.Errorf("the page after one with large messages has %s events, want half as many", second)
		}
		stop()
	})
}

func TestEachNamespaceHasAWatchOfItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, sink := newFakeServer(), newTap(t)
		w, stop := start(t, server, sink, Options{Namespaces: []string{"shop", "kiosk", "shop"}})
		after(time.Minute)
		for _, path := range []string{"/api/v1/namespaces/shop/events", "/api/v1/namespaces/kiosk/events"} {
			if n := server.count(func(r fakeRequest) bool { return r.path == path }); n != 2 {
				t.Errorf("%d requests for %s, want a list and a watch", n, path)
			}
		}
		if s := w.Status(); len(s.Namespaces) != 2 || s.Namespaces[0].Namespace != "kiosk" {
			t.Errorf("status %+v", s)
		}
		stop()
	})
}

func TestWatchCutInMidFrameResumes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, sink := newFakeServer(), newTap(t)
		server.put("a")
		first := true
		server.setFault(func(r fakeRequest) *http.Response {
			if r.watch() && first {
				first = false
				server.put("b", "c")
				return answer200(server.history[1].frame + server.history[2].frame[:40])
			}
			return nil
		})
		w, stop := start(t, server, sink, Options{})
		after(time.Minute)
		wantOnce(t, server, sink)
		if s := w.Status().Namespaces[0]; s.Lists != 1 {
			t.Errorf("%d lists, want 1: the position was still good", s.Lists)
		}
		stop()
	})
}

func TestBookmarkMovesThePosition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, sink := newFakeServer(), newTap(t)
		server.put("a")
		first := true
		server.setFault(func(r fakeRequest) *http.Response {
			if r.watch() && first {
				first = false
				server.version = 500
				return answer200(`{"type":"BOOKMARK","object":{"kind":"Event","apiVersion":"v1","metadata":{"resourceVersion":"500","creationTimestamp":null}}}`)
			}
			return nil
		})
		_, stop := start(t, server, sink, Options{})
		after(time.Minute)
		if last := server.requests[len(server.requests)-1]; last.query.Get("resourceVersion") != "500" {
			t.Errorf("watched from %s, want 500", last.query.Get("resourceVersion"))
		}
		if _, _, changes := sink.snapshot(); changes != 0 {
			t.Error("the sink was told of a bookmark")
		}
		stop()
	})
}

func TestWatchThatEndsAfterEachFrameDoesNotLoopHot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, sink := newFakeServer(), newTap(t)
		var watches atomic.Int32
		server.setFault(func(r fakeRequest) *http.Response {
			// The bound keeps a hot loop, in which the bubble's time would stand still, from lasting forever.
			if !r.watch() || watches.Add(1) > 5000 {
				return nil
			}
			server.put("a")
			return answer200(server.history[len(server.history)-1].frame)
		})
		_, stop := start(t, server, sink, Options{})
		after(time.Minute)
		if n := watches.Load(); n < 60 || n > 1000 {
			t.Errorf("%d watches in a minute, want four a second on average", n)
		}
		stop()
		wantOnce(t, server, sink)
	})
}

func TestListThatBreaksOffAfterAPartWasGivenBeginsAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, sink := newFakeServer(), newTap(t)
		server.put(names("old", 100)...)
		for _, e := range server.events {
			e.message = strings.Repeat("m", stream.MaxMessage)
		}
		first := true
		server.setFault(func(r fakeRequest) *http.Response {
			if !first {
				return nil
			}
			first = false
			whole, err := io.ReadAll(server.list(r).Body)
			if err != nil {
				t.Error(err)
			}
			return answer200(string(whole[:len(whole)*9/10]))
		})
		_, stop := start(t, server, sink, Options{})
		after(time.Minute)
		wantOnce(t, server, sink)
		if n := sink.lists(); n != 2 {
			t.Errorf("%d lists were begun, want 2", n)
		}
		stop()
	})
}

// TestAQuietWatchProvesSightAndAHeldBackOneDoesNot: an open watch sees everything although nothing happens. One that the sink held
// back for hours has an old answer in its connection, and is opened again at its position.
func TestAQuietWatchProvesSightAndAHeldBackOneDoesNot(t *testing.T) {
	for _, held := range []bool{false, true} {
		t.Run(fmt.Sprintf("held=%t", held), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server, sink := newFakeServer(), newTap(t)
				server.put("a")
				var blocked, compacted atomic.Bool
				sink.onWatched = func(Change) error {
					if held && blocked.CompareAndSwap(false, true) {
						<-time.After(5 * time.Hour)
					}
					return nil
				}
				w, stop := start(t, server, sink, Options{})
				after(time.Minute)
				server.put("b")
				arrived := time.Now()
				synctest.Wait()
				server.compact()
				server.put(names("meanwhile", 3)...)
				after(3 * time.Minute)
				if seen := w.Status().Namespaces[0].Seen; seen.Equal(arrived) != held {
					t.Errorf("seen until %s, the last change came at %s", seen, arrived)
				}
				server.setFault(func(r fakeRequest) *http.Response {
					if compacted.CompareAndSwap(false, true) {
						server.compact()
					}
					return nil
				})
				after(6 * time.Hour)
				wantOnce(t, server, sink)
				_, pages, _ := sink.snapshot()
				if len(pages) < 2 {
					t.Fatalf("%d pages: it was not listed again", len(pages))
				}
				if !pages[0].Seen.IsZero() {
					t.Errorf("seen until %s before the first list", pages[0].Seen)
				}
				away := pages[1].At.Sub(pages[1].Seen)
				if held != (away > 4*time.Hour) || !held && away > 2*time.Minute {
					t.Errorf("the list bridges %s", away)
				}
				stop()
			})
		})
	}
}

// TestABlindWatchProvesNoSight: neither one that is refused, nor one that closes at once, nor one that broke off.
func TestABlindWatchProvesNoSight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, sink := newFakeServer(), newTap(t)
		server.put("a")
		w, stop := start(t, server, sink, Options{})
		after(time.Minute)
		for _, answer := range []func() *http.Response{
			refused, func() *http.Response { return answerStatus(403, "Forbidden", "no", "") },
			func() *http.Response { return answer200("<html>") },
		} {
			before := time.Now()
			server.setFault(func(fakeRequest) *http.Response { return answer() })
			server.mu.Lock()
			server.wake()
			server.mu.Unlock()
			after(2 * time.Hour)
			if seen := w.Status().Namespaces[0].Seen; seen.Sub(before) > time.Hour+time.Minute {
				t.Errorf("seen %s into a blindness of two hours, of which the open watch bridges one at most", seen.Sub(before))
			}
			server.setFault(nil)
			after(5 * time.Minute)
			if seen := w.Status().Namespaces[0].Seen; time.Since(seen) > time.Second {
				t.Errorf("seen until %s ago with an open watch", time.Since(seen))
			}
		}
		stop()
	})
}

// TestOneNamespaceListsAtATime: with fifty at once their pages would not fit into the memory. One whose API server fails between two
// tries holds none of the others.
func TestOneNamespaceListsAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, sink := newFakeServer(), newTap(t)
		server.put(names("old", 25)...)
		var inHand, most atomic.Int32
		sink.onList = func(Page) error {
			most.Store(max(most.Load(), inHand.Add(1)))
			defer inHand.Add(-1)
			<-time.After(time.Second)
			return nil
		}
		server.setFault(func(r fakeRequest) *http.Response {
			if strings.Contains(r.path, "/ns-00/") {
				response := answerStatus(500, "InternalError", "no", "")
				response.Header.Set("Retry-After", "60")
				return response
			}
			return nil
		})
		var namespaces []string
		for i := range 10 {
			namespaces = append(namespaces, fmt.Sprintf("ns-%02d", i))
		}
		w, stop := start(t, server, sink, Options{PageSize: 10, Namespaces: namespaces})
		after(2 * time.Minute)
		for _, s := range w.Status().Namespaces[1:] {
			if s.State != health.Watching || s.Lists != 1 {
				t.Errorf("namespace %s is %s after %d lists", s.Namespace, s.State, s.Lists)
			}
		}
		if n := most.Load(); n != 1 {
			t.Errorf("%d pages were in hand at once", n)
		}
		server.setFault(nil)
		after(2 * time.Minute)
		if s := w.Status().Namespaces[0]; s.State != health.Watching {
			t.Errorf("namespace %s is %s: %v", s.Namespace, s.State, s.Failing)
		}
		stop()
	})
}

// TestThePositionOfAWatchNeverMovesBack: neither by a bookmark that is behind, nor by an event that shows no version.
func TestThePositionOfAWatchNeverMovesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, sink := newFakeServer(), newTap(t)
		server.put("a")
		first := true
		server.setFault(func(r fakeRequest) *http.Response {
			if r.watch() && first {
				first = false
				server.put("b", "c")
				return answer200(server.history[1].frame + server.history[2].frame +
					`{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"102"}}}` + `{"type":"ADDED","object":{"metadata":{"name":"x"}}}`)
			}
			return nil
		})
		w, stop := start(t, server, sink, Options{})
		after(time.Minute)
		if s := w.Status().Namespaces[0]; s.Lists != 1 {
			t.Errorf("%d lists, want 1: the position was good", s.Lists)
		}
		var from []string
		for _, r := range server.requests {
			if r.watch() {
				from = append(from, r.query.Get("resourceVersion"))
			}
		}
		if want := []string{"101", "103"}; !slices.Equal(from, want) {
			t.Errorf("watched from %q, want from %q", from, want)
		}
		wantOnce(t, server, sink)
		stop()
	})
}

// TestSightEndsBeforeWhatEndsIt: a watch that breaks off may have been blind for as long as that takes to notice, and a list shows what
// there was when it was asked for.
func TestSightEndsBeforeWhatEndsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, sink := newFakeServer(), newTap(t)
		server.put("a")
		sink.onList = func(Page) error { <-time.After(20 * time.Minute); return nil }
		body, out := io.Pipe()
		server.setFault(func(r fakeRequest) *http.Response {
			if r.watch() {
				return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: body}
			}
			return nil
		})
		asked := time.Now()
		w, stop := start(t, server, sink, Options{})
		after(20*time.Minute + time.Second)
		if seen := w.Status().Namespaces[0].Seen; !seen.Equal(asked) {
			t.Errorf("seen until %s after a list that was asked for %s ago", seen, time.Since(asked))
		}
		after(10 * time.Minute)
		server.setFault(func(fakeRequest) *http.Response { return refused() })
		broke := time.Now()
		_ = out.CloseWithError(errors.New("connection reset by peer"))
		after(time.Hour)
		if seen := w.Status().Namespaces[0].Seen; broke.Sub(seen) != time.Minute {
			t.Errorf("seen until %s before the watch broke off, want a minute", broke.Sub(seen))
		}
		stop()
	})
}

// zeros is a body without an end that counts what is read.
type zeros struct{ read atomic.Int64 }

func (e *zeros) Read(p []byte) (int, error) {
	if e.read.Add(int64(len(p))) > 8<<20 {
		return 0, io.EOF
	}
	return len(p), nil
}

func (*zeros) Close() error { return nil }

func TestTheBodyOfAnErrorIsReadWithinABound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, sink := newFakeServer(), newTap(t)
		var body zeros
		first := true
		server.setFault(func(fakeRequest) *http.Response {
			if !first {
				return nil
			}
			first = false
			return &http.Response{StatusCode: http.StatusBadGateway, Header: http.Header{}, Body: &body}
		})
		_, stop := start(t, server, sink, Options{})
		after(time.Minute)
		if n := body.read.Load(); n > 2*apiclient.MaxErrorBody {
			t.Errorf("%d bytes of an error were read", n)
		}
		stop()
	})
}
