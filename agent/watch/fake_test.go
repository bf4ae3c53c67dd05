package watch

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/edge-eventer/edge-eventer/notify"
)

// fakeServer answers as the API server does for events: paged lists of one state, watches with a history that can be
// compacted. It is a RoundTripper, so that time in its tests is testing/synctest's.
type fakeServer struct {
	mu        sync.Mutex
	version   uint64
	compacted uint64
	events    map[string]*fakeEvent
	history   []fakeChange
	changed   chan struct{}
	snapshots map[string][]string
	requests  []fakeRequest

	// fault answers a request in the place of the server unless it returns nil.
	fault func(r fakeRequest) *http.Response
}

type fakeEvent struct {
	name, uid, message string
	version            uint64
	count              int
}

type fakeChange struct {
	version uint64
	frame   string
}

type fakeRequest struct {
	at    time.Time
	path  string
	query url.Values
}

func (r fakeRequest) watch() bool     { return r.query.Has("watch") }
func (r fakeRequest) probe() bool     { return r.query.Get("limit") == "1" }
func (r fakeRequest) list() bool      { return !r.watch() && !r.probe() }
func (r fakeRequest) continued() bool { return r.query.Has("continue") }

func newFakeServer() *fakeServer {
	return &fakeServer{
		version: 100, events: make(map[string]*fakeEvent), changed: make(chan struct{}), snapshots: make(map[string][]string),
	}
}

func (e *fakeEvent) json() string {
	message, err := json.Marshal(e.message)
	if err != nil {
		panic(err)
	}
	return fmt.Sprintf(`{"kind":"Event","apiVersion":"v1","metadata":{"name":%q,"namespace":"shop","uid":%q,"resourceVersion":"%d",`+
		`"creationTimestamp":"2026-11-21T05:05:48Z"},"involvedObject":{"kind":"Pod","namespace":"shop","name":"web-7d9f8c6b5d-x2x4z"},`+
		`"reason":"BackOff","message":%s,"source":{"component":"kubelet"},"firstTimestamp":"2026-11-21T05:05:48Z",`+
		`"lastTimestamp":"2026-11-21T05:05:48Z","count":%d,"type":"Warning","eventTime":null}`, e.name, e.uid, e.version, message, e.count)
}

// put creates events, or counts them up.
func (f *fakeServer) put(names ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, name := range names {
		f.version++
		kind := "MODIFIED"
		e := f.events[name]
		if e == nil {
			kind = "ADDED"
			e = &fakeEvent{name: name, uid: "uid-" + name, message: "Back-off restarting failed container"}
			f.events[name] = e
		}
		e.count++
		e.version = f.version
		f.history = append(f.history, fakeChange{f.version, fmt.Sprintf(`{"type":%q,"object":%s}`+"\n", kind, e.json())})
	}
	f.wake()
}

func (f *fakeServer) wake() {
	close(f.changed)
	f.changed = make(chan struct{})
}

// compact forgets the history and the states of lists under way.
func (f *fakeServer) compact() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.version++
	f.compacted = f.version
	f.history = nil
	clear(f.snapshots)
}

// count returns how many requests passed the filter.
func (f *fakeServer) count(filter func(fakeRequest) bool) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for _, r := range f.requests {
		if filter(r) {
			n++
		}
	}
	return n
}

func (f *fakeServer) setFault(fault func(fakeRequest) *http.Response) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fault = fault
}

func (f *fakeServer) RoundTrip(request *http.Request) (*http.Response, error) {
	if err := request.Context().Err(); err != nil {
		return nil, err
	}
	r := fakeRequest{time.Now(), request.URL.Path, request.URL.Query()}
	f.mu.Lock()
	f.requests = append(f.requests, r)
	fault := f.fault
	f.mu.Unlock()
	if fault != nil {
		if response := fault(r); response != nil {
			if response.StatusCode == 0 {
				return nil, errors.New("connect: connection refused")
			}
			context.AfterFunc(request.Context(), func() { _ = response.Body.Close() })
			return response, nil
		}
	}
	if r.watch() {
		return f.watch(request.Context(), r), nil
	}
	return f.list(r), nil
}

