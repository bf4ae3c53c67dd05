package agent

import (
	"math/rand/v2"
	"time"

	"github.com/edge-eventer/edge-eventer/notify"
)

const (
	// maxTries is how often in a row a message fails, though the receiver answers, before a part of it is suspected.
	maxTries = 3
	// maxAccused is how many messages that fail alone, with none taken in between, it takes to blame the receiver instead. Each
	// further round of suspicion allows twice as many, so that it comes to what is behind them.
	maxAccused = 3
	// maxAside bounds what is set aside of one receiver, and maxAsideShown what of it the status names.
	maxAside      = 256
	maxAsideShown = 16
	// firstAside, lastAside and lastAsideGroup bound the pauses between the tries of what is set aside: each is four times the one
	// before. A group is a whole topic, which an administrator may make at any time.
	firstAside     = 2 * time.Second
	lastAside      = 4 * time.Hour
	lastAsideGroup = lastProbe
)

// asideKey is the key of an incident, or the name of a group of them, such as a topic.
type asideKey struct {
	group bool
	id    string
}

// aside is what fails alone, and holds no other: a message that its receiver neither takes nor refuses for good, a topic that is
// missing. It is tried on its own, ever more seldom.
type aside struct {
	// workload and reason are those of the incident; of a group, of the one that failed last.
	workload, reason string
	since, next      time.Time
	tries            int
	form             notify.Form
	failure          string
	// proved says that another message was taken since: the fault is its own. Without that it is accused only, and waits for
	// the verdict.
	proved bool
}

// asides are set aside by one delivery, maxAside at most. After a restart all are tried anew with the others. Only the loop of the
// delivery uses it.
type asides struct {
	all    map[asideKey]*aside
	groups int
}

// hold notes that what the key names has failed. It reports false where there is no room.
func (s *asides) hold(key asideKey, t *told, failure *notify.Error, proved bool, tries int) (*aside, bool) {
	a := s.all[key]
	if a == nil {
		if len(s.all) >= maxAside {
			return nil, false
		}
		if s.all == nil {
			s.all = make(map[asideKey]*aside)
		}
		a = &aside{since: time.Now()}
		s.all[key] = a
		if key.group {
			s.groups++
		}
	}
	a.workload, a.reason = t.incident.Workload, t.incident.Event.Reason
	a.failure = failure.Error()
	a.proved = a.proved || proved
	a.tries = max(a.tries+1, tries)
	a.next = time.Now().Add(max(asidePause(a.tries, key.group), failure.RetryAfter))
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

func (s *asides) drop(key asideKey) {
	if s.all[key] == nil {
		return
	}
	delete(s.all, key)
	if key.group {
		s.groups--
	}
}

// holds reports whether the incident under the key has to stay behind the others.
func (s *asides) holds(key []byte) bool {
	return len(s.all) > 0 && s.all[asideKey{id: string(key)}] != nil
}

// holdsGroup does so for all of a group, which is asked for only where one is set aside.
func (s *asides) holdsGroup(group func() string) bool {
	return s.groups > 0 && s.all[asideKey{true, group()}] != nil
}

// accused counts those that wait for the verdict.
func (s *asides) accused() (n int) {
	for _, a := range s.all {
		if !a.proved {
			n++
		}
	}
	return n
}

// prove turns accusations into findings, since another message was taken.
func (s *asides) prove() (found []*aside) {
	for _, a := range s.all {
		if !a.proved {
			a.proved = true
			found = append(found, a)
		}
	}
	return found
}

// acquit drops all accusations, and reports whether one was of a group.
func (s *asides) acquit() (group bool) {
	for key, a := range s.all {
		if !a.proved {
			group = group || key.group
			s.drop(key)
		}
	}
	return group
}

// again makes everything due at once.
func (s *asides) again(now time.Time) {
	for _, a := range s.all {
		a.next = now
	}
}

// due returns what is to be tried next, the one that waits longest; nil: nothing is. next is when something will be, the zero
// time where nothing is set aside.
func (s *asides) due(now time.Time) (key asideKey, due *aside, next time.Time) {
	for k, a := range s.all {
		if !a.proved {
			continue
		}
		if next.IsZero() || a.next.Before(next) {
			key, due, next = k, a, a.next
		}
	}
	if due != nil && due.next.After(now) {
		due = nil
	}
	return key, due, next
}

// Aside is a message or a group of them that its receiver does not take while it takes others.
type Aside struct {
	// Group is the topic or the like; empty: it is one incident.
	Group            string
	Workload, Reason string
	// Since is when it first failed, Next when it is tried again.
	Since, Next time.Time
	Tries       int
	// Failure is what the receiver answered.
	Failure string
}

// shown returns the first maxAsideShown, the oldest first, and how many there are.
func (s *asides) shown() (list []Aside, n int) {
	for key, a := range s.all {
		if !a.proved {
			continue
		}
		n++
		entry := Aside{Workload: a.workload, Reason: a.reason, Since: a.since, Next: a.next, Tries: a.tries, Failure: a.failure}
		if key.group {
			entry.Group = key.id
		}
		at := 0
		for at < len(list) && !list[at].Since.After(entry.Since) {
			at++
		}
		if at < maxAsideShown {
			list = append(list[:at], append([]Aside{entry}, list[at:]...)...)
			list = list[:min(len(list), maxAsideShown)]
		}
	}
	return list, n
}

// narrowing looks for the incident that spoils a message: its incidents are sent in halves, and halves of those that fail. The zero
// value is none.
type narrowing struct {
	// suspects are the keys of the incidents that are to be sent in messages of at most most.
	suspects [][]byte
	most     int
	// again says that the rest failed as a whole after a part of it was taken: then it is sent in parts to the end.
	again bool
	// taken says that a part was: then what fails alone is at fault, and not the receiver.
	taken bool
}

func (n *narrowing) active() bool { return len(n.suspects) > 0 }

// halve puts the incidents of a message that failed first, to be sent in two.
func (n *narrowing) halve(failed []told) {
	n.remove(failed)
	keys := make([][]byte, 0, len(failed)+len(n.suspects))
	for i := range failed {
		keys = append(keys, failed[i].key)
	}
	n.suspects = append(keys, n.suspects...)
	n.most = max(1, (len(failed)+1)/2)
}

// decided takes off incidents of which is known what becomes of them, and lets the next message have twice as many.
func (n *narrowing) decided(those []told) {
	n.remove(those)
	n.most *= 2
}

func (n *narrowing) remove(those []told) {
	for i := range those {
		n.removeKey(those[i].key)
	}
}

func (n *narrowing) removeKey(key []byte) {
	kept := n.suspects[:0]
	for _, k := range n.suspects {
		if string(k) != string(key) {
			kept = append(kept, k)
		}
	}
	clear(n.suspects[len(kept):])
	n.suspects = kept
}
