package status

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/edge-eventer/edge-eventer/spool"
)

// exposition writes the Prometheus text format 0.0.4. It is all that is needed of a metrics library here: every series is
// read from a document at the time of the scrape, so nothing is registered and nothing is kept.
type exposition struct {
	b strings.Builder
}

// family begins a metric. All its samples follow at once.
func (x *exposition) family(name, kind, help string) {
	fmt.Fprintf(&x.b, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind)
}

// sample writes one series. Labels come in pairs of name and value.
func (x *exposition) sample(name string, value float64, labels ...string) {
	x.b.WriteString(name)
	for i := 0; i+1 < len(labels); i += 2 {
		separator := "{"
		if i > 0 {
			separator = ","
		}
		fmt.Fprintf(&x.b, "%s%s=%q", separator, labels[i], labels[i+1])
	}
	if len(labels) > 0 {
		x.b.WriteByte('}')
	}
	fmt.Fprintf(&x.b, " %v\n", value)
}

// histogram writes how long something took.
func (x *exposition) histogram(name, help string, d *Durations) {
	x.family(name, "histogram", help)
	n := uint64(0)
	for i, bound := range d.Bounds[:min(len(d.Bounds), len(d.Counts))] {
		n += d.Counts[i]
		x.sample(name+"_bucket", float64(n), "le", strconv.FormatFloat(bound, 'g', -1, 64))
	}
	x.sample(name+"_bucket", float64(d.Count()), "le", "+Inf")
	x.sample(name+"_sum", d.Sum)
	x.sample(name+"_count", float64(d.Count()))
}

// Count returns how many were counted.
func (d *Durations) Count() (n uint64) {
	for _, c := range d.Counts {
		n += c
	}
	return n
}

// one writes a metric that has one series.
func (x *exposition) one(name, kind, help string, value float64) {
	x.family(name, kind, help)
	x.sample(name, value)
}

// The types of metrics used here.
const (
	counter = "counter"
	gauge   = "gauge"
)

// metric is a metric that has one series for each part of the document of one kind.
type metric[Part any] struct {
	name, kind, help string
	value            func(*Part) float64
}

// each writes metrics with one series for each part, told apart by a label.
func each[Part any](x *exposition, metrics []metric[Part], parts []Part, label string, name func(*Part) string) {
	for _, m := range metrics {
		x.family(m.name, m.kind, m.help)
		for i := range parts {
			x.sample(m.name, m.value(&parts[i]), label, name(&parts[i]))
		}
	}
}

// WriteMetrics writes the document in the Prometheus text format. Labels are receivers' names, watched namespaces and fixed
// words: their number is bounded by the configuration, never by what events hold.
func (d *Document) WriteMetrics(w io.Writer) error {
	var x exposition
	x.family("edge_eventer_info", gauge, "The agent's version.")
	x.sample("edge_eventer_info", 1, "version", d.Version)
	x.family("edge_eventer_build_info", gauge, "What the agent was built of.")
	x.sample("edge_eventer_build_info", 1, "version", d.Version, "revision", d.Revision, "goversion", d.GoVersion)
	x.one("process_start_time_seconds", gauge, "When the agent started, in Unix seconds.", seconds(d.Started))
	d.writeIntake(&x)
	d.writeSpool(&x)
	x.one("edge_eventer_config_reload_success", gauge, "0 while a changed configuration is refused and the one before is used.", flag(d.Config.Refused.IsZero()))
	x.one("edge_eventer_config_reload_timestamp_seconds", gauge, "When the configuration in use was read, in Unix seconds.", seconds(d.Config.Loaded))
	each(&x, d.watchMetrics(), d.Watch, "namespace", func(w *Watch) string { return w.Namespace })
	each(&x, d.receiverMetrics(), d.Receivers, "receiver", func(r *Receiver) string { return r.Name })
	d.writeMatches(&x)
	d.writeAttempts(&x)
	d.writeMuted(&x)
	d.writeLosses(&x)
	d.writeLink(&x)
	d.writeBudget(&x)
	x.one("process_resident_memory_bytes", gauge, "Resident memory.", float64(d.Memory.Resident))
	x.one("edge_eventer_memory_anonymous_bytes", gauge, "Resident memory that is not backed by a file: heap and stacks.", float64(d.Memory.Anonymous))
	x.one("edge_eventer_memory_file_bytes", gauge, "Resident memory that is backed by files: the binary and the spool. It can be reclaimed.", float64(d.Memory.File))
	x.one("edge_eventer_memory_peak_bytes", gauge, "Peak of the resident memory.", float64(d.Memory.Peak))
	if _, err := io.WriteString(w, x.b.String()); err != nil {
		return fmt.Errorf("write metrics: %w", err)
	}
	return nil
}

