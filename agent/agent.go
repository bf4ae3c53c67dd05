package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"

	"github.com/edge-eventer/edge-eventer/agent/config"
	"github.com/edge-eventer/edge-eventer/agent/control"
	"github.com/edge-eventer/edge-eventer/agent/dial"
	"github.com/edge-eventer/edge-eventer/agent/dial/budget"
	"github.com/edge-eventer/edge-eventer/agent/filter"
	"github.com/edge-eventer/edge-eventer/agent/incident"
	"github.com/edge-eventer/edge-eventer/agent/link"
	"github.com/edge-eventer/edge-eventer/agent/page"
	"github.com/edge-eventer/edge-eventer/agent/watch"
	"github.com/edge-eventer/edge-eventer/notify"
	"github.com/edge-eventer/edge-eventer/spool"
)

// Options are what the command line adds to the configuration.
type Options struct {
	// Version is shown to the API server and to receivers.
	Version string
	// Revision is the commit that the agent was built of, for /metrics.
	Revision string
	// Logger takes one line when something changes. Default: none.
	Logger *slog.Logger
	// ConfigPath is the file of the configuration. It is looked at for changes; empty: it is not.
	ConfigPath string
	// Trim gives back pages of mapped files where they have become many, and with much set where all of one may be needed soon. Default:
	// they stay.
	Trim func(much bool)
	// Reread reads the configuration again, for a reload. Nil: there are none.
	Reread func() (*config.Config, error)
}

// Agent is one agent with its spool, its watch and its receivers.
type Agent struct {
	// config is what the agent was started with. What a reload can change is read from current.
	config  *config.Config
	options Options
	logger  *slog.Logger
	started time.Time
	// receivers are those of config. Those that run belong to their workers.
	receivers []notify.Receiver
	// newReceiver, watching and answering are replaced by tests that have neither a network nor a cluster.
	newReceiver func(*config.Config, *config.Receiver, notify.Common) (notify.Receiver, error)
	watching    func(context.Context, watch.Sink) error
	watchLink   func(context.Context, link.Options) *link.Link
	answering   func(context.Context) error
	reloads     chan reload
	history     page.History
	// recent are the last deliveries.
	recent recent
	// syncs are how long the spool's commits wrote and synced.
	syncs durations
	// budget counts what goes over the link.
	budget *budget.Budget
	// dialer opens the connections of receivers, and has the budget count them.
	dialer *dial.Dialer

	mu sync.Mutex
	// link is the way out, nil before Run.
	link        *link.Link
	parts       *parts
	watcher     *watch.Watcher
	signInError string
	// notOpen says why the spool is not open yet, where there is a reason.
	notOpen string
	current *config.Config
	// reloaded is closed and replaced when current is.
	reloaded chan struct{}
	// reading says how the last reading of the configuration ended, needsRestart what of it waits for the next start.
	reading      control.Configuration
	needsRestart []string
}

// parts are the stages of a running agent.
type parts struct {
	spool  *spool.Spool
	intake *intake
	own    *ownIncidents
	// workers are in the order of the configuration. Agent.mu guards them.
	workers []*worker
	// start runs a worker until its stop is called or the agent ends.
	start func(*worker)
}

// errNotStarted is returned by Status before the spool is open.
var errNotStarted = errors.New("the spool is not open yet")

// New builds the agent's receivers. It opens nothing yet. The configuration has been checked by agent/config.
func New(c *config.Config, o Options) (*Agent, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	a := &Agent{config: c, options: o, logger: o.Logger, started: time.Now(), current: c, reloads: make(chan reload), reloaded: make(chan struct{})}
	a.newReceiver = func(c *config.Config, r *config.Receiver, common notify.Common) (notify.Receiver, error) {
		return r.New(common)
	}
	a.watching, a.watchLink, a.answering = a.watch, link.Watch, a.control
	a.budget = budget.New(budget.Options{Daily: c.Link.DailyBudget, Monthly: c.Link.MonthlyBudget, Location: c.Location()})
	a.dialer = dial.New(a.budget, nil)
	a.reading = control.Configuration{Path: o.ConfigPath, Loaded: a.started}
	for i := range c.Receivers {
		receiver, err := a.receiverOf(c, &c.Receivers[i])
		if err != nil {
			a.close()
			return nil, err
		}
		a.receivers = append(a.receivers, receiver)
	}
	return a, nil
}

