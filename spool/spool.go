package spool

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/edge-eventer/edge-eventer/spool/boltfile"
	"github.com/edge-eventer/edge-eventer/spool/failure"
	"github.com/edge-eventer/edge-eventer/spool/format"
	"github.com/edge-eventer/edge-eventer/spool/place"
	"github.com/edge-eventer/edge-eventer/spool/retention"
	"github.com/edge-eventer/edge-eventer/spool/txn"
)

const (
	defaultMaxBytes = 16 << 20
	minMaxBytes     = 256 << 10
	defaultPageSize = boltfile.DefaultPageSize

	// acknowledgement and perPut are how many bytes a transaction may add, and how many more with each put, that only notes what was
	// told. A new record adds a dozen times as much.
	acknowledgement, perPut = 128, 16
	// maxHalvings is how often in a row such a transaction fails before room is made for it. Its caller tries with half of it.
	maxHalvings = 8

	// minPages is the least number of pages that MaxBytes must have room for.
	minPages = 64
)

// Options say where the spool is and how large it may grow. Only Path is needed.
type Options struct {
	// Path is the file, or a link to it, which stays. It is created with mode 0600, its directory with 0700, if missing. A lock file lies beside it,
	// with ".lock" appended to the name, and the two newest damaged files that were set aside.
	Path string

	// MaxBytes is the bound of the file in bytes, 16 MiB by default and 256 KiB at least. Above three quarters of it the
	// oldest records are evicted; the rest is room for bbolt to copy pages on write. A body may have MaxBytes/64 bytes,
	// and 64 KiB at most. An existing file that is larger is made to fit.
	MaxBytes int64

	// MaxAge is how long a record waits before it is removed and counted as Expired. It is measured from the arrival of the oldest
	// untold occurrence, by a clock that nobody can set: the monotonic one while the spool is open, the machine's uptime while
	// it is closed. The time of a reboot does not count. A record goes up to a 64th of MaxAge later. 0: it waits for ever.
	MaxAge time.Duration

	// Now is the wall clock, time.Now by default. It sets Record.Added and Loss.Since.
	Now func() time.Time

	// Monotonic is a clock that nobody can set. Default: Go's.
	Monotonic func() time.Duration

	// Boot names this boot of the machine, by 16 bytes in hexadecimal, and says how long it is up. Default: what Linux says.
	Boot func() (id string, uptime time.Duration)

	// Synced is told after each commit how long writing and syncing took: the pages, an fsync, the meta page and another. It is
	// called inside Update and must not use the spool. Default: nobody is told.
	Synced func(time.Duration)

	// Touched is called after pages of the file were read: at the end of each Update and View, before a commit, and within those that read many. It may
	// give the process's view of them back. Before a commit commits is set: one that fails reads all of the file. It must not use the
	// spool. Default: nobody is told.
	Touched func(commits bool)

	// OpenFile opens the file, os.OpenFile by default. Tests inject faults with it.
	OpenFile func(name string, flag int, perm os.FileMode) (*os.File, error)

	// PageSize is the size of a page of a new file in bytes, 4,096 by default; an existing file keeps its own. A power
	// of two from 1,024 to 65,536, and at most MaxBytes/64.
	PageSize int

	// orderly takes free pages in their order, which bbolt's map does not. Tests have the same file in each run with it.
	orderly bool

	// fsync is (*os.File).Sync except in tests.
	fsync func(*os.File) error
}