// writeIntake writes what became of the events that the API server showed.
func (d *Document) writeIntake(x *exposition) {
	in := &d.Intake
	x.family("edge_eventer_events_total", counter, "Event versions that the API server showed, by what became of them.")
	for _, became := range []struct {
		result string
		n      uint64
	}{{"committed", in.Committed}, {"filtered", in.Filtered}, {"known", in.Known}, {"old", in.Old}} {
		x.sample("edge_eventer_events_total", float64(became.n), "result", became.result)
	}
	x.one("edge_eventer_folded_events_total", counter, "Committed events that joined an incident in a queue instead of making one, counted in each queue.", float64(in.Folded))
	x.one("edge_eventer_commits_total", counter, "Transactions of events that are on disk.", float64(in.Commits))
	x.histogram("edge_eventer_commit_duration_seconds", "How long transactions of events took, their fsync included.", &in.CommitTimes)
	x.histogram("edge_eventer_fsync_duration_seconds", "How long commits, those of acknowledgements included, wrote and synced.", &d.Spool.Times)
	x.family("edge_eventer_filter_hits_total", counter, "Events that a rule of the filter decided on, by its place in the list; from 0 again after a reload.")
	for i, hits := range in.Rules {
		x.sample("edge_eventer_filter_hits_total", float64(hits), "rule", strconv.Itoa(i))
	}
	x.one("edge_eventer_commit_failures_total", counter, "Transactions that the disk refused; they are repeated.", float64(in.Failures))
}

// writeSpool writes how the file on disk stands.
func (d *Document) writeSpool(x *exposition) {
	s := &d.Spool
	x.one("edge_eventer_spool_blocked", gauge, "1 while the spool refuses writes.", flag(!s.BlockedSince.IsZero()))
	x.one("edge_eventer_spool_file_bytes", gauge, "Size of the spool file.", float64(s.File))
	x.one("edge_eventer_spool_used_bytes", gauge, "Bytes of the spool file in use.", float64(s.Used))
	x.one("edge_eventer_spool_max_bytes", gauge, "The bound of the spool file, spool.maxBytes.", float64(s.Max))
	x.one("edge_eventer_spool_compactions_total", counter, "How often the spool file was written anew because too much of it was empty; events wait meanwhile.", float64(s.Compactions))
	x.one("edge_eventer_ledger_events", gauge, "Events in the ledger: those that the API server holds.", float64(s.Ledger))
	x.one("edge_eventer_gaps_total", counter, "Absences longer than events live, in which some may have come and gone unseen: losses of unknown size.", float64(s.Gaps))
}

