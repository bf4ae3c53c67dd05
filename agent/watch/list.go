package watch

import (
	"context"
	"errors"
	"net/url"
	"strconv"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/event"
	"github.com/edge-eventer/edge-eventer/agent/watch/apiclient"
	"github.com/edge-eventer/edge-eventer/agent/watch/health"
	"github.com/edge-eventer/edge-eventer/agent/watch/stream"
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

// listing is what a loop keeps from one list to the next.
type listing struct {
	// pageSize is how many events a page holds at most.
	pageSize int
	// expired counts the lists in a row that took longer than their continue token lived.
	expired int
	// turns has room for the one namespace that lists: the pages of fifty at once would not fit into the memory. A list that pauses
	// lets others go first. inTurn is set while this one has its turn.
	turns  chan struct{}
	inTurn bool
}

// takeTurn waits until no other namespace lists.
func (l *listing) takeTurn(ctx context.Context) error {
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

// endTurn lets another namespace list.
func (l *listing) endTurn() {
	if l.inTurn {
		l.inTurn = false
		<-l.turns
	}
}

// catchUp makes position one from which a watch shows everything: by a list, if it is not one already.
func (l *loop) catchUp(ctx context.Context) error {
	if !l.mustList {
		// A watch from a position that the datastore has yet to reach is silent until it does. That happens when it
		// was set up anew or restored; a list of one event shows it.
		_, meta, err := l.page(ctx, url.Values{"limit": {"1"}}, func(time.Time, stream.ListMeta, stream.Raw) error { return nil })
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

// list shows all events to the sink, page by page.
func (l *loop) list(ctx context.Context) error {
	if err := l.listing.takeTurn(ctx); err != nil {
		return err
	}
	defer l.listing.endTurn()
	p := pager{loop: l, page: Page{Namespace: l.namespace, First: true, At: time.Now(), Seen: l.health.Seen()}}
	for tries := 1; ; {
		err := p.next(ctx)
		if err == nil && p.token == "" {
			break
		}
		refusal, isRefusal := errors.AsType[*apiclient.Error](err)
		_, isSink := errors.AsType[*health.SinkError](err)
		switch {
		case err == nil:
			tries = 1
		case isRefusal && apiclient.Gone(err) && p.token != "":
			// A new list sees one state of the datastore, and the pages which the sink has already are quick. Only if even
			// that is too slow is the rest taken as it is now. The list keeps the resourceVersion of its first page, so
			// the watch that follows shows what changed in the first part, or expires and makes it a list again.
			if l.listing.expired++; l.listing.expired <= patience || refusal.Continue == "" {
				return err
			}
			l.logger.Warn("list takes longer than the API server keeps its state, going on with the newest",
				"namespace", l.namespace, "err", err)
			p.token = refusal.Continue
		case isSink, apiclient.Gone(err), tries == pageTries, p.broken:
			return err
		default:
			tries++
			l.listing.endTurn()
			if !l.pause(ctx, health.StepList, err) || l.listing.takeTurn(ctx) != nil {
				return err
			}
			l.health.Set(health.Listing)
		}
	}
	l.listing.expired = 0
	l.position, l.mustList = p.page.ResourceVersion, false
	l.health.Listed(p.page.At)
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
	query := url.Values{"limit": {strconv.Itoa(l.listing.pageSize)}}
	if p.token != "" {
		query.Set("continue", p.token)
	}
	date, meta, err := l.page(ctx, query, func(date time.Time, meta stream.ListMeta, item stream.Raw) error {
		e, err := item.Event()
		if err != nil {
			l.skip(err)
			e.ObjectMeta = item.Meta()
			p.page.Unreadable = append(p.page.Unreadable, e.ObjectMeta)
		} else {
			p.page.Events = append(p.page.Events, e)
		}
		if p.text += textOf(&e); p.text < maxPageText {
			return nil
		}
		if meta.ResourceVersion == "" {
			return stream.Malformed("list has its metadata behind its items, and too many of them")
		}
		return p.give(ctx, date, meta, false)
	})
	if err != nil {
		return err
	}
	if p.broken {
		l.listing.pageSize = max(l.listing.pageSize/2, min(l.listing.pageSize, minPageSize))
	}
	if err := p.give(ctx, date, meta, meta.Continue == ""); err != nil {
		return err
	}
	p.token = meta.Continue
	l.health.Answered()
	return nil
}

// give hands what was read to the sink.
func (p *pager) give(ctx context.Context, date time.Time, meta stream.ListMeta, last bool) error {
	l := p.loop
	if p.page.First {
		p.page.ResourceVersion, p.page.Date = meta.ResourceVersion, date
		p.page.Replaced = l.position != "" && event.WentBack(meta.ResourceVersion, l.position)
	}
	p.page.Last = last
	if err := l.sink.List(ctx, p.page); err != nil {
		return &health.SinkError{Err: err}
	}
	if len(p.page.Events) > 0 {
		l.health.Note(func(s *health.Status) { s.LastEvent = time.Now() })
	}
	p.page.First, p.broken = false, !last
	p.page.Events, p.page.Unreadable, p.text = p.page.Events[:0], nil, 0
	return nil
}

// page asks for a list and reads it item by item. date is the API server's clock; the zero time where it did not say.
func (l *loop) page(
	ctx context.Context, query url.Values, each func(date time.Time, meta stream.ListMeta, item stream.Raw) error,
) (date time.Time, meta stream.ListMeta, err error) {
	ctx, cancel := context.WithTimeout(ctx, l.timing.page)
	defer cancel()
	query.Set("fieldSelector", onlyWarnings)
	a, err := l.client.Get(ctx, l.namespace, query)
	if err != nil {
		return time.Time{}, stream.ListMeta{}, err
	}
	defer a.Close()
	meta, err = stream.NewScanner(a).List(func(meta stream.ListMeta, item stream.Raw) error { return each(a.Date, meta, item) })
	return a.Date, meta, err
}

func textOf(e *event.Event) int { return len(e.Message) + 512 }
