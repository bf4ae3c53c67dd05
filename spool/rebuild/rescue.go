package rebuild

import (
	"bytes"
	"errors"
	"slices"

	"github.com/edge-eventer/edge-eventer/spool/format"
	"github.com/edge-eventer/edge-eventer/spool/inspect"
	"github.com/edge-eventer/edge-eventer/spool/queue"
	"github.com/edge-eventer/edge-eventer/spool/table"
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

// Save copies what can be read into the new file and finishes it. Where that fails the new file is gone.
func Save(b *Builder, found *inspect.Report) (*Rescue, error) {
	r := &rescuer{
		builder: b,
		found:   found,
		stats:   make(map[string]format.QueueStats),
		indexed: make(map[reference]byte),
		stale:   found.Pages.Cause() == nil,
		result: &Rescue{
			Records: make(map[string]int),
			Lost:    make(map[string]int),
			Cause:   found.Cause,
		},
	}
	if err := r.run(); err != nil {
		return nil, b.Fail(err)
	}
	if err := b.Finish(); err != nil {
		return nil, err
	}
	return r.result, nil
}

// rescuer copies what can be read.
type rescuer struct {
	builder *Builder
	found   *inspect.Report
	result  *Rescue
	// stats is what the damaged file says of its queues.
	stats map[string]format.QueueStats
	// indexed says which of the two indexes name a record: inDue, inKey. It takes some 60 bytes for each.
	indexed map[reference]byte
	// stale says that every page could be read although what they say does not agree: a page number leads to an old copy of a page.
	stale bool
	// positions are those that were read.
	positions [][2][]byte
	totals    format.Totals
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
	old := r.found.Pages
	if r.found.Meta != nil {
		walk := old.Again(*r.found.Meta)
		walk.Walk(*r.found.Meta, r.take)
	}
	if r.failure == nil {
		r.orphaned = true
		r.noIndex = r.found.LostIndex()
		r.base = max(r.base, r.totals.Rev)
		old.Orphans(r.take)
	}
	if r.failure == nil {
		r.failure = r.settle()
	}
	return r.failure
}

// take copies an entry. It returns an error for one that is damaged.
func (r *rescuer) take(key, value []byte) error {
	e, err := format.Parse(key, value)
	if err != nil {
		return err
	}
	if r.failure == nil && r.isNews(&e, key) {
		r.failure = r.keep(&e, key, value)
	}
	return nil
}

// isNews says whether an entry may be missing from the tree that was walked.
func (r *rescuer) isNews(e *format.Entry, key []byte) bool {
	switch {
	case !r.orphaned:
		return true
	case r.found.Older:
		// The tree of the transaction before the last is whole. Only records that the last one wrote are missing in it.
		return e.Kind == format.KindRecord && e.Record.Rev > r.base
	}
	switch e.Kind {
	case format.KindRecord:
		// Where no range is lost the page that was read may be an old copy, and this the newer version. One with a greater revision
		// than any in the tree is of a commit that failed.
		if !r.noIndex && e.Record.Rev <= r.base {
			return true
		}
	case format.KindTotals, format.KindCounter, format.KindTotal:
		// They only grow.
		if r.stale {
			return true
		}
	}
	// Outside of the lost ranges it is an old version of a page that was read.
	return r.found.Pages.IsLost(key)
}

// The indexes that name a record.
const (
	inDue = 1 << iota
	inKey
)

// waits says whether the indexes name the record, as far as they could be read.
func (r *rescuer) waits(ref reference) bool {
	in := r.indexed[ref]
	pages := r.found.Pages
	return in != 0 && (in&inDue != 0 || pages.HasLost(format.Named(format.KindDue, ref.receiver))) &&
		(in&inKey != 0 || pages.HasLost(format.Named(format.KindKey, ref.receiver)))
}

func (r *rescuer) keep(e *format.Entry, key, value []byte) error {
	tx, err := r.builder.next()
	if err != nil {
		return err
	}
	switch e.Kind {
	case format.KindTotals:
		r.keepTotals(&e.Totals)
	case format.KindPosition:
		err = r.keepPosition(tx, key, value)
	case format.KindCounter, format.KindValue, format.KindUntold, format.KindTotal:
		// Of two versions the one with the greater number is the newer: counts only grow.
		if old := tx.Get(key); old != nil && bytes.Compare(old[format.SealLen:], value[format.SealLen:]) >= 0 {
			return nil
		}
		if e.Kind == format.KindUntold || e.Kind == format.KindTotal {
			if err := tx.Queue(string(e.Name)).Create(); err != nil {
				return err
			}
		}
		_, err = tx.Put(key, bytes.Clone(value))
	case format.KindQueue:
		// Statistics of an old version of the page say nothing about what waited last.
		if !r.orphaned {
			r.stats[string(e.Name)] = e.Stats
		}
		err = tx.Queue(string(e.Name)).Create()
	case format.KindDue, format.KindKey:
		if r.orphaned {
			break
		}
		in := byte(inDue)
		if e.Kind == format.KindKey {
			in = inKey
		}
		r.indexed[reference{string(e.Name), e.Seq}] |= in
	case format.KindRecord:
		ref := reference{string(e.Name), e.Seq}
		if !r.orphaned {
			r.base = max(r.base, e.Record.Rev)
		} else if !r.noIndex && !r.found.Older && !r.waits(ref) {
			// Nothing refers to it: it was delivered.
			return nil
		}
		err = r.restore(tx, ref, &e.Record)
	case format.KindDead:
		var isNew bool
		if isNew, err = tx.Put(key, bytes.Clone(value)); isNew {
			q := tx.Queue(string(e.Name))
			q.Stats.Dead++
			q.Exists, q.Dirty = true, true
		}
		r.totals.NextSeq = max(r.totals.NextSeq, e.Seq)
	case format.KindRun:
		err = r.enterRun(tx, e.Run)
	case format.KindLedger:
		err = r.enter(tx, format.EventKey(key[1:]), e.Ledger)
	}
	return err
}

// keepTotals keeps the greatest of each count.
func (r *rescuer) keepTotals(t *format.Totals) {
	r.totals.NextSeq = max(r.totals.NextSeq, t.NextSeq)
	r.totals.Rev = max(r.totals.Rev, t.Rev)
	r.totals.Forgotten = max(r.totals.Forgotten, t.Forgotten)
	if t.Age > r.totals.Age {
		r.totals.Age, r.totals.Uptime, r.totals.Boot = t.Age, t.Uptime, t.Boot
	}
}

// keepPosition keeps the entry of a scope, and its position until it is known whether all of the file could be read.
func (r *rescuer) keepPosition(tx *copyTx, key, value []byte) (err error) {
	if _, isState := format.ScopeOf(key); isState {
		// It begins with the revision, so the greater is the newer.
		if old := tx.Get(key); old == nil || bytes.Compare(old[format.SealLen:], value[format.SealLen:]) < 0 {
			_, err = tx.Put(key, bytes.Clone(value))
		}
	} else if len(r.positions) < table.MaxScopes {
		r.positions = append(r.positions, [2][]byte{bytes.Clone(key), bytes.Clone(value)})
	}
	return err
}

// enter keeps the newer of two versions of a ledger entry.
func (r *rescuer) enter(tx *copyTx, id format.EventKey, e format.LedgerEntry) error {
	key := append([]byte{format.KindLedger}, id[:]...)
	if payload, ok := tx.Payload(key); ok {
		if old, err := format.DecodeLedgerEntry(payload); err == nil && old.Version >= e.Version {
			return nil
		}
	}
	isNew, err := tx.Put(key, format.Seal(key, e.Append(nil)))
	if isNew {
		tx.CountLedger(1)
	}
	return err
}

// enterRun puts what is in a run where it belongs.
func (r *rescuer) enterRun(tx *copyTx, run format.Run) error {
	for i := range run.Len() {
		id, e := run.At(i)
		if err := r.enter(tx, id, e); err != nil {
			return err
		}
	}
	return nil
}

// restore puts a record into its place. Of two versions of a record, and of two records with one key, the newer stays.
func (r *rescuer) restore(tx *copyTx, ref reference, s *format.Record) error {
	r.totals.NextSeq = max(r.totals.NextSeq, ref.seq)
	q := tx.Queue(ref.receiver)
	if err := q.Create(); err != nil {
		return err
	}
	var others []uint64
	if seq, ok := q.SeqOf(s.Key); ok {
		others = append(others, seq)
	}
	if tx.Get(format.SeqKey(format.KindRecord, ref.receiver, ref.seq)) != nil && !slices.Contains(others, ref.seq) {
		others = append(others, ref.seq)
	}
	for _, seq := range others {
		old, ok := q.At(seq)
		if !ok {
			return tx.Err
		}
		if old.Rev >= s.Rev {
			return nil
		}
		if err := q.Remove(seq, &old); err != nil {
			return err
		}
	}
	return q.Store(ref.seq, s)
}

// settle writes the sums, and counts what is missing.
func (r *rescuer) settle() error {
	tx, err := r.builder.next()
	if err != nil {
		return err
	}
	if err := r.settleTotals(tx); err != nil {
		return err
	}
	pages := r.found.Pages
	missing, losses := make(map[string]int), make(map[string]queue.Loss)
	for ref := range r.indexed {
		if r.waits(ref) && tx.Get(format.SeqKey(format.KindRecord, ref.receiver, ref.seq)) == nil {
			missing[ref.receiver]++
		}
	}
	for _, name := range slices.Concat(tx.Receivers(), keysOf(missing)) {
		if _, done := r.result.Records[name]; done {
			continue
		}
		q := tx.Queue(name)
		if err := errors.Join(q.SettleUntold(), r.dropDelivered(q)); err != nil {
			return err
		}
		r.result.Records[name] = q.Len()
		lost := queue.Loss{Cause: queue.Damaged}
		if stats, ok := r.stats[name]; ok && !r.found.Older && !r.hasIndex(name) && !r.isOld(stats, q) {
			lost.Records = stats.Records - min(stats.Records, q.Stats.Records)
			lost.Events = stats.Untold - min(stats.Untold, q.Stats.Untold)
		} else {
			lost.Records = uint64(missing[name])
			r.result.Unknown = r.result.Unknown || pages.HasLost(format.Named(format.KindRecord, name))
		}
		if lost.Records > 0 || lost.Events > 0 {
			losses[name] = lost
			r.result.Lost[name] = int(lost.Records)
		}
	}
	if r.found.Older || pages.HasLost([]byte{format.KindQueue}) && pages.HasLost([]byte{format.KindRecord}) {
		// A queue, or what the last transaction did, may be gone without a trace.
		r.result.Unknown = true
	}
	for _, name := range keysOf(r.result.Records) {
		lost, known := losses[name]
		if !known && !r.result.Unknown {
			continue
		}
		lost.Cause = queue.Damaged
		if err := tx.Queue(name).Lose(lost); err != nil {
			return err
		}
	}
	return tx.Err
}

// settleTotals writes the counts of the whole spool, and the positions if nothing can be missing.
func (r *rescuer) settleTotals(tx *copyTx) error {
	tx.Totals.NextSeq = max(tx.Totals.NextSeq, r.totals.NextSeq)
	tx.Totals.Rev = max(tx.Totals.Rev, r.totals.Rev)
	tx.Totals.Forgotten = max(tx.Totals.Forgotten, r.totals.Forgotten)
	tx.Totals.Age, tx.Totals.Uptime, tx.Totals.Boot = r.totals.Age, r.totals.Uptime, r.totals.Boot
	r.result.Ledger = int(tx.Totals.LedgerLen)
	if r.result.Positions = r.found.Pages.IsWhole() && r.found.Agrees(); r.result.Positions {
		for _, p := range r.positions {
			if _, err := tx.Put(p[0], p[1]); err != nil {
				return err
			}
		}
	}
	return nil
}

// hasIndex says that both indexes of a queue were read to the full, so that they, and not its statistics, say what is missing: the
// statistics may come from an old copy of their page.
func (r *rescuer) hasIndex(name string) bool {
	pages := r.found.Pages
	return r.found.Meta != nil && !pages.HasLost(format.Named(format.KindDue, name)) && !pages.HasLost(format.Named(format.KindKey, name))
}

// isOld says that the statistics come from an old copy of their page: there is more than they count.
func (r *rescuer) isOld(stats format.QueueStats, q *queue.Queue) bool {
	return r.totals.Rev < r.base || stats.Dead < q.Stats.Dead || stats.Records < q.Stats.Records || stats.Untold < q.Stats.Untold
}

// dropDelivered removes records that neither index names: an old copy of a page was read in the place of a newer one.
func (r *rescuer) dropDelivered(q *queue.Queue) error {
	if r.found.Older || !r.hasIndex(q.Name) {
		return nil
	}
	for key := range q.Tx.Scan(format.Named(format.KindRecord, q.Name)) {
		seq := queue.SeqOfKey(key)
		if r.indexed[reference{q.Name, seq}] != 0 {
			continue
		}
		old, ok := q.At(seq)
		if !ok {
			return q.Tx.Err
		}
		if err := q.Remove(seq, &old); err != nil {
			return err
		}
	}
	return q.Tx.Err
}

func keysOf(m map[string]int) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
