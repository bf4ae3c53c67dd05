package spool

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/bbolt"

	"github.com/edge-eventer/edge-eventer/internal/seed"
	"github.com/edge-eventer/edge-eventer/spool/format"
	"github.com/edge-eventer/edge-eventer/spool/inspect"
	"github.com/edge-eventer/edge-eventer/spool/ledger"
)

// epoch is the time at which tests begin.
var epoch = time.UnixMilli(1_790_000_000_000)

// seeded returns the random numbers of a test; EDGE_EVENTER_SEED repeats a run.
func seeded(t testing.TB) *rand.Rand {
	t.Helper()
	return seed.New(t)
}

// ramDir is a temporary directory in memory where there is one, for tests that commit thousands of times: an fsync on the
// disk of a busy machine takes 10 ms and more.
func ramDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "spool-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// house opens a spool in a directory of its own, and checks the whole file when the test ends.
type house struct {
	*Spool

	t       testing.TB
	options Options
	clock   time.Time
	// steps is by how much the clock was set ahead. The monotonic clock has none of it.
	steps time.Duration
	// boot names the boot of the machine.
	boot string
}

// set sets the clock ahead, or back.
func (h *house) set(step time.Duration) {
	h.clock = h.clock.Add(step)
	h.steps += step
}

func newHouse(t testing.TB, o Options) *house {
	t.Helper()
	h := &house{t: t, options: o, clock: epoch, boot: "0f0f0f0f-5b1c-4c43-8e0a-9b7d0f4a5e11"}
	if h.options.Path == "" {
		h.options.Path = filepath.Join(ramDir(t), "spool.db")
	}
	if h.options.Now == nil {
		h.options.Now = func() time.Time { return h.clock }
		h.options.Monotonic = func() time.Duration { return h.clock.Sub(epoch) - h.steps }
		h.options.Boot = func() (string, time.Duration) { return h.boot, h.options.Monotonic() }
	}
	h.open()
	t.Cleanup(func() {
		h.close()
		checkFile(t, h.options.Path)
	})
	return h
}

func (h *house) open() {
	h.t.Helper()
	s, err := Open(h.options)
	if err != nil {
		h.t.Fatalf("open: %v", err)
	}
	h.Spool = s
}

func (h *house) close() {
	h.t.Helper()
	if err := h.Close(); err != nil {
		h.t.Fatalf("close: %v", err)
	}
}

func (h *house) reopen() {
	h.t.Helper()
	h.close()
	h.open()
}

func (h *house) update(fn func(tx *Tx) error) {
	h.t.Helper()
	if err := h.Update(fn); err != nil {
		h.t.Fatalf("update: %v", err)
	}
}

func (h *house) view(fn func(tx *Tx)) {
	h.t.Helper()
	if err := h.View(func(tx *Tx) error { fn(tx); return nil }); err != nil {
		h.t.Fatalf("view: %v", err)
	}
}

// put puts one record per key, due in their order, with one untold occurrence each.
func (h *house) put(receiver string, keys ...string) {
	h.t.Helper()
	h.update(func(tx *Tx) error {
		for i, key := range keys {
			r := Record{Key: []byte(key), Due: epoch.Add(time.Duration(i) * time.Second), Untold: 1, Body: []byte("body of " + key)}
			if err := tx.Queue(receiver).Put(r); err != nil {
				return err
			}
		}
		return nil
	})
}

// maxLedger is the bound of the number of ledger entries.
func (h *house) maxLedger() uint64 {
	return uint64(h.Spool.options.MaxBytes / ledger.BytesPerLedgerEntry)
}

// emptyQueue removes all records and dead letters of the queue.
func emptyQueue(tx *Tx, receiver string) error {
	q := tx.Queue(receiver)
	for r := range q.All() {
		if err := q.Delete(bytes.Clone(r.Key)); err != nil {
			return err
		}
	}
	for d := range q.Dead() {
		if err := q.DropDead(bytes.Clone(d.Key)); err != nil {
			return err
		}
	}
	return nil
}