// watchMetrics are the metrics of each watched namespace.
func (d *Document) watchMetrics() []metric[Watch] {
	return []metric[Watch]{
		{"edge_eventer_watch_up", gauge, "1 while the API server shows events.", func(w *Watch) float64 { return flag(w.up()) }},
		{"edge_eventer_watch_failing_seconds", gauge, "How long the watch has been failing.", func(w *Watch) float64 {
			if w.FailingSince.IsZero() {
				return 0
			}
			return d.Now.Sub(w.FailingSince).Seconds()
		}},
		{"edge_eventer_watch_last_event_timestamp_seconds", gauge, "When an event was last taken, in Unix seconds; 0: never.", func(w *Watch) float64 { return seconds(w.LastEvent) }},
		{"edge_eventer_watch_last_list_timestamp_seconds", gauge, "When a list was last complete, in Unix seconds; 0: never.", func(w *Watch) float64 { return seconds(w.LastList) }},
		{"edge_eventer_watch_lists_total", counter, "Complete lists.", func(w *Watch) float64 { return float64(w.Lists) }},
		{"edge_eventer_watch_watches_total", counter, "Watches opened.", func(w *Watch) float64 { return float64(w.Watches) }},
		{"edge_eventer_watch_expired_total", counter, "Positions that the API server had forgotten (410).", func(w *Watch) float64 { return float64(w.Expired) }},
		{"edge_eventer_watch_failures_total", counter, "Failures of lists and watches.", func(w *Watch) float64 { return float64(w.Failures) }},
		{"edge_eventer_watch_skipped_events_total", counter, "Events that could not be read: each is a loss too.", func(w *Watch) float64 { return float64(w.Skipped) }},
	}
}

// receiverMetrics are the metrics of each receiver that have no label of their own.
func (d *Document) receiverMetrics() []metric[Receiver] {
	return []metric[Receiver]{
		{"edge_eventer_queue_records", gauge, "Records in the receiver's queue, told and untold.", func(r *Receiver) float64 { return float64(r.Records) }},
		{"edge_eventer_queue_untold_events", gauge, "Observations that the receiver has not confirmed.", func(r *Receiver) float64 { return float64(r.Untold) }},
		{"edge_eventer_queue_bytes", gauge, "Bytes of the records in the receiver's queue.", func(r *Receiver) float64 { return float64(r.Bytes) }},
		{"edge_eventer_queue_oldest_age_seconds", gauge, "Age of the oldest record in the queue; 0: it is empty.", func(r *Receiver) float64 {
			if r.Oldest.IsZero() {
				return 0
			}
			return max(0, d.Now.Sub(r.Oldest).Seconds())
		}},
		{"edge_eventer_dead_letters", gauge, "Messages that the receiver refused for good and that are kept.", func(r *Receiver) float64 { return float64(r.Dead) }},
		{"edge_eventer_set_aside", gauge, "Messages and topics that the receiver does not take while it takes others.", func(r *Receiver) float64 { return float64(r.AsideCount) }},
		{"edge_eventer_untold_losses", gauge, "How often something was lost that the receiver has not been told of.", func(r *Receiver) float64 {
			times := uint64(0)
			for _, l := range r.UntoldLosses {
				times += l.Times
			}
			return float64(times)
		}},
		{"edge_eventer_delivered_events_total", counter, "Observations that the receiver confirmed.", func(r *Receiver) float64 { return float64(r.Delivered) }},
		{"edge_eventer_receiver_refused", gauge, "1 while the receiver refuses every message.", func(r *Receiver) float64 { return flag(!r.RefusedSince.IsZero()) }},
		{"edge_eventer_last_delivery_timestamp_seconds", gauge, "When the receiver last confirmed a message, in Unix seconds; 0: never.", func(r *Receiver) float64 { return seconds(r.LastDelivered) }},
	}
}

func (d *Document) writeMatches(x *exposition) {
	x.family("edge_eventer_match_hits_total", counter, "Events that a match rule of the receiver was the first to match, by its place in the list; from 0 again after a reload.")
	for i := range d.Receivers {
		for rule, hits := range d.Receivers[i].Matches {
			x.sample("edge_eventer_match_hits_total", float64(hits), "receiver", d.Receivers[i].Name, "rule", strconv.Itoa(rule))
		}
	}
}

func (d *Document) writeAttempts(x *exposition) {
	x.family("edge_eventer_attempts_total", counter, "Requests to the receiver by outcome.")
	for i := range d.Receivers {
		// All outcomes are shown from the start, so that rates need no first sample.
		for _, outcome := range []string{"ok", "retry", "bad_payload", "bad_target"} {
			x.sample("edge_eventer_attempts_total", float64(d.Receivers[i].Attempts[outcome]), "receiver", d.Receivers[i].Name, "outcome", outcome)
		}
	}
}

