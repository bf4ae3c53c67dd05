package deliver

import (
	"cmp"
	"slices"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/inbox"
	"github.com/edge-eventer/edge-eventer/agent/mute"
	"github.com/edge-eventer/edge-eventer/agent/silence"
	"github.com/edge-eventer/edge-eventer/agent/status"
)

// endSilences tells of the silences that are over what they held, each once. After a restart they are looked at again, and have nothing
// left to tell. One that cannot be told now is told with the next look at the queue.
func (d *Delivery) endSilences(now time.Time) {
	muter := d.options.Muter
	if muter == nil || muter.Silences == nil {
		return
	}
	ended := make(map[string]bool)
	for _, s := range muter.Silences.All() {
		if s.State(now) != silence.Expired {
			continue
		}
		ended[s.ID] = d.ended[s.ID]
		if ended[s.ID] {
			continue
		}
		if err := d.inbox.EndSilence(s, d.options.Cluster, d.options.Language, now); err != nil {
			d.options.Logger.Error("it cannot be told what a silence held", "err", err)
			continue
		}
		ended[s.ID] = true
	}
	d.ended = ended
}

// showMuted puts into the status what is held back.
func (d *Delivery) showMuted(muted map[mute.Reason]inbox.Muted) {
	list := make([]status.Muted, 0, len(muted))
	for why, m := range muted {
		list = append(list, status.Muted{Reason: why.Kind, Name: why.Name, Incidents: m.Incidents, Events: m.Events})
	}
	slices.SortFunc(list, func(a, b status.Muted) int {
		return cmp.Or(cmp.Compare(a.Reason, b.Reason), cmp.Compare(a.Name, b.Name))
	})
	d.mu.Lock()
	defer d.mu.Unlock()
	d.status.Muted = list
}