func (a *Agent) receiverOf(c *config.Config, r *config.Receiver) (notify.Receiver, error) {
	common := r.Common(c)
	common.Version = a.options.Version
	common.Logger = a.logger.With("receiver", r.Name)
	common.DialContext, common.Doubt = a.dialer.For(r.Name, nil), a.dialer.Doubt
	receiver, err := a.newReceiver(c, r, common)
	if err != nil {
		return nil, fmt.Errorf("receiver %s: %w", r.Name, err)
	}
	return receiver, nil
}

func (a *Agent) close() {
	for _, r := range a.receivers {
		r.Close()
	}
}

// Run takes events to receivers until ctx ends: then it commits what it holds, finishes or abandons the attempts under
// way, closes the spool and returns nil, within 5 seconds. It returns an error only for what a restart may cure.
func (a *Agent) Run(ctx context.Context) error {
	defer a.close()
	group, ctx := errgroup.WithContext(ctx)
	// The port answers while the spool cannot be opened: that is when somebody asks.
	group.Go(func() error { return a.serve(ctx) })
	group.Go(func() error {
		s, err := a.openSpool(ctx)
		if err != nil || s == nil {
			return err
		}
		err = a.run(ctx, s)
		if closeErr := s.Close(); closeErr != nil {
			err = errors.Join(err, fmt.Errorf("close spool: %w", closeErr))
		}
		return err
	})
	return group.Wait()
}

// lockWait is how long a start waits for a spool that is open elsewhere: a spool command that found no agent running holds the
// file for a moment, and another agent for good.
const lockWait = 5 * time.Second

// openSpool opens the spool, and waits where its disk is full or read-only: the agent of a broken disk is of more use
// saying so than restarting. It returns nil, nil when ctx ends before.
func (a *Agent) openSpool(ctx context.Context) (*spool.Spool, error) {
	pause := newBackoff(time.Second, 30*time.Second)
	begin := time.Now()
	var trouble trouble
	for {
		s, err := spool.Open(spool.Options{
			Path:     a.config.Spool.Path,
			MaxBytes: a.config.Spool.MaxBytes,
			MaxAge:   leastAge(a.config),
			Synced:   a.syncs.add,
			Touched:  a.options.Trim,
		})
		switch {
		case err == nil:
			if streak, ok := trouble.over(time.Now()); ok {
				a.logger.Info("spool opened", "failures", streak.failures, "after", streak.duration)
			}
			return s, nil
		case errors.Is(err, spool.ErrLocked) && time.Since(begin) < lockWait:
			if wait(ctx, lockWait/50) != nil {
				return nil, nil
			}
			continue
		case !errors.Is(err, spool.ErrNoSpace) && !errors.Is(err, spool.ErrReadOnly) && !errors.Is(err, spool.ErrPermission):
			return nil, fmt.Errorf("open spool: %w", err)
		}
		a.mu.Lock()
		a.notOpen = spoolTrouble(err)
		a.mu.Unlock()
		if trouble.changed(time.Now(), err.Error()) {
			a.logger.Error(spoolTrouble(err), "path", a.config.Spool.Path, "err", err)
		}
		if wait(ctx, pause.NextBackOff()) != nil {
			return nil, nil
		}
	}
}

// leastAge returns after which age the spool may give up what waits: maxAge, but not while a repeat is held back on purpose, nor in the
// hour after it.
func leastAge(c *config.Config) time.Duration {
	age := c.Spool.MaxAge
	for i := range c.Receivers {
		age = max(age, c.Receivers[i].RepeatInterval+time.Hour)
	}
	return age
}

