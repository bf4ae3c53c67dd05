package deliver

import (
	"context"
	"fmt"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/notice"
	"github.com/edge-eventer/edge-eventer/agent/recent"
	"github.com/edge-eventer/edge-eventer/agent/status"
	"github.com/edge-eventer/edge-eventer/notify"
)

// attempt sends one message and returns how long to wait before the next.
func (d *Delivery) attempt(ctx, sendCtx context.Context, b *batch) time.Duration {
	if b.wantsDigest {
		if err := d.sumUp(b); err != nil {
			d.options.Logger.Error("cannot read the queue", "err", err)
			return d.retries.pause.NextBackOff()
		}
		if len(b.Entries) == 0 {
			// What was due is held back or gone since. The next look is not at once, so that two looks that disagree cost no processor.
			d.digest = nil
			return time.Second
		}
	}
	d.gate.Left()
	d.state(StateSending, time.Time{})
	request, err := d.options.Receiver.Render(d.message(b), b.form)
	if err == nil {
		err = d.send(sendCtx, request)
	} else {
		err = &notify.Error{Outcome: notify.BadPayload, Reason: "cannot be rendered", Err: err}
		request = &notify.Request{Incidents: len(b.Entries)}
	}
	d.checkLosses(b, request, err)
	if err == nil {
		d.note(b, request, nil)
		d.delivered(ctx, b, b.entriesOf(request))
		d.showAsides()
		return 0
	}
	if sendCtx.Err() != nil {
		return 0
	}
	d.note(b, request, err)
	pause := d.failed(ctx, b, request, err)
	d.showAsides()
	return pause
}

// message is what the batch tells.
func (d *Delivery) message(b *batch) *notify.Message {
	m := &notify.Message{Now: time.Now()}
	for _, e := range b.Entries {
		alert := d.alert(e.Incident)
		alert.Severity, alert.Notice = e.Severity, alert.Own && notice.IsCalm(alert.Reason)
		alert.FirstSeen, alert.LastSeen = e.Incident.Span(m.Now)
		if held := b.held[string(e.Key)].Text(d.options.Language); held != "" {
			// In front: a long message is cut at its end.
			alert.Message = held + "\n" + alert.Message
		}
		m.Incidents = append(m.Incidents, alert)
	}
	if b.digest != nil {
		m.Digest = b.digest.Summary()
		if b.stormy && !b.urgent {
			m.Digest.Pause = d.storm.Pause(stormMessage(b, 0, true))
		}
	}
	for _, in := range b.Resolved {
		alert := d.alert(in)
		alert.FirstSeen, alert.LastSeen = in.Span(m.Now)
		m.Resolved = append(m.Resolved, alert)
	}
	for _, l := range b.losses {
		m.Losses = append(m.Losses, notify.Loss{Cause: l.Cause, Incidents: l.Records, Events: l.Events, Since: l.Since})
	}
	d.freshen(m, b.untold)
	return m
}

// freshen makes the notices in m say what is true now that they leave; they may have waited for days. untold counts the observations
// in the queue.
func (d *Delivery) freshen(m *notify.Message, untold uint64) {
	for i := range m.Incidents {
		untold -= min(untold, uint64(m.Incidents[i].Untold))
	}
	for i := range m.Incidents {
		in := &m.Incidents[i]
		switch {
		case !in.Own:
		case in.Reason == notice.Heartbeat && (untold > 0 || len(m.Incidents) > 1 || len(m.Losses) > 0):
			in.Message = notice.HeartbeatBeside(d.options.Language, untold)
		case in.Reason == notice.Budget && d.options.Budget != nil:
			in.Message = notice.BudgetNow(d.options.Budget)
		}
	}
}

// send sends one request within the time-out of an attempt.
func (d *Delivery) send(ctx context.Context, request *notify.Request) error {
	timeout := d.options.Timeout
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("no answer within %s", timeout))
	defer cancel()
	return d.options.Receiver.Send(ctx, request)
}

// checkLosses leaves in b only the losses that the answer confirmed. Those of a form that has no place for them stay untold, and
// the status says so.
func (d *Delivery) checkLosses(b *batch, request *notify.Request, err error) {
	if len(b.losses) == 0 {
		return
	}
	confirmed := request.LossesTold(err)
	if !confirmed {
		b.losses = nil
	}
	if !confirmed && err != nil {
		return
	}
	d.mu.Lock()
	changed := d.status.MuteOnLosses == confirmed
	d.status.MuteOnLosses = !confirmed
	d.mu.Unlock()
	if changed && !confirmed {
		d.options.Logger.Warn("losses cannot be told: the receiver's body has no place for them, use .Message in it")
	}
}

// note tells what became of a message.
func (d *Delivery) note(b *batch, request *notify.Request, err error) {
	if d.options.Noted == nil {
		return
	}
	n := status.Delivery{At: time.Now(), Receiver: d.options.Name, Outcome: recent.OK, Digest: b.digest != nil}
	if err != nil {
		n.Outcome = notify.OutcomeOf(err).String()
	}
	records := 0
	for _, e := range b.entriesOf(request) {
		n.Incidents++
		n.Events += uint64(e.Incident.Untold())
		if e.Incident.Own && e.Incident.Event.Reason == notify.SiteStatus {
			records++
		}
	}
	if err == nil && records > 0 && records == n.Incidents {
		// Every quarter of an hour: the list is of what people are told.
		return
	}
	d.options.Noted(n)
}
