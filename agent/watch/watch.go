package watch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/event"
	"github.com/edge-eventer/edge-eventer/agent/watch/apiclient"
	"github.com/edge-eventer/edge-eventer/agent/watch/health"
)

// DefaultPageSize is how many events a page of a list holds at most: about 400 KiB of JSON with usual messages.
const DefaultPageSize = 250

// Sink takes what the API server showed. It is called from one goroutine per namespace.
type Sink interface {
	// Position returns the resourceVersion up to which the namespace ("" is all) is taken durably, and "" when it was never
	// listed to its end. It is asked once when the watch starts.
	Position(namespace string) (string, error)
	// List takes one page of a list and returns when it is durable; the next page is asked for only then. It waits
	// rather than fails: after an error the list starts anew.
	List(ctx context.Context, page Page) error
	// Watched takes one change. It may wait, which holds the API server back, and the change may become durable later, but in
	// order. After an error the change is shown again.
	Watched(ctx context.Context, c Change) error
}

// Page is a part of a list.
type Page struct {
	// Namespace is the one that is listed; "" is all.
	Namespace string
	// Events are in no order of time. The last page may be empty.
	Events []event.Event
	// Unreadable are the events of the page that could not be read, as far as they say who they are; see Change.Unreadable.
	Unreadable []event.ObjectMeta
	// First is set for the first page of a list. A list that broke off starts again with a First page.
	First bool
	// Last is set for the last page of a list.
	Last bool
	// ResourceVersion is the one of the whole list: a watch from here misses nothing that the list did not show.
	ResourceVersion string
	// At is when the first page of the list was asked for: the list shows what there was then, or later. Date is the API server's
	// own clock when it answered; the zero time where it did not say.
	At, Date time.Time
	// Seen is up to when everything was shown before this list, by the monotonic clock; the zero time where this is
	// the first list since the start.
	Seen time.Time
	// Replaced says that the resourceVersions of the datastore went backwards: it was set up anew or restored, and
	// the ones seen before are of another history.
	Replaced bool
}

// Change is one notification of a watch.
type Change struct {
	// Namespace is the one that is watched; "" is all. The event's own is in Event.
	Namespace string
	// At is when the change arrived. The sink may take it later.
	At time.Time
	// Deleted says that the event is gone, usually because its time to live was over.
	Deleted bool
	// Unreadable says that the event is too large or no event: nothing can be told of it but that it was there. Only the
	// ObjectMeta of Event is set then, as far as it could be read, and a UID always: where the event has none, one that is
	// the same each time that this event is shown.
	Unreadable bool
	// Event is as it was stored by the change, or as it was when it was deleted. Its ResourceVersion is the one of the change.
	Event event.Event
}

// Options say what is watched and as whom. The zero value watches all namespaces.
type Options struct {
	// Kubeconfig is a file. Empty: the pod's ServiceAccount, then $KUBECONFIG, then /etc/rancher/k3s/k3s.yaml, whichever
	// is there first. It and the files that it names are read again after a failure.
	Kubeconfig string
	// Namespaces to watch, each with a list and a watch of its own. Empty: all of them with one watch.
	Namespaces []string
	// PageSize is how many events a page holds at most. Default: DefaultPageSize.
	PageSize int
	// Version is told to the API server as User-Agent edge-eventer/VERSION. Default: "dev".
	Version string
	// Logger gets one line when something changes. Default: none.
	Logger *slog.Logger

	// timing and connect are replaced by tests.
	timing  timing
	connect func() (apiclient.Connection, error)
}

// Status is how the watch stands.
type Status struct {
	// Namespaces has one entry for each watched namespace, or one with the name "" for all.
	Namespaces []health.Status
}

// Watcher lists and watches events.
type Watcher struct {
	loops []*loop
}

// New reads the kubeconfig and prepares a watch; it does not connect. An error says which file or which of its entries
// is wrong.
func New(o Options, sink Sink) (*Watcher, error) {
	if o.PageSize < 0 {
		return nil, fmt.Errorf("page size %d: want a positive number", o.PageSize)
	}
	if o.PageSize == 0 {
		o.PageSize = DefaultPageSize
	}
	if o.Version == "" {
		o.Version = "dev"
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	o.timing = o.timing.withDefaults()
	namespaces := slices.Compact(slices.Sorted(slices.Values(o.Namespaces)))
	if slices.Contains(namespaces, "") {
		return nil, errors.New("namespaces: an empty name is not allowed; leave the list empty to watch all")
	}
	if len(namespaces) == 0 {
		namespaces = []string{""}
	}
	c, err := o.client()
	if err != nil {
		return nil, err
	}
	w := new(Watcher)
	turns := make(chan struct{}, 1)
	for _, namespace := range namespaces {
		w.loops = append(w.loops, newLoop(namespace, o, c, sink, turns))
	}
	return w, nil
}

// client returns the client that all namespaces share.
func (o Options) client() (*apiclient.Client, error) {
	if o.connect != nil {
		return apiclient.NewWith(o.connect, o.timing.stall)
	}
	return apiclient.New(apiclient.Options{
		Kubeconfig: o.Kubeconfig, Version: o.Version,
		Stall: o.timing.stall, PingAfter: o.timing.pingAfter, PingTimeout: o.timing.pingTimeout,
	})
}

// Run lists and watches until ctx ends, and returns its cause. No failure of the API server or of the sink ends it.
func (w *Watcher) Run(ctx context.Context) error {
	var loops sync.WaitGroup
	for _, l := range w.loops {
		loops.Go(func() { l.run(ctx) })
	}
	loops.Wait()
	return context.Cause(ctx)
}

// Relist makes each namespace be listed anew, at once, whatever it is doing: the sink lost what it had taken. It may be called at
// any time.
func (w *Watcher) Relist() {
	for _, l := range w.loops {
		l.stale.say()
	}
}

// Status returns how each namespace stands, in the order of their names. It may be called at any time.
func (w *Watcher) Status() Status {
	var s Status
	for _, l := range w.loops {
		s.Namespaces = append(s.Namespaces, l.health.Status())
	}
	return s
}
