package status

import "time"

// Document is what `edge-eventer status -o json` prints, what the control socket answers and what the status page fetches. Keys are
// added, never renamed. Times are RFC 3339, zero times are left out; durations are in seconds, sizes in bytes.
type Document struct {
	Agent
	Findings
	Link
	// SignInError says what keeps the agent from signing in to the cluster; empty while it has.
	SignInError string `json:"signInError,omitempty"`
	// Watch has one entry per watched namespace, and none before the agent has signed in.
	Watch  []Watch `json:"watch"`
	Intake Intake  `json:"intake"`
	Spool  Spool   `json:"spool"`
	// Receivers are those of the configuration, in its order, and then, with an empty Type, the queues on disk that have none.
	Receivers []Receiver `json:"receivers"`
	// Silences are those that are active or pending, those that end first in front.
	Silences []Silence `json:"silences,omitempty"`
	// Deliveries are the last attempts, at most 20, the newest first. Failures of one receiver in a row are one entry.
	Deliveries []Delivery    `json:"deliveries"`
	Budget     *Budget       `json:"budget,omitempty"`
	Config     Configuration `json:"config"`
	Memory     Memory        `json:"memory"`
}

// Agent says which agent it is.
type Agent struct {
	Version string `json:"version"`
	// Revision is the commit that the agent was built of, and GoVersion the toolchain.
	Revision  string `json:"revision,omitempty"`
	GoVersion string `json:"goVersion,omitempty"`
	// Cluster is the configured name.
	Cluster string    `json:"cluster"`
	Started time.Time `json:"started"`
	// Now is when the document was made.
	Now time.Time `json:"now"`
	// Language is the configured one, that of the verdict and the notes: en or zh.
	Language string `json:"language,omitempty"`
}

// Findings are what Judge finds in the rest of the document.
type Findings struct {
	// Verdict answers first whether it works, and why not.
	Verdict Verdict `json:"verdict"`
	// Ready is false while Problems has an entry: English sentences that say why events do not reach the spool or a receiver.
	Ready    bool     `json:"ready"`
	Problems []string `json:"problems"`
	// Notes are sentences about what is worth knowing and hinders nothing, such as a queue that no receiver empties.
	Notes []string `json:"notes,omitempty"`
}

// Dropped is the cause of the loss that an operator's drop is counted as; the other causes are the spool's.
const Dropped = "dropped"

// linkDown is the state of a link without a way out.
const linkDown = "down"

// Link is the way out.
type Link struct {
	// LinkState is up, down or unknown, and LinkSince is when that began.
	LinkState string    `json:"link"`
	LinkSince time.Time `json:"linkSince,omitzero"`
	// LinkReason says in a few words why.
	LinkReason string `json:"linkReason,omitempty"`
	// Outages counts how often the link was lost since the agent started.
	Outages uint64 `json:"linkChanges"`
}

// Watch is the watch of one namespace; "" is all of them.
type Watch struct {
	Namespace string `json:"namespace"`
	// State is waiting, listing or watching.
	State string    `json:"state"`
	Since time.Time `json:"since,omitzero"`
	// LastEvent, LastList and LastAnswer are zero when there was none yet.
	LastEvent  time.Time `json:"lastEvent,omitzero"`
	LastList   time.Time `json:"lastList,omitzero"`
	LastAnswer time.Time `json:"lastAnswer,omitzero"`
	// FailingSince is zero while all is well.
	FailingSince time.Time `json:"failingSince,omitzero"`
	Failure      string    `json:"failure,omitempty"`
	// Unseen says that the failure keeps events from being seen: it is neither the spool's, nor a position that expired.
	Unseen bool `json:"unseen,omitempty"`
	WatchCounts
}

// up tells whether the API server shows events.
func (w *Watch) up() bool { return w.FailingSince.IsZero() && w.State == "watching" }

// Sight says whether the API server shows events: down while one namespace is not seen, unknown where no watch has begun, else up.
func (d *Document) Sight() string {
	sight := "unknown"
	for i := range d.Watch {
		switch w := &d.Watch[i]; {
		case !w.FailingSince.IsZero() && w.Unseen:
			return "down"
		case i == 0 && w.State == "watching":
			sight = "up"
		}
	}
	if d.SignInError != "" {
		return "down"
	}
	return sight
}

// WatchCounts are what a watch began and met since the agent started.
type WatchCounts struct {
	// Lists are those that were complete, and Watches those that were opened.
	Lists   uint64 `json:"lists,omitempty"`
	Watches uint64 `json:"watches,omitempty"`
	// Expired counts the positions that the API server had forgotten (410), and Failures all failures.
	Expired  uint64 `json:"expired,omitempty"`
	Failures uint64 `json:"failures,omitempty"`
	// Skipped counts events that could not be read.
	Skipped uint64 `json:"skipped,omitempty"`
}