func (o *Options) check() error {
	if o.Path == "" {
		return errors.New("path of the spool is missing")
	}
	if o.MaxBytes == 0 {
		o.MaxBytes = defaultMaxBytes
	}
	if o.MaxBytes < minMaxBytes || o.MaxBytes > 1<<30 {
		return fmt.Errorf("%w: spool of %d bytes, must be from 256 KiB to 1 GiB", ErrTooLarge, o.MaxBytes)
	}
	if o.MaxAge < 0 {
		return fmt.Errorf("%w: greatest age %s, must not be negative", ErrTooLarge, o.MaxAge)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Monotonic == nil {
		start := time.Now()
		o.Monotonic = func() time.Duration { return time.Since(start) }
	}
	if o.Boot == nil {
		o.Boot = retention.BootAndUptime
	}
	if o.OpenFile == nil {
		o.OpenFile = os.OpenFile
	}
	if o.fsync == nil {
		o.fsync = (*os.File).Sync
	}
	if o.PageSize == 0 {
		o.PageSize = defaultPageSize
	}
	var err error
	if o.Path, err = place.Follow(o.Path); err != nil {
		return fmt.Errorf("path of the spool: %w", err)
	}
	if !boltfile.ValidPageSize(int64(o.PageSize)) || int64(o.PageSize)*minPages > o.MaxBytes {
		return fmt.Errorf("%w: page of %d bytes, must be a power of two from 1024 to 65536 and MaxBytes/64", ErrTooLarge, o.PageSize)
	}
	return nil
}

// growth is by how many bytes the file grows.
func (o *Options) growth() int64 { return min(256<<10, o.MaxBytes/16) }

func (o *Options) maxBody() int {
	return int(min(format.MaxBodyLen, o.MaxBytes/64))
}

// Spool is an open spool. Its methods may be called from several goroutines: one Update runs at a time, any number of
// Views beside it. Neither may be called from inside the function of another.
type Spool struct {
	options Options
	place   place.Place
	lock    *os.File
	// looks says that nothing may be changed.
	looks bool

	// writer is held by the one Update, and by whatever replaces db.
	writer sync.Mutex
	// env is what transactions share.
	env txn.Env
	// retention is guarded by writer.
	retention retention.Policy
	// shrinking is set while a file that is too large is made smaller: it may grow meanwhile. Guarded by writer.
	shrinking   bool
	compactions atomic.Uint64
	// notes says that the last transaction added nothing to speak of, halvings how many such failed in a row for want of room. Guarded
	// by writer.
	notes    bool
	halvings int
	// untilCompaction is how many bytes commits still write before the next one is thought of, dense about what would be in use
	// after it, 0 if that is not known. Guarded by writer.
	untilCompaction, dense int64
	// commit is (*bbolt.Tx).Commit except in tests.
	commit func(*bbolt.Tx) error

	// mu is held for reading while db is in use, for writing while it is replaced.
	mu      sync.RWMutex
	db      *bbolt.DB
	file    *os.File
	rescued *Rescue
	// rescues are those that nobody asked for yet, rescueSignal says that there is one. Guarded by mu.
	rescues      []*Rescue
	rescueSignal chan struct{}
	// generation counts the rescues. Changed under mu, with writer held or before anybody else has the spool.
	generation atomic.Uint64

	// broken is what makes a reopening necessary before the next transaction: nil, or *breakage.
	broken atomic.Pointer[breakage]

	fileBytes, usedBytes atomic.Int64
}

// breakage is a state that bbolt cannot go on from.
type breakage struct {
	// err is the damage that was met; nil if only bbolt's view of the file is stale.
	err error
	// meta is what has to be written back at offset before the file is what it was before a failed commit. May be nil.
	meta   []byte
	offset int64
}

// Open opens the spool, and creates it if there is none. A damaged file is rescued; see [Spool.NextRescue]. Whatever replaces the file
// keeps its owner and mode. It returns ErrLocked, ErrVersion, ErrNoSpace, ErrReadOnly and ErrPermission wrapped; the latter three
// leave everything as it was and are worth trying again.
func Open(o Options) (*Spool, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(o.Path), 0o700); err != nil {
		return nil, fmt.Errorf("create directory of the spool: %w", failure.Classify(err))
	}
	owner := place.OwnerOf(o.Path)
	lock, err := place.Lock(o.Path+".lock", owner)
	if err != nil {
		return nil, err
	}
	s := newSpool(o, owner, lock)
	if err := s.open(); err != nil {
		_ = lock.Close()
		return nil, err
	}
	boot, uptime := o.Boot()
	if err := s.view(func(tx *Tx) error { return s.retention.StartClock(tx.txn, boot, uptime) }); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	if s.rescued != nil {
		s.rescued.AtOpen = true
	}
	return s, nil
}

func newSpool(o Options, owner place.Owner, lock *os.File) *Spool {
	s := &Spool{
		options: o,
		place:   place.Place{Path: o.Path, Owner: owner, Fsync: o.fsync},
		lock:    lock,
		retention: retention.Policy{
			MaxBytes: o.MaxBytes, MaxAge: o.MaxAge, Now: o.Now, Monotonic: o.Monotonic,
		},
		commit:       (*bbolt.Tx).Commit,
		rescueSignal: make(chan struct{}, 1),
	}
	s.env = txn.Env{
		Now: o.Now, MaxBytes: o.MaxBytes, MaxBody: o.maxBody(),
		Touched: func() { s.touched(false) },
		Damaged: func(err error) { s.broken.CompareAndSwap(nil, &breakage{err: err}) },
	}
	return s
}

