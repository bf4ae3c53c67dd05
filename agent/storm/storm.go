// Package storm decides what a person is told, and when, while more goes wrong than anybody can read: the pauses between messages grow
// while it lasts and shrink when it ends, and of many incidents those are named that are worst and newest, with room for each namespace
// and workload. It promises that an hour of a storm costs no more messages than it is told, and that what is critical need not wait for
// the pauses.
package storm

import "time"

const (
	// After is how many incidents within window make a storm: more than a message can name.
	After  = 100
	window = 10 * time.Minute
	// manyDigests within window are a storm too, if another one is to follow.
	manyDigests = 2
	// few incidents are no storm, whatever was told before.
	few = 10
	// Rows is how many incidents a message names while a storm lasts: about 12 KB of Feishu's 20.
	Rows = 50
	// maxPause is the longest pause between two messages of what is not critical.
	maxPause = time.Hour
	// reserved messages of each hour are for what is critical, where there are at least twice as many.
	reserved = 2
)

// Pace is when the messages of one receiver may leave. The zero value never holds anything.
type Pace struct {
	// Limit is how many messages an hour of a storm costs at most; 0: there is no limit, and no storm.
	Limit int

	// level is 0 while there is no storm, and one more with each message that could not name all that was new. next is when the pause
	// of that level is over.
	level int
	next  time.Time
	// last is when the last short digest left: the limit holds for an hour from then.
	last time.Time
	// sent are the times of the last messages, Limit at most.
	sent []time.Time
	// told and digests count the incidents and the digests since begin, window ago at most.
	told, digests int
	begin         time.Time
}

// Hold is what has to wait.
type Hold struct {
	// Everything waits, or all but what is critical, until Until.
	Everything, ButCritical bool
	Until                   time.Time
}

// Begins reports whether so many incidents that are due are a storm, with what was told lately. It needs no exact count above After.
func (p *Pace) Begins(due int, now time.Time) bool {
	if now.Sub(p.begin) > window {
		p.told, p.digests = 0, 0
	}
	return p.Limit > 0 && due > few && (p.told+due > After || p.digests >= manyDigests)
}

// Active reports whether a storm lasts.
func (p *Pace) Active() bool { return p.level > 0 }

// At says what has to wait at now. A storm of which nothing was heard for as long as its pause ends by itself.
func (p *Pace) At(now time.Time) Hold {
	for p.level > 0 && now.Sub(p.next) > p.pause() {
		p.level--
	}
	if p.level == 0 && now.Sub(p.last) >= time.Hour {
		return Hold{}
	}
	if until := p.full(p.Limit, now); !until.IsZero() {
		return Hold{Everything: true, Until: until}
	}
	if p.level == 0 {
		return Hold{}
	}
	until := p.next
	if p.Limit >= 2*reserved {
		if free := p.full(p.Limit-reserved, now); free.After(until) {
			until = free
		}
	}
	return Hold{ButCritical: now.Before(until), Until: until}
}

// full returns until when most messages are within an hour, the zero time where fewer are.
func (p *Pace) full(most int, now time.Time) time.Time {
	if len(p.sent) < most {
		return time.Time{}
	}
	if free := p.sent[len(p.sent)-most].Add(time.Hour); free.After(now) {
		return free
	}
	return time.Time{}
}

// pause is how long the messages of a level are apart: a twelfth of an hour with six messages an hour, then twice as much each time.
func (p *Pace) pause() time.Duration {
	if p.level == 0 {
		return 0
	}
	pause := 30 * time.Minute / time.Duration(max(1, p.Limit))
	for range p.level - 1 {
		pause = min(2*pause, maxPause)
	}
	return pause
}

// Message is what was confirmed.
type Message struct {
	// Incidents are those that it told, named or counted; of a digest in several messages those of all, with the last.
	Incidents int
	// Digest says that it ends a digest, Short that this one was made short because of a storm.
	Digest, Short bool
	// Urgent says that it told only what does not wait for the pauses.
	Urgent bool
}

// Sent notes a message that was confirmed.
func (p *Pace) Sent(m Message, now time.Time) {
	if p.Limit == 0 {
		return
	}
	if p.sent = append(p.sent, now); len(p.sent) > p.Limit {
		p.sent = p.sent[1:]
	}
	if now.Sub(p.begin) > window {
		p.told, p.digests, p.begin = 0, 0, now
	}
	p.told += m.Incidents
	if m.Digest {
		p.digests++
	}
	if m.Short {
		p.last = now
	}
	if m.Urgent {
		return
	}
	lasted := p.Active()
	p.step(m)
	p.next = now.Add(p.pause())
	if lasted && !p.Active() {
		p.told, p.digests = 0, 0
	}
}

// Pause returns how long what is not critical waits after a message.
func (p *Pace) Pause(m Message) time.Duration {
	after := *p
	after.step(m)
	return after.pause()
}

// step goes to the next level.
func (p *Pace) step(m Message) {
	switch {
	case m.Short && (p.level == 0 || m.Incidents > Rows):
		if p.level == 0 || p.pause() < maxPause {
			p.level++
		}
	case m.Incidents <= few:
		p.level = 0
	case p.level > 0:
		p.level--
	}
}
