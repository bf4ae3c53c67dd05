package inhibit

import (
	"maps"
	"sync"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/incident"
	"github.com/edge-eventer/edge-eventer/agent/matcher"
	"github.com/edge-eventer/edge-eventer/notify"
)

const (
	// maxSources bounds the open sources. Beyond it the one that was quiet the longest is forgotten, and its targets are told.
	maxSources = 256
	// maxMembers bounds the incidents of which the group is remembered, some 200 bytes each.
	maxMembers = 1024
	// together is how far two incidents may begin apart to have begun together.
	together = time.Minute
)

// Source is an open incident that holds others back.
type Source struct {
	// Rule is the name of the rule, Group what the source and its targets have in common.
	Rule, Group string
	// Opened and Active are when it was first and last observed.
	Opened, Active time.Time
	// Incident is its key in a queue.
	Incident string
	// Until is when it is over if it stays quiet.
	Until time.Time

	// both says that it matches the target side of its rule too.
	both bool
	// critical is the severity that it was opened with.
	critical bool
}

// place is where a source stands: there is one open source for a group of a rule.
type place struct{ rule, group string }

// Sources are the incidents that hold others back now. They may be used by several goroutines. The zero value has no rules.
type Sources struct {
	// mu guards all that follows.
	mu           sync.Mutex
	rules        Rules
	resolveAfter time.Duration
	open         map[place]*Source
	// members has the group of incidents whose latest event need not name it: what follows a pull that failed is "Error: ErrImagePull".
	members map[member]membership
}

// member is an incident under a rule that folds.
type member struct{ rule, incident string }

type membership struct {
	group  string
	active time.Time
}

// Replace forgets all sources and goes on with other rules. An incident is a source until it was quiet for resolveAfter.
func (s *Sources) Replace(rules *Rules, resolveAfter time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rules, s.resolveAfter = *rules, resolveAfter
	s.open, s.members = make(map[place]*Source), make(map[member]membership)
}

func keyOf(s *matcher.Subject) string {
	o := &s.Incident.Event.InvolvedObject
	return string(incident.Key(o.Namespace, o.Kind, s.Incident.Workload, s.Incident.Event.Reason))
}

// Observe takes note of an incident that was observed at the given time. What the agent tells of itself is no source.
func (s *Sources) Observe(subject *matcher.Subject, at time.Time) { s.observe(subject, at, at) }

// Recall takes note of an incident that a queue holds, in any order: of those that fold, the one that was opened first is the source.
func (s *Sources) Recall(subject *matcher.Subject) {
	s.observe(subject, subject.Incident.Opened, subject.Incident.Active)
}

func (s *Sources) observe(subject *matcher.Subject, opened, at time.Time) {
	if subject.Incident.Own {
		return
	}
	key := ""
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.rules.all {
		r := &s.rules.all[i]
		group, ok := r.source(subject)
		if !ok {
			continue
		}
		if key == "" {
			key = keyOf(subject)
		}
		if r.folds {
			s.remember(member{r.name, key}, membership{group, at})
		}
		where := place{r.name, group}
		known := s.open[where]
		switch {
		case known == nil || s.over(known, at) || opened.Before(known.Opened):
			_, both := r.target(subject)
			s.open[where] = &Source{
				Rule: r.name, Group: group, Opened: opened, Active: at, Incident: key,
				both: both && !r.folds, critical: subject.Severity == notify.Critical,
			}
			s.bound()
		case known.Incident == key || !r.folds:
			// Any source of the group keeps it open; of those that fold, only the first one does.
			known.Active = later(known.Active, at)
		}
	}
}

// remember notes the group of an incident. Where there are too many, those are forgotten that were quiet for resolveAfter, and else any.
func (s *Sources) remember(who member, m membership) {
	s.members[who] = m
	if len(s.members) <= maxMembers {
		return
	}
	maps.DeleteFunc(s.members, func(_ member, old membership) bool { return m.active.Sub(old.active) >= s.resolveAfter })
	for other := range s.members {
		if len(s.members) <= maxMembers {
			return
		}
		delete(s.members, other)
	}
}

// groupOf returns the group in which an incident is a target, as its latest event or an earlier one says.
func (s *Sources) groupOf(r *rule, subject *matcher.Subject, key string) (string, bool) {
	group, ok := r.target(subject)
	if ok || !r.folds {
		return group, ok
	}
	m, ok := s.members[member{r.name, key}]
	return m.group, ok
}

// over reports whether a source was quiet for so long that it holds nothing any more.
func (s *Sources) over(source *Source, now time.Time) bool {
	return now.Sub(source.Active) >= s.resolveAfter
}

// bound forgets the source that was quiet the longest where there are too many.
func (s *Sources) bound() {
	if len(s.open) <= maxSources {
		return
	}
	var oldest place
	for where, source := range s.open {
		if known := s.open[oldest]; known == nil || source.Active.Before(known.Active) {
			oldest = where
		}
	}
	delete(s.open, oldest)
}

// Holding returns the source that holds the incident back now, and false where none does.
func (s *Sources) Holding(subject *matcher.Subject, now time.Time) (Source, bool) {
	if subject.Incident.Own {
		return Source{}, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.open) == 0 {
		return Source{}, false
	}
	key := keyOf(subject)
	for i := range s.rules.all {
		r := &s.rules.all[i]
		if group, ok := s.groupOf(r, subject, key); ok {
			if source := s.open[place{r.name, group}]; source != nil && s.holds(r, source, subject, key, now) {
				return s.copyOf(source), true
			}
		}
		if r.near != nil && r.near(subject) {
			if source := s.began(r, subject, now); source != nil {
				return s.copyOf(source), true
			}
		}
	}
	return Source{}, false
}

func (s *Sources) copyOf(source *Source) Source {
	c := *source
	c.Until = c.Active.Add(s.resolveAfter)
	return c
}

func (s *Sources) holds(r *rule, source *Source, subject *matcher.Subject, key string, now time.Time) bool {
	if source.Incident == key || s.over(source, now) || r.tooGrave(source, subject) {
		return false
	}
	if source.both {
		_, both := r.source(subject)
		return !both
	}
	return true
}

// tooGrave reports whether the incident is critical and the source, which would hide it, is not.
func (r *rule) tooGrave(source *Source, subject *matcher.Subject) bool {
	return r.spares && subject.Severity == notify.Critical && !source.critical
}

// began returns a source of the rule that began together with the incident.
func (s *Sources) began(r *rule, subject *matcher.Subject, now time.Time) *Source {
	for where, source := range s.open {
		if where.rule == r.name && !s.over(source, now) && !r.tooGrave(source, subject) && subject.Incident.Opened.Sub(source.Opened).Abs() <= together {
			return source
		}
	}
	return nil
}

// Of returns the groups that the incident is the source of now, each as a source.
func (s *Sources) Of(subject *matcher.Subject, now time.Time) (held []Source) {
	if subject.Incident.Own {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.open) == 0 {
		return nil
	}
	key := keyOf(subject)
	for _, source := range s.open {
		if source.Incident == key && !s.over(source, now) {
			held = append(held, s.copyOf(source))
		}
	}
	return held
}

// Len returns how many sources are open.
func (s *Sources) Len(now time.Time) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, source := range s.open {
		if !s.over(source, now) {
			n++
		}
	}
	return n
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