// writeMuted writes what is held back on purpose, by what.
func (d *Document) writeMuted(x *exposition) {
	x.family("edge_eventer_muted_events", gauge, "Observations that are due and held back by an inhibition, a time interval or a silence.")
	for i := range d.Receivers {
		r := &d.Receivers[i]
		byReason := map[string]uint64{"inhibition": 0, "silence": 0, "time interval": 0}
		for _, m := range r.Muted {
			byReason[m.Reason] += m.Events
		}
		for _, reason := range slices.Sorted(maps.Keys(byReason)) {
			x.sample("edge_eventer_muted_events", float64(byReason[reason]), "receiver", r.Name, "reason", reason)
		}
	}
	active := 0
	for _, s := range d.Silences {
		if s.State == "active" {
			active++
		}
	}
	x.one("edge_eventer_silences", gauge, "Silences that are active.", float64(active))
}

func (d *Document) writeLosses(x *exposition) {
	x.family("edge_eventer_lost_events_total", counter, "Observations lost on the way to the receiver, by cause.")
	for i := range d.Receivers {
		// All causes are shown from the start: a rate sees no growth in a series that begins with it.
		byCause := map[string]uint64{
			spool.Evicted: 0, spool.Expired: 0, spool.Refused: 0, spool.Damaged: 0, spool.Unseen: 0, spool.Undecodable: 0, Dropped: 0,
		}
		for _, l := range d.Receivers[i].Losses {
			byCause[l.Cause] = l.Events
		}
		for _, cause := range slices.Sorted(maps.Keys(byCause)) {
			x.sample("edge_eventer_lost_events_total", float64(byCause[cause]), "receiver", d.Receivers[i].Name, "cause", cause)
		}
	}
}

// writeLink writes how the way out stands and what went over it.
func (d *Document) writeLink(x *exposition) {
	x.one("edge_eventer_link_up", gauge, "1 while there is a way out, or where that cannot be seen.", flag(d.LinkState != linkDown))
	x.one("edge_eventer_link_outages_total", counter, "How often the way out was lost.", float64(d.Outages))
	x.one("edge_eventer_link_changed_timestamp_seconds", gauge, "When the link last went or came, in Unix seconds.", seconds(d.LinkSince))
	x.family("edge_eventer_link_bytes_total", counter, "Bytes at the sockets, TLS and DNS included, by receiver; from 0 again at the begin of a month.")
	if d.Budget == nil {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(d.Budget.Receivers)) {
		month := d.Budget.Receivers[name]
		x.sample("edge_eventer_link_bytes_total", float64(month.Received), "receiver", name, "direction", "received")
		x.sample("edge_eventer_link_bytes_total", float64(month.Sent), "receiver", name, "direction", "sent")
	}
}

// writeBudget writes what may go over the link.
func (d *Document) writeBudget(x *exposition) {
	b := d.Budget
	if b == nil {
		b = &Budget{Level: Free}
	}
	level := max(0, slices.Index([]string{Free, Frugal, CriticalOnly}, b.Level))
	x.one("edge_eventer_budget_level", gauge, "0: everything is sent; 1: four fifths of a budget are used, one digest an hour; 2: it is used up, only critical incidents are sent.", float64(level))
	x.family("edge_eventer_budget_used_bytes", gauge, "Bytes over the link in this local day and month, both ways.")
	x.sample("edge_eventer_budget_used_bytes", float64(b.Day), "period", "day")
	x.sample("edge_eventer_budget_used_bytes", float64(b.Month), "period", "month")
	x.family("edge_eventer_budget_max_bytes", gauge, "The budget of the period; 0: none.")
	x.sample("edge_eventer_budget_max_bytes", float64(b.DayMax), "period", "day")
	x.sample("edge_eventer_budget_max_bytes", float64(b.MonthMax), "period", "month")
}

func flag(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// seconds returns the Unix time, 0 for the zero time.
func seconds(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMilli()) / 1000
}