// run wires the stages in the order of an event's way and waits for all of them.
func (a *Agent) run(ctx context.Context, s *spool.Spool) error {
	events, err := filter.New(a.config.Filter)
	if err != nil {
		return fmt.Errorf("filter: %w", err)
	}
	intake := newIntake(s, a.logger)
	intake.filter = events
	intake.daily = a.config.Report.At != ""
	intake.commitInterval = a.config.Spool.CommitInterval
	intake.eventTTL = a.config.Kubernetes.EventTTL
	intake.lookback = a.config.Kubernetes.StartupLookback
	intake.maxCommit = int(a.config.Spool.MaxBytes / 32)
	intake.severity = a.severityOf
	intake.itself = readItself(namespaceFile, a.started, a.secretMissing)

	if err := a.loadBudget(s); err != nil {
		return err
	}
	if err := a.loadHistory(s); err != nil {
		return err
	}
	way := a.watchLink(ctx, link.Options{
		Interfaces: a.config.Link.Interfaces, Moved: a.dialer.ForgetNames, Logger: a.logger,
	})
	a.mu.Lock()
	a.link = way
	a.mu.Unlock()
	parts := &parts{spool: s, intake: intake}
	for i := range a.config.Receivers {
		r := &a.config.Receivers[i]
		route, err := routeTo(r)
		if err != nil {
			return err
		}
		intake.routes = append(intake.routes, route)
		parts.workers = append(parts.workers, a.workerFor(a.config, r, a.receivers[i], s, route.policy))
	}
	intake.arrived = a.wake

	parts.own = &ownIncidents{spool: s, routes: intake.routing, arrived: intake.arrived, host: a.config.Cluster}
	group, ctx := errgroup.WithContext(ctx)
	parts.start = func(w *worker) {
		ctx, stop := context.WithCancel(ctx)
		w.stop = stop
		group.Go(func() error {
			defer close(w.done)
			defer w.delivery.receiver.Close()
			return w.delivery.run(ctx)
		})
	}
	a.mu.Lock()
	a.parts = parts
	a.mu.Unlock()
	defer func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.parts = nil
	}()
	group.Go(func() error { return a.watching(ctx, intake) })
	group.Go(func() error { return intake.run(ctx) })
	for _, w := range parts.workers {
		parts.start(w)
	}
	group.Go(func() error { return a.tellRescues(ctx, parts) })
	group.Go(func() error { return a.watchSight(ctx, parts.own) })
	group.Go(func() error { return a.keepSight(ctx, intake) })
	group.Go(func() error { return a.keepBudget(ctx, parts) })
	group.Go(func() error { return a.sendReports(ctx, parts) })
	group.Go(func() error { return a.sendHeartbeats(ctx, parts) })
	group.Go(func() error { return a.takeReloads(ctx, parts) })
	group.Go(func() error { return a.watchConfig(ctx) })
	group.Go(func() error { return a.keepHistory(ctx, s) })
	group.Go(func() error { return a.answering(ctx) })
	return group.Wait()
}

func routeTo(r *config.Receiver) (route, error) {
	matcher, err := filter.NewMatcher(r.Match)
	if err != nil {
		return route{}, fmt.Errorf("receiver %s: match: %w", r.Name, err)
	}
	return route{
		receiver: r.Name,
		match:    matcher,
		policy: incident.Policy{
			PerEvent:       r.Fold == "event",
			GroupWait:      r.GroupWait,
			GroupInterval:  r.GroupInterval,
			RepeatInterval: r.RepeatInterval,
			ResolveAfter:   r.ResolveAfter,
		},
	}, nil
}

