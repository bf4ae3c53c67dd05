package control

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/incident"
	"github.com/edge-eventer/edge-eventer/agent/status"
	"github.com/edge-eventer/edge-eventer/spool"
)

const (
	// maxPage and maxPageBytes bound one page of entries, maxStep the records that one transaction changes.
	maxPage      = 256
	maxPageBytes = 256 << 10
	maxStep      = 128
	// minPrefix is how many characters of an id must be given.
	minPrefix = 4
)

// SpoolQueues inspects and repairs the queues of an open spool.
type SpoolQueues struct {
	Spool *spool.Spool
	// Again is called with a receiver's name after something became due in its queue. Nil: nobody is told.
	Again func(receiver string)
	// Dropped is called after something was dropped. Nil: nobody is told.
	Dropped func(receiver string, r Result)
	// Silenced is called after the silences changed. Nil: nobody is told.
	Silenced func()
}

// Entries returns a page of entries.
func (d *SpoolQueues) Entries(_ context.Context, q Query) (Page, error) {
	var p Page
	size := 0
	err := d.Spool.View(func(tx *spool.Tx) error {
		names, err := receivers(tx, q.Receiver)
		if err != nil {
			return err
		}
		for _, name := range names {
			if name < q.After.Receiver {
				continue
			}
			after := Cursor{Receiver: name}
			if name == q.After.Receiver {
				after = q.After
			}
			for e := range entries(tx.Queue(name), name, after) {
				if len(p.Entries) == maxPage || size > maxPageBytes {
					last := p.Entries[len(p.Entries)-1]
					p.Next = &Cursor{last.Receiver, last.Dead, last.Seq}
					return nil
				}
				size += e.Bytes
				p.Entries = append(p.Entries, e)
			}
		}
		return nil
	})
	if err != nil {
		return Page{}, fmt.Errorf("read the queues: %w", err)
	}
	return p, nil
}

// receivers returns the names of the queues that a name selects, sorted.
func receivers(tx *spool.Tx, name string) ([]string, error) {
	// The spool has them in the order of their lengths.
	all := slices.Sorted(slices.Values(tx.Receivers()))
	if name == "" {
		return all, nil
	}
	if slices.Contains(all, name) {
		return []string{name}, nil
	}
	return nil, fmt.Errorf("%w: %s", ErrNoQueue, name)
}

// entries yields the entries of a queue behind a cursor.
func entries(q *spool.Queue, name string, after Cursor) func(yield func(Entry) bool) {
	return func(yield func(Entry) bool) {
		if !after.Dead {
			for r := range q.All() {
				if r.Seq > after.Seq && !yield(entry(name, &r)) {
					return
				}
			}
			after.Seq = 0
		}
		for l := range q.Dead() {
			if l.Seq <= after.Seq {
				continue
			}
			e := entry(name, &l.Record)
			e.Dead, e.Refused, e.Reason, e.Answer = true, l.At, l.Reason, strings.ToValidUTF8(string(l.Answer), "\uFFFD")
			if !yield(e) {
				return
			}
		}
	}
}

// entry copies: the record is valid only inside its transaction.
func entry(receiver string, r *spool.Record) Entry {
	e := Entry{
		Receiver: receiver, ID: hex.EncodeToString(r.Key), Seq: r.Seq,
		Added: r.Added, Due: r.Due, Untold: r.Untold, Bytes: len(r.Body),
	}
	in, err := incident.Decode(r.Body)
	if err != nil {
		e.Undecoded = err.Error()
		return e
	}
	first, last := in.Span(time.Now())
	e.Incident = &Incident{
		Workload: in.Workload, First: first, Last: last, Occurrences: in.Occurrences, Told: in.Told, ToldAt: in.ToldAt,
		Objects: in.Objects, Own: in.Own, Event: Event{in.Event},
	}
	return e
}

// target is an entry to change.
type target struct {
	receiver string
	key      []byte
	dead     bool
	untold   uint32
}

// find returns what a selection names, at most maxStep of them.
func find(tx *spool.Tx, s Selection, wanted func(dead bool) bool) ([]target, error) {
	names, err := receivers(tx, s.Receiver)
	if err != nil {
		return nil, err
	}
	if len(s.IDs) == 0 && s.Receiver == "" {
		return nil, errors.New("name ids or a receiver")
	}
	for _, prefix := range s.IDs {
		if len(prefix) < minPrefix {
			return nil, fmt.Errorf("id %q: give at least %d characters", prefix, minPrefix)
		}
	}
	var found []target
	named := make(map[string]map[string]bool)
	for _, name := range names {
		q := tx.Queue(name)
		collect := func(r *spool.Record, dead bool) bool {
			if wanted(dead) && s.names(name, hex.EncodeToString(r.Key), named) {
				found = append(found, target{name, r.Clone().Key, dead, r.Untold})
			}
			return len(found) < maxStep
		}
		for r := range q.All() {
			if !collect(&r, false) {
				break
			}
		}
		for l := range q.Dead() {
			if len(found) >= maxStep || !collect(&l.Record, true) {
				break
			}
		}
	}
	for _, prefix := range s.IDs {
		switch len(named[prefix]) {
		case 0:
			return nil, fmt.Errorf("%w: %s", ErrNoEntry, prefix)
		case 1:
		default:
			return nil, fmt.Errorf("%w: %s", ErrAmbiguous, prefix)
		}
	}
	return found, nil
}

