package watch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/edge-eventer/edge-eventer/agent/event"
)

// onlyWarnings is evaluated by the API server.
const onlyWarnings = "type=Warning"

const (
	// maxPageText is how many bytes of text are held before a page is given to the sink in parts.
	maxPageText = 512 << 10
	// minPageSize is what the page size falls to when events are that large.
	minPageSize = 16
	// pageTries is how often one page is asked for before the list starts anew.
	pageTries = 5
	// patience is how many lists may expire before the API server's offer to go on inconsistently is taken.
	patience = 2
)

// timing holds the times that tests shorten.
type timing struct {
	// stall is how long nothing may arrive of a page, or of the header of a watch.
	stall time.Duration
	// page is how long one page may take with all its bytes.
	page time.Duration
	// short is the life of a watch below which it counts as closed at once. client-go's reflector takes 1 s.
	short time.Duration
	// watchMin and watchMax bound the time that the API server is asked to keep a watch open. Longer is better here: while
	// nothing happens the position gets old, K3s forgets it within 5 to 10 minutes, and then the end of each watch costs
	// a list. The bound is for what pings do not notice, such as a proxy that forgot its other side.
	watchMin, watchMax time.Duration
	// backoffMin and backoffMax bound the pause after a failure.
	backoffMin, backoffMax time.Duration
	pingAfter, pingTimeout time.Duration
}

func (t timing) withDefaults() timing {
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	def(&t.stall, time.Minute)
	def(&t.page, 5*time.Minute)
	def(&t.short, 2*time.Second)
	def(&t.watchMin, 30*time.Minute)
	def(&t.watchMax, time.Hour)
	def(&t.backoffMin, 500*time.Millisecond)
	def(&t.backoffMax, 30*time.Second)
	def(&t.pingAfter, pingAfter)
	def(&t.pingTimeout, pingTimeout)
	return t
}

// loop lists and watches one namespace. All but health belongs to its goroutine.
type loop struct {
	namespace string
	client    *client
	sink      Sink
	logger    *slog.Logger
	timing    timing
	health    *health
	backoff   *backoff.ExponentialBackOff

	// position is the resourceVersion up to which the sink has everything; "" before the first list.
	position string
	// mustList is set when a watch from position cannot show everything.
	mustList bool
	pageSize int
	// turns has room for the one namespace that lists: the pages of fifty at once would not fit into the memory. A list that pauses
	// lets others go first. inTurn is set while this one has its turn.
	turns  chan struct{}
	inTurn bool
	// expired counts the lists in a row that took longer than their continue token lived.
	expired int

	mu sync.Mutex
	// stale says that the sink lost what it had taken, interrupt ends what is under way. mu guards both.
	stale     bool
	interrupt context.CancelFunc
}

func newLoop(namespace string, o Options, c *client, sink Sink, turns chan struct{}) *loop {
	return &loop{
		namespace: namespace,
		client:    c,
		sink:      sink,
		logger:    o.Logger,
		timing:    o.timing,
		health:    newHealth(namespace, o.Logger),
		pageSize:  o.PageSize,
		turns:     turns,
		// Full jitter: each pause is drawn evenly between 0 and a bound that doubles. It never gives up; the library's
		// default does after 15 minutes.
		backoff: backoff.NewExponentialBackOff(
			backoff.WithInitialInterval(o.timing.backoffMin/2),
			backoff.WithMaxInterval(o.timing.backoffMax/2),
			backoff.WithMultiplier(2),
			backoff.WithRandomizationFactor(1),
			backoff.WithMaxElapsedTime(0),
		),
	}
}

func (l *loop) run(ctx context.Context) {
	defer l.health.set(StateWaiting)
	for {
		position, err := l.sink.Position(l.namespace)
		if err == nil {
			l.position, l.mustList = position, position == ""
			break
		}
		if !l.pause(ctx, stepPosition, &sinkError{err}) {
			return
		}
	}
	for ctx.Err() == nil {
		l.round(ctx)
	}
}

