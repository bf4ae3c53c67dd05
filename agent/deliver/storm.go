package deliver

import (
	"time"

	"github.com/edge-eventer/edge-eventer/agent/dial/budget"
	"github.com/edge-eventer/edge-eventer/agent/inbox"
	"github.com/edge-eventer/edge-eventer/agent/storm"
)

// stormLook is how often at most the queue is searched for what is critical while a storm fills it: that is a look at each of its incidents.
const stormLook = 5 * time.Second

// stormHold reports whether everything has to wait, because of a storm. It returns the level by which is chosen otherwise: what is critical
// does not wait for the pauses.
func (d *Delivery) stormHold(b *batch, now time.Time, level budget.Level) (everything bool, _ budget.Level) {
	if d.digest != nil {
		return false, level
	}
	hold := d.storm.At(now)
	switch {
	case hold.Everything:
		b.Next = earlier(hold.Until, b.Next)
		return true, level
	case hold.ButCritical && now.Sub(d.stormLooked).Abs() < stormLook:
		b.Next = d.stormLooked.Add(stormLook)
		return true, level
	case hold.ButCritical:
		d.stormLooked = now
		b.urgent, b.stormUntil = true, hold.Until
		return false, budget.CriticalOnly
	}
	return false, level
}

// chooseInStorm is choose, which in the pauses of a storm finds only what is critical: a few on their own, more of them as a short digest.
func (d *Delivery) chooseInStorm(r *inbox.Reading, b *batch, now time.Time, level budget.Level) error {
	if err := d.choose(r, b, now, level); err != nil || !b.urgent {
		return err
	}
	if b.digest == nil && !b.trial && !d.doubt.narrow.Active() && d.doubt.refused == 0 && len(b.Entries) > d.options.Backlog.After {
		b.Entries, b.wantsDigest, b.stormy = nil, true, true
	}
	b.Next = earlier(b.stormUntil, b.Next)
	return nil
}

// stormBegins reports whether so much is due that a storm begins, or lasts. What gathered while the receiver was out of reach is no storm.
func (d *Delivery) stormBegins(r *inbox.Reading, now time.Time) bool {
	if d.storm.Limit == 0 || !d.storm.Active() && !d.unreachableSince().IsZero() {
		return false
	}
	due := r.Waiting(storm.After+1, d.doubt.asides.Holds)
	if d.storm.Active() {
		return due > d.options.Backlog.After
	}
	return d.storm.Begins(due, now)
}

// stormMessage is the message of a batch as the pace of storms counts it, which tells so many incidents on their own; done says that it is the last
// of its digest.
func stormMessage(b *batch, incidents int, done bool) storm.Message {
	m := storm.Message{Incidents: incidents, Short: b.stormy, Urgent: b.urgent}
	switch {
	case b.digest != nil && done:
		m.Incidents, m.Digest = b.digest.Incidents(), true
	case b.digest != nil:
		// It is no message of its own: the next part follows.
		m.Incidents, m.Urgent = 0, true
	}
	return m
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
