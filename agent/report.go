package agent

import (
	"fmt"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/control"
	"github.com/edge-eventer/edge-eventer/agent/dial/budget"
)

// Report returns the status as the document that the status command and the status page show.
func (s *Status) Report() control.Status {
	r := control.Status{
		Version: s.Version, Cluster: s.Cluster, Language: s.Language, Started: s.Started, Now: s.Now,
		Problems: s.Problems(),
		Notes:    s.notes(),
		Link:     s.Link.State.String(), LinkSince: s.Link.Since, LinkReason: s.Link.Reason, LinkChanges: s.Link.Outages,
		Budget: &control.Budget{
			Level: s.Budget.Level.String(),
			Day:   int64(s.Budget.Used.Day.Total()), DayMax: s.Budget.DayMax,
			Month: int64(s.Budget.Used.Month.Total()), MonthMax: s.Budget.MonthMax,
			Forecast: s.Budget.Forecast,
		},
		Watch: []control.Watch{},
		Intake: control.Intake{
			Seen: s.Intake.Seen, Known: s.Intake.Known, Old: s.Intake.Old, Filtered: s.Intake.Filtered, Committed: s.Intake.Committed,
		},
		Spool: control.Spool{
			Path: s.Spool.Path, File: s.Spool.File, Used: s.Spool.Used, Max: s.Spool.Max, BlockedSince: s.Intake.BlockedSince,
			Syncs: s.Spool.SyncTimes.Count(), SyncMean: s.Spool.SyncTimes.Mean().Seconds(), SyncMax: s.Spool.SyncTimes.Max.Seconds(),
		},
		Receivers:  []control.Receiver{},
		Deliveries: s.Recent,
		Config:     s.Config,
		Memory:     control.Memory{Resident: s.Memory.Resident, Anonymous: s.Memory.Anonymous, Peak: s.Memory.Peak},
	}
	if r.Deliveries == nil {
		r.Deliveries = []control.Delivery{}
	}
	r.Ready = len(r.Problems) == 0
	if r.Problems == nil {
		r.Problems = []string{}
	}
	for _, n := range s.Watch {
		w := control.Watch{
			Namespace: n.Namespace, State: string(n.State), Since: n.Since,
			LastEvent: n.LastEvent, LastList: n.LastList, LastAnswer: n.LastAnswer,
		}
		if n.Failing != nil {
			w.FailingSince, w.Failure = n.Failing.Since, n.Failing.Err.Error()
		}
		r.Watch = append(r.Watch, w)
	}
	for i := range s.Receivers {
		r.Receivers = append(r.Receivers, s.Receivers[i].report())
	}
	r.Judge(s.reasons())
	return r
}

func (r *ReceiverStatus) report() control.Receiver {
	d := &r.Delivery
	c := control.Receiver{
		Name: r.Name, Type: r.Type, State: d.State, Since: d.Since, Next: d.Next,
		Records: r.Waiting, Untold: r.Untold, Held: r.Held, NextDue: r.NextDue, Bytes: r.Bytes, Oldest: r.Oldest, Dead: r.Dead,
		RefusedSince: d.RefusedSince, LastError: d.LastError, LastDelivered: d.LastDelivered,
		Delivered: d.Delivered, Attempts: d.Attempts,
	}
	for _, l := range r.Losses {
		c.Losses = append(c.Losses, control.Loss{Cause: l.Cause, Incidents: l.Records, Events: l.Events, Since: l.Since})
	}
	for _, x := range d.Aside {
		c.Aside = append(c.Aside, control.Aside{
			Group: x.Group, Workload: x.Workload, Reason: x.Reason, Since: x.Since, Next: x.Next, Tries: x.Tries, Failure: x.Failure,
		})
	}
	c.AsideCount = d.AsideCount
	for _, l := range r.UntoldLosses {
		c.UntoldLosses = append(c.UntoldLosses, control.Loss{Cause: l.Cause, Incidents: l.Records, Events: l.Events, Since: l.Since})
	}
	return c
}

// fullTenths is from how many tenths of the spool in use on it is called nearly full; above three quarters the oldest go.
const fullTenths = 7

// maxAsideNotes is how many messages that a receiver does not take are named in the notes.
const maxAsideNotes = 4

// asideNote says what a receiver does not take while it takes others, since when, and what it answers.
func asideNote(receiver string, a *Aside) string {
	what := fmt.Sprintf("%s of %s", a.Reason, a.Workload)
	if a.Group != "" {
		what = "what goes to " + a.Group
	}
	return fmt.Sprintf("receiver %s does not take %s since %s, while it takes others (%d tries, the next at %s): %s", receiver, what,
		a.Since.UTC().Format(time.RFC3339), a.Tries, a.Next.UTC().Format(time.RFC3339), a.Failure)
}

// notes lists, as sentences, what an operator should know and what keeps no event from its way.
func (s *Status) notes() []string {
	var notes []string
	if !s.Config.Refused.IsZero() {
		notes = append(notes, "the changed configuration was refused, the one before stays: "+s.Config.Mistakes)
	}
	notes = append(notes, s.NeedsRestart...)
	switch s.Budget.Level {
	case budget.Frugal:
		notes = append(notes, "four fifths of the link's budget are used: everything is told in digests, at most one an hour")
	case budget.CriticalOnly:
		notes = append(notes, "the link's budget is used up: only critical incidents are sent, all others wait on disk until the period ends")
	case budget.Free:
	}
	if s.Spool.Max > 0 && s.Spool.Used > s.Spool.Max/10*fullTenths {
		notes = append(notes, "the spool is nearly full: the oldest incidents go next, counted and told (spool.maxBytes)")
	}
	for _, r := range s.Receivers {
		if r.Dead > 0 && r.Type != "" {
			notes = append(notes, fmt.Sprintf("receiver %s refused %d messages for good: spool ls --receiver %s shows them, spool retry sends them again",
				r.Name, r.Dead, r.Name))
		}
		for i := range r.Delivery.Aside[:min(len(r.Delivery.Aside), maxAsideNotes)] {
			notes = append(notes, asideNote(r.Name, &r.Delivery.Aside[i]))
		}
		if more := r.Delivery.AsideCount - maxAsideNotes; more > 0 {
			notes = append(notes, fmt.Sprintf("receiver %s does not take %d more messages while it takes others", r.Name, more))
		}
		if r.Delivery.MuteOnLosses {
			notes = append(notes, fmt.Sprintf("receiver %s cannot be told what was lost: no template of its body uses .Message; the losses stay untold", r.Name))
		}
		if r.Type == "" {
			notes = append(notes, fmt.Sprintf("queue %s has no receiver: %d records and %d dead letters wait; configure it again, or spool drop --receiver %s",
				r.Name, r.Waiting, r.Dead, r.Name))
		}
	}
	return notes
}
