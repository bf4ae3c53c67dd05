package inbox

import (
	"bytes"
	"fmt"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/event"
	"github.com/edge-eventer/edge-eventer/agent/incident"
	"github.com/edge-eventer/edge-eventer/agent/notice"
	"github.com/edge-eventer/edge-eventer/agent/silence"
	"github.com/edge-eventer/edge-eventer/spool"
)

// maxFolded bounds one transaction that takes out of the queue what the line about a silence told.
const maxFolded = 256

// EndSilence puts the line about a silence that is over into the queue: what it held back, in the language en or zh. What was quiet for
// ResolveAfter by then is told by that line; what goes on stays untold, and is sent as ever. A silence that held nothing has no line, so
// that to end it again, as the next start does, tells nothing twice.
func (b *Inbox) EndSilence(s *silence.Silence, host, language string, now time.Time) error {
	var tally silence.Tally
	var quiet Counted
	err := b.Spool.View(func(tx *spool.Tx) error {
		q := tx.Queue(b.Receiver)
		verdict := b.verdict(q, now)
		for record := range q.All() {
			if record.Untold == 0 {
				continue
			}
			in, err := incident.Decode(record.Body)
			if err != nil {
				return fmt.Errorf("decode record %x: %w", record.Key, err)
			}
			e := Entry{bytes.Clone(record.Key), in, b.severityOf(in)}
			if !s.Covers(e.subject()) || in.Active.Before(s.StartsAt) || in.Active.After(s.EndsAt) {
				continue
			}
			if _, held := verdict.Silenced(e.subject()); held {
				// Another silence goes on, and will tell of it.
				continue
			}
			tally.Add(e.subject())
			if now.Sub(in.Active) >= b.Policy.ResolveAfter {
				quiet = append(quiet, markOf(&e))
			} else {
				tally.StillOn++
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("read what silence %s held: %w", s.Short(), err)
	}
	if tally.Incidents == 0 {
		return nil
	}
	// The line comes first, with as many as one transaction holds: if the power goes between two, more is told rather than less.
	line := aboutSilence(s, host, s.Ended(&tally, language), now)
	for line != nil || len(quiet) > 0 {
		if err := b.foldInto(line, quiet.Next(maxFolded), now); err != nil {
			return fmt.Errorf("tell what silence %s held: %w", s.Short(), err)
		}
		line = nil
	}
	return nil
}

// foldInto puts a line into the queue, if there is one, and notes that it tells the entries.
func (b *Inbox) foldInto(line *incident.Observation, entries []Entry, now time.Time) error {
	return b.Spool.Update(func(tx *spool.Tx) error {
		q := tx.Queue(b.Receiver)
		if line != nil {
			if err := FoldOwn(q, b.Policy, line); err != nil {
				return err
			}
		}
		for i := range entries {
			if _, err := b.confirm(q, &entries[i], now); err != nil {
				return err
			}
		}
		return nil
	})
}

// aboutSilence is the line about a silence as an observation of the agent itself. Each silence is an incident of its own: of two that end
// together both are told.
func aboutSilence(s *silence.Silence, host, text string, now time.Time) *incident.Observation {
	return &incident.Observation{
		Event: event.Event{
			ObjectMeta: event.ObjectMeta{
				Name: "edge-eventer." + s.ID, UID: s.ID, ResourceVersion: "0", CreationTimestamp: now,
			},
			InvolvedObject:      event.Reference{Kind: "Silence", Name: s.Short()},
			Reason:              notice.Silence,
			Message:             text,
			Source:              event.Source{Component: "edge-eventer", Host: host},
			FirstTimestamp:      now,
			LastTimestamp:       now,
			Count:               1,
			Type:                "Warning",
			ReportingController: "edge-eventer",
			ReportingInstance:   host,
		},
		Workload: s.Short(), New: 1, At: now, Own: true,
	}
}