// Intake counts event versions since the agent started: Seen = Known (taken before) + Old (before startupLookback) + Filtered + Committed.
type Intake struct {
	Seen      uint64 `json:"seen"`
	Known     uint64 `json:"known"`
	Old       uint64 `json:"old"`
	Filtered  uint64 `json:"filtered"`
	Committed uint64 `json:"committed"`
	// Critical are those of Committed whose severity is critical.
	Critical uint64 `json:"critical,omitempty"`
	// Folded counts the events that joined an incident in a queue instead of making one, in each queue.
	Folded uint64 `json:"folded,omitempty"`
	// Commits are transactions that are on disk, and Failures those that the disk refused.
	Commits  uint64 `json:"commits,omitempty"`
	Failures uint64 `json:"commitFailures,omitempty"`
	// CommitTimes is how long commits took, from the begin of the transaction to its last fsync.
	CommitTimes Durations `json:"commitTimes"`
	// Rules is how often each rule of the filter decided, in the order of the configuration.
	Rules []uint64 `json:"ruleHits,omitempty"`
}

// Spool is the file on disk.
type Spool struct {
	Path string `json:"path"`
	File int64  `json:"fileBytes"`
	Used int64  `json:"usedBytes"`
	Max  int64  `json:"maxBytes"`
	// BlockedSince is when the spool began to refuse writes, and BlockedBy why; zero while it does not.
	BlockedSince time.Time `json:"blockedSince,omitzero"`
	BlockedBy    string    `json:"blockedBy,omitempty"`
	Syncs
	// Ledger is the number of events in the ledger.
	Ledger int `json:"ledgerEvents,omitempty"`
	// Gaps counts, since the spool was made, the absences in which events may have come and gone unseen.
	Gaps uint64 `json:"gaps,omitempty"`
	// Compactions counts, since the agent started, how often the file was written anew because too much of it was empty.
	Compactions uint64 `json:"compactions,omitempty"`
}

// Syncs is how long commits, those of acknowledgements included, wrote and synced since the agent started: on an SD card, the fsync.
type Syncs struct {
	// Count is how many there were, Mean and Max are in seconds.
	Count uint64  `json:"syncs"`
	Mean  float64 `json:"syncMeanSeconds"`
	Max   float64 `json:"syncMaxSeconds"`
	// Times is their histogram.
	Times Durations `json:"syncTimes"`
}

// Durations is a histogram of durations in seconds. Counts has one entry more than Bounds: it counts what took at most the bound of the same
// place and more than the one before, and at its end all that took longer.
type Durations struct {
	Bounds []float64 `json:"bounds,omitempty"`
	Counts []uint64  `json:"counts,omitempty"`
	Sum    float64   `json:"sumSeconds"`
}

// Receiver is a receiver's queue and what its delivery is doing.
type Receiver struct {
	Name string `json:"name"`
	// Type is empty for a queue on disk that no configured receiver empties.
	Type string `json:"type"`
	// MissingFiles are the files with an address or a secret that cannot be read, each as the text of its error, which names the file.
	MissingFiles []string `json:"missingFiles,omitempty"`
	Sending
	Queue
	// Matches is how often each match rule was the first to match, in the order of the configuration.
	Matches []uint64 `json:"matchHits,omitempty"`
}

// Sending is what a delivery is doing.
type Sending struct {
	// State is idle, link down, waiting, sending, backoff or refused, and Since is when it began.
	State string    `json:"state"`
	Since time.Time `json:"since,omitzero"`
	// Next is when the next attempt is planned, in the states waiting, backoff and refused.
	Next time.Time `json:"next,omitzero"`
	// RefusedSince is when the receiver began to refuse every message; zero while it does not.
	RefusedSince time.Time `json:"refusedSince,omitzero"`
	// LastError is the text of the last failure, empty after a success.
	LastError string `json:"lastError,omitempty"`
	// FileMissing says that the last failure was a file with an address or a secret that is not there.
	FileMissing bool `json:"fileMissing,omitempty"`
	// LastDelivered is when the receiver last confirmed a message.
	LastDelivered time.Time `json:"lastDelivered,omitzero"`
	// Aside are messages that fail alone while others are taken, at most 16, the oldest first; AsideCount is how many there are.
	Aside      []Aside `json:"aside,omitempty"`
	AsideCount int     `json:"asideCount,omitempty"`
	// MuteOnLosses says that the last message had losses to tell and no place for them: a body whose templates leave out the message.
	MuteOnLosses bool `json:"muteOnLosses,omitempty"`
	// Muted is what is due and held back by an inhibition, a time interval or a silence, as of the last look at the queue.
	Muted []Muted `json:"muted,omitempty"`
	// Attempts counts by outcome: ok, retry, bad_payload, bad_target.
	Attempts map[string]uint64 `json:"attempts,omitempty"`
	// Delivered counts the observations that the receiver confirmed since the agent started.
	Delivered uint64 `json:"delivered"`
}

