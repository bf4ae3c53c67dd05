package main

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/edge-eventer/edge-eventer/spool"
)

const (
	// maxBytes is so small that a ledger of alive events, of which any may go, makes compactions necessary, and nothing is evicted.
	maxBytes = 512 << 10
	queue    = "ops"
	// backlog is how many records wait before the oldest are acknowledged.
	backlog = 60
	// alive is how many events the API server holds before some go.
	alive = 2500
)

// step is one transaction.
type step struct {
	put         map[int][]byte
	take        []int
	forget      []int
	acknowledge []int
	position    int
}

// model is what the spool should hold: each record's checksum by its key, which events were taken, and the position.
type model struct {
	next     int
	oldest   int
	records  map[string]uint32
	ledger   map[int]bool
	position string
	// taken are the events in the ledger, in the order that step draws from.
	taken []int
}

func (m *model) has(key string) bool { _, ok := m.records[key]; return ok }

func (m *model) equal(other *model) bool {
	return m.position == other.position && maps.Equal(m.records, other.records) && maps.Equal(m.ledger, other.ledger)
}

// step draws the next transaction: events that come, some that repeat, some that go, and the oldest
// acknowledged now and then.
func (m *model) step(random *rand.Rand) *step {
	s := &step{put: make(map[int][]byte)}
	body := func(n int) []byte { return bytes.Repeat([]byte{byte(n), byte(random.IntN(256))}, random.IntN(700)) }
	last := m.next
	for range 1 + random.IntN(5) {
		last++
		s.put[last] = body(last)
		s.take = append(s.take, last)
	}
	oldest := m.oldest
	if waiting := last - m.oldest; waiting > backlog || random.IntN(8) == 0 {
		for range min(waiting, 1+random.IntN(12)) {
			s.acknowledge = append(s.acknowledge, oldest+1)
			oldest++
		}
	}
	for range random.IntN(4) {
		if first := oldest + 1; first <= m.next {
			n := first + random.IntN(m.next-oldest)
			s.put[n] = body(n)
		}
	}
	for _, n := range s.acknowledge {
		delete(s.put, n)
	}
	for range max(0, min(8, len(m.taken)-alive)) {
		if n := m.taken[random.IntN(len(m.taken))]; !slices.Contains(s.forget, n) {
			s.forget = append(s.forget, n)
		}
	}
	s.position = last
	return s
}

func (m *model) apply(s *step) {
	for n, body := range s.put {
		m.records[fmt.Sprint(n)] = crc32.ChecksumIEEE(body)
	}
	for _, n := range s.take {
		m.ledger[n] = true
	}
	m.taken = append(m.taken, s.take...)
	for _, n := range s.forget {
		delete(m.ledger, n)
	}
	m.taken = slices.DeleteFunc(m.taken, func(n int) bool { return slices.Contains(s.forget, n) })
	for _, n := range s.acknowledge {
		delete(m.records, fmt.Sprint(n))
		m.oldest = n
	}
	m.next = s.position
	m.position = fmt.Sprint(s.position)
}

func (m *model) clone() model {
	c := *m
	// Only the work draws from it.
	c.taken = nil
	c.records, c.ledger = maps.Clone(m.records), maps.Clone(m.ledger)
	return c
}

// modelsOf returns the model after 0, 1, ... transactions.
func modelsOf(seed uint64, transactions int) []model {
	random := rand.New(rand.NewPCG(seed, 0))
	m := model{records: make(map[string]uint32), ledger: make(map[int]bool)}
	all := []model{m.clone()}
	for range transactions {
		m.apply(m.step(random))
		all = append(all, m.clone())
	}
	return all
}

// eventID is that of event n: a UID of its own, one created each second.
func eventID(n int) spool.EventID {
	return spool.EventID{
		UID: fmt.Sprintf("%08x-0000-4000-8000-%012x", uint32(n)*2654435761, n), Created: time.Unix(1_790_000_000+int64(n), 0), Scope: "shop",
	}
}

// work does the transactions on a spool, and says the number of each after it returned.
func work(path string, seed uint64, transactions int) (err error) {
	s, err := spool.Open(spool.Options{Path: path, MaxBytes: maxBytes})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	random := rand.New(rand.NewPCG(seed, 0))
	m := model{records: make(map[string]uint32), ledger: make(map[int]bool)}
	for i := range transactions {
		step := m.step(random)
		if err := s.Update(func(tx *spool.Tx) error { return step.do(tx) }); err != nil {
			return fmt.Errorf("transaction %d: %w", i+1, err)
		}
		m.apply(step)
		if _, err := fmt.Printf("%d\n", i+1); err != nil {
			return err
		}
	}
	return nil
}

func (s *step) do(tx *spool.Tx) error {
	q := tx.Queue(queue)
	for _, n := range slices.Sorted(maps.Keys(s.put)) {
		record := spool.Record{Key: fmt.Append(nil, n), Due: time.Unix(1_790_000_000+int64(n%97), 0), Untold: 1, Body: s.put[n]}
		if err := q.Put(record); err != nil {
			return err
		}
	}
	for _, n := range s.take {
		if err := tx.Take(eventID(n), spool.Taken{Version: uint64(n), Count: 1}); err != nil {
			return err
		}
	}
	for _, n := range s.forget {
		if err := tx.Forget(eventID(n)); err != nil {
			return err
		}
	}
	for _, n := range s.acknowledge {
		// One that came in this transaction was never put.
		if _, ok := q.Get(fmt.Append(nil, n)); !ok {
			continue
		}
		if err := q.Delete(fmt.Append(nil, n)); err != nil {
			return err
		}
	}
	return tx.SetPosition("", fmt.Sprint(s.position))
}

// readModel reads what a spool holds. Of the ledger it asks for every event that can have been taken.
func readModel(s *spool.Spool) (m model, err error) {
	m = model{records: make(map[string]uint32), ledger: make(map[int]bool)}
	err = s.View(func(tx *spool.Tx) error {
		q := tx.Queue(queue)
		for record := range q.All() {
			m.records[string(record.Key)] = crc32.ChecksumIEEE(record.Body)
		}
		m.position, _ = tx.Position("")
		for n, left := 1, tx.LedgerLen(); left > 0 && n < 1<<16; n++ {
			if _, ok := tx.Taken(eventID(n)); ok {
				m.ledger[n] = true
				left--
			}
		}
		if q.Len() != len(m.records) || tx.LedgerLen() != len(m.ledger) {
			return fmt.Errorf("%d records and %d ledger entries are counted, %d and %d found", q.Len(), tx.LedgerLen(), len(m.records), len(m.ledger))
		}
		return nil
	})
	return m, err
}
