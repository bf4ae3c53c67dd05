package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/event"
	"github.com/edge-eventer/edge-eventer/agent/filter"
	"github.com/edge-eventer/edge-eventer/agent/incident"
	"github.com/edge-eventer/edge-eventer/agent/watch"
	"github.com/edge-eventer/edge-eventer/notify"
	"github.com/edge-eventer/edge-eventer/spool"
)

const (
	// maxBatch and maxBatchBytes bound what one commit holds, and so what the agent keeps in memory of a busy watch.
	maxBatch      = 512
	maxBatchBytes = 512 << 10
	// maxForgets bounds how many expired events wait, uncommitted, for a commit that has another reason.
	maxForgets = 256
	// maxLists is of how many lists that have not ended it is remembered what they showed, in 128 KiB each. The watch lists one
	// namespace after the other, but a list may pause.
	maxLists = 4
	// changeBuffer lets the watch decode while a commit is under way; beyond it the watch waits.
	changeBuffer = 64
	// repeatsWait is how long events that only add to what is on disk already may wait for their commit. A commit writes
	// some 50 KB however little it holds, and what is not committed is still in the API server: ten repeats a second cost
	// 5.6 KB of flash each with a commit a second, and 0.1 KB with one a minute. A minute is a small part of the hour for
	// which the API server keeps events, and of the five minutes for which kine keeps its history.
	repeatsWait = time.Minute
	// commitAhead is how long before a message what belongs into it is committed.
	commitAhead = 100 * time.Millisecond
)

// route is where an event goes: a receiver's queue, and when the receiver wants to be told.
type route struct {
	receiver string
	match    *filter.Matcher
	policy   incident.Policy
}

// intake takes what the watch shows into the spool. One transaction holds the event's record in each queue, its
// ledger entry and the watch position, so that whatever was not committed is still in the API server.
//
// It is the watch's Sink. A full or read-only disk makes it wait, and the watch with it: nothing is taken that
// cannot be kept, and the position stays where it was.
type intake struct {
	spool *spool.Spool
	// rules guards filter and routes: a reload changes them between two transactions.
	rules  sync.RWMutex
	filter *filter.Filter
	routes []route
	// daily says that statistics are kept for the daily report.
	daily          bool
	commitInterval time.Duration
	// maxCommit bounds the bytes of one transaction.
	maxCommit int
	lookback  time.Duration
	logger    *slog.Logger
	// itself is the agent's own pod, whose start is no news.
	itself itself
	// severity judges committed events for the status page; nil: none is critical.
	severity func(reason string) notify.Severity
	// arrived is called with the receiver's name after a commit that put something into its queue.
	arrived func(receiver string)

	// eventTTL is how long the API server keeps an event that nobody touches.
	eventTTL time.Duration
	// shown holds what the watches showed, changes and pages in the order in which they came: a page that overtook the changes
	// before it would be followed by positions of the past.
	shown chan shown
	// alive has what the lists that have not ended showed so far, by namespace.
	alive map[string]*aliveSet
	// recurring belongs to run.
	recurring *recurrences
	stats     intakeStats
}

// intakeStats are read by the metrics while the intake runs.
type intakeStats struct {
	seen, known, old, filtered, committed, critical, folded, commits, failures atomic.Uint64
	// commitTimes are those of whole transactions, fsync included.
	commitTimes durations
	// progressAt is when the loop last went round, in nanoseconds after began, which no step of the clock moves; 0: it waits
	// for something to do.
	began      time.Time
	progressAt atomic.Int64
	// blockedSince is when the spool began to refuse writes, in Unix nanoseconds; 0: it does not. blockedBy says why.
	blockedSince atomic.Int64
	blockedBy    atomic.Pointer[string]
	// stuckSince is the time on the clock of progressAt since when the spool refuses for a reason that no disk has; 0: it does not.
	stuckSince atomic.Int64
}