// forgetPosition removes the position of the scope and nothing else of its entry.
func forgetPosition(tx *Tx, scope string) error {
	entry := tx.Scope(scope)
	entry.Position = ""
	return tx.SetScope(scope, entry)
}

// keys returns the keys of the queue, the oldest first.
func (h *house) keys(receiver string) []string {
	h.t.Helper()
	var keys []string
	h.view(func(tx *Tx) {
		for r := range tx.Queue(receiver).All() {
			keys = append(keys, string(r.Key))
		}
	})
	return keys
}

func (h *house) untoldLosses(receiver string) []Loss {
	h.t.Helper()
	var losses []Loss
	h.view(func(tx *Tx) { losses = tx.Queue(receiver).UntoldLosses() })
	return losses
}

// checkFile checks the closed file with bbolt's own check and with ours.
func checkFile(t testing.TB, path string) {
	t.Helper()
	if err := soundness(path); err != nil {
		kept := filepath.Join(os.TempDir(), "spool-unsound.db")
		if data, readErr := os.ReadFile(path); readErr == nil {
			_ = os.WriteFile(kept, data, 0o600)
		}
		t.Errorf("%s is not sound, kept as %s: %v", path, kept, err)
	}
}

func soundness(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	found, err := inspect.Read(file, info.Size())
	if err != nil {
		return err
	}
	if found.Cause != nil {
		return found.Cause
	}
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true, Timeout: time.Second, PreLoadFreelist: true})
	if err != nil {
		return err
	}
	var errs []error
	err = db.View(func(tx *bbolt.Tx) error {
		for err := range tx.Check() {
			errs = append(errs, err)
		}
		return errors.Join(errs...)
	})
	return errors.Join(err, db.Close())
}

