package control

import "time"

// Status is what `edge-eventer status -o json` prints and what the status page reads. Fields are added, never renamed. Times
// are RFC 3339, zero times are left out; durations are in seconds, sizes in bytes.
type Status struct {
	Version string    `json:"version"`
	Cluster string    `json:"cluster"`
	Started time.Time `json:"started"`
	Now     time.Time `json:"now"`
	// Language is that of the verdict: en or zh.
	Language string `json:"language,omitempty"`
	// Verdict answers first whether it works, and why not.
	Verdict Verdict `json:"verdict"`
	// Ready is false while Problems has an entry: sentences that say why events do not reach the spool or a receiver.
	Ready    bool     `json:"ready"`
	Problems []string `json:"problems"`
	// Notes are sentences about what is worth knowing and hinders nothing, such as a queue that no receiver empties.
	Notes []string `json:"notes,omitempty"`

	// Link is up, down or unknown. LinkSince is when that began.
	Link      string    `json:"link"`
	LinkSince time.Time `json:"linkSince,omitzero"`
	// LinkReason says in a few words why.
	LinkReason string `json:"linkReason,omitempty"`
	// LinkChanges counts how often the link was lost since the agent started.
	LinkChanges uint64 `json:"linkChanges"`

	Watch     []Watch    `json:"watch"`
	Intake    Intake     `json:"intake"`
	Spool     Spool      `json:"spool"`
	Receivers []Receiver `json:"receivers"`
	// Deliveries are the last attempts, at most 20, the newest first. Failures of one receiver in a row are one entry.
	Deliveries []Delivery    `json:"deliveries"`
	Budget     *Budget       `json:"budget,omitempty"`
	Config     Configuration `json:"config"`
	Memory     Memory        `json:"memory"`
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
}

// Intake counts event versions since the agent started.
type Intake struct {
	Seen      uint64 `json:"seen"`
	Known     uint64 `json:"known"`
	Old       uint64 `json:"old"`
	Filtered  uint64 `json:"filtered"`
	Committed uint64 `json:"committed"`
}

// Spool is the file on disk.
type Spool struct {
	Path         string    `json:"path"`
	File         int64     `json:"fileBytes"`
	Used         int64     `json:"usedBytes"`
	Max          int64     `json:"maxBytes"`
	BlockedSince time.Time `json:"blockedSince,omitzero"`
	// Syncs counts the commits since the agent started; SyncMean and SyncMax are how long they wrote and synced, in seconds.
	Syncs    uint64  `json:"syncs"`
	SyncMean float64 `json:"syncMeanSeconds"`
	SyncMax  float64 `json:"syncMaxSeconds"`
}

// Receiver is a queue and what its delivery is doing.
type Receiver struct {
	Name string `json:"name"`
	// Type is empty for a queue on disk that no configured receiver empties.
	Type string `json:"type"`
	// State is idle, link down, waiting, sending, backoff or refused.
	State string    `json:"state"`
	Since time.Time `json:"since,omitzero"`
	Next  time.Time `json:"next,omitzero"`
	// Records are those in the queue, among them incidents that were told and are remembered until they are over. Untold counts
	// observations that the receiver has not confirmed.
	Records int    `json:"records"`
	Untold  uint64 `json:"untold"`
	// Held are those of Untold that are held back on purpose until NextDue or later: repeats, and what waits for its group. The others are due.
	Held          uint64    `json:"held,omitempty"`
	NextDue       time.Time `json:"nextDue,omitzero"`
	Bytes         int64     `json:"bytes"`
	Oldest        time.Time `json:"oldest,omitzero"`
	Dead          int       `json:"deadLetters"`
	RefusedSince  time.Time `json:"refusedSince,omitzero"`
	LastError     string    `json:"lastError,omitempty"`
	LastDelivered time.Time `json:"lastDelivered,omitzero"`
	Delivered     uint64    `json:"delivered"`
	// Attempts counts by outcome: ok, retry, bad_payload, bad_target.
	Attempts map[string]uint64 `json:"attempts,omitempty"`
	Losses   []Loss            `json:"losses,omitempty"`
	// Aside are messages that fail alone while others are taken, at most 16, the oldest first; AsideCount is how many there are.
	Aside      []Aside `json:"aside,omitempty"`
	AsideCount int     `json:"asideCount,omitempty"`
	// UntoldLosses are those of Losses that the receiver has not confirmed.
	UntoldLosses []Loss `json:"untoldLosses,omitempty"`
}

// Aside is a message, or all that go to one topic, that a receiver does not take while it takes others.
type Aside struct {
	// Group is the topic; empty: it is one incident.
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
	// At is when the last of them ended, First when the first did; zero: there was one.
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
	Cause     string    `json:"cause"`
	Incidents uint64    `json:"incidents"`
	Events    uint64    `json:"events"`
	Since     time.Time `json:"since,omitzero"`
}

// Budget is what went over the link, in bytes, and what may.
type Budget struct {
	// Level is free, frugal or critical-only.
	Level    string `json:"level"`
	Day      int64  `json:"dayBytes"`
	DayMax   int64  `json:"dayMaxBytes"`
	Month    int64  `json:"monthBytes"`
	MonthMax int64  `json:"monthMaxBytes"`
	// Forecast is what the month will have used at its end if it goes on as it did.
	Forecast int64 `json:"forecastBytes"`
}

// Configuration is how the last reading of the configuration ended.
type Configuration struct {
	Path string `json:"path,omitempty"`
	// Loaded is when the configuration in use was read. Refused is when a later one was refused, and Mistakes why.
	Loaded   time.Time `json:"loaded,omitzero"`
	Refused  time.Time `json:"refused,omitzero"`
	Mistakes string    `json:"mistakes,omitempty"`
}

// Memory is that of the process in bytes.
type Memory struct {
	Resident  int64 `json:"residentBytes"`
	Anonymous int64 `json:"anonymousBytes"`
	Peak      int64 `json:"peakBytes"`
}
