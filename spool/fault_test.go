package spool

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/bbolt"
)

// faults is an OpenFile whose files can be made to fail: it puts a device in the place of their descriptors.
type faults struct {
	t     *testing.T
	mu    sync.Mutex
	files []*os.File
	saved map[*os.File]int
}

func (f *faults) open(name string, flag int, perm os.FileMode) (*os.File, error) {
	file, err := os.OpenFile(name, flag, perm)
	if err == nil && flag&os.O_RDWR != 0 {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.files = append(f.files, file)
	}
	return file, err
}

// replace puts the device in the place of all files that are open. /dev/full refuses writes with ENOSPC, /dev/zero takes
// them and fails at fdatasync, both read as zeros.
func (f *faults) replace(device string) {
	f.t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	d, err := os.OpenFile(device, os.O_RDWR, 0)
	if err != nil {
		f.t.Fatal(err)
	}
	defer func() { _ = d.Close() }()
	f.saved = make(map[*os.File]int)
	for _, file := range f.files {
		fd := int(file.Fd())
		if fd < 0 {
			continue
		}
		saved, err := syscall.Dup(fd)
		if err != nil {
			f.t.Fatal(err)
		}
		if err := syscall.Dup3(int(d.Fd()), fd, syscall.O_CLOEXEC); err != nil {
			f.t.Fatal(err)
		}
		f.saved[file] = saved
	}
}

func (f *faults) restore() {
	f.t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	for file, saved := range f.saved {
		if err := syscall.Dup3(saved, int(file.Fd()), syscall.O_CLOEXEC); err != nil {
			f.t.Fatal(err)
		}
		_ = syscall.Close(saved)
	}
	f.saved = nil
}