// open makes the file at Path a sound one and opens it. The caller holds writer and mu, or has the only reference.
func (s *Spool) open() error {
	rescued, err := s.prepare()
	if err != nil {
		return err
	}
	if rescued != nil {
		s.note(rescued)
	}
	return s.openDB(s.options.MaxBytes)
}

// openDB opens the file at Path with bbolt. It must be sound: bbolt trusts what it reads.
func (s *Spool) openDB(maxBytes int64) error {
	db, file, err := s.openBolt(s.options.Path, maxBytes)
	if err != nil {
		return err
	}
	s.db, s.file, s.dense = db, file, 0
	s.limit(false)
	s.measure()
	return nil
}

// openBolt opens a file with bbolt, and maps so many bytes of it.
func (s *Spool) openBolt(path string, maxBytes int64) (db *bbolt.DB, file *os.File, err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: open: %v", ErrDamaged, p)
		}
	}()
	if s.looks {
		// A look at a file of any size maps what is there.
		maxBytes = 0
	}
	freelist := bbolt.FreelistMapType
	if s.options.orderly {
		freelist = bbolt.FreelistArrayType
	}
	db, err = bbolt.Open(path, 0o600, &bbolt.Options{
		// The lock file is taken already; this keeps away only other programs, such as bbolt's own.
		Timeout:  time.Second,
		ReadOnly: s.looks,
		// The list of free pages is not written: with an emptied backlog of 16 MiB it would be 32 KiB in each commit.
		// bbolt finds them by a walk at Open, where all pages are read anyway.
		NoFreelistSync: true,
		// With pages of 4 KiB the hashmap writes 12 to 17 % less than the array.
		FreelistType: freelist,
		PageSize:     s.options.PageSize,
		// Mapping the whole file at once costs addresses, not memory. The mapping is then never moved, so an Update does
		// not wait for a View, and bytes stay where they are until the transaction ends.
		InitialMmapSize: int(maxBytes),
		OpenFile: func(name string, flag int, perm os.FileMode) (*os.File, error) {
			f, err := s.options.OpenFile(name, flag, perm)
			if err == nil {
				readByPages(f)
			}
			file = f
			return f, err
		},
	})
	if err != nil {
		if errors.Is(err, berrors.ErrTimeout) {
			return nil, nil, fmt.Errorf("%w: %s is locked", ErrLocked, path)
		}
		return nil, nil, fmt.Errorf("open %s: %w", path, failure.Classify(err))
	}
	return db, file, nil
}

// limit sets bbolt's own ceiling: MaxBytes less the reserve, which only makeRoom and acknowledgements may use. bbolt refuses to grow the file
// unless a whole step fits below it. A step costs a truncate and an fsync, so it should not be small, but neither bbolt's
// 16 MiB.
func (s *Spool) limit(useReserve bool) {
	ceiling, step := s.options.MaxBytes-s.reserve(), s.options.growth()
	switch {
	case s.shrinking:
		ceiling = 0
	case useReserve:
		ceiling, step = s.options.MaxBytes, int64(s.db.Info().PageSize)
	}
	s.db.MaxSize, s.db.AllocSize = int(ceiling), int(step)
}

// measure notes the sizes after a transaction.
func (s *Spool) measure() {
	if info, err := s.file.Stat(); err == nil {
		s.fileBytes.Store(info.Size())
	}
	if tx, err := s.db.Begin(false); err == nil {
		s.usedBytes.Store(s.used(tx))
		_ = tx.Rollback()
	}
}

// used returns the bytes of pages in use. Pages that the last transaction freed count as free although they can be
// written to only after the next one began.
func (s *Spool) used(tx *bbolt.Tx) int64 {
	stats := s.db.Stats()
	return tx.Size() - int64(stats.FreePageN+stats.PendingPageN)*int64(s.db.Info().PageSize)
}

// maxRescues bounds how many rescues wait to be asked for. What the older ones lost stays counted as losses.
const maxRescues = 8

// note keeps a rescue for NextRescue. The caller holds mu, or has the only reference.
func (s *Spool) note(rescued *Rescue) {
	s.rescued = rescued
	s.rescues = append(s.rescues, rescued)
	s.rescues = s.rescues[max(0, len(s.rescues)-maxRescues):]
	s.generation.Add(1)
	select {
	case s.rescueSignal <- struct{}{}:
	default:
	}
}

