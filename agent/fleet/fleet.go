// Package fleet says how a site stands in one small record, for those who watch hundreds of sites without a server of ours: the engines that
// keep their events keep it beside them, and their own rules tell a site that is silent, loses events, fills its spool or is over its budget.
// It promises:
//
//   - A record is made of the status document alone, so it never says something else than the page and the terminal of the site.
//   - It is one line of JSON of at most MaxBytes, whatever the numbers are. Keys are added, never renamed.
//   - It has numbers and fixed words only: no text of an event or a receiver, no address, no name of a namespace or a receiver.
package fleet

import (
	"cmp"
	"encoding/json"
	"slices"

	"github.com/edge-eventer/edge-eventer/agent/status"
	"github.com/edge-eventer/edge-eventer/notify"
	"github.com/edge-eventer/edge-eventer/notify/untrusted"
)

const (
	// Reason is that of the agent's own event whose message is a record. The rules and the dashboard in manifests/fleet ask for it.
	Reason = notify.SiteStatus
	// MaxBytes bounds a record.
	MaxBytes = 600
	// maxVersion bounds the version in it.
	maxVersion = 32
	// other is the cause of losses that had no room under their own.
	other = "other"
)

// Record is how a site stands. That it arrives says that the agent is alive; the engine adds the cluster, the labels and the time.
type Record struct {
	Version string `json:"version"`
	// Up is for how many seconds the agent has run.
	Up int64 `json:"up"`
	// Ready is false while events do not reach the spool, or a receiver takes none.
	Ready bool `json:"ready"`
	// Watch and Link are up, down or unknown, and Outages counts how often the link was lost since the start.
	Watch   string `json:"watch"`
	Link    string `json:"link"`
	Outages uint64 `json:"outages"`
	// Queue is how many observations wait in all queues, Due how many of them are not held back on purpose, Oldest for how many seconds the
	// oldest record has waited, and Dead how many messages were refused for good.
	Queue  uint64 `json:"queue"`
	Due    uint64 `json:"due"`
	Oldest int64  `json:"oldest"`
	Dead   int    `json:"dead"`
	// Failing is how many receivers do not take what is sent to them.
	Failing int `json:"failing"`
	// Lost is how many observations were lost since the spool was made, and LostBy says for which causes; Gaps counts losses of unknown size.
	Lost   uint64            `json:"lost"`
	LostBy map[string]uint64 `json:"lostBy,omitempty"`
	Gaps   uint64            `json:"gaps"`
	Usage
}

// Usage is what is used of what is scarce, in bytes.
type Usage struct {
	Spool    int64 `json:"spoolBytes"`
	SpoolMax int64 `json:"spoolMaxBytes"`
	// Budget is free, frugal or critical-only, and Day and Month what went over the link; a Max of 0 is no budget.
	Budget   string `json:"budget"`
	Day      int64  `json:"dayBytes"`
	DayMax   int64  `json:"dayMaxBytes"`
	Month    int64  `json:"monthBytes"`
	MonthMax int64  `json:"monthMaxBytes"`
}

// Of returns the record of a document that was judged.
func Of(d *status.Document) Record {
	r := Record{
		Version: untrusted.CutBytes(d.Version, maxVersion), Up: max(0, int64(d.Now.Sub(d.Started).Seconds())), Ready: d.Ready,
		Watch: d.Sight(), Link: d.LinkState, Outages: d.Outages, Gaps: d.Spool.Gaps,
		Usage: Usage{Spool: d.Spool.Used, SpoolMax: d.Spool.Max, Budget: status.Free},
	}
	if b := d.Budget; b != nil {
		r.Budget, r.Day, r.DayMax, r.Month, r.MonthMax = b.Level, b.Day, b.DayMax, b.Month, b.MonthMax
	}
	for i := range d.Receivers {
		r.add(d, &d.Receivers[i])
	}
	return r
}

// add counts a receiver.
func (r *Record) add(d *status.Document, from *status.Receiver) {
	r.Queue += from.Untold
	r.Due += from.Due()
	r.Dead += from.Dead
	if !from.Oldest.IsZero() && from.Untold > 0 {
		r.Oldest = max(r.Oldest, int64(d.Now.Sub(from.Oldest).Seconds()))
	}
	if !from.RefusedSince.IsZero() || from.State == "backoff" || len(from.MissingFiles) > 0 {
		r.Failing++
	}
	for _, l := range from.Losses {
		r.Lost += l.Events
		if r.LostBy == nil {
			r.LostBy = make(map[string]uint64)
		}
		r.LostBy[l.Cause] += l.Events
	}
}

// JSON returns the record in at most MaxBytes: where the causes of losses need more, the smallest of them become one.
func (r Record) JSON() []byte {
	causes := make([]string, 0, len(r.LostBy))
	for cause := range r.LostBy {
		causes = append(causes, cause)
	}
	slices.SortFunc(causes, func(a, b string) int { return cmp.Or(cmp.Compare(r.LostBy[b], r.LostBy[a]), cmp.Compare(a, b)) })
	for {
		// It is a plain tree of numbers and strings, so encoding cannot fail.
		text, err := json.Marshal(r)
		if err == nil && len(text) <= MaxBytes || len(causes) == 0 {
			return text
		}
		last := causes[len(causes)-1]
		causes = causes[:len(causes)-1]
		by := map[string]uint64{other: r.LostBy[other] + r.LostBy[last]}
		for _, cause := range causes {
			by[cause] = r.LostBy[cause]
		}
		r.LostBy = by
	}
}