func (f *fakeServer) list(r fakeRequest) *http.Response {
	f.mu.Lock()
	defer f.mu.Unlock()
	limit, err := strconv.Atoi(r.query.Get("limit"))
	if err != nil || r.query.Get("fieldSelector") != "type=Warning" {
		return answerStatus(400, "BadRequest", "want limit and type=Warning", "")
	}
	version, items := f.version, []string(nil)
	if token := r.query.Get("continue"); token != "" {
		var ok bool
		if items, ok = f.snapshots[token]; !ok {
			_, last, _ := strings.Cut(token, "/")
			fresh := fmt.Sprintf("%d/%s", f.version, last)
			f.snapshots[fresh] = f.items(last)
			return answerStatus(410, "Expired", "The provided continue parameter is too old", fresh)
		}
		delete(f.snapshots, token)
		version, _ = strconv.ParseUint(strings.Split(token, "/")[0], 10, 64)
	} else {
		items = f.items("")
	}
	token := ""
	if len(items) > limit {
		var last wireEvent
		if err := json.Unmarshal([]byte(items[limit-1]), &last); err != nil {
			panic(err)
		}
		token = fmt.Sprintf("%d/%s", version, last.Metadata.Name)
		f.snapshots[token] = items[limit:]
		items = items[:limit]
	}
	return answer200(fmt.Sprintf(`{"kind":"EventList","apiVersion":"v1","metadata":{"resourceVersion":"%d","continue":%q},"items":[%s]}`,
		version, token, strings.Join(items, ",")))
}

// items returns the events behind the name.
func (f *fakeServer) items(after string) []string {
	var sorted []*fakeEvent
	for _, e := range f.events {
		if e.name > after {
			sorted = append(sorted, e)
		}
	}
	slices.SortFunc(sorted, func(a, b *fakeEvent) int { return cmp.Compare(a.name, b.name) })
	items := make([]string, len(sorted))
	for i, e := range sorted {
		items[i] = e.json()
	}
	return items
}

func (f *fakeServer) watch(ctx context.Context, r fakeRequest) *http.Response {
	from, err := ParseResourceVersion(r.query.Get("resourceVersion"))
	if err != nil {
		return answerStatus(400, "BadRequest", err.Error(), "")
	}
	seconds, err := strconv.Atoi(r.query.Get("timeoutSeconds"))
	if err != nil {
		return answerStatus(400, "BadRequest", err.Error(), "")
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if from < f.compacted {
		return answer200(goneFrame)
	}
	body, out := io.Pipe()
	context.AfterFunc(ctx, func() { out.CloseWithError(ctx.Err()) })
	go func() {
		end := time.NewTimer(time.Duration(seconds) * time.Second)
		defer end.Stop()
		for {
			f.mu.Lock()
			var frames bytes.Buffer
			for _, c := range f.history {
				if c.version > from {
					frames.WriteString(c.frame)
					from = c.version
				}
			}
			changed := f.changed
			f.mu.Unlock()
			if _, err := out.Write(frames.Bytes()); err != nil {
				return
			}
			select {
			case <-changed:
			case <-end.C:
				_ = out.Close()
				return
			case <-ctx.Done():
				return
			}
		}
	}()
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: body}
}

const goneFrame = `{"type":"ERROR","object":{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure",` +
	`"message":"too old resource version: 1 (2)","reason":"Expired","code":410}}` + "\n"

func answer200(body string) *http.Response {
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body))}
}

func answerStatus(code int, reason, message, token string) *http.Response {
	response := answer200(fmt.Sprintf(`{"kind":"Status","apiVersion":"v1","metadata":{"continue":%q},"status":"Failure","message":%q,"reason":%q,"code":%d}`,
		token, message, reason, code))
	response.StatusCode = code
	return response
}

// refused stands for a connection that cannot be made.
func refused() *http.Response { return &http.Response{} }