// round catches up and watches until the watch ends. relist interrupts it.
func (l *loop) round(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	l.mu.Lock()
	l.mustList = l.mustList || l.stale
	l.stale, l.interrupt = false, cancel
	l.mu.Unlock()

	l.health.set(StateListing)
	if err := l.catchUp(ctx); err != nil {
		l.pause(ctx, stepList, err)
		return
	}
	started := time.Now()
	err := l.watch(ctx)
	if gone(err) || errors.Is(err, errClosedAtOnce) {
		l.mustList = true
	}
	switch {
	case err != nil:
		l.pause(ctx, stepWatch, err)
	case time.Since(started) < l.timing.short:
		// It showed something, but a server that ends every watch that soon would make this a hot loop.
		l.wait(ctx, l.backoff.NextBackOff())
	}
}

// relist interrupts what is under way and makes the next round begin with a list.
func (l *loop) relist() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stale = true
	if l.interrupt != nil {
		l.interrupt()
	}
}

// pause waits after a failure, and reports whether ctx goes on.
func (l *loop) pause(ctx context.Context, s step, err error) bool {
	if ctx.Err() != nil {
		return false
	}
	l.health.failed(s, err)
	l.health.set(StateWaiting)
	d := l.backoff.NextBackOff()
	refusal, isRefusal := errors.AsType[*apiError](err)
	if isRefusal {
		d = max(d, refusal.RetryAfter)
	}
	if !l.wait(ctx, d) {
		return false
	}
	if _, isSink := errors.AsType[*sinkError](err); !isSink && (!isRefusal || refusal.Code == 401) {
		if err := l.client.refresh(); err != nil {
			l.logger.Debug("kubeconfig cannot be read again, going on with the old one", "namespace", l.namespace, "err", err)
		}
	}
	return true
}

func (l *loop) wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// catchUp makes position one from which a watch shows everything: by a list, if it is not one already.
func (l *loop) catchUp(ctx context.Context) error {
	if !l.mustList {
		// A watch from a position that the datastore has yet to reach is silent until it does. That happens when it
		// was set up anew or restored; a list of one event shows it.
		meta, err := l.page(ctx, url.Values{"limit": {"1"}}, func(listMeta, raw) error { return nil })
		if err != nil {
			return err
		}
		if !event.WentBack(meta.ResourceVersion, l.position) {
			return nil
		}
		l.logger.Warn("the datastore of the API server was replaced or restored, listing everything",
			"namespace", l.namespace, "position", l.position, "resourceVersion", meta.ResourceVersion)
		l.mustList = true
	}
	return l.list(ctx)
}

