package spool

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Rescue says what was saved of a damaged file.
type Rescue struct {
	// SetAside is the path of the damaged file.
	SetAside string
	// AtOpen says that Open found the damage. Otherwise it showed while the spool was open.
	AtOpen bool
	// Records is how many records of each receiver were saved, Lost how many were not, as far as that can be told. Lost
	// records are counted as losses with cause Damaged.
	Records, Lost map[string]int
	// Unknown says that more records may be lost than Lost counts. Each queue then has one more Loss with cause Damaged, of 0
	// records where that is all that is known.
	Unknown bool
	// Ledger is how many ledger entries were saved. An event whose entry is missing is taken again by the next list.
	Ledger int
	// Positions says whether watch positions were kept. They are dropped where the ledger or a queue may have gaps: the
	// next list closes them.
	Positions bool
	// Cause is what was found first.
	Cause error
}

// The name of a damaged file ends in a running number and the time of the clock, in the layout setAsideTime. keepAside of them stay.
const (
	damagedSuffix = ".damaged-"
	setAsideTime  = "20060102T150405Z"
	keepAside     = 2
)

// rescue saves what can be read into a new file and sets the damaged one aside.
func (s *Spool) rescue(found *inspection) (*Rescue, error) {
	b, err := newBuilder(s.options)
	if err != nil {
		return nil, err
	}
	r := &rescuer{
		builder: b,
		found:   found,
		stats:   make(map[string]queueStats),
		indexed: make(map[reference]byte),
		stale:   found.pages.Cause() == nil,
		result: &Rescue{
			Records: make(map[string]int),
			Lost:    make(map[string]int),
			Cause:   found.cause,
		},
	}
	if err := r.run(); err != nil {
		return nil, b.fail(err)
	}
	if err := b.finish(); err != nil {
		return nil, err
	}
	if r.result.SetAside, err = s.setAside(); err != nil {
		return nil, err
	}
	if err := s.replace(); err != nil {
		return nil, err
	}
	s.removeOldAsides()
	return r.result, nil
}

// setAside renames the damaged file.
func (s *Spool) setAside() (string, error) {
	last := 0
	for _, aside := range s.asides() {
		last = max(last, aside.number)
	}
	name := fmt.Sprintf("%s%s%06d-%s", s.options.Path, damagedSuffix, last+1, s.options.Now().UTC().Format(setAsideTime))
	if err := os.Rename(s.options.Path, name); err != nil {
		return "", fmt.Errorf("set damaged file aside: %w", classify(err))
	}
	return name, nil
}

// aside is a damaged file that was set aside. Those of older releases have the number 0.
type aside struct {
	name   string
	number int
}

// asides returns the damaged files, the oldest first. The order is that of their numbers, for a clock may begin in 1970.
func (s *Spool) asides() []aside {
	dir, prefix := filepath.Dir(s.options.Path), filepath.Base(s.options.Path)+damagedSuffix
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	var asides []aside
	for _, e := range entries {
		if rest, ok := strings.CutPrefix(e.Name(), prefix); ok && e.Type().IsRegular() {
			digits, _, _ := strings.Cut(rest, "-")
			number, err := strconv.Atoi(digits)
			if err != nil {
				number = 0
			}
			asides = append(asides, aside{filepath.Join(dir, e.Name()), number})
		}
	}
	slices.SortStableFunc(asides, func(a, b aside) int { return a.number - b.number })
	return asides
}

// removeOldAsides keeps the two newest. What cannot be removed stays.
func (s *Spool) removeOldAsides() {
	asides := s.asides()
	for _, a := range asides[:max(0, len(asides)-keepAside)] {
		_ = os.Remove(a.name)
	}
}

// rescuer copies what can be read.
type rescuer struct {
	builder *builder
	found   *inspection
	result  *Rescue
	// stats is what the damaged file says of its queues.
	stats map[string]queueStats
	// indexed says which of the two indexes name a record: inDue, inKey. It takes some 60 bytes for each.
	indexed map[reference]byte
	// stale says that every page could be read although what they say does not agree: a page number leads to an old copy of a page.
	stale bool
	// positions are those that were read.
	positions [][2][]byte
	totals    totals
	// orphaned is set while pages are read that nothing refers to.
	orphaned bool
	// noIndex: neither index can say which orphans wait.
	noIndex bool
	// base is the newest revision in the tree that was walked.
	base uint64
	// failure is an error of the new file. It ends the rescue.
	failure error
}

type reference struct {
	receiver string
	seq      uint64
}

func (r *rescuer) run() error {
	old := r.found.pages
	if r.found.meta != nil {
		walk := old.Again(*r.found.meta)
		walk.Walk(*r.found.meta, r.take)
	}
	if r.failure == nil {
		r.orphaned = true
		r.noIndex = r.found.lostIndex()
		r.base = max(r.base, r.totals.rev)
		old.Orphans(r.take)
	}
	if r.failure == nil {
		r.failure = r.settle()
	}
	return r.failure
}