// Rescues receives a value after each rescue that NextRescue has not returned yet, also after one by Open. Several may share one.
func (s *Spool) Rescues() <-chan struct{} { return s.rescueSignal }

// NextRescue returns each rescue once, the oldest first, and nil when there is none. Of those that nobody asks for the last 8 stay.
func (s *Spool) NextRescue() *Rescue {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.rescues) == 0 {
		return nil
	}
	next := s.rescues[0]
	s.rescues = s.rescues[1:]
	return next
}

// Rescued returns the latest rescue of a damaged file, by Open or while the spool was open, or nil if there was none.
func (s *Spool) Rescued() *Rescue {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.rescued
}

// Size returns the bytes of the file, and those of its pages that are in use, as of the last Update.
func (s *Spool) Size() (file, used int64) {
	return s.fileBytes.Load(), s.usedBytes.Load()
}

// Compactions returns how often the open file was compacted. Each took as long as reading it and writing what it holds.
func (s *Spool) Compactions() uint64 { return s.compactions.Load() }

// Close waits for transactions to end and closes the file. Closing twice is harmless.
func (s *Spool) Close() error {
	s.writer.Lock()
	defer s.writer.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lock == nil {
		return nil
	}
	err := s.closeDB()
	// Closing the lock file gives the lock back.
	err = errors.Join(err, s.lock.Close())
	s.lock = nil
	if err != nil {
		return fmt.Errorf("close spool: %w", err)
	}
	return nil
}

func (s *Spool) closeDB() error {
	if s.db == nil {
		return nil
	}
	err := s.db.Close()
	s.db, s.file = nil, nil
	return err
}

// Update calls fn and makes what it did durable: it is on the disk when Update returns nil, and has not happened when it
// returns an error, be it of fn or of the disk. It evicts and expires old records in the same transaction. An fn that
// changes nothing costs no write. Near the bound it may compact the file first: Views wait meanwhile, and a second file of what
// is in use lies beside it.
//
// One Update should put no more than a sixteenth of MaxBytes. A larger one may need more room than is free: it fails with
// ErrNoSpace, room is made by eviction, and it succeeds when tried again. One that adds nothing, because it only notes what was told,
// may use the room that is kept for evictions; where even that is too little it should be tried in halves, and evicts only in the end.
//
// Errors that say what to do are ErrNoSpace, ErrReadOnly, ErrPermission, ErrDamaged and ErrClosed.
func (s *Spool) Update(fn func(*Tx) error) error {
	if s.looks {
		return ErrNotWritable
	}
	s.writer.Lock()
	defer s.writer.Unlock()
	if err := s.mend(); err != nil {
		return err
	}
	s.compactIfSparse()
	if err := s.mend(); err != nil {
		return err
	}
	err := s.update(fn)
	switch {
	case err == nil:
		s.halvings = 0
	case !errors.Is(err, berrors.ErrMaxSizeReached):
	case s.notes && s.halvings < maxHalvings:
		// An eviction now would lose others for what was delivered.
		s.halvings++
	default:
		s.makeRoom()
	}
	if b := s.broken.Load(); b != nil && b.err == nil {
		// What the failed commit left is put right at once, so that Views in the meantime do not see it.
		_ = s.mend()
	}
	s.touched(false)
	return err
}

func (s *Spool) touched(commits bool) {
	if s.options.Touched != nil {
		s.options.Touched(commits)
	}
}

// update runs one transaction.
func (s *Spool) update(fn func(*Tx) error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.db == nil {
		return ErrClosed
	}
	btx, err := s.db.Begin(true)
	if err != nil {
		if errors.Is(err, berrors.ErrInvalidMapping) {
			s.broken.CompareAndSwap(nil, &breakage{})
		}
		return fmt.Errorf("begin: %w", failure.Classify(err))
	}
	tx := s.newTx(btx)
	returned := false
	defer func() {
		if returned {
			return
		}
		// A panic, or the end of fn's goroutine. Where fn itself is wrong its panic goes on.
		p := recover()
		txn.Abandon(btx)
		if p != nil {
			err = tx.txn.Panicked(p)
		}
	}()
	err = tx.run(fn)
	notes := tx.evicting == 0 && tx.txn.Grown <= int64(acknowledgement+perPut*tx.txn.Puts)
	if err == nil && tx.txn.Changes > 0 {
		err = tx.seal(s.used(btx))
	}
	if err != nil || tx.txn.Changes == 0 {
		returned = true
		txn.Abandon(btx)
		return err
	}
	meta, offset, err := s.readMeta(btx)
	if err != nil {
		returned = true
		txn.Abandon(btx)
		return err
	}
	// What adds nothing to speak of, such as an acknowledgement, may use the reserve too: it is what makes room.
	s.notes = notes
	s.limit(tx.evicting > 0 || s.notes)
	s.touched(true)
	tx.txn.Inside = true
	err = s.commit(btx)
	tx.txn.Inside = false
	returned = true
	if err != nil {
		s.failedCommit(meta, offset)
		return fmt.Errorf("commit: %w", failure.Classify(err))
	}
	s.committed(btx.Stats(), tx.txn.Grown)
	return nil
}