// names tells whether a selection names the entry of a queue, and notes in named which entries each beginning of an id stands for.
func (s *Selection) names(queue, id string, named map[string]map[string]bool) bool {
	chosen := len(s.IDs) == 0
	for _, prefix := range s.IDs {
		if strings.HasPrefix(id, prefix) {
			chosen = true
			if named[prefix] == nil {
				named[prefix] = make(map[string]bool)
			}
			named[prefix][queue+"/"+id] = true
		}
	}
	return chosen
}

// Retry makes the selected entries due at once: dead letters go back into their queue, and what waits for a later time is told
// with the next message. With no ids it revives all dead letters of the receiver and asks for an attempt at once.
func (d *SpoolQueues) Retry(_ context.Context, s Selection) (Result, error) {
	var result Result
	var touched map[string]bool
	err := d.Spool.Update(func(tx *spool.Tx) error {
		result, touched = Result{}, make(map[string]bool)
		if s.Receiver != "" {
			touched[s.Receiver] = true
		}
		// At most 100 dead letters are kept per receiver, so one step takes all of them.
		found, err := find(tx, s, func(dead bool) bool { return dead || len(s.IDs) > 0 })
		if err != nil {
			return err
		}
		now := time.Now()
		for _, t := range found {
			touched[t.receiver] = true
			if err := retry(tx.Queue(t.receiver), t, now, &result); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return Result{}, fmt.Errorf("retry: %w", err)
	}
	if d.Again != nil {
		for name := range touched {
			d.Again(name)
		}
	}
	return result, nil
}

func retry(q *spool.Queue, t target, now time.Time, result *Result) error {
	if t.dead {
		err := q.Revive(t.key, now)
		if errors.Is(err, spool.ErrWaiting) {
			result.Kept = append(result.Kept, fmt.Sprintf("%x of %s: newer events of the same incident wait; the dead letter stays", t.key, t.receiver))
			return nil
		}
		if err != nil {
			return err
		}
	} else {
		r, ok := q.Get(t.key)
		if !ok {
			return nil
		}
		if r.Untold == 0 {
			result.Kept = append(result.Kept, fmt.Sprintf("%x of %s: all of it was told", t.key, t.receiver))
			return nil
		}
		r = r.Clone()
		r.Due = now
		if err := q.Put(r); err != nil {
			return err
		}
	}
	result.Records++
	result.Events += uint64(t.untold)
	return nil
}

// Drop removes the selected entries for good. What was untold is counted as a loss with the cause status.Dropped; a dead letter has
// been counted when it was refused. A queue that is dropped whole goes in steps of bounded size.
func (d *SpoolQueues) Drop(ctx context.Context, s Selection) (Result, error) {
	var sum Result
	for {
		dropped, more, err := d.dropStep(s)
		if err != nil {
			return sum, fmt.Errorf("drop: %w", err)
		}
		for name, r := range dropped {
			sum.Records += r.Records
			sum.Events += r.Events
			if d.Dropped != nil {
				d.Dropped(name, r)
			}
		}
		if !more {
			return sum, nil
		}
		if err := ctx.Err(); err != nil {
			return sum, fmt.Errorf("drop: %w", err)
		}
	}
}

func (d *SpoolQueues) dropStep(s Selection) (dropped map[string]Result, more bool, err error) {
	err = d.Spool.Update(func(tx *spool.Tx) error {
		dropped = make(map[string]Result)
		found, err := find(tx, s, func(bool) bool { return true })
		if err != nil {
			return err
		}
		more = len(s.IDs) == 0 && len(found) == maxStep
		for _, t := range found {
			q := tx.Queue(t.receiver)
			r := dropped[t.receiver]
			r.Records++
			if t.dead {
				err = q.DropDead(t.key)
			} else {
				r.Events += uint64(t.untold)
				err = q.Delete(t.key)
			}
			if err != nil {
				return err
			}
			dropped[t.receiver] = r
		}
		for name, r := range dropped {
			if r.Events == 0 {
				continue
			}
			if err := tx.Queue(name).Lose(spool.Loss{Cause: status.Dropped, Records: uint64(r.Records), Events: r.Events, Since: time.Now()}); err != nil {
				return err
			}
		}
		return nil
	})
	return dropped, more, err
}