func TestFailingDiskChangesNothingAndRecovers(t *testing.T) {
	for device, want := range map[string]error{"/dev/full": ErrNoSpace, "/dev/zero": syscall.EINVAL} {
		t.Run(filepath.Base(device), func(t *testing.T) {
			f := &faults{t: t}
			h := newHouse(t, Options{OpenFile: f.open})
			h.put("ops", "a", "b")
			h.update(func(tx *Tx) error { return tx.SetPosition("", "1") })
			for range 3 {
				f.replace(device)
				for range 3 {
					err := h.Update(func(tx *Tx) error {
						return errors.Join(tx.Queue("ops").Put(Record{Key: []byte("c")}), tx.Queue("ops").Delete([]byte("a")), tx.SetPosition("", "2"))
					})
					if !errors.Is(err, want) {
						t.Errorf("update: %v", err)
					}
					if diff := cmp.Diff([]string{"a", "b"}, h.keys("ops")); diff != "" {
						t.Error(diff)
					}
					h.view(func(tx *Tx) {
						if v, _ := tx.Position(""); v != "1" {
							t.Errorf("position %s", v)
						}
					})
				}
				f.restore()
				h.put("ops", "d")
				h.update(func(tx *Tx) error { return tx.Queue("ops").Delete([]byte("d")) })
			}
			h.put("ops", "c")
			h.reopen()
			if diff := cmp.Diff([]string{"a", "b", "c"}, h.keys("ops")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestFailedSyncOfTheMetaPageIsUndone: the meta page was written and is visible, then its fdatasync fails.
func TestFailedSyncOfTheMetaPageIsUndone(t *testing.T) {
	h := newHouse(t, Options{})
	h.put("ops", "a", "b")
	for range 5 {
		h.commit = func(tx *bbolt.Tx) error {
			if err := tx.Commit(); err != nil {
				return err
			}
			return syscall.EIO
		}
		err := h.Update(func(tx *Tx) error { return tx.Queue("ops").Delete([]byte("a")) })
		if !errors.Is(err, syscall.EIO) {
			t.Fatalf("update: %v", err)
		}
		h.commit = (*bbolt.Tx).Commit
		if diff := cmp.Diff([]string{"a", "b"}, h.keys("ops")); diff != "" {
			t.Fatal(diff)
		}
		for _, key := range []string{"x", "y", "z"} {
			h.put("ops", key)
			h.update(func(tx *Tx) error { return tx.Queue("ops").Delete([]byte(key)) })
		}
		if err := soundnessOfOpen(h); err != nil {
			t.Fatal(err)
		}
	}
	if h.Rescued() != nil {
		t.Errorf("rescued %+v", h.Rescued())
	}
}

func soundnessOfOpen(h *house) error {
	h.close()
	err := soundness(h.options.Path)
	h.open()
	return err
}

// TestFullFileSystemIsSaidAndPasses uses a real one where the test may mount it; TestFailingDiskChangesNothingAndRecovers
// shows the same without.
func TestFullFileSystemIsSaidAndPasses(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("spool", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Logf("no tmpfs of its own: %v", err)
		return
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	h := newHouse(t, Options{Path: filepath.Join(dir, "spool.db")})
	ballast := filepath.Join(dir, "ballast")
	for round := range 3 {
		if err := os.WriteFile(ballast, make([]byte, 900<<10), 0o600); err != nil && !errors.Is(err, syscall.ENOSPC) {
			t.Fatal(err)
		}
		var failed error
		n := 0
		for failed == nil {
			before, _ := totalsOf(h)
			failed = h.Update(func(tx *Tx) error {
				n++
				return tx.Queue("ops").Put(Record{Key: []byte{byte(round), byte(n)}, Body: make([]byte, 10_000)})
			})
			if after, _ := totalsOf(h); failed != nil && after != before {
				t.Errorf("%d records before the failure, %d after", before, after)
			}
		}
		if !errors.Is(failed, ErrNoSpace) {
			t.Fatalf("update: %v", failed)
		}
		// Another that opens on the full disk does not lose what is there.
		if _, err := Open(Options{Path: filepath.Join(dir, "other.db")}); !errors.Is(err, ErrNoSpace) {
			t.Errorf("open: %v", err)
		}
		if err := os.Remove(ballast); err != nil {
			t.Fatal(err)
		}
		h.put("ops", "x")
		h.update(func(tx *Tx) error { return emptyQueue(tx, "ops") })
	}
}

func TestDamageOfTheOpenFileIsAnErrorThenRescued(t *testing.T) {
	for name, damage := range map[string]func(file *os.File, size int64) error{
		"garbage": func(file *os.File, size int64) error {
			garbage := make([]byte, size-8192)
			for i := range garbage {
				garbage[i] = byte(i * 7)
			}
			_, err := file.WriteAt(garbage, 8192)
			return err
		},
		"truncated": func(file *os.File, _ int64) error { return file.Truncate(8192) },
	} {
		for _, inUpdate := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				h := newHouse(t, Options{})
				for _, key := range []string{"a", "b", "c", "d", "e", "f"} {
					h.update(func(tx *Tx) error {
						return tx.Queue("ops").Put(Record{Key: []byte(key), Untold: 1, Body: make([]byte, 3000)})
					})
				}
				file, err := os.OpenFile(h.options.Path, os.O_RDWR, 0)
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = file.Close() }()
				size, _ := h.Size()
				if err := damage(file, size); err != nil {
					t.Fatal(err)
				}
				call := h.View
				if inUpdate {
					call = h.Update
				}
				err = call(func(tx *Tx) error {
					for r := range tx.Queue("ops").All() {
						_ = r
					}
					return nil
				})
				if !errors.Is(err, ErrDamaged) {
					t.Fatalf("%v", err)
				}
				h.put("ops", "new")
				rescued := h.Rescued()
				if rescued == nil || rescued.Cause == nil {
					t.Fatalf("rescued %+v", rescued)
				}
				if _, err := os.Stat(rescued.SetAside); err != nil {
					t.Error(err)
				}
				if diff := cmp.Diff([]string{"new"}, h.keys("ops")); diff != "" {
					t.Error(diff)
				}
			})
		}
	}
}