func (s *intakeStats) add(t *tally) {
	s.commits.Add(1)
	s.seen.Add(t.seen)
	s.known.Add(t.known)
	s.old.Add(t.old)
	s.filtered.Add(t.filtered)
	s.committed.Add(t.committed)
	s.critical.Add(t.critical)
	s.folded.Add(t.folded)
}

// shown is a change or, where done is not nil, a page or a note, whose sender waits for done.
type shown struct {
	change watch.Change
	page   watch.Page
	// note is committed behind all that was shown before; nil: it is a page.
	note func(*spool.Tx) error
	done chan error
}

func newIntake(s *spool.Spool, logger *slog.Logger) *intake {
	return &intake{
		spool:          s,
		commitInterval: time.Second,
		eventTTL:       time.Hour,
		maxCommit:      maxBatchBytes,
		logger:         logger,
		arrived:        func(string) {},
		shown:          make(chan shown, changeBuffer),
		alive:          make(map[string]*aliveSet),
		recurring:      newRecurrences(),
		stats:          intakeStats{began: time.Now()},
	}
}

// reroute changes what happens to events from the next transaction on. What waits uncommitted goes the new way.
func (in *intake) reroute(f *filter.Filter, routes []route, daily bool) {
	in.rules.Lock()
	defer in.rules.Unlock()
	in.filter, in.routes, in.daily = f, routes, daily
}

// routing returns where events go. The slice is never changed, only replaced.
func (in *intake) routing() []route {
	in.rules.RLock()
	defer in.rules.RUnlock()
	return in.routes
}

// matchesHit returns how often each match rule of a receiver was the first to match.
func (in *intake) matchesHit(receiver string) []filter.Count {
	for _, r := range in.routing() {
		if r.receiver == receiver {
			return r.match.Rules()
		}
	}
	return nil
}

// rulesHit returns the rules of the filter and how often each decided.
func (in *intake) rulesHit() []filter.Count {
	in.rules.RLock()
	defer in.rules.RUnlock()
	return in.filter.Rules()
}

// Position returns the resourceVersion up to which the namespace is spooled.
func (in *intake) Position(namespace string) (string, error) {
	var position string
	err := in.spool.View(func(tx *spool.Tx) error {
		position, _ = tx.Position(namespace)
		return nil
	})
	if err != nil {
		return "", fmt.Errorf("read watch position: %w", err)
	}
	return position, nil
}

// List takes one page of a list and returns when it is on disk.
func (in *intake) List(ctx context.Context, page watch.Page) error {
	if page.At.IsZero() {
		page.At = time.Now()
	}
	return in.submit(ctx, shown{page: page})
}

// note commits what f does behind all that was shown before, and returns when it is on disk.
func (in *intake) note(ctx context.Context, f func(*spool.Tx) error) error {
	return in.submit(ctx, shown{note: f})
}