// take copies an entry. It returns an error for one that is damaged.
func (r *rescuer) take(key, value []byte) error {
	e, err := parseEntry(key, value)
	if err != nil {
		return err
	}
	if r.failure == nil && r.isNews(&e, key) {
		r.failure = r.keep(&e, key, value)
	}
	return nil
}

// isNews says whether an entry may be missing from the tree that was walked.
func (r *rescuer) isNews(e *parsedEntry, key []byte) bool {
	switch {
	case !r.orphaned:
		return true
	case r.found.older:
		// The tree of the transaction before the last is whole. Only records that the last one wrote are missing in it.
		return e.kind == kindRecord && e.record.rev > r.base
	}
	switch e.kind {
	case kindRecord:
		// Where no range is lost the page that was read may be an old copy, and this the newer version. One with a greater revision
		// than any in the tree is of a commit that failed.
		if !r.noIndex && e.record.rev <= r.base {
			return true
		}
	case kindTotals, kindCounter, kindTotal:
		// They only grow.
		if r.stale {
			return true
		}
	}
	// Outside of the lost ranges it is an old version of a page that was read.
	return r.found.pages.IsLost(key)
}

// The indexes that name a record.
const (
	inDue = 1 << iota
	inKey
)

// waits says whether the indexes name the record, as far as they could be read.
func (r *rescuer) waits(ref reference) bool {
	in := r.indexed[ref]
	pages := r.found.pages
	return in != 0 && (in&inDue != 0 || pages.HasLost(named(kindDue, ref.receiver))) &&
		(in&inKey != 0 || pages.HasLost(named(kindKey, ref.receiver)))
}

func (r *rescuer) keep(e *parsedEntry, key, value []byte) error {
	tx, err := r.builder.next()
	if err != nil {
		return err
	}
	switch e.kind {
	case kindTotals:
		r.totals.nextSeq = max(r.totals.nextSeq, e.totals.nextSeq)
		r.totals.rev = max(r.totals.rev, e.totals.rev)
		r.totals.forgotten = max(r.totals.forgotten, e.totals.forgotten)
		if e.totals.age > r.totals.age {
			r.totals.age, r.totals.uptime, r.totals.boot = e.totals.age, e.totals.uptime, e.totals.boot
		}
	case kindPosition:
		if _, isState := namespaceOf(key); isState {
			// It begins with the revision, so the greater is the newer.
			if old := tx.get(key); old == nil || bytes.Compare(old[sealLen:], value[sealLen:]) < 0 {
				_, err = tx.put(key, bytes.Clone(value))
			}
		} else if len(r.positions) < maxNamespaces {
			r.positions = append(r.positions, [2][]byte{bytes.Clone(key), bytes.Clone(value)})
		}
	case kindCounter, kindValue, kindUntold, kindTotal:
		// Of two versions the one with the greater number is the newer: counts only grow.
		if old := tx.get(key); old != nil && bytes.Compare(old[sealLen:], value[sealLen:]) >= 0 {
			return nil
		}
		if e.kind == kindUntold || e.kind == kindTotal {
			if err := tx.Queue(string(e.name)).create(); err != nil {
				return err
			}
		}
		_, err = tx.put(key, bytes.Clone(value))
	case kindQueue:
		// Statistics of an old version of the page say nothing about what waited last.
		if !r.orphaned {
			r.stats[string(e.name)] = e.stats
		}
		err = tx.Queue(string(e.name)).create()
	case kindDue, kindKey:
		if r.orphaned {
			break
		}
		in := byte(inDue)
		if e.kind == kindKey {
			in = inKey
		}
		r.indexed[reference{string(e.name), e.seq}] |= in
	case kindRecord:
		ref := reference{string(e.name), e.seq}
		if !r.orphaned {
			r.base = max(r.base, e.record.rev)
		} else if !r.noIndex && !r.found.older && !r.waits(ref) {
			// Nothing refers to it: it was delivered.
			return nil
		}
		err = r.restore(tx, ref, &e.record)
	case kindDead:
		var isNew bool
		if isNew, err = tx.put(key, bytes.Clone(value)); isNew {
			q := tx.Queue(string(e.name))
			q.stats.dead++
			q.exists, q.dirty = true, true
		}
		r.totals.nextSeq = max(r.totals.nextSeq, e.seq)
	case kindLedger:
		err = r.enter(tx, e, key, value)
	}
	return err
}

// enter keeps the newer of two versions of a ledger entry.
func (r *rescuer) enter(tx *Tx, e *parsedEntry, key, value []byte) error {
	if payload, ok := tx.payload(key); ok {
		if old, err := decodeEntry(payload); err == nil && old.ResourceVersion >= e.ledger.ResourceVersion {
			return nil
		}
	}
	isNew, err := tx.put(key, bytes.Clone(value))
	if isNew {
		tx.totals.ledgerLen++
	}
	return err
}

