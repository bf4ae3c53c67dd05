// Package suspect finds out which part of a message spoils it, and keeps what fails alone apart from the others.
//
// It promises that what is set aside is bounded, 256 of one receiver, tried again ever more seldom, and named in the status; and that
// the incident that spoils a message of n is found in at most 2 log n + 1 messages.
package suspect

import (
	"math/rand/v2"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/inbox"
	"github.com/edge-eventer/edge-eventer/agent/status"
	"github.com/edge-eventer/edge-eventer/notify"
)

const (
	// MaxTries is how often in a row a message fails, though the receiver answers, before a part of it is suspected.
	MaxTries = 3
	// MaxAccused is how many messages that fail alone, with none taken in between, it takes to blame the receiver instead. Each
	// further round of suspicion allows twice as many, so that it comes to what is behind them.
	MaxAccused = 3
	// MaxAside bounds what is set aside of one receiver, and maxAsideShown what of it the status names.
	MaxAside      = 256
	maxAsideShown = 16
	// firstAside, lastAside and lastAsideGroup bound the pauses between the tries of what is set aside: each is four times the one
	// before. A group is a whole topic, which an administrator may make at any time.
	firstAside     = 2 * time.Second
	lastAside      = 4 * time.Hour
	lastAsideGroup = 10 * time.Minute
)

// Key is that of an incident, or the name of a group of them, such as a topic.
type Key struct {
	Group bool
	ID    string
}

// Suspect is what fails alone, and holds no other: a message that its receiver neither takes nor refuses for good, a topic that is
// missing. It is tried on its own, ever more seldom.
type Suspect struct {
	// Workload and Reason are those of the incident; of a group, of the one that failed last.
	Workload, Reason string
	Since, Next      time.Time
	Tries            int
	Form             notify.Form
	Failure          string
	// Proved says that another message was taken since: the fault is its own. Without that it is accused only, and waits for
	// the verdict.
	Proved bool
}

// Asides are set aside by one delivery, MaxAside at most. After a restart all are tried anew with the others. Only the loop of the
// delivery uses it.
type Asides struct {
	all    map[Key]*Suspect
	groups int
}

// Hold notes that what the key names has failed. It reports false where there is no room.
func (s *Asides) Hold(key Key, e *inbox.Entry, failure *notify.Error, proved bool, tries int) (*Suspect, bool) {
	a := s.all[key]
	if a == nil {
		if len(s.all) >= MaxAside {
			return nil, false
		}
		if s.all == nil {
			s.all = make(map[Key]*Suspect)
		}
		a = &Suspect{Since: time.Now()}
		s.all[key] = a
		if key.Group {
			s.groups++
		}
	}
	a.Workload, a.Reason = e.Incident.Workload, e.Incident.Event.Reason
	a.Failure = failure.Error()
	a.Proved = a.Proved || proved
	a.Tries = max(a.Tries+1, tries)
	a.Next = time.Now().Add(max(asidePause(a.Tries, key.Group), failure.RetryAfter))
	return a, true
}

// asidePause returns the pause after the given number of tries, a quarter more or less.
func asidePause(tries int, group bool) time.Duration {
	most := lastAside
	if group {
		most = lastAsideGroup
	}
	pause := firstAside
	for range tries - 1 {
		if pause = min(4*pause, most); pause == most {
			break
		}
	}
	return pause*3/4 + rand.N(pause/2)
}

// Drop takes what the key names back to the others.
func (s *Asides) Drop(key Key) {
	if s.all[key] == nil {
		return
	}
	delete(s.all, key)
	if key.Group {
		s.groups--
	}
}

// Holds reports whether the incident under the key has to stay behind the others.
func (s *Asides) Holds(key []byte) bool {
	return len(s.all) > 0 && s.all[Key{ID: string(key)}] != nil
}

// HoldsGroup does so for all of a group, which is asked for only where one is set aside.
func (s *Asides) HoldsGroup(group func() string) bool {
	return s.groups > 0 && s.all[Key{true, group()}] != nil
}

// Accused counts those that wait for the verdict.
func (s *Asides) Accused() (n int) {
	for _, a := range s.all {
		if !a.Proved {
			n++
		}
	}
	return n
}

// Prove turns accusations into findings, since another message was taken.
func (s *Asides) Prove() (found []*Suspect) {
	for _, a := range s.all {
		if !a.Proved {
			a.Proved = true
			found = append(found, a)
		}
	}
	return found
}

// Acquit drops all accusations, and reports whether one was of a group.
func (s *Asides) Acquit() (group bool) {
	for key, a := range s.all {
		if !a.Proved {
			group = group || key.Group
			s.Drop(key)
		}
	}
	return group
}

// RetryAll makes everything due at once.
func (s *Asides) RetryAll(now time.Time) {
	for _, a := range s.all {
		a.Next = now
	}
}

// Due returns what is to be tried next, the one that waits longest; nil: nothing is. next is when something will be, the zero
// time where nothing is set aside.
func (s *Asides) Due(now time.Time) (key Key, due *Suspect, next time.Time) {
	for k, a := range s.all {
		if !a.Proved {
			continue
		}
		if next.IsZero() || a.Next.Before(next) {
			key, due, next = k, a, a.Next
		}
	}
	if due != nil && due.Next.After(now) {
		due = nil
	}
	return key, due, next
}

// Shown returns the first maxAsideShown, the oldest first, and how many there are.
func (s *Asides) Shown() (list []status.Aside, n int) {
	for key, a := range s.all {
		if !a.Proved {
			continue
		}
		n++
		entry := status.Aside{Workload: a.Workload, Reason: a.Reason, Since: a.Since, Next: a.Next, Tries: a.Tries, Failure: a.Failure}
		if key.Group {
			entry.Group = key.ID
		}
		at := 0
		for at < len(list) && !list[at].Since.After(entry.Since) {
			at++
		}
		if at < maxAsideShown {
			list = append(list[:at], append([]status.Aside{entry}, list[at:]...)...)
			list = list[:min(len(list), maxAsideShown)]
		}
	}
	return list, n
}

// Tries returns how often what the key names has failed, 0 where it is not set aside.
func (s *Asides) Tries(key Key) int {
	if a := s.all[key]; a != nil {
		return a.Tries
	}
	return 0
}

// Simplified reports whether what the key names was tried in its simplest form.
func (s *Asides) Simplified(key Key) bool {
	a := s.all[key]
	return a != nil && a.Form == notify.Simple
}

// Young returns the keys of single incidents that are set aside, due, and have failed less than MaxTries times, the given one first.
func (s *Asides) Young(first Key, now time.Time) []Key {
	keys := []Key{first}
	if s.Tries(first) >= MaxTries {
		return keys
	}
	for key, other := range s.all {
		if key != first && !key.Group && other.Proved && other.Tries < MaxTries && !other.Next.After(now) {
			keys = append(keys, key)
		}
	}
	return keys
}
