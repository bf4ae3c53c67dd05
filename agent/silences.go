package agent

import (
	"time"

	"github.com/edge-eventer/edge-eventer/agent/silence"
	"github.com/edge-eventer/edge-eventer/agent/status"
	"github.com/edge-eventer/edge-eventer/spool"
)

// loadSilences takes up the silences of the spool, at the start and after they changed. One that cannot be read holds nothing, which is said.
func (a *Agent) loadSilences(s *spool.Spool) {
	var unreadable error
	err := s.View(func(tx *spool.Tx) error {
		unreadable = a.silences.Load(tx)
		return nil
	})
	if err != nil {
		a.logger.Error("cannot read the silences", "err", err)
	}
	if unreadable != nil {
		a.logger.Warn("some silences cannot be read and hold nothing", "err", unreadable)
	}
}

// silenced puts silences to use that an operator changed.
func (a *Agent) silenced(s *spool.Spool) {
	a.loadSilences(s)
	for _, d := range a.receivers.Deliveries() {
		d.Wake()
	}
}

// silenceStatus returns the silences that are active or pending.
func (a *Agent) silenceStatus(now time.Time) (all []status.Silence) {
	for _, s := range a.silences.All() {
		if state := s.State(now); state != silence.Expired {
			all = append(all, status.Silence{
				ID: s.ID, State: state, Matchers: s.Matchers.String(), StartsAt: s.StartsAt, EndsAt: s.EndsAt,
				CreatedBy: s.CreatedBy, Comment: s.Comment, Critical: s.Critical,
			})
		}
	}
	return all
}