// Queue is what waits for a receiver.
type Queue struct {
	// Records are those in the queue, among them incidents that were delivered and are remembered until they are over.
	Records int `json:"records"`
	// Untold counts observations that the receiver has not confirmed.
	Untold uint64 `json:"untold"`
	// Held are those of Untold that are held back on purpose: until NextDue or later repeats and what waits for its group, and what is muted.
	// The others are due.
	Held    uint64    `json:"held,omitempty"`
	NextDue time.Time `json:"nextDue,omitzero"`
	// Bytes is the size of the records.
	Bytes int64 `json:"bytes"`
	// Oldest is when the oldest record arrived; zero while the queue is empty.
	Oldest time.Time `json:"oldest,omitzero"`
	// Dead is the number of dead letters.
	Dead int `json:"deadLetters"`
	// Losses are those since the spool was made, by cause, and UntoldLosses those of them that the receiver has not confirmed.
	Losses       []Loss `json:"losses,omitempty"`
	UntoldLosses []Loss `json:"untoldLosses,omitempty"`
}

// Due returns how many observations wait that are not held back on purpose.
func (q *Queue) Due() uint64 { return q.Untold - min(q.Held, q.Untold) }

// Muted is what one reason holds back.
type Muted struct {
	// Reason is inhibition, time interval or silence; Name is that of the rule or the interval, or the ID of the silence.
	Reason    string `json:"reason"`
	Name      string `json:"name,omitempty"`
	Incidents int    `json:"incidents"`
	Events    uint64 `json:"events"`
}

// Silence is a silence that is active or pending.
type Silence struct {
	ID string `json:"id"`
	// State is pending or active.
	State    string    `json:"state"`
	Matchers string    `json:"matchers"`
	StartsAt time.Time `json:"startsAt"`
	EndsAt   time.Time `json:"endsAt"`
	// CreatedBy and Comment are those of who added it. Critical says that it holds critical incidents too.
	CreatedBy string `json:"createdBy,omitempty"`
	Comment   string `json:"comment,omitempty"`
	Critical  bool   `json:"critical,omitempty"`
}

// Aside is a message, or all that go to one topic, that a receiver does not take while it takes others.
type Aside struct {
	// Group is the topic; empty where it is one incident.
	Group    string `json:"group,omitempty"`
	Workload string `json:"workload"`
	Reason   string `json:"reason"`
	// Since is when it first failed, Next when it is tried again.
	Since time.Time `json:"since"`
	Next  time.Time `json:"next"`
	Tries int       `json:"tries"`
	// Failure is what the receiver answered.
	Failure string `json:"failure"`
}

// Delivery is an attempt to deliver a message, or several in a row that failed alike.
type Delivery struct {
	// At is when the last of them ended, First when the first did; zero where there was one.
	At       time.Time `json:"at"`
	First    time.Time `json:"first,omitzero"`
	Receiver string    `json:"receiver"`
	// Incidents and Events are what the message told; of a digest, those that it names.
	Incidents int    `json:"incidents"`
	Events    uint64 `json:"events"`
	Digest    bool   `json:"digest,omitempty"`
	// Outcome is ok, retry, bad_payload or bad_target.
	Outcome  string `json:"outcome"`
	Attempts int    `json:"attempts"`
}

// Loss is what was lost for one cause since the spool was made.
type Loss struct {
	Cause     string `json:"cause"`
	Incidents uint64 `json:"incidents"`
	Events    uint64 `json:"events"`
	// Times is how often something was lost.
	Times uint64    `json:"times,omitempty"`
	Since time.Time `json:"since,omitzero"`
}

// The levels of a budget, each less free than the one before.
const (
	Free         = "free"
	Frugal       = "frugal"
	CriticalOnly = "critical-only"
)

// Budget is what went over the link in this local day and month, in bytes both ways, and what may.
type Budget struct {
	// Level is free, frugal or critical-only.
	Level string `json:"level"`
	Day   int64  `json:"dayBytes"`
	// DayMax and MonthMax are 0 where there is no budget.
	DayMax   int64 `json:"dayMaxBytes"`
	Month    int64 `json:"monthBytes"`
	MonthMax int64 `json:"monthMaxBytes"`
	// Forecast is what the month will have used at its end if it goes on as it did; 0 while that cannot be said.
	Forecast int64 `json:"forecastBytes"`
	// Receivers is the traffic of this month by receiver; that of none has the name "".
	Receivers map[string]Traffic `json:"receivers,omitempty"`
}

// Traffic is bytes at the sockets, TLS and DNS included.
type Traffic struct {
	Received uint64 `json:"receivedBytes"`
	Sent     uint64 `json:"sentBytes"`
}

// Configuration is how the last reading of the configuration ended.
type Configuration struct {
	Path string `json:"path,omitempty"`
	// Loaded is when the configuration in use was read. Refused is when a later one was refused, and Mistakes why.
	Loaded   time.Time `json:"loaded,omitzero"`
	Refused  time.Time `json:"refused,omitzero"`
	Mistakes string    `json:"mistakes,omitempty"`
	// NeedsRestart lists, as sentences, what a reload read and could not put to use.
	NeedsRestart []string `json:"needsRestart,omitempty"`
}

// Memory is that of the process in bytes; 0 where the system does not tell.
type Memory struct {
	Resident  int64 `json:"residentBytes"`
	Anonymous int64 `json:"anonymousBytes"`
	// File is resident memory that is backed by files, the binary and the spool. It can be reclaimed.
	File int64 `json:"fileBytes,omitempty"`
	Peak int64 `json:"peakBytes"`
}
