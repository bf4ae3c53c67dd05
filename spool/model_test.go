package spool

import (
	stdcmp "cmp"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/edge-eventer/edge-eventer/spool/format"
)

// model is a spool in plain maps.
type model struct {
	seq       uint64
	queues    map[string]*modelQueue
	ledger    map[EventKey]Taken
	space     map[EventKey]string
	positions map[string]string
	counters  map[string]uint64
	values    map[string]string
}

type modelQueue struct {
	records map[string]Record
	dead    []DeadLetter
	untold  map[string]Loss
	total   map[string]Loss
}

func newModel() *model {
	return &model{
		queues: make(map[string]*modelQueue), ledger: make(map[EventKey]Taken), space: make(map[EventKey]string),
		positions: make(map[string]string), counters: make(map[string]uint64), values: make(map[string]string),
	}
}

func (m *model) clone() *model {
	c := &model{
		seq: m.seq, queues: make(map[string]*modelQueue), ledger: maps.Clone(m.ledger), space: maps.Clone(m.space),
		positions: maps.Clone(m.positions), counters: maps.Clone(m.counters), values: maps.Clone(m.values),
	}
	for name, q := range m.queues {
		c.queues[name] = &modelQueue{maps.Clone(q.records), slices.Clone(q.dead), maps.Clone(q.untold), maps.Clone(q.total)}
	}
	return c
}

func (m *model) queue(name string) *modelQueue {
	if m.queues[name] == nil {
		m.queues[name] = &modelQueue{records: make(map[string]Record), untold: make(map[string]Loss), total: make(map[string]Loss)}
	}
	return m.queues[name]
}

func (q *modelQueue) lose(l Loss) {
	for _, sums := range []map[string]Loss{q.untold, q.total} {
		sum, ok := sums[l.Cause]
		if !ok || l.Since.Before(sum.Since) {
			sum.Since = l.Since
		}
		sum.Cause = l.Cause
		sum.Records += l.Records
		sum.Events += l.Events
		sum.Times++
		sums[l.Cause] = sum
	}
}

// pick returns a random key of the map, in an order that depends on the seed only.
func pick[V any](r *rand.Rand, m map[string]V) (string, bool) {
	if len(m) == 0 {
		return "", false
	}
	keys := slices.Sorted(maps.Keys(m))
	return keys[r.IntN(len(keys))], true
}

// bySeq compares 64 bits also where an int has 32: the lane is one of the upper ones.
func bySeq(a, b Record) int {
	return stdcmp.Compare(a.Seq, b.Seq)
}

