package spool

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/bbolt"

	"github.com/edge-eventer/edge-eventer/spool/inspect"
	"github.com/edge-eventer/edge-eventer/spool/place"
)

// syncs records what is synced, and how far a replacement of the file has come at that moment.
type syncs struct {
	path string
	said []string
	// after is called after a sync of a new file.
	after func()
}

func (s *syncs) sync(file *os.File) error {
	what, state := "file", "no new file"
	if file.Name() == place.NewPath(s.path) {
		what = "new file"
	} else if info, err := file.Stat(); err == nil && info.IsDir() {
		what = "directory"
	}
	if data, err := os.ReadFile(place.NewPath(s.path)); err == nil {
		state = "unfinished"
		if in, err := inspect.Read(bytes.NewReader(data), int64(len(data))); err == nil && in.Cause == nil {
			state = "complete"
		}
	}
	s.said = append(s.said, what+": "+state)
	err := file.Sync()
	if s.after != nil && what == "new file" {
		s.after()
	}
	return err
}

// replacements are the ways in which a new file takes the place of the spool's.
var replacements = map[string]func(h *house) error{
	"creation": func(h *house) error { return os.Remove(h.options.Path) },
	"rescue":   func(h *house) error { return os.WriteFile(h.options.Path, []byte("garbage"), 0o600) },
	"compaction": func(h *house) error {
		// A file that is larger than MaxBytes is made to fit.
		h.options.MaxBytes = 1 << 20
		return nil
	},
}

// TestNewFileIsOnTheDiskBeforeItTakesItsPlaceAndThenTheRename: a power cut at any moment leaves one of the two files, whole.
func TestNewFileIsOnTheDiskBeforeItTakesItsPlaceAndThenTheRename(t *testing.T) {
	for name, prepare := range replacements {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t, Options{})
			fillAndDrain(h)
			h.close()
			if err := prepare(h); err != nil {
				t.Fatal(err)
			}
			s := &syncs{path: h.options.Path}
			h.options.fsync = s.sync
			h.open()
			want := []string{"new file: unfinished", "directory: no new file"}
			if diff := cmp.Diff(want, s.said); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func fillAndDrain(h *house) {
	h.t.Helper()
	for i := range 40 {
		h.update(func(tx *Tx) error {
			for j := range 20 {
				if err := tx.Queue("ops").Put(Record{Key: fmt.Append(nil, i, j), Untold: 1, Body: make([]byte, 2000)}); err != nil {
					return err
				}
			}
			return nil
		})
	}
	h.update(func(tx *Tx) error { return emptyQueue(tx, "ops") })
	h.put("ops", "a")
}

// TestNewFileThatCannotBeFinishedDoesNotTakeTheOldOnesPlace: the version, which says that a file is complete, has to be synced too.
func TestNewFileThatCannotBeFinishedDoesNotTakeTheOldOnesPlace(t *testing.T) {
	h := newHouse(t, Options{})
	fillAndDrain(h)
	h.close()
	f := &faults{t: t}
	h.options.OpenFile = f.open
	s := &syncs{path: h.options.Path, after: func() { f.breakForGood("/dev/zero") }}
	h.options.fsync = s.sync
	if opened, err := Open(h.options); err == nil {
		t.Error("it opened although the new file could not be synced")
		_ = opened.Close()
	}
	h.options.fsync, h.options.OpenFile = nil, nil
	h.open()
	if diff := cmp.Diff([]string{"a"}, h.keys("ops")); diff != "" {
		t.Error(diff)
	}
}

// TestMetaPageOfAFailedCommitIsWrittenBackAndSynced: the descriptor of the open file is of no use any more, as after an error of the device,
// and what the failed commit wrote may be on the disk.
func TestMetaPageOfAFailedCommitIsWrittenBackAndSynced(t *testing.T) {
	f := &faults{t: t}
	h := newHouse(t, Options{OpenFile: f.open})
	h.put("ops", "a", "b")
	s := &syncs{path: h.options.Path}
	h.Spool.options.fsync = s.sync
	h.commit = func(tx *bbolt.Tx) error {
		if err := tx.Commit(); err != nil {
			return err
		}
		f.breakForGood("/dev/full")
		return syscall.EIO
	}
	f.files = f.files[len(f.files)-1:]
	err := h.Update(func(tx *Tx) error { return tx.Queue("ops").Delete([]byte("a")) })
	if !errors.Is(err, syscall.EIO) {
		t.Fatalf("update: %v", err)
	}
	h.commit = (*bbolt.Tx).Commit
	if diff := cmp.Diff([]string{"a", "b"}, h.keys("ops")); diff != "" {
		t.Error(diff)
	}
	if !strings.HasPrefix(strings.Join(s.said, ", "), "file: ") {
		t.Errorf("synced: %v, want the file first", s.said)
	}
	h.put("ops", "c")
}

// TestOfTwoCopiesOfARecordTheNewerIsRescued: with both meta pages gone every page is an orphan, and of a record that changed there are
// copies of several ages.
func TestOfTwoCopiesOfARecordTheNewerIsRescued(t *testing.T) {
	for rounds := 2; rounds < 20; rounds++ {
		h := newHouse(t, Options{})
		for i := range rounds {
			h.update(func(tx *Tx) error {
				return tx.Queue("ops").Put(Record{Key: []byte("a"), Untold: 1 + uint32(i), Body: fmt.Append(nil, "version ", i)})
			})
		}
		h.close()
		data, err := os.ReadFile(h.options.Path)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Count(data, []byte("version ")) < 2 {
			t.Fatal("there is one copy only: the test shows nothing")
		}
		clear(data[:2*defaultPageSize])
		if err := os.WriteFile(h.options.Path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		h.open()
		h.view(func(tx *Tx) {
			r, _ := tx.Queue("ops").Get([]byte("a"))
			if want := fmt.Sprint("version ", rounds-1); string(r.Body) != want {
				t.Errorf("%q was rescued, want %q", r.Body, want)
			}
		})
	}
}

// breakForGood is replace without a way back: the descriptors that restore would need hold bbolt's lock.
func (f *faults) breakForGood(device string) {
	f.t.Helper()
	f.replace(device)
	for _, saved := range f.saved {
		_ = syscall.Close(saved)
	}
	f.saved = nil
}

// TestRescueTakesNothingOfAFailedCommit: its pages are written, newer than all others, and nothing refers to them.
func TestRescueTakesNothingOfAFailedCommit(t *testing.T) {
	h := newHouse(t, Options{})
	h.put("ops", "a", "b", "c")
	h.commit = func(tx *bbolt.Tx) error { return errors.Join(tx.Commit(), syscall.EIO) }
	err := h.Update(func(tx *Tx) error {
		return tx.Queue("ops").Put(Record{Key: []byte("a"), Untold: 1, Body: []byte("never committed")})
	})
	if !errors.Is(err, syscall.EIO) {
		t.Fatal(err)
	}
	h.commit = (*bbolt.Tx).Commit
	h.close()
	data, err := os.ReadFile(h.options.Path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(data, []byte("never committed")) {
		t.Fatal("nothing is left of the failed commit: the test shows nothing")
	}
	if err := os.WriteFile(h.options.Path, bytes.ReplaceAll(data, []byte("body of c"), []byte("body of ?")), 0o600); err != nil {
		t.Fatal(err)
	}
	h.open()
	if h.Rescued() == nil {
		t.Fatal("not rescued")
	}
	h.view(func(tx *Tx) {
		if r, _ := tx.Queue("ops").Get([]byte("a")); string(r.Body) != "body of a" {
			t.Errorf("%q was rescued", r.Body)
		}
	})
}