// committed notes what a commit wrote, and that entries grew by so many bytes.
func (s *Spool) committed(stats bbolt.TxStats, grown int64) {
	s.untilCompaction = max(0, s.untilCompaction-stats.GetPageAlloc())
	if s.dense > 0 {
		s.dense += grown
	}
	if s.options.Synced != nil {
		s.options.Synced(stats.GetWriteTime())
	}
	s.measure()
}

// readMeta reads the meta page that the commit of btx will replace.
func (s *Spool) readMeta(btx *bbolt.Tx) (meta []byte, offset int64, err error) {
	meta = make([]byte, boltfile.PageHeaderLen+boltfile.MetaLen)
	offset = int64(btx.ID()%2) * int64(s.db.Info().PageSize)
	if _, err := s.file.ReadAt(meta, offset); err != nil {
		return nil, 0, fmt.Errorf("read meta page: %w", failure.Classify(err))
	}
	return meta, offset, nil
}

// failedCommit finds out whether the failed commit got as far as its meta page. If so, the transaction is visible, and may
// or may not be on the disk: the old page has to be written back, and bbolt to read its list of free pages anew.
func (s *Spool) failedCommit(meta []byte, offset int64) {
	now := make([]byte, len(meta))
	_, err := s.file.ReadAt(now, offset)
	if err == nil && bytes.Equal(now, meta) {
		return
	}
	// In the page cache this works even where the disk does not.
	_, _ = s.file.WriteAt(meta, offset)
	s.broken.CompareAndSwap(nil, &breakage{meta: meta, offset: offset})
}

// mend makes the spool usable again after damage or a failed commit. The caller holds writer.
func (s *Spool) mend() error {
	b := s.broken.Load()
	if b == nil {
		return nil
	}
	if s.looks {
		return b.err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lock == nil {
		return ErrClosed
	}
	if b.meta != nil {
		// Before anything else is written the old meta page must be on the disk: the one of the failed commit may be
		// there, and points to pages that are free now.
		file, err := s.options.OpenFile(s.options.Path, os.O_RDWR, 0o600)
		if err != nil {
			return fmt.Errorf("undo failed commit: %w", failure.Classify(err))
		}
		_, err = file.WriteAt(b.meta, b.offset)
		if err == nil {
			err = s.options.fsync(file)
		}
		if err = errors.Join(err, file.Close()); err != nil {
			return fmt.Errorf("undo failed commit: %w", failure.Classify(err))
		}
		b = &breakage{err: b.err}
		s.broken.Store(b)
	}
	if err := s.closeDB(); err != nil {
		return fmt.Errorf("close after failure: %w", err)
	}
	if err := s.open(); err != nil {
		return fmt.Errorf("open after failure: %w", err)
	}
	s.broken.Store(nil)
	return nil
}

// View calls fn with a transaction that sees one state of the spool and cannot change it. It should be short: while it
// lasts, pages that were freed cannot be used again. It returns fn's error, ErrDamaged or ErrClosed.
func (s *Spool) View(fn func(*Tx) error) error {
	if s.broken.Load() != nil {
		s.writer.Lock()
		err := s.mend()
		s.writer.Unlock()
		if err != nil {
			return err
		}
	}
	defer s.touched(false)
	return s.view(fn)
}

func (s *Spool) view(fn func(*Tx) error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.db == nil {
		return ErrClosed
	}
	btx, err := s.db.Begin(false)
	if err != nil {
		return fmt.Errorf("begin: %w", failure.Classify(err))
	}
	tx := s.newTx(btx)
	returned := false
	defer func() {
		txn.Abandon(btx)
		if returned {
			return
		}
		if p := recover(); p != nil {
			err = tx.txn.Panicked(p)
		}
	}()
	err = tx.run(fn)
	returned = true
	return err
}

var _ io.Closer = (*Spool)(nil)
