package notify

// Tally sums up what became of the records of a request, where a receiver judges each on its own.
type Tally struct {
	incidents int
	failed    int
	worst     Outcome
	refused   []int
	outcomes  []Outcome
	// beyond says that some record failed for more than its group.
	beyond bool
}

// NewTally returns a tally of a request's records, of which the first ones are its incidents.
func NewTally(incidents int) *Tally { return &Tally{incidents: incidents} }

// Fail notes that the record at a position was not taken, with ofGroup only because of the group that it belongs to. It reports whether
// that is worse than all that failed before: its reason is the one to be told. What is to be tried again is worst, since the others are
// refused again when it is gone, and what the receiver refuses of every record is worse than what it refuses of one.
func (t *Tally) Fail(at int, o Outcome, ofGroup bool) (worst bool) {
	rank := func(o Outcome) int { return map[Outcome]int{Retry: 2, BadTarget: 1}[o] }
	worst = t.failed == 0 || rank(o) > rank(t.worst)
	if worst {
		t.worst = o
	}
	t.failed++
	t.beyond = t.beyond || !ofGroup
	if at < t.incidents {
		t.refused, t.outcomes = append(t.refused, at), append(t.outcomes, o)
	}
	return worst
}

// Failed counts the records that were not taken.
func (t *Tally) Failed() int { return t.failed }

// Settle writes into an error what became of the records: its outcome, and which incidents were refused where others were taken.
func (t *Tally) Settle(e *Error) {
	e.Outcome = t.worst
	if len(t.refused) < t.incidents {
		e.Refused, e.Outcomes = t.refused, t.outcomes
	} else {
		e.GroupOnly = !t.beyond
	}
}