func (a *Agent) deliveryTo(c *config.Config, r *config.Receiver, receiver notify.Receiver, s *spool.Spool, policy incident.Policy) *delivery {
	d := &delivery{
		name:       r.Name,
		kind:       r.Type,
		receiver:   receiver,
		spool:      s,
		policy:     policy,
		limits:     limitsOf(r, receiver.Limits()),
		cluster:    c.Cluster,
		language:   c.Language,
		severity:   c.SeverityOf,
		timeout:    r.Timeout,
		maxBackoff: r.MaxBackoff,

		digestAfter: r.DigestAfter,
		digestAge:   r.DigestAge,

		sendResolved: r.SendResolved,

		logger: a.logger.With("receiver", r.Name, "type", r.Type),
		wake:   make(chan struct{}, 1),
		again:  make(chan struct{}, 1),
		noted:  a.recent.add,
	}
	if last := a.recent.lastOK(r.Name); !last.After(time.Now()) {
		d.status.LastDelivered = last
	}
	if r.Type != "stdout" {
		// A terminal needs no link and costs nothing.
		d.budget, d.dialer = a.budget, a.dialer
		if a.link != nil {
			d.link = a.link
		}
	}
	return d
}

// limitsOf returns limiters for the configured rates, and for the platform's where none is configured.
func limitsOf(r *config.Receiver, documented notify.Limits) []*rate.Limiter {
	perSecond, perMinute := r.Rate.PerSecond, r.Rate.PerMinute
	if perSecond == 0 && perMinute == 0 {
		perSecond, perMinute = documented.PerSecond, documented.PerMinute
	}
	var limits []*rate.Limiter
	if perMinute > 0 {
		limits = append(limits, limiter(perMinute, time.Minute))
	}
	if perSecond > 0 {
		limits = append(limits, limiter(perSecond, time.Second))
	}
	return limits
}

// limiter allows at most n requests in any window of the given length, not only on average: platforms count in sliding
// windows, and DingTalk shuts out for ten minutes whoever exceeds one. A token bucket lets through its burst plus what
// flows in during the window, so both together make n: a fifth of it as burst.
func limiter(n int, window time.Duration) *rate.Limiter {
	burst := max(1, n/5)
	flow := n - burst
	if burst == 1 {
		flow = n
	}
	return rate.NewLimiter(rate.Limit(float64(flow)/window.Seconds()), burst)
}

// watch runs the watch. What keeps it from starting, such as the kubeconfig of a K3s that is not up yet, is waited for:
// the receivers go on meanwhile.
func (a *Agent) watch(ctx context.Context, sink watch.Sink) error {
	pause := newBackoff(time.Second, 30*time.Second)
	var trouble trouble
	for {
		w, err := watch.New(watch.Options{
			Kubeconfig: a.config.Kubernetes.Kubeconfig,
			Namespaces: a.config.Kubernetes.Namespaces,
			Version:    a.options.Version,
			Logger:     a.logger,
		}, sink)
		a.signedIn(w, err)
		if err == nil {
			if streak, ok := trouble.over(time.Now()); ok {
				a.logger.Info("the cluster's credential is there", "failures", streak.failures, "after", streak.duration)
			}
			// Run returns only when ctx ends, which is no failure of the agent.
			_ = w.Run(ctx)
			return nil
		}
		if trouble.changed(time.Now(), err.Error()) {
			a.logger.Error("cannot sign in to the cluster, will be tried again", "err", err)
		}
		if wait(ctx, pause.NextBackOff()) != nil {
			return nil
		}
	}
}

func (a *Agent) signedIn(w *watch.Watcher, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.watcher, a.signInError = w, ""
	if err != nil {
		a.signInError = err.Error()
	}
}

// Stuck lists the loops that make no progress. The link, the API server and the disk may all be away without it.
func (a *Agent) Stuck() []string {
	a.mu.Lock()
	parts, deliveries := a.parts, a.deliveries()
	a.mu.Unlock()
	if parts == nil {
		return nil
	}
	var stuck []string
	if d := parts.intake.standsStill(); d > healthLimit {
		stuck = append(stuck, fmt.Sprintf("the intake stands still since %s", d.Round(time.Second)))
	}
	if d := parts.intake.stuckFor(); d > healthLimit {
		stuck = append(stuck, fmt.Sprintf("the spool has taken nothing for %s, though the disk is well", d.Round(time.Second)))
	}
	for _, d := range deliveries {
		if since, stands := d.standsStill(); stands {
			stuck = append(stuck, fmt.Sprintf("the delivery to %s stands still since %s", d.name, since.Round(time.Second)))
		}
	}
	return stuck
}