func (in *intake) submit(ctx context.Context, s shown) error {
	done := make(chan error, 1)
	s.done = done
	select {
	case in.shown <- s:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Watched takes one change. News is on disk at most commitInterval later; a repeat, and what only archives want, before it is
// due and at most repeatsWait later.
func (in *intake) Watched(ctx context.Context, c watch.Change) error {
	if c.At.IsZero() {
		c.At = time.Now()
	}
	select {
	case in.shown <- shown{change: c}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// run commits until ctx ends; then it commits what it holds and returns.
func (in *intake) run(ctx context.Context) error {
	var batch batch
	if err := in.spool.View(func(tx *spool.Tx) error { in.recurring.load(tx); return nil }); err != nil {
		// Then events that are created again count from the beginning.
		in.logger.Warn("cannot read which events recur", "err", err)
	}
	in.beat()
	timer := time.NewTimer(in.commitInterval)
	timer.Stop()
	for {
		in.rest()
		select {
		case next := <-in.shown:
			in.beat()
			if next.done != nil {
				in.flush(ctx, &batch)
				timer.Stop()
				next.done <- in.takeNext(ctx, next)
				continue
			}
			batch.add(next.change)
			switch {
			case batch.full(in.commitBytes()):
				in.flush(ctx, &batch)
				timer.Stop()
			case in.hurry(&batch):
				timer.Reset(time.Until(batch.commitBy))
			}
		case <-timer.C:
			in.beat()
			in.flush(ctx, &batch)
		case <-ctx.Done():
			in.drain(&batch)
			in.flush(ctx, &batch)
			// Tried once, as the batch is.
			_ = in.retry(ctx, func(tx *spool.Tx, _ *tally) error { return in.recurring.save(tx) })
			return nil
		}
	}
}

// drain takes what was shown already into the batch, as far as the next page: who sent that one is gone.
func (in *intake) drain(b *batch) {
	for !b.full(in.commitBytes()) {
		select {
		case next := <-in.shown:
			if next.done != nil {
				return
			}
			b.add(next.change)
		default:
			return
		}
	}
}

// takeNext commits a page or a note.
func (in *intake) takeNext(ctx context.Context, s shown) error {
	if s.note != nil {
		return in.retry(ctx, func(tx *spool.Tx, _ *tally) error {
			if err := in.recurring.save(tx); err != nil {
				return err
			}
			return s.note(tx)
		})
	}
	err := in.commitPage(ctx, s.page)
	if err == nil && s.page.Last {
		delete(in.alive, s.page.Namespace)
	}
	return err
}

// hurry brings the commit forward to when the last change of the batch needs it, and reports whether it did. Between two
// commits is a commitInterval, less commitAhead, unless a batch is full before.
func (in *intake) hurry(b *batch) bool {
	last := &b.changes[len(b.changes)-1]
	if last.Deleted || b.hasNews {
		return false
	}
	var by time.Time
	by, b.hasNews = in.commitBy(last)
	if soonest := b.since.Add(in.commitInterval - commitAhead); by.Before(soonest) {
		by = soonest
	}
	if !b.commitBy.IsZero() && !by.Before(b.commitBy) {
		return false
	}
	b.commitBy = by
	return true
}

// commitBy returns when a change should be on disk, and whether it is news to anyone. News has to be there when the next
// message leaves, since new incidents share one; a repeat only changes counts of an incident that is on disk, and has to be
// there when that incident is told; so has what a receiver with a record for each event gets. A due time in the past is no
// reason to hurry: it waits for a link or a receiver.
func (in *intake) commitBy(c *watch.Change) (by time.Time, news bool) {
	in.rules.RLock()
	defer in.rules.RUnlock()
	if c.Unreadable {
		return c.At.Add(in.commitInterval), true
	}
	by = c.At.Add(max(repeatsWait, in.commitInterval))
	told := func(due time.Time) {
		if due.Before(c.At) {
			return
		}
		if due = due.Add(-commitAhead); due.Before(by) {
			by = due
		}
	}
	if !in.filter.WouldKeep(&c.Event) {
		return by, false
	}
	o := observe(&c.Event, 1, c.At)
	err := in.spool.View(func(tx *spool.Tx) error {
		for i := range in.routes {
			r := &in.routes[i]
			if !r.match.WouldMatch(&c.Event) {
				continue
			}
			q := tx.Queue(r.receiver)
			record, waiting, err := waitingFor(q, r.policy, o)
			if err != nil {
				return err
			}
			switch {
			case waiting != nil:
				told(record.Due)
			case r.policy.PerEvent:
				// An archive reads no faster than groupWait, so its records are written when they are due.
			default:
				news = true
				for next := range q.Due(by.Add(commitAhead)) {
					told(next.Due)
					break
				}
			}
			if _, due, ok := r.policy.Fold(waiting, o); ok {
				told(due)
			}
		}
		return nil
	})
	if err != nil {
		// The commit will meet it again, and say so.
		news = true
	}
	if soon := c.At.Add(in.commitInterval); news && soon.Before(by) {
		by = soon
	}
	return by, news
}

// beat notes that the loop works, and rest that it waits for something to do, which is no standstill.
func (in *intake) beat() { in.stats.progressAt.Store(max(1, int64(time.Since(in.stats.began)))) }
func (in *intake) rest() { in.stats.progressAt.Store(0) }

// standsStill returns for how long the loop has not shown that it is alive: 0 while it waits for something to do.
func (in *intake) standsStill() time.Duration {
	if at := in.stats.progressAt.Load(); at != 0 {
		return time.Since(in.stats.began) - time.Duration(at)
	}
	return 0
}

// commitPage commits a page in as many transactions as the spool's bound demands. Only the last one of the list moves the
// position, so a list that is cut short here is begun again.
func (in *intake) commitPage(ctx context.Context, page watch.Page) error {
	events, first, last := page.Events, page.First, page.Last
	for {
		n, size := 0, 0
		for n < len(events) && (n == 0 || size < in.commitBytes()) {
			size += len(events[n].Message) + recordBytes
			n++
		}
		page.Events, events = events[:n], events[n:]
		page.First, page.Last = first, last && len(events) == 0
		if err := in.retry(ctx, func(tx *spool.Tx, t *tally) error { return in.takePage(tx, page, t) }); err != nil {
			return err
		}
		if len(events) == 0 {
			return nil
		}
		first, page.Unreadable = false, nil
	}
}

// batch is what the next commit holds.
type batch struct {
	changes []watch.Change
	// seen counts the changes that are not deletions.
	seen  int
	bytes int
	// hasNews: some change is more than a repeat. commitBy is when the batch has to be on disk; zero: whenever there is
	// another reason. since is when the last commit was.
	hasNews         bool
	commitBy, since time.Time
}

func (b *batch) add(c watch.Change) {
	b.changes = append(b.changes, c)
	if !c.Deleted {
		b.seen++
	}
	b.bytes += len(c.Event.Message) + recordBytes
}

// full also counts expired events, which alone are no reason to write: forgetting one late costs nothing.
func (b *batch) full(most int) bool {
	return b.seen >= maxBatch || b.bytes >= most || len(b.changes)-b.seen >= maxForgets
}

// recordBytes is what an event's record takes beside its message: names, times, indexes.
const recordBytes = 512

// commitBytes is what one commit may hold of messages and records: a spool takes a transaction of up to a sixteenth of its
// bound, and each receiver has a record of its own.
func (in *intake) commitBytes() int {
	return min(maxBatchBytes, in.maxCommit/max(1, len(in.routing())))
}

func (in *intake) flush(ctx context.Context, b *batch) {
	if len(b.changes) == 0 {
		return
	}
	// The error is that of ctx: changes are given up for no other reason, and what is not committed is still in the API server.
	_ = in.retry(ctx, func(tx *spool.Tx, t *tally) error { return in.takeChanges(tx, b.changes, t) })
	clear(b.changes)
	*b = batch{changes: b.changes[:0], since: time.Now()}
}

// tally is what one transaction did. It counts only once the transaction is durable.
type tally struct {
	seen, known, old, filtered, committed, critical, folded uint64
	// receivers are those into whose queue something was put.
	receivers map[string]bool
	// daily are the statistics of the day; nil until something is counted.
	daily *daily
	// counts are what the events of the transaction were observed, by recurrenceKey; recurred has them in their order.
	counts   map[uint64]uint32
	recurred []uint64
}

func (t *tally) remember(key uint64, count uint32) {
	if t.counts == nil {
		t.counts = make(map[uint64]uint32)
	}
	if _, ok := t.counts[key]; !ok {
		t.recurred = append(t.recurred, key)
	}
	t.counts[key] = count
}

// retry commits take, however long the spool refuses it, unless take itself gives up with errAnew. The transaction is tried once
// even when ctx has ended.
func (in *intake) retry(ctx context.Context, take func(*spool.Tx, *tally) error) error {
	pause := newBackoff(time.Second, 30*time.Second)
	var trouble trouble
	for {
		t := tally{receivers: make(map[string]bool)}
		begin := time.Now()
		err := in.spool.Update(func(tx *spool.Tx) error {
			in.recurring.keepTo(tx.Generation())
			return take(tx, &t)
		})
		if err == nil {
			in.stats.commitTimes.add(time.Since(begin))
			in.stats.add(&t)
			for _, key := range t.recurred {
				in.recurring.remember(key, t.counts[key])
			}
			in.stats.blockedSince.Store(0)
			in.stats.stuckSince.Store(0)
			if streak, ok := trouble.over(time.Now()); ok {
				in.logger.Info("spool takes events again", "failures", streak.failures, "after", streak.duration)
			}
			for receiver := range t.receivers {
				in.arrived(receiver)
			}
			return nil
		}
		if errors.Is(err, errAnew) {
			return err
		}
		in.beat()
		in.stats.failures.Add(1)
		in.stats.blockedSince.CompareAndSwap(0, time.Now().UnixNano())
		if isDisk(err) {
			in.stats.stuckSince.Store(0)
		} else {
			in.stats.stuckSince.CompareAndSwap(0, max(1, int64(time.Since(in.stats.began))))
		}
		why := spoolTrouble(err)
		in.stats.blockedBy.Store(&why)
		if trouble.changed(time.Now(), err.Error()) {
			in.logger.Error(why, "err", err)
		}
		if ctx.Err() != nil || wait(ctx, pause.NextBackOff()) != nil {
			return fmt.Errorf("commit to spool: %w", errors.Join(err, ctx.Err()))
		}
	}
}

// isDisk says that the disk or its permissions keep the spool from writing, which passes, and which no restart of the agent changes.
func isDisk(err error) bool {
	return errors.Is(err, spool.ErrReadOnly) || errors.Is(err, spool.ErrPermission) || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// stuckFor returns for how long the spool has refused everything for a reason of its own.
func (in *intake) stuckFor() time.Duration {
	if at := in.stats.stuckSince.Load(); at != 0 {
		return time.Since(in.stats.began) - time.Duration(at)
	}
	return 0
}

// spoolTrouble says what an operator can do.
func spoolTrouble(err error) string {
	switch {
	case errors.Is(err, spool.ErrNoSpace) && !errors.Is(err, syscall.ENOSPC) && !errors.Is(err, syscall.EDQUOT):
		return "the spool has no room for the next events and makes some: the watch waits"
	case errors.Is(err, spool.ErrNoSpace):
		return "the disk of the spool is full: no event is taken until there is room, the watch waits"
	case errors.Is(err, spool.ErrPermission):
		return "the spool cannot be opened or written, permission is denied: no event is taken, the watch waits; the file, its lock file and its " +
			"directory must belong to the agent's user"
	case errors.Is(err, spool.ErrReadOnly):
		return "the spool cannot be written, its file system is read-only: no event is taken, the watch waits"
	}
	return "the spool refuses events, the watch waits"
}

func (in *intake) takeChanges(tx *spool.Tx, changes []watch.Change, t *tally) error {
	in.rules.RLock()
	defer in.rules.RUnlock()
	seen := make(map[string]seenUntil)
	for i := range changes {
		c := &changes[i]
		var err error
		switch {
		case c.Deleted:
			if !c.Unreadable {
				t.remember(recurrenceKey(&c.Event), observedOf(&c.Event))
			}
			err = tx.Forget(eventID(&c.Event))
		case c.Unreadable:
			err = in.takeUnreadable(tx, &c.Event.ObjectMeta, takeOptions{at: c.At})
		default:
			err = in.take(tx, &c.Event, takeOptions{at: c.At}, t)
		}
		if err != nil {
			return err
		}
		until := seen[c.Namespace]
		until.at = c.At
		if _, err := event.ParseResourceVersion(c.Event.ResourceVersion); err == nil {
			// Of what cannot be read the version may be missing too. The position moves with the next change.
			until.position = c.Event.ResourceVersion
		}
		seen[c.Namespace] = until
	}
	for namespace, until := range seen {
		if err := until.write(tx, namespace); err != nil {
			return err
		}
	}
	return t.close(tx)
}

// close writes what is written once per transaction.
func (t *tally) close(tx *spool.Tx) error {
	if t.daily != nil {
		if err := t.daily.write(tx); err != nil {
			return err
		}
	}
	return nil
}

// takePage takes a page of a list. The position moves only with the last page: a list that breaks off is begun again,
// and the ledger makes what was already taken of it harmless.
func (in *intake) takePage(tx *spool.Tx, page watch.Page, t *tally) error {
	in.rules.RLock()
	defer in.rules.RUnlock()
	if page.First {
		in.beginList(page.Namespace, tx.Generation())
	}
	alive := in.alive[page.Namespace]
	switch {
	case alive == nil:
		return errNoRoom
	case alive.generation != tx.Generation():
		return errRescued
	}
	state := tx.Scope(page.Namespace)
	listedBefore := wasListed(tx, page.Namespace, &state)
	options := takeOptions{at: time.Now(), replaced: page.Replaced}
	if !listedBefore {
		options.notBefore = options.at.Add(-in.lookback)
	}
	if !page.Replaced {
		// What is no number knows nothing, and leaves the order to that of arrival.
		options.list, _ = event.ParseResourceVersion(page.ResourceVersion)
		options.position, _ = event.ParseResourceVersion(state.Position)
	}
	for i := range page.Events {
		e := &page.Events[i]
		alive.add(eventID(e).Key())
		alive.bridged = alive.bridged || outlived(tx, e, &options)
		if err := in.take(tx, e, options, t); err != nil {
			return err
		}
	}
	for i := range page.Unreadable {
		m := &page.Unreadable[i]
		alive.add(idOf(m).Key())
		if err := in.takeUnreadable(tx, m, options); err != nil {
			return err
		}
	}
	if !page.Last {
		if t.daily != nil {
			return t.daily.write(tx)
		}
		return nil
	}
	if listedBefore && !alive.bridged {
		if err := in.noteGap(tx, &page, sightOf(tx, &state)); err != nil {
			return err
		}
	}
	if _, err := tx.Sweep(page.Namespace, alive.mayHave); err != nil {
		return err
	}
	if err := forgetOldNotes(tx, page.Namespace); err != nil {
		return err
	}
	state.Position, state.Listed, state.Seen = page.ResourceVersion, true, page.At
	if err := tx.SetScope(page.Namespace, state); err != nil {
		return err
	}
	return t.close(tx)
}

// errAnew ends a list that has to begin anew.
var errAnew = errors.New("the list begins anew")

// errRescued ends a list in the middle of which the spool was rescued: what its first pages put may be lost. errNoRoom ends one that
// paused while others needed the room of what it had shown.
var (
	errRescued = fmt.Errorf("the spool was damaged while the list was taken: %w", errAnew)
	errNoRoom  = fmt.Errorf("other namespaces were listed in the middle of it: %w", errAnew)
)

// beginList makes room to remember what a list shows, if need be at the cost of another one that has not ended.
func (in *intake) beginList(namespace string, generation uint64) {
	if in.alive[namespace] == nil && len(in.alive) == maxLists {
		for other := range in.alive {
			delete(in.alive, other)
			break
		}
	}
	in.alive[namespace] = &aliveSet{generation: generation}
}

// takeOptions say when an event came, and how a list differs from the watch.
type takeOptions struct {
	// at is when the event arrived.
	at time.Time
	// list is the resourceVersion of the list that showed it; 0: a watch did.
	list uint64
	// notBefore: events last seen before it are entered in the ledger, but are not news. Zero: all are.
	notBefore time.Time
	// replaced: resourceVersions in the ledger are of another history and only counts can be compared.
	replaced bool
	// position: every version up to it was taken. 0: that is not known.
	position uint64
}

// take enters one version of an event into the ledger and into the queue of each receiver that wants it.
func (in *intake) take(tx *spool.Tx, e *event.Event, options takeOptions, t *tally) error {
	t.seen++
	id := eventID(e)
	version, err := event.ParseResourceVersion(e.ResourceVersion)
	if err != nil {
		return fmt.Errorf("take event %s/%s: %w", e.Namespace, e.Name, err)
	}
	observed := observedOf(e)
	taken, known := tx.Taken(id)
	if !known && version <= options.position && tx.Forgot(id) {
		// A list of more events than the ledger has room for would show the others as new each time.
		t.known++
		return nil
	}
	key := recurrenceKey(e)
	if !known {
		taken.Count, known = in.countedBefore(key, t)
	}
	isNew := newObservations(taken, known, version, observed, options.replaced)
	if isNew == alreadyTaken && (!options.replaced || taken.Version == version) {
		t.known++
		return nil
	}
	if err := tx.Take(id, spool.Taken{Version: version, Count: observed}); err != nil {
		return err
	}
	t.remember(key, observed)
	switch {
	case isNew == alreadyTaken:
		t.known++
		return nil
	case e.LastSeen().Before(options.notBefore):
		t.old++
		return nil
	case in.itself.expects(e), !in.filter.Keep(e):
		t.filtered++
		return nil
	}
	t.committed++
	if in.severity != nil && in.severity(e.Reason) == notify.Critical {
		t.critical++
	}
	o := observe(e, uint32(isNew), options.at)
	o.List = options.list
	if in.daily {
		if t.daily == nil {
			if t.daily, err = readDaily(tx); err != nil {
				return err
			}
		}
		t.daily.add(o)
	}
	return in.fold(tx, o, t)
}

// countedBefore returns how often an event that the ledger does not know was observed when another object stood for it.
func (in *intake) countedBefore(key uint64, t *tally) (uint32, bool) {
	if count, ok := t.counts[key]; ok {
		return count, true
	}
	return in.recurring.count(key)
}

func observedOf(e *event.Event) uint32 { return uint32(min(uint64(e.Observed()), 1<<32-1)) }

// takeUnreadable counts an event that could not be read as lost, once for each of its versions, however often it is listed.
func (in *intake) takeUnreadable(tx *spool.Tx, m *event.ObjectMeta, options takeOptions) error {
	// What is no number is 0: then there is one version.
	version, _ := event.ParseResourceVersion(m.ResourceVersion)
	id := idOf(m)
	taken, known := tx.Taken(id)
	switch {
	case known && (options.replaced || version <= taken.Version):
		return nil
	case !known && version <= options.position && tx.Forgot(id):
		return nil
	}
	taken.Version = version
	if err := tx.Take(id, taken); err != nil {
		return err
	}
	if !m.CreationTimestamp.IsZero() && m.CreationTimestamp.Before(options.notBefore) {
		return nil
	}
	return in.lose(tx, spool.Loss{Cause: spool.Undecodable, Events: 1, Since: options.at})
}

// alreadyTaken is what newObservations returns for a version that the ledger knows.
const alreadyTaken = -1

// newObservations returns how many observations of the event were not taken yet, 0 for a change that observed
// nothing new, and alreadyTaken for a version that was. Reporters throttle their writes, so counts jump; a count that
// falls back is a reporter that began to count again, of which one observation is certain.
func newObservations(taken spool.Taken, known bool, version uint64, observed uint32, replaced bool) int64 {
	switch {
	case !known:
		return int64(observed)
	case replaced && observed <= taken.Count, !replaced && version <= taken.Version:
		return alreadyTaken
	case observed < taken.Count:
		return 1
	}
	return int64(observed - taken.Count)
}

// fold puts the observation into the queue of each receiver that wants it.
func (in *intake) fold(tx *spool.Tx, o *incident.Observation, t *tally) error {
	for i := range in.routes {
		r := &in.routes[i]
		if !r.match.Match(&o.Event) {
			continue
		}
		joined, err := foldInto(tx.Queue(r.receiver), r.policy, o)
		if err != nil {
			return fmt.Errorf("queue for %s: %w", r.receiver, err)
		}
		if joined {
			t.folded++
		}
		t.receivers[r.receiver] = true
	}
	return nil
}

func observe(e *event.Event, isNew uint32, at time.Time) *incident.Observation {
	return &incident.Observation{
		Event:    *e,
		Workload: event.Workload(e.InvolvedObject.Kind, e.InvolvedObject.Name),
		New:      isNew,
		At:       at,
	}
}

// foldInto folds the observation into the record of its incident. It reports whether the incident had one already.
func foldInto(q *spool.Queue, policy incident.Policy, o *incident.Observation) (joined bool, err error) {
	record, waiting, err := waitingFor(q, policy, o)
	if err != nil {
		return false, err
	}
	folded, due, ok := policy.Fold(waiting, o)
	if !ok {
		return waiting != nil, nil
	}
	return waiting != nil, putIncident(q, record.Key, due, folded)
}

// putIncident stores the incident under the key, cut so that it fits into the spool: one long message must not stop all others.
func putIncident(q *spool.Queue, key []byte, due time.Time, in *incident.Incident) error {
	body := in.Append(nil)
	if len(body) > spool.LeastBody {
		body = in.AppendWithin(body[:0], q.MaxBody())
	}
	return q.Put(spool.Record{Key: key, Due: due, Untold: in.Untold(), Body: body})
}

// waitingFor returns the record of the observation's incident and the incident in it; nil if it has none yet. The record's
// key is set in any case.
func waitingFor(q *spool.Queue, policy incident.Policy, o *incident.Observation) (spool.Record, *incident.Incident, error) {
	e := &o.Event
	key := incident.Key(e.InvolvedObject.Namespace, e.InvolvedObject.Kind, o.Workload, e.Reason)
	if policy.PerEvent {
		eventKey := eventID(e).Key()
		key = eventKey[:]
	}
	record, ok := q.Get(key)
	record.Key = key
	if !ok {
		return record, nil, nil
	}
	waiting, err := incident.Decode(record.Body)
	return record, waiting, err
}

func eventID(e *event.Event) spool.EventID { return idOf(&e.ObjectMeta) }

func idOf(m *event.ObjectMeta) spool.EventID {
	return spool.EventID{UID: m.UID, Created: m.CreationTimestamp, Scope: m.Namespace}
}

// aliveSet remembers which events a list showed, so that the ledger can forget all others. It is a Bloom filter of
// 128 KiB whatever the number of events: with 100,000 of them 1.2 % of the expired entries stay until the next list.
type aliveSet struct {
	bits [1 << 17]byte
	// generation is that of the spool when the list began.
	generation uint64
	// bridged says that the list showed an event which outlived the time since everything was last seen; see outlived.
	bridged bool
}

// The UID in a key is random or a hash, so its four words serve as the four hashes.
func (s *aliveSet) each(key spool.EventKey, visit func(word *byte, bit byte) bool) bool {
	for i := 4; i+4 <= len(key); i += 4 {
		n := (uint32(key[i])<<24 | uint32(key[i+1])<<16 | uint32(key[i+2])<<8 | uint32(key[i+3])) % uint32(8*len(s.bits))
		if !visit(&s.bits[n/8], 1<<(n%8)) {
			return false
		}
	}
	return true
}

func (s *aliveSet) add(key spool.EventKey) {
	s.each(key, func(word *byte, bit byte) bool { *word |= bit; return true })
}

func (s *aliveSet) mayHave(key spool.EventKey) bool {
	return s.each(key, func(word *byte, bit byte) bool { return *word&bit != 0 })
}