func TestCommitIsDurableWhenUpdateReturns(t *testing.T) {
	h := newHouse(t, Options{})
	h.put("ops", "a", "b")
	h.update(func(tx *Tx) error {
		return errors.Join(
			tx.SetPosition("", "4711"),
			tx.Take(EventID{UID: "u", Created: epoch}, Taken{Version: 4711, Count: 3}),
			tx.Add("events", 2),
			tx.SetValue("started", []byte("yes")),
		)
	})
	// The file as it lies on the disk, without Close.
	data, err := os.ReadFile(h.options.Path)
	if err != nil {
		t.Fatal(err)
	}
	copied := newHouse(t, Options{})
	copied.close()
	if err := os.WriteFile(copied.options.Path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	copied.open()
	if diff := cmp.Diff([]string{"a", "b"}, copied.keys("ops")); diff != "" {
		t.Error(diff)
	}
	copied.view(func(tx *Tx) {
		if v, ok := tx.Position(""); v != "4711" || !ok {
			t.Errorf("position %q, %t", v, ok)
		}
		if taken, ok := tx.Taken(EventID{UID: "u", Created: epoch}); taken != (Taken{Version: 4711, Count: 3}) || !ok {
			t.Errorf("taken %v, %t", taken, ok)
		}
		if n := tx.Counter("events"); n != 2 {
			t.Errorf("counter %d", n)
		}
		if v := tx.Value("started"); string(v) != "yes" {
			t.Errorf("value %q", v)
		}
	})
}

func TestFailedUpdateChangesNothing(t *testing.T) {
	h := newHouse(t, Options{})
	h.put("ops", "a")
	failure := errors.New("no")
	err := h.Update(func(tx *Tx) error {
		_ = tx.Queue("ops").Delete([]byte("a"))
		_ = tx.Queue("new").Put(Record{Key: []byte("x")})
		_ = tx.SetPosition("", "1")
		return failure
	})
	if !errors.Is(err, failure) {
		t.Fatalf("update: %v", err)
	}
	h.view(func(tx *Tx) {
		if diff := cmp.Diff([]string{"ops"}, tx.Receivers()); diff != "" {
			t.Error(diff)
		}
		if _, ok := tx.Position(""); ok {
			t.Error("position was set")
		}
	})
	if diff := cmp.Diff([]string{"a"}, h.keys("ops")); diff != "" {
		t.Error(diff)
	}
}

func TestPanicOfTheCallerGoesOnAndChangesNothing(t *testing.T) {
	h := newHouse(t, Options{})
	for _, call := range []func(func(*Tx) error) error{h.Update, h.View} {
		func() {
			defer func() {
				if p := recover(); p != "mine" {
					t.Errorf("recovered %v", p)
				}
			}()
			_ = call(func(tx *Tx) error {
				_ = tx.Queue("ops").Put(Record{Key: []byte("x")})
				panic("mine")
			})
		}()
	}
	h.put("ops", "a")
	if diff := cmp.Diff([]string{"a"}, h.keys("ops")); diff != "" {
		t.Error(diff)
	}
}

func TestUpdateWithoutChangeWritesNothing(t *testing.T) {
	h := newHouse(t, Options{})
	h.put("ops", "a")
	h.update(func(tx *Tx) error { return tx.SetPosition("", "7") })
	before, err := os.ReadFile(h.options.Path)
	if err != nil {
		t.Fatal(err)
	}
	h.put("ops", "a")
	h.update(func(tx *Tx) error { return tx.SetPosition("", "7") })
	after, err := os.ReadFile(h.options.Path)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(before, after) {
		t.Error("the file changed")
	}
}

func TestAckedRecordsStayGone(t *testing.T) {
	h := newHouse(t, Options{})
	h.put("ops", "a", "b", "c")
	h.update(func(tx *Tx) error { return tx.Queue("ops").Delete([]byte("b")) })
	for range 3 {
		h.reopen()
		if diff := cmp.Diff([]string{"a", "c"}, h.keys("ops")); diff != "" {
			t.Fatal(diff)
		}
	}
}

func TestReadingDoesNotRemove(t *testing.T) {
	h := newHouse(t, Options{})
	h.put("ops", "a", "b")
	for range 2 {
		var got []string
		h.view(func(tx *Tx) {
			for r := range tx.Queue("ops").Due(epoch.Add(time.Hour)) {
				got = append(got, string(r.Key))
			}
		})
		if diff := cmp.Diff([]string{"a", "b"}, got); diff != "" {
			t.Fatal(diff)
		}
	}
}

func TestReplaceKeepsPlaceInLine(t *testing.T) {
	h := newHouse(t, Options{})
	h.put("ops", "a", "b", "c")
	h.clock = h.clock.Add(time.Hour)
	h.update(func(tx *Tx) error {
		return tx.Queue("ops").Put(Record{Key: []byte("a"), Due: epoch.Add(time.Minute), Untold: 9, Body: []byte("longer than it was before")})
	})
	if diff := cmp.Diff([]string{"a", "b", "c"}, h.keys("ops")); diff != "" {
		t.Error(diff)
	}
	h.view(func(tx *Tx) {
		r, ok := tx.Queue("ops").Get([]byte("a"))
		want := Record{
			Key: []byte("a"), Due: epoch.Add(time.Minute), Untold: 9, Body: []byte("longer than it was before"),
			Seq: format.PendingLane | 1, Added: epoch,
		}
		if diff := cmp.Diff(want, r.Clone()); diff != "" || !ok {
			t.Error(diff)
		}
	})
}

func TestDueIsOrderedByTimeThenArrival(t *testing.T) {
	h := newHouse(t, Options{})
	h.update(func(tx *Tx) error {
		q := tx.Queue("ops")
		return errors.Join(
			q.Put(Record{Key: []byte("late"), Due: epoch.Add(time.Minute)}),
			q.Put(Record{Key: []byte("second"), Due: epoch}),
			q.Put(Record{Key: []byte("third"), Due: epoch}),
			q.Put(Record{Key: []byte("first"), Due: epoch.Add(-time.Minute)}),
		)
	})
	h.view(func(tx *Tx) {
		q := tx.Queue("ops")
		var got []string
		for r := range q.Due(epoch) {
			got = append(got, string(r.Key))
		}
		if diff := cmp.Diff([]string{"first", "second", "third"}, got); diff != "" {
			t.Error(diff)
		}
		if last, ok := q.LastDue(); !last.Equal(epoch.Add(time.Minute)) || !ok {
			t.Errorf("last %s, %t", last, ok)
		}
		if oldest, ok := q.Oldest(); string(oldest.Key) != "late" || !ok {
			t.Errorf("oldest %s, %t", oldest.Key, ok)
		}
	})
}

func TestLoopsTolerateChanges(t *testing.T) {
	h := newHouse(t, Options{})
	var keys []string
	for i := range 500 {
		keys = append(keys, fmt.Sprintf("%03d", i))
	}
	h.put("ops", keys...)
	var seen []string
	h.update(func(tx *Tx) error {
		q := tx.Queue("ops")
		for r := range q.Due(epoch.Add(time.Hour)) {
			key := string(r.Key)
			seen = append(seen, key)
			var err error
			switch len(seen) % 3 {
			case 0:
				err = q.Delete([]byte(key))
			case 1:
				err = q.Put(Record{Key: []byte(key), Due: epoch.Add(2 * time.Hour), Body: make([]byte, 300)})
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	if diff := cmp.Diff(keys, seen); diff != "" {
		t.Error(diff)
	}
	if n := len(h.keys("ops")); n != 500-166 {
		t.Errorf("%d records", n)
	}
}

func TestQueuesAreIndependent(t *testing.T) {
	h := newHouse(t, Options{})
	h.put("a", "1", "2")
	h.put("ab", "1", "3")
	h.put("b", "4")
	h.update(func(tx *Tx) error { return emptyQueue(tx, "a") })
	h.view(func(tx *Tx) {
		if diff := cmp.Diff([]string{"a", "b", "ab"}, tx.Receivers()); diff != "" {
			t.Error(diff)
		}
	})
	if diff := cmp.Diff([]string{"1", "3"}, h.keys("ab")); diff != "" {
		t.Error(diff)
	}
}

func TestSecondOpenFailsAtOnce(t *testing.T) {
	h := newHouse(t, Options{})
	if _, err := Open(h.options); !errors.Is(err, ErrLocked) {
		t.Errorf("second open: %v", err)
	}
	h.reopen()
}

func TestClosedSpoolSaysSo(t *testing.T) {
	h := newHouse(t, Options{})
	h.close()
	if err := h.Update(func(*Tx) error { return nil }); !errors.Is(err, ErrClosed) {
		t.Errorf("update: %v", err)
	}
	if err := h.View(func(*Tx) error { return nil }); !errors.Is(err, ErrClosed) {
		t.Errorf("view: %v", err)
	}
}

func TestViewCannotChange(t *testing.T) {
	h := newHouse(t, Options{})
	h.put("ops", "a")
	h.view(func(tx *Tx) {
		q := tx.Queue("ops")
		for name, err := range map[string]error{
			"put":      q.Put(Record{Key: []byte("b")}),
			"delete":   q.Delete([]byte("a")),
			"bury":     q.Bury([]byte("a"), "", nil, epoch),
			"revive":   q.Revive([]byte("b"), epoch),
			"lose":     q.Lose(Loss{Cause: Unseen}),
			"position": tx.SetPosition("", "1"),
			"take":     tx.Take(EventID{UID: "u"}, Taken{}),
			"add":      tx.Add("n", 1),
			"value":    tx.SetValue("n", []byte{1}),
		} {
			if !errors.Is(err, ErrNotWritable) {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

func TestLimitsAreErrors(t *testing.T) {
	h := newHouse(t, Options{MaxBytes: 1 << 20})
	long := string(make([]byte, 65))
	for name, fn := range map[string]func(tx *Tx) error{
		"no key":         func(tx *Tx) error { return tx.Queue("ops").Put(Record{}) },
		"long key":       func(tx *Tx) error { return tx.Queue("ops").Put(Record{Key: []byte(long)}) },
		"long body":      func(tx *Tx) error { return tx.Queue("ops").Put(Record{Key: []byte("a"), Body: make([]byte, 1<<14+1)}) },
		"no receiver":    func(tx *Tx) error { return tx.Queue("").Put(Record{Key: []byte("a")}) },
		"long receiver":  func(tx *Tx) error { return tx.Queue(long).Put(Record{Key: []byte("a")}) },
		"no cause":       func(tx *Tx) error { return tx.Queue("ops").Lose(Loss{}) },
		"long counter":   func(tx *Tx) error { return tx.Add(long, 1) },
		"long value":     func(tx *Tx) error { return tx.SetValue("v", make([]byte, 4097)) },
		"long namespace": func(tx *Tx) error { return tx.SetPosition(long, "1") },
		"many counters": func(tx *Tx) error {
			for i := range 257 {
				if err := tx.Add(fmt.Sprint(i), 1); err != nil {
					return err
				}
			}
			return nil
		},
	} {
		if err := h.Update(fn); !errors.Is(err, ErrTooLarge) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, o := range map[string]Options{
		"small": {Path: "x", MaxBytes: 1 << 17}, "age": {Path: "x", MaxAge: -1}, "page": {Path: "x", PageSize: 3000},
	} {
		if _, err := Open(o); !errors.Is(err, ErrTooLarge) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestFileIsForItsOwnerOnly(t *testing.T) {
	h := newHouse(t, Options{Path: filepath.Join(t.TempDir(), "new", "spool.db")})
	for path, want := range map[string]os.FileMode{h.options.Path: 0o600, filepath.Dir(h.options.Path): 0o700} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("%s: %o", path, got)
		}
	}
}

func TestPositionsAreKeptByNamespace(t *testing.T) {
	h := newHouse(t, Options{})
	h.update(func(tx *Tx) error {
		return errors.Join(tx.SetPosition("", "1"), tx.SetPosition("a", "2"), tx.SetPosition("ab", "3"), forgetPosition(tx, "a"))
	})
	h.view(func(tx *Tx) {
		for namespace, want := range map[string]string{"": "1", "a": "", "ab": "3"} {
			if got, ok := tx.Position(namespace); got != want || ok != (want != "") {
				t.Errorf("%q: %q, %t", namespace, got, ok)
			}
		}
	})
}

func TestNewerVersionIsLeftAlone(t *testing.T) {
	h := newHouse(t, Options{})
	h.put("ops", "a")
	h.update(func(tx *Tx) error {
		key := []byte{format.KindFormat}
		_, err := tx.txn.Put(key, format.Seal(key, []byte{0, 0, 0, format.FormatVersion + 1}))
		return err
	})
	h.close()
	before, err := os.ReadFile(h.options.Path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(h.options); !errors.Is(err, ErrVersion) {
		t.Errorf("open: %v", err)
	}
	after, err := os.ReadFile(h.options.Path)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(before, after) {
		t.Error("the file was changed")
	}
	// Back to a version that the closing check accepts.
	if err := os.Remove(h.options.Path); err != nil {
		t.Fatal(err)
	}
	h.open()
}

func TestReadOnlyDirectoryIsSaidAndPasses(t *testing.T) {
	for errno, want := range map[syscall.Errno]error{syscall.EROFS: ErrReadOnly, syscall.EACCES: ErrPermission, syscall.EPERM: ErrPermission} {
		h := newHouse(t, Options{})
		h.put("ops", "a")
		h.close()
		o := h.options
		o.OpenFile = func(name string, flag int, _ os.FileMode) (*os.File, error) {
			return nil, &os.PathError{Op: "open", Path: name, Err: errno}
		}
		if _, err := Open(o); !errors.Is(err, want) || errors.Is(err, ErrReadOnly) != errors.Is(want, ErrReadOnly) {
			t.Errorf("open: %v", err)
		}
		h.open()
		if diff := cmp.Diff([]string{"a"}, h.keys("ops")); diff != "" {
			t.Error(diff)
		}
	}
}

func TestSizeIsThatOfTheFile(t *testing.T) {
	h := newHouse(t, Options{})
	h.put("ops", "a")
	file, used := h.Size()
	info, err := os.Stat(h.options.Path)
	if err != nil {
		t.Fatal(err)
	}
	if file != info.Size() || used < 3*defaultPageSize || used > file {
		t.Errorf("size %d, %d, file has %d", file, used, info.Size())
	}
}
