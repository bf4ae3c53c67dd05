package agent

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/config"
	"github.com/edge-eventer/edge-eventer/agent/deliver"
	"github.com/edge-eventer/edge-eventer/agent/dial"
	"github.com/edge-eventer/edge-eventer/agent/dial/budget"
	"github.com/edge-eventer/edge-eventer/agent/histogram"
	"github.com/edge-eventer/edge-eventer/agent/intake"
	"github.com/edge-eventer/edge-eventer/agent/ledger"
	"github.com/edge-eventer/edge-eventer/agent/lifecycle"
	"github.com/edge-eventer/edge-eventer/agent/link"
	"github.com/edge-eventer/edge-eventer/agent/ownpod"
	"github.com/edge-eventer/edge-eventer/agent/page"
	"github.com/edge-eventer/edge-eventer/agent/receivers"
	"github.com/edge-eventer/edge-eventer/agent/recent"
	"github.com/edge-eventer/edge-eventer/agent/secret"
	"github.com/edge-eventer/edge-eventer/agent/selfreport"
	"github.com/edge-eventer/edge-eventer/agent/silence"
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

// hooks are replaced by tests that have neither a network nor a cluster.
type hooks struct {
	makeReceiver func(*config.Receiver, notify.Common) (notify.Receiver, error)
	watch        func(context.Context, watch.Sink) error
	watchLink    func(context.Context, link.Options) *link.Link
	answer       func(context.Context) error
}

// Agent is one agent with its spool, its watch and its receivers.
type Agent struct {
	// config is what the agent was started with. What a reload can change is read from receivers.
	config  *config.Config
	options Options
	logger  *slog.Logger
	started time.Time
	hooks   hooks
	// receivers are the deliveries of the configuration in use.
	receivers *receivers.Set
	// secrets are the files of the receivers' addresses and secrets.
	secrets *secret.Files
	history page.History
	// recent are the last deliveries.
	recent recent.Deliveries
	// syncs are how long the spool's commits wrote and synced.
	syncs histogram.Histogram
	// budget counts what goes over the link.
	budget *budget.Budget
	// silences are those of the spool, once it is open.
	silences silence.Set
	// dialer opens the connections of receivers, and has the budget count them.
	dialer *dial.Dialer

	// mu guards seen.
	mu   sync.Mutex
	seen seen
}

// seen is how far the agent has come.
type seen struct {
	// stages are nil before the spool is open.
	stages *stages
	// link is the way out, nil before the spool is open.
	link *link.Link
	// watcher is nil before the agent has signed in; signInError says why it has not.
	watcher     *watch.Watcher
	signInError string
	// notOpen says why the spool is not open yet, where there is a reason.
	notOpen string
}

// stages are what an event goes through, and what tells of it.
type stages struct {
	spool    *spool.Spool
	intake   *intake.Intake
	reporter *selfreport.Reporter
}

// New builds the agent's receivers. It opens nothing yet. The configuration has been checked by agent/config.
func New(c *config.Config, o Options) (*Agent, error) { return newAgent(c, o, hooks{}) }

func newAgent(c *config.Config, o Options, h hooks) (*Agent, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	a := &Agent{config: c, options: o, logger: o.Logger, started: time.Now(), secrets: secret.New(o.Logger), hooks: h}
	if h.watch == nil {
		a.hooks.watch = a.watch
	}
	if h.watchLink == nil {
		a.hooks.watchLink = link.Watch
	}
	if h.answer == nil {
		a.hooks.answer = a.control
	}
	a.budget = budget.New(budget.Options{Daily: c.Link.DailyBudget, Monthly: c.Link.MonthlyBudget, Location: c.Location()})
	a.dialer = dial.New(a.budget, nil)
	set, err := receivers.New(c, o.ConfigPath, receivers.Options{
		Version: o.Version, Budget: a.budget, Dialer: a.dialer, Recent: &a.recent, Silences: &a.silences, Logger: o.Logger, Make: h.makeReceiver,
	})
	if err != nil {
		return nil, err
	}
	a.receivers = set
	return a, nil
}

// The agent stops within stopWithin. Of that, an attempt under way has deliver.StopGrace, and stopKept is kept for the commits of the
// intake and of the last counters, and for the end of the spool; a slow card may have all that the others leave.
const (
	stopWithin     = 5 * time.Second
	stopKept       = 400 * time.Millisecond
	stopDeliveries = deliver.StopGrace + 200*time.Millisecond
)

// Run takes events to receivers until ctx ends: then it commits what it holds, finishes or abandons the attempts under
// way, closes the spool and returns nil, within 5 seconds. It returns an error only for what a restart may cure, and for a stage that
// has not ended in time.
func (a *Agent) Run(ctx context.Context) error {
	defer a.receivers.Close()
	stack, ctx := lifecycle.New(ctx)
	// The port answers while the spool cannot be opened: that is when somebody asks.
	stack.Go("port", 0, a.serve)
	a.secrets.Look(a.config.Receivers)
	err := a.start(ctx, stack)
	if err == nil {
		<-ctx.Done()
	} else {
		stack.OnStop("start", 0, func() error { return err })
	}
	return stack.Stop(stopWithin)
}