// takeTurn waits until no other namespace lists.
func (l *loop) takeTurn(ctx context.Context) error {
	if l.inTurn {
		return nil
	}
	select {
	case l.turns <- struct{}{}:
		l.inTurn = true
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (l *loop) endTurn() {
	if l.inTurn {
		l.inTurn = false
		<-l.turns
	}
}

// list shows all events to the sink, page by page.
func (l *loop) list(ctx context.Context) error {
	if err := l.takeTurn(ctx); err != nil {
		return err
	}
	defer l.endTurn()
	p := pager{loop: l, page: Page{Namespace: l.namespace, First: true, At: time.Now(), Seen: l.health.seen()}}
	for tries := 1; ; {
		err := p.next(ctx)
		if err == nil && p.token == "" {
			break
		}
		refusal, isRefusal := errors.AsType[*apiError](err)
		_, isSink := errors.AsType[*sinkError](err)
		switch {
		case err == nil:
			tries = 1
		case isRefusal && gone(err) && p.token != "":
			// A new list sees one state of the datastore, and the pages which the sink has already are quick. Only if even
			// that is too slow is the rest taken as it is now. The list keeps the resourceVersion of its first page, so
			// the watch that follows shows what changed in the first part, or expires and makes it a list again.
			if l.expired++; l.expired <= patience || refusal.Continue == "" {
				return err
			}
			l.logger.Warn("list takes longer than the API server keeps its state, going on with the newest",
				"namespace", l.namespace, "err", err)
			p.token = refusal.Continue
		case isSink, gone(err), tries == pageTries, p.broken:
			return err
		default:
			tries++
			l.endTurn()
			if !l.pause(ctx, stepList, err) || l.takeTurn(ctx) != nil {
				return err
			}
			l.health.set(StateListing)
		}
	}
	l.expired = 0
	l.position, l.mustList = p.page.ResourceVersion, false
	l.health.listed(p.page.At)
	return nil
}

// pager is one list under way.
type pager struct {
	loop  *loop
	page  Page
	token string
	text  int
	// broken is set when a part of the page under way was given away already, so that it cannot be asked for again as
	// if nothing had happened.
	broken bool
}

// next takes one page.
func (p *pager) next(ctx context.Context) error {
	l := p.loop
	p.page.Events, p.page.Unreadable, p.text, p.broken = p.page.Events[:0], nil, 0, false
	query := url.Values{"limit": {strconv.Itoa(l.pageSize)}}
	if p.token != "" {
		query.Set("continue", p.token)
	}
	meta, err := l.page(ctx, query, func(meta listMeta, item raw) error {
		e, err := decodeEvent(item)
		if err != nil {
			l.skip(err)
			e.ObjectMeta = readHead(item.data).meta
			p.page.Unreadable = append(p.page.Unreadable, e.ObjectMeta)
		} else {
			p.page.Events = append(p.page.Events, e)
		}
		if p.text += textOf(&e); p.text < maxPageText {
			return nil
		}
		if meta.ResourceVersion == "" {
			return malformed("list has its metadata behind its items, and too many of them")
		}
		return p.give(ctx, meta, false)
	})
	if err != nil {
		return err
	}
	if p.broken {
		l.pageSize = max(l.pageSize/2, min(l.pageSize, minPageSize))
	}
	if err := p.give(ctx, meta, meta.Continue == ""); err != nil {
		return err
	}
	p.token = meta.Continue
	l.health.answered()
	return nil
}

// give hands what was read to the sink.
func (p *pager) give(ctx context.Context, meta listMeta, last bool) error {
	l := p.loop
	if p.page.First {
		p.page.ResourceVersion, p.page.Date = meta.ResourceVersion, meta.date
		p.page.Replaced = l.position != "" && event.WentBack(meta.ResourceVersion, l.position)
	}
	p.page.Last = last
	if err := l.sink.List(ctx, p.page); err != nil {
		return &sinkError{err}
	}
	if len(p.page.Events) > 0 {
		l.health.note(func(s *NamespaceStatus) { s.LastEvent = time.Now() })
	}
	p.page.First, p.broken = false, !last
	p.page.Events, p.page.Unreadable, p.text = p.page.Events[:0], nil, 0
	return nil
}

// page asks for a list and reads it item by item.
func (l *loop) page(ctx context.Context, query url.Values, each func(meta listMeta, item raw) error) (listMeta, error) {
	ctx, cancel := context.WithTimeout(ctx, l.timing.page)
	defer cancel()
	query.Set("fieldSelector", onlyWarnings)
	a, err := l.client.get(ctx, l.namespace, query)
	if err != nil {
		return listMeta{}, err
	}
	defer a.close()
	meta, err := newScanner(a).list(func(meta listMeta, item raw) error {
		meta.date = a.date
		return each(meta, item)
	})
	meta.date = a.date
	return meta, err
}

// skip counts and logs an event that cannot be read: it does not hold up the others, and the sink counts it as lost.
func (l *loop) skip(err error) {
	l.health.note(func(s *NamespaceStatus) { s.Skipped++ })
	l.logger.Error("event cannot be read and is left out", "namespace", l.namespace, "err", err)
}

func textOf(e *event.Event) int { return len(e.Message) + 512 }

// watch shows changes to the sink from position on, which it moves. It returns nil when the API server ended the watch
// as it should.
func (l *loop) watch(ctx context.Context) error {
	timeout := l.timing.watchMin + rand.N(l.timing.watchMax-l.timing.watchMin+1)
	a, err := l.client.get(ctx, l.namespace, url.Values{
		"watch":               {"1"},
		"fieldSelector":       {onlyWarnings},
		"resourceVersion":     {l.position},
		"timeoutSeconds":      {strconv.Itoa(int(timeout.Seconds()))},
		"allowWatchBookmarks": {"true"},
	})
	if err != nil {
		return err
	}
	defer a.close()
	a.endless = true
	a.endAfter(timeout + l.timing.stall)
	opened := time.Now()
	l.health.set(StateWatching)
	l.health.note(func(s *NamespaceStatus) {
		s.Watches++
		s.LastAnswer = opened
	})
	// A watch works when it is open for a while, or shows something.
	works := time.AfterFunc(l.timing.short, func() {
		l.health.healthy()
		l.health.opened()
	})
	defer works.Stop()

	before := l.position
	err = l.frames(ctx, newScanner(a))
	lasted := time.Since(opened)
	if err == nil {
		l.health.closed(0)
	} else {
		l.health.closed(l.timing.stall)
	}
	if errors.Is(err, errHeldBack) {
		err = nil
	}
	if lasted >= l.timing.short || l.position != before {
		l.health.healthy()
		l.backoff.Reset()
	} else if err == nil {
		return errClosedAtOnce
	}
	return err
}

// frames takes the notifications of a watch to its end.
func (l *loop) frames(ctx context.Context, s *scanner) error {
	for {
		frame, err := s.event()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case errors.Is(err, io.ErrUnexpectedEOF):
			return fmt.Errorf("watch broke off: %w", err)
		case err != nil:
			return err
		}
		l.health.note(func(s *NamespaceStatus) {
			s.Frames++
			s.LastAnswer = time.Now()
		})
		if err := l.frame(ctx, frame); err != nil {
			return err
		}
	}
}

// frame takes one notification.
func (l *loop) frame(ctx context.Context, data raw) error {
	if data.tooLarge {
		l.skip(errTooLarge)
		h := readHead(data.data)
		return l.change(ctx, Change{Deleted: h.frameType == "DELETED", Unreadable: true, Event: event.Event{ObjectMeta: h.meta}})
	}
	var f struct {
		Type   string    `json:"type"`
		Object wireEvent `json:"object"`
	}
	if err := unmarshal(data.data, &f); err != nil {
		return malformed("decode frame: %w", err)
	}
	switch f.Type {
	case "ADDED", "MODIFIED", "DELETED":
		c := Change{Deleted: f.Type == "DELETED"}
		var err error
		if c.Event, err = f.Object.event(data.cut); err != nil {
			l.skip(err)
			c.Unreadable, c.Event.ObjectMeta = true, readHead(data.data).meta
		}
		return l.change(ctx, c)
	case "BOOKMARK":
		// It shows no event, so the sink, which would have to write for it, is not told.
		l.moveTo(f.Object.Metadata.ResourceVersion)
		l.health.opened()
		return nil
	case "ERROR":
		var f struct {
			Object wireStatus `json:"object"`
		}
		if err := unmarshal(data.data, &f); err != nil {
			return malformed("decode ERROR frame: %w", err)
		}
		refusal := new(apiError)
		refusal.fill(&f.Object)
		return refusal
	}
	return malformed("frame of unknown type %.64q", f.Type)
}

// change shows a change to the sink.
func (l *loop) change(ctx context.Context, c Change) error {
	c.Namespace, c.At = l.namespace, time.Now()
	l.health.holds(c.At)
	if err := l.sink.Watched(ctx, c); err != nil {
		return &sinkError{err}
	}
	l.moveTo(c.Event.ResourceVersion)
	l.health.note(func(s *NamespaceStatus) { s.LastEvent = time.Now() })
	if time.Since(c.At) > l.timing.stall {
		return errHeldBack
	}
	l.health.holds(time.Time{})
	return nil
}

// moveTo moves the position forward.
func (l *loop) moveTo(resourceVersion string) {
	if !event.WentBack(resourceVersion, l.position) {
		l.position = resourceVersion
	}
}