// step does one random thing to both.
func (m *model) step(r *rand.Rand, tx *Tx, now time.Time) error {
	name := fmt.Sprintf("r%d", r.IntN(3))
	q := tx.Queue(name)
	switch op := r.IntN(20); op {
	case 0, 1, 2, 3, 4, 5, 6, 7:
		mq := m.queue(name)
		record := Record{
			Key: fmt.Appendf(nil, "k%d", r.IntN(60)), Due: now.Add(time.Duration(r.IntN(100)-50) * time.Second),
			Untold: r.Uint32N(4), Body: make([]byte, r.IntN(3)*r.IntN(900)),
		}
		for i := range record.Body {
			record.Body[i] = byte(r.Uint32())
		}
		if err := q.Put(record); err != nil {
			return err
		}
		old, waits := mq.records[string(record.Key)]
		if waits && record.Untold >= old.Untold && (record.Untold == 0 || old.Untold > 0) {
			record.Seq, record.Added = old.Seq, old.Added
		} else {
			m.seq++
			record.Seq, record.Added = m.seq, now
			if record.Untold > 0 {
				record.Seq |= format.PendingLane
			} else if waits {
				record.Added = old.Added
			}
		}
		mq.records[string(record.Key)] = record
	case 8, 9, 10:
		mq := m.queue(name)
		key, ok := pick(r, mq.records)
		if !ok {
			key = "none"
		}
		delete(mq.records, key)
		if len(mq.records)+len(mq.dead)+len(mq.total) == 0 && !ok {
			delete(m.queues, name)
		}
		return q.Delete([]byte(key))
	case 11:
		mq := m.queue(name)
		key, ok := pick(r, mq.records)
		if !ok {
			return nil
		}
		record := mq.records[key]
		delete(mq.records, key)
		mq.dead = append(mq.dead, DeadLetter{Record: record, Reason: "no", Answer: []byte{1}, At: now})
		slices.SortFunc(mq.dead, func(a, b DeadLetter) int { return bySeq(a.Record, b.Record) })
		if record.Untold > 0 {
			mq.lose(Loss{Cause: Refused, Records: 1, Events: uint64(record.Untold), Since: now})
		}
		return q.Bury([]byte(key), "no", []byte{1}, now)
	case 12:
		mq := m.queue(name)
		if len(mq.dead) == 0 {
			return nil
		}
		key := mq.dead[0].Key
		mq.dead = mq.dead[1:]
		return q.DropDead(key)
	case 13:
		l := Loss{Cause: []string{Unseen, Damaged}[r.IntN(2)], Records: uint64(r.IntN(3)), Since: now}
		m.queue(name).lose(l)
		return q.Lose(l)
	case 14:
		mq := m.queue(name)
		told := q.UntoldLosses()
		clear(mq.untold)
		return q.LossesTold(told)
	case 15:
		if r.IntN(4) == 0 {
			// A page of a list.
			for range 40 {
				id := scatteredID(r.IntN(3000))
				taken := Taken{Version: r.Uint64(), Count: r.Uint32()}
				m.ledger[id.Key()], m.space[id.Key()] = taken, id.Scope
				if err := tx.Take(id, taken); err != nil {
					return err
				}
			}
			return nil
		}
		id := eventID(r.IntN(200))
		taken := Taken{Version: r.Uint64(), Count: r.Uint32()}
		m.ledger[id.Key()], m.space[id.Key()] = taken, id.Scope
		return tx.Take(id, taken)
	case 16:
		id := eventID(r.IntN(200))
		if r.IntN(2) == 0 {
			id = scatteredID(r.IntN(3000))
		}
		delete(m.ledger, id.Key())
		return tx.Forget(id)
	case 17:
		if r.IntN(10) > 0 {
			break
		}
		namespace := []string{"", "ns1"}[r.IntN(2)]
		alive := func(key EventKey) bool { return key[19]%3 > 0 }
		maps.DeleteFunc(m.ledger, func(key EventKey, _ Taken) bool {
			return (namespace == "" || m.space[key] == namespace) && !alive(key)
		})
		_, err := tx.Sweep(namespace, alive)
		return err
	case 18:
		namespace := fmt.Sprintf("ns%d", r.IntN(3))
		if r.IntN(3) == 0 {
			delete(m.positions, namespace)
			return forgetPosition(tx, namespace)
		}
		m.positions[namespace] = fmt.Sprint(r.Uint32())
		return tx.SetPosition(namespace, m.positions[namespace])
	case 19:
		counter := fmt.Sprintf("c%d", r.IntN(5))
		m.counters[counter] += uint64(r.IntN(100) + 1)
		value := fmt.Sprintf("v%d", r.IntN(5))
		m.values[value] = fmt.Sprint(r.Uint64())
		if r.IntN(20) == 0 {
			mq := m.queue(name)
			clear(mq.records)
			mq.dead = nil
			if err := emptyQueue(tx, name); err != nil {
				return err
			}
		}
		return errors.Join(tx.Add(counter, m.counters[counter]-tx.Counter(counter)), tx.SetValue(value, []byte(m.values[value])))
	}
	return nil
}

