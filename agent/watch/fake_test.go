package watch_test

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
	"math"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/event"
	"github.com/edge-eventer/edge-eventer/agent/filter"
	"github.com/edge-eventer/edge-eventer/agent/incident"
	"github.com/edge-eventer/edge-eventer/agent/intake"
	"github.com/edge-eventer/edge-eventer/agent/ledger"
	. "github.com/edge-eventer/edge-eventer/agent/watch"
	"github.com/edge-eventer/edge-eventer/spool"
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
		var last struct{ Metadata struct{ Name string } }
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
	from, err := event.ParseResourceVersion(r.query.Get("resourceVersion"))
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

// archive is the receiver in whose queue each of a tap's events waits, and sum the one whose incidents count all that was new: an event's
// own count hides what was taken twice.
const archive, sum = "archive", "sum"

// tap is the agent's own intake on a spool of its own, with what the watch showed it written down.
type tap struct {
	t     *testing.T
	sink  *intake.Intake
	spool *spool.Spool

	mu sync.Mutex
	// taken has how often each event was observed, by name, as the spool has it; see read.
	taken      map[string]int32
	pages      []Page
	changes    int
	unreadable []event.ObjectMeta
	arrived    chan struct{}

	// onList and onWatched may wait or fail.
	onList    func(Page) error
	onWatched func(Change) error
}

func newTap(t *testing.T) *tap {
	t.Helper()
	s, err := spool.Open(spool.Options{Path: filepath.Join(t.TempDir(), "spool.db"), MaxBytes: 64 << 20})
	if err != nil {
		t.Fatal(err)
	}
	everything, err := filter.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	match, err := filter.NewMatcher(nil)
	if err != nil {
		t.Fatal(err)
	}
	sink := intake.New(intake.Options{
		Spool: s, Ledger: ledger.New(time.Hour, math.MaxInt64), Logger: slog.New(slog.DiscardHandler),
	}, intake.Rules{Filter: everything, Routes: []intake.Route{
		{Receiver: archive, Match: match, Policy: incident.Policy{PerEvent: true, GroupWait: time.Second}},
		{Receiver: sum, Match: match, Policy: incident.Policy{GroupWait: time.Second, ResolveAfter: 1000 * time.Hour}},
	}})
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := sink.Run(ctx); err != nil {
			t.Errorf("intake: %v", err)
		}
	}()
	t.Cleanup(func() {
		stop()
		<-done
		if err := s.Close(); err != nil {
			t.Errorf("close spool: %v", err)
		}
	})
	return &tap{t: t, sink: sink, spool: s, arrived: make(chan struct{}, 1)}
}

func (s *tap) Position(namespace string) (string, error) { return s.sink.Position(namespace) }

func (s *tap) List(ctx context.Context, page Page) error {
	if s.onList != nil {
		if err := s.onList(page); err != nil {
			return err
		}
	}
	if err := s.sink.List(ctx, page); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unreadable = append(s.unreadable, page.Unreadable...)
	page.Events = nil
	s.pages = append(s.pages, page)
	s.tell()
	return nil
}

func (s *tap) Watched(ctx context.Context, c Change) error {
	if s.onWatched != nil {
		if err := s.onWatched(c); err != nil {
			return err
		}
	}
	if err := s.sink.Watched(ctx, c); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.Unreadable {
		s.unreadable = append(s.unreadable, c.Event.ObjectMeta)
	}
	s.changes++
	s.tell()
	return nil
}

func (s *tap) tell() {
	select {
	case s.arrived <- struct{}{}:
	default:
	}
}

func (s *tap) flush() {
	s.t.Helper()
	if err := s.sink.Note(context.WithoutCancel(s.t.Context()), func(*spool.Tx) error { return nil }); err != nil {
		s.t.Error(err)
	}
}

// read commits what was shown and reads from the spool how often each event was observed: in the end that has to be the event's count.
func (s *tap) read() {
	s.t.Helper()
	s.flush()
	taken := make(map[string]int32)
	var each, all uint64
	err := s.spool.View(func(tx *spool.Tx) error {
		all = tx.Queue(sum).Untold()
		for record := range tx.Queue(archive).Due(time.Now().Add(time.Hour)) {
			in, err := incident.Decode(record.Body)
			if err != nil {
				return err
			}
			taken[in.Event.Name] += int32(record.Untold)
			each += uint64(record.Untold)
		}
		return nil
	})
	if err != nil || all != each {
		s.t.Errorf("%d observations were taken, of which %d are different ones (%v)", all, each, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.taken = taken
}

// lost returns what the receiver will be told that it was not.
func (s *tap) lost() (losses []spool.Loss) {
	s.t.Helper()
	s.read()
	if err := s.spool.View(func(tx *spool.Tx) error { losses = tx.Queue(archive).UntoldLosses(); return nil }); err != nil {
		s.t.Error(err)
	}
	return losses
}

// wait returns when done holds.
func (s *tap) wait(t *testing.T, what string, done func(s *tap) bool) {
	t.Helper()
	limit := time.NewTimer(3 * time.Minute)
	defer limit.Stop()
	for {
		s.read()
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

func (s *tap) snapshot() (taken map[string]int32, pages []Page, changes int) {
	s.t.Helper()
	s.read()
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.taken), slices.Clone(s.pages), s.changes
}

// at returns the position.
func (s *tap) at() string {
	s.t.Helper()
	s.flush()
	// A tap watches one namespace.
	var position string
	err := s.spool.View(func(tx *spool.Tx) error {
		for _, name := range tx.Scopes() {
			position = tx.Scope(name).Position
		}
		return nil
	})
	if err != nil {
		s.t.Error(err)
	}
	return position
}

// lists returns how many lists were begun.
func (s *tap) lists() int {
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
	w, err := New(WithTransport(o, server), sink)
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