// ledgerSink takes as the agent does: an event is new if its resourceVersion is above the one in the ledger, and by its
// count if the datastore was replaced.
type ledgerSink struct {
	mu       sync.Mutex
	position string
	ledger   map[string]uint64
	counts   map[string]int32
	taken    map[string]int32
	pages    []Page
	changes  int
	arrived  chan struct{}
	// unreadable are the events that could not be read.
	unreadable []notify.ObjectMeta

	// onList and onWatched may wait or fail.
	onList    func(Page) error
	onWatched func(Change) error
}

func newLedgerSink() *ledgerSink {
	return &ledgerSink{
		ledger: make(map[string]uint64), counts: make(map[string]int32), taken: make(map[string]int32),
		arrived: make(chan struct{}, 1),
	}
}

func (s *ledgerSink) Position(string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.position, nil
}

func (s *ledgerSink) List(_ context.Context, page Page) error {
	if s.onList != nil {
		if err := s.onList(page); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range page.Events {
		e := &page.Events[i]
		s.take(e.UID, e.Name, e.ResourceVersion, e.Count, page.Replaced)
	}
	s.unreadable = append(s.unreadable, page.Unreadable...)
	if page.Last {
		s.position = page.ResourceVersion
	}
	page.Events = nil
	s.pages = append(s.pages, page)
	s.tell()
	return nil
}

func (s *ledgerSink) Watched(_ context.Context, c Change) error {
	if s.onWatched != nil {
		if err := s.onWatched(c); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.Unreadable {
		s.unreadable = append(s.unreadable, c.Event.ObjectMeta)
	} else if !c.Deleted {
		s.take(c.Event.UID, c.Event.Name, c.Event.ResourceVersion, c.Event.Count, false)
	}
	s.position = c.Event.ResourceVersion
	s.changes++
	s.tell()
	return nil
}

func (s *ledgerSink) tell() {
	select {
	case s.arrived <- struct{}{}:
	default:
	}
}

// take counts in taken how many observations of the event were new: in the end it has to be the event's count.
func (s *ledgerSink) take(uid, name, resourceVersion string, count int32, replaced bool) {
	version, err := ParseResourceVersion(resourceVersion)
	if err != nil {
		panic(err)
	}
	if known, ok := s.ledger[uid]; ok && (!replaced && version <= known || replaced && count <= s.counts[uid]) {
		return
	}
	s.taken[name] += count - s.counts[uid]
	s.ledger[uid], s.counts[uid] = version, count
}

// wait returns when done holds.
func (s *ledgerSink) wait(t *testing.T, what string, done func(s *ledgerSink) bool) {
	t.Helper()
	limit := time.NewTimer(3 * time.Minute)
	defer limit.Stop()
	for {
		s.mu.Lock()
		ok := done(s)
		s.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-s.arrived:
		case <-limit.C:
			t.Fatalf("%s did not happen within 3 minutes", what)
		}
	}
}

func (s *ledgerSink) snapshot() (taken map[string]int32, pages []Page, changes int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	taken = make(map[string]int32, len(s.taken))
	maps.Copy(taken, s.taken)
	return taken, slices.Clone(s.pages), s.changes
}

// at returns the position.
func (s *ledgerSink) at() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.position
}

// lists returns how many lists were begun.
func (s *ledgerSink) lists() int {
	_, pages, _ := s.snapshot()
	n := 0
	for _, p := range pages {
		if p.First {
			n++
		}
	}
	return n
}

// logBuffer holds the lines of a log.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *logBuffer) lines() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Split(strings.TrimSpace(b.b.String()), "\n")
}

func (b *logBuffer) String() string { return strings.Join(b.lines(), "\n") }

func (b *logBuffer) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(b, &slog.HandlerOptions{Level: slog.LevelInfo}))
}

// start runs a watcher against the server until stop is called or the test ends.
func start(t *testing.T, server http.RoundTripper, sink Sink, o Options) (w *Watcher, stop func()) {
	t.Helper()
	o.connect = func() (connection, error) {
		base, err := url.Parse("https://fake/api/v1")
		return connection{client: &http.Client{Transport: server}, base: base, closeIdle: func() {}}, err
	}
	w, err := New(o, sink)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := w.Run(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("Run returned %v, want the cause of its context", err)
		}
	}()
	stop = func() {
		cancel()
		<-done
	}
	t.Cleanup(stop)
	return w, stop
}