func compare(m *model, tx *Tx) error {
	var diffs []error
	same := func(what string, want, got any) {
		// Most are, and cmp takes a hundred times as long to say so.
		if reflect.DeepEqual(want, got) {
			return
		}
		if diff := cmp.Diff(want, got); diff != "" {
			diffs = append(diffs, fmt.Errorf("%s: %s", what, diff))
		}
	}
	for name, mq := range m.queues {
		q := tx.Queue(name)
		records := slices.SortedFunc(maps.Values(mq.records), bySeq)
		var all []Record
		for r := range q.All() {
			all = append(all, r.Clone())
		}
		same(name+" all", len(records), len(all))
		var bytes int64
		var untold uint64
		for i := range min(len(records), len(all)) {
			same(name, records[i], all[i])
			bytes += int64(len(all[i].Key) + len(all[i].Body))
			untold += uint64(all[i].Untold)
			got, _ := q.Get(records[i].Key)
			same(name+" get", records[i], got.Clone())
		}
		same(name+" counts", []any{len(records), bytes, untold, len(mq.dead)}, []any{q.Len(), q.Bytes(), q.Untold(), q.DeadLen()})
		slices.SortFunc(records, func(a, b Record) int {
			if c := a.Due.Compare(b.Due); c != 0 {
				return c
			}
			return bySeq(a, b)
		})
		i := 0
		for r := range q.Due(epoch.Add(1e6 * time.Hour)) {
			same(name+" due", records[i].Seq, r.Seq)
			i++
		}
		same(name+" due", len(records), i)
		var dead []DeadLetter
		for d := range q.Dead() {
			dead = append(dead, d.Clone())
		}
		if len(mq.dead)+len(dead) > 0 {
			same(name+" dead", mq.dead, dead)
		}
		for what, pair := range map[string][2][]Loss{
			"untold": {slices.Collect(maps.Values(mq.untold)), q.UntoldLosses()},
			"total":  {slices.Collect(maps.Values(mq.total)), q.TotalLosses()},
		} {
			slices.SortFunc(pair[0], func(a, b Loss) int { return int(a.Cause[0]) - int(b.Cause[0]) })
			same(name+" "+what, pair[0], pair[1])
		}
	}
	for _, name := range tx.Receivers() {
		if m.queues[name] == nil && tx.Queue(name).Len() > 0 {
			diffs = append(diffs, fmt.Errorf("queue %s should be gone", name))
		}
	}
	same("ledger", len(m.ledger), tx.LedgerLen())
	for i := range 200 {
		want, known := m.ledger[eventID(i).Key()]
		got, ok := tx.Taken(eventID(i))
		same("ledger", []any{want, known}, []any{got, ok})
	}
	for i := range 300 {
		id := scatteredID(i * 10)
		want, known := m.ledger[id.Key()]
		got, ok := tx.Taken(id)
		if got != want || known != ok {
			same("ledger", []any{want, known}, []any{got, ok})
		}
	}
	for i := range 3 {
		namespace := fmt.Sprintf("ns%d", i)
		want, known := m.positions[namespace]
		got, ok := tx.Position(namespace)
		same("position", []any{want, known}, []any{got, ok})
	}
	for i := range 5 {
		same("counter", m.counters[fmt.Sprintf("c%d", i)], tx.Counter(fmt.Sprintf("c%d", i)))
		same("value", m.values[fmt.Sprintf("v%d", i)], string(tx.Value(fmt.Sprintf("v%d", i))))
	}
	return errors.Join(diffs...)
}

func TestRandomOperationsAgreeWithAModel(t *testing.T) {
	r := seeded(t)
	rounds := 160
	if testing.Short() {
		rounds = 80
	}
	for _, pageSize := range []int{1024, 4096} {
		h := newHouse(t, Options{PageSize: pageSize})
		m := newModel()
		cancel := errors.New("cancelled")
		for round := range rounds {
			next := m.clone()
			h.clock = h.clock.Add(time.Duration(r.IntN(5000)) * time.Millisecond)
			cancelled := r.IntN(10) == 0
			err := h.Update(func(tx *Tx) error {
				for range 1 + r.IntN(40) {
					if err := next.step(r, tx, h.clock); err != nil {
						return err
					}
				}
				if round%10 == 0 {
					// What a transaction did it also sees.
					if err := compare(next, tx); err != nil {
						return err
					}
				}
				if cancelled {
					return cancel
				}
				return nil
			})
			switch {
			case err == nil:
				m = next
			case !errors.Is(err, cancel):
				t.Fatalf("round %d: %v", round, err)
			}
			if r.IntN(20) == 0 {
				h.reopen()
			}
			if round%5 == 0 {
				if err := h.View(func(tx *Tx) error { return compare(m, tx) }); err != nil {
					t.Fatalf("round %d: %v", round, err)
				}
			}
		}
	}
}