// start opens the spool and starts the stages, the last one of an event's way first: what stops first is what takes new events.
func (a *Agent) start(ctx context.Context, stack *lifecycle.Stack) error {
	s, err := a.openSpool(ctx)
	if err != nil || s == nil {
		return err
	}
	stack.OnStop("spool", stopKept, s.Close)
	st, err := a.newStages(s)
	if err != nil {
		return err
	}
	if err := a.loadHistory(s); err != nil {
		return err
	}
	a.loadSilences(s)
	if err := st.reporter.LoadBudget(a.budget); err != nil {
		return err
	}
	linkCtx, leave := context.WithCancel(context.WithoutCancel(ctx))
	stack.OnStop("link", 0, func() error { leave(); return nil })
	way := a.hooks.watchLink(linkCtx, link.Options{
		Interfaces: a.config.Link.Interfaces, Moved: a.dialer.ForgetNames, Logger: a.logger,
	})
	a.mu.Lock()
	a.seen.link, a.seen.stages = way, st
	a.mu.Unlock()
	stack.OnStop("status", 0, func() error {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.seen.stages = nil
		return nil
	})
	// What is written down at the end is started before the deliveries: it counts what they still sent.
	stack.Go("history", 0, func(ctx context.Context) error { return a.keepHistory(ctx, s) })
	stack.Go("budget", stopKept, func(ctx context.Context) error { return st.reporter.Budget(ctx, a.budget) })
	if way == nil {
		a.receivers.Start(s, nil)
	} else {
		a.receivers.Start(s, way)
	}
	stack.OnStop("deliveries", stopDeliveries, func() error { a.receivers.Stop(); return nil })
	a.startReports(stack, st.reporter)
	stack.Go("intake", stopKept, st.intake.Run)
	stack.Go("sight", 0, func(ctx context.Context) error { return a.keepSight(ctx, st.intake) })
	stack.Go("control socket", 0, a.hooks.answer)
	stack.Go("reload", 0, func(ctx context.Context) error { return a.receivers.Reloads(ctx, st.intake.Reroute) })
	stack.Go("configuration", 0, a.watchConfig)
	stack.Go("secrets", 0, a.watchSecrets)
	stack.Go("watch", 0, func(ctx context.Context) error { return a.hooks.watch(ctx, st.intake) })
	return nil
}

// startReports starts what the agent tells of itself.
func (a *Agent) startReports(stack *lifecycle.Stack, r *selfreport.Reporter) {
	stack.Go("rescues", 0, func(ctx context.Context) error { return r.Rescues(ctx, a.relist) })
	stack.Go("unreachable", 0, func(ctx context.Context) error {
		return r.Sight(ctx, a.config.Kubernetes.UnreachableAfter, a.failing)
	})
	stack.Go("daily statistics", 0, func(ctx context.Context) error { return r.Daily(ctx, a.receivers.Settings, a.started) })
	stack.Go("heartbeat", 0, func(ctx context.Context) error {
		return r.Heartbeats(ctx, a.receivers.Settings, a.started, a.receivers.LastDelivered)
	})
	stack.Go("site", 0, func(ctx context.Context) error { return r.Site(ctx, a.receivers.Settings, a.siteRecord) })
}

// newStages wires the stages in the order of an event's way.
func (a *Agent) newStages(s *spool.Spool) (*stages, error) {
	rules, err := receivers.Rules(a.config)
	if err != nil {
		return nil, err
	}
	pod := ownpod.Read(ownpod.NamespaceFile, a.started, a.secretMissing)
	in := intake.New(intake.Options{
		Spool:          s,
		Ledger:         ledger.New(a.config.Kubernetes.EventTTL, a.config.Kubernetes.StartupLookback),
		CommitInterval: a.config.Spool.CommitInterval,
		MaxCommit:      int(a.config.Spool.MaxBytes / 32),
		Ignores:        pod.Expects,
		Severity:       a.receivers.SeverityOf,
		Observed:       a.receivers.Observed,
		Arrived:        a.receivers.Wake,
		Logger:         a.logger,
	}, rules)
	reporter := &selfreport.Reporter{Spool: s, Routes: in.Routes, Arrived: a.receivers.Wake, Host: a.config.Cluster, Started: a.started, Logger: a.logger}
	return &stages{spool: s, intake: in, reporter: reporter}, nil
}

// Stuck lists the loops that make no progress. The link, the API server and the disk may all be away without it.
func (a *Agent) Stuck() []string {
	st := a.running()
	if st == nil {
		return nil
	}
	var stuck []string
	if d := st.intake.StandsStill(); d > healthLimit {
		stuck = append(stuck, fmt.Sprintf("the intake stands still since %s", d.Round(time.Second)))
	}
	if d := st.intake.StuckFor(); d > healthLimit {
		stuck = append(stuck, fmt.Sprintf("the spool has taken nothing for %s, though the disk is well", d.Round(time.Second)))
	}
	for _, d := range a.receivers.Deliveries() {
		if since := d.StandsStill(); since > healthLimit {
			stuck = append(stuck, fmt.Sprintf("the delivery to %s stands still since %s", d.Name(), since.Round(time.Second)))
		}
	}
	return stuck
}

// running returns the stages, nil before the spool is open.
func (a *Agent) running() *stages {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.seen.stages
}