// restore puts a record into its place. Of two versions of a record, and of two records with one key, the newer stays.
func (r *rescuer) restore(tx *Tx, ref reference, s *stored) error {
	r.totals.nextSeq = max(r.totals.nextSeq, ref.seq)
	q := tx.Queue(ref.receiver)
	if err := q.create(); err != nil {
		return err
	}
	var others []uint64
	if seq, ok := q.seqOf(s.key); ok {
		others = append(others, seq)
	}
	if tx.get(seqKey(kindRecord, ref.receiver, ref.seq)) != nil && !slices.Contains(others, ref.seq) {
		others = append(others, ref.seq)
	}
	for _, seq := range others {
		old, ok := q.at(seq)
		if !ok {
			return tx.err
		}
		if old.rev >= s.rev {
			return nil
		}
		if err := q.remove(seq, &old); err != nil {
			return err
		}
	}
	return q.store(ref.seq, s)
}

// settle writes the sums, and counts what is missing.
func (r *rescuer) settle() error {
	tx, err := r.builder.next()
	if err != nil {
		return err
	}
	tx.totals.nextSeq = max(tx.totals.nextSeq, r.totals.nextSeq)
	tx.totals.rev = max(tx.totals.rev, r.totals.rev)
	tx.totals.forgotten = max(tx.totals.forgotten, r.totals.forgotten)
	tx.totals.age, tx.totals.uptime, tx.totals.boot = r.totals.age, r.totals.uptime, r.totals.boot
	pages := r.found.pages
	if r.result.Positions = pages.IsWhole() && r.found.agrees(); r.result.Positions {
		for _, p := range r.positions {
			if _, err := tx.put(p[0], p[1]); err != nil {
				return err
			}
		}
	}
	r.result.Ledger = int(tx.totals.ledgerLen)

	missing, losses := make(map[string]int), make(map[string]Loss)
	for ref := range r.indexed {
		if r.waits(ref) && tx.get(seqKey(kindRecord, ref.receiver, ref.seq)) == nil {
			missing[ref.receiver]++
		}
	}
	for _, name := range slices.Concat(tx.Receivers(), keysOf(missing)) {
		if _, done := r.result.Records[name]; done {
			continue
		}
		q := tx.Queue(name)
		if err := errors.Join(q.settleUntold(), r.dropDelivered(q)); err != nil {
			return err
		}
		r.result.Records[name] = q.Len()
		lost := Loss{Cause: Damaged}
		if stats, ok := r.stats[name]; ok && !r.found.older && !r.hasIndex(name) && !r.isOld(stats, q) {
			lost.Records = stats.records - min(stats.records, q.stats.records)
			lost.Events = stats.untold - min(stats.untold, q.stats.untold)
		} else {
			lost.Records = uint64(missing[name])
			r.result.Unknown = r.result.Unknown || pages.HasLost(named(kindRecord, name))
		}
		if lost.Records > 0 || lost.Events > 0 {
			losses[name] = lost
			r.result.Lost[name] = int(lost.Records)
		}
	}
	if r.found.older || pages.HasLost([]byte{kindQueue}) && pages.HasLost([]byte{kindRecord}) {
		// A queue, or what the last transaction did, may be gone without a trace.
		r.result.Unknown = true
	}
	for _, name := range keysOf(r.result.Records) {
		lost, known := losses[name]
		if !known && !r.result.Unknown {
			continue
		}
		lost.Cause = Damaged
		if err := tx.Queue(name).Lose(lost); err != nil {
			return err
		}
	}
	return tx.err
}

// hasIndex says that both indexes of a queue were read to the full, so that they, and not its statistics, say what is missing: the
// statistics may come from an old copy of their page.
func (r *rescuer) hasIndex(name string) bool {
	pages := r.found.pages
	return r.found.meta != nil && !pages.HasLost(named(kindDue, name)) && !pages.HasLost(named(kindKey, name))
}

// isOld says that the statistics come from an old copy of their page: there is more than they count.
func (r *rescuer) isOld(stats queueStats, q *Queue) bool {
	return r.totals.rev < r.base || stats.dead < q.stats.dead || stats.records < q.stats.records || stats.untold < q.stats.untold
}

// dropDelivered removes records that neither index names: an old copy of a page was read in the place of a newer one.
func (r *rescuer) dropDelivered(q *Queue) error {
	if r.found.older || !r.hasIndex(q.name) {
		return nil
	}
	for key := range q.tx.scan(named(kindRecord, q.name)) {
		seq := seqOfKey(key)
		if r.indexed[reference{q.name, seq}] != 0 {
			continue
		}
		old, ok := q.at(seq)
		if !ok {
			return q.tx.err
		}
		if err := q.remove(seq, &old); err != nil {
			return err
		}
	}
	return q.tx.err
}

func keysOf(m map[string]int) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
