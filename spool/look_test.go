package spool

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/edge-eventer/edge-eventer/spool/format"
	"github.com/edge-eventer/edge-eventer/spool/place"
)

// stateOf describes all that lies in the directory: names, contents, owners, modes and times of change.
func stateOf(t testing.TB, dir string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	state := make(map[string]string)
	for _, e := range entries {
		info, err := os.Lstat(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		stat := info.Sys().(*syscall.Stat_t)
		state[e.Name()] = fmt.Sprint(info.Mode(), info.ModTime(), stat.Ctim, stat.Uid, stat.Gid, stat.Ino, format.Checksum(nil, data), len(data))
	}
	return state
}

func TestLookChangesNothing(t *testing.T) {
	for name, prepare := range map[string]func(t *testing.T, path string){
		"sound":        func(*testing.T, string) {},
		"without lock": func(t *testing.T, path string) { remove(t, path+".lock") },
		"unfinished new file": func(t *testing.T, path string) {
			if err := os.WriteFile(place.NewPath(path), []byte("unfinished"), 0o600); err != nil {
				t.Fatal(err)
			}
		},
		"damaged": func(t *testing.T, path string) {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, bytes.ReplaceAll(data, []byte("body of a"), []byte("body of ?")), 0o640); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t, Options{MaxAge: time.Hour})
			h.put("ops", "a", "b")
			// A drained backlog, which Open would give back, and records that are long over.
			for i := range 2000 {
				h.update(func(tx *Tx) error {
					q := tx.Queue("drained")
					if i >= 1500 {
						return emptyQueue(tx, "drained")
					}
					return q.Put(Record{Key: fmt.Append(nil, i), Untold: 1, Body: make([]byte, 2000)})
				})
			}
			h.close()
			prepare(t, h.options.Path)
			dir := filepath.Dir(h.options.Path)
			before := stateOf(t, dir)
			o := h.options
			o.MaxBytes = minMaxBytes
			h.clock = h.clock.Add(1000 * time.Hour)
			s, err := Look(o)
			if name == "damaged" {
				if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "a look changes nothing") {
					t.Errorf("%v", err)
				}
			} else {
				if err != nil {
					t.Fatal(err)
				}
				if err := s.Update(func(*Tx) error { return nil }); !errors.Is(err, ErrNotWritable) {
					t.Errorf("update: %v", err)
				}
				err := s.View(func(tx *Tx) error {
					if n := tx.Queue("ops").Len(); n != 2 {
						t.Errorf("%d records", n)
					}
					return nil
				})
				if err = errors.Join(err, s.Close()); err != nil {
					t.Error(err)
				}
			}
			if diff := cmp.Diff(before, stateOf(t, dir)); diff != "" {
				t.Error(diff)
			}
			h.open()
		})
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

func TestLookWaitsForNobodyAndHoldsOffAnAgent(t *testing.T) {
	h := newHouse(t, Options{})
	if _, err := Look(h.options); !errors.Is(err, ErrLocked) {
		t.Errorf("a look at an open spool: %v", err)
	}
	h.close()
	one, err := Look(h.options)
	if err != nil {
		t.Fatal(err)
	}
	other, err := Look(h.options)
	if err != nil {
		t.Fatalf("two looks: %v", err)
	}
	if _, err := Open(h.options); !errors.Is(err, ErrLocked) {
		t.Errorf("an open beside looks: %v", err)
	}
	if err := errors.Join(one.Close(), other.Close()); err != nil {
		t.Fatal(err)
	}
	h.open()
}

// TestRepairKeepsOwnerAndMode is run by root as `sudo edge-eventer spool retry` is; another user keeps the mode.
func TestRepairKeepsOwnerAndMode(t *testing.T) {
	h := newHouse(t, Options{})
	h.put("ops", "a", "b")
	h.close()
	path := h.options.Path
	uid := os.Geteuid()
	if uid == 0 {
		uid = 1234
		if err := os.Chown(path, uid, uid); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	remove(t, path+".lock")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, bytes.ReplaceAll(data, []byte("body of a"), []byte("body of ?")), 0o640); err != nil {
		t.Fatal(err)
	}
	h.open()
	if h.Rescued() == nil {
		t.Fatal("not rescued")
	}
	for _, name := range []string{path, path + ".lock", h.Rescued().SetAside} {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if got := int(info.Sys().(*syscall.Stat_t).Uid); got != uid || info.Mode().Perm() != 0o640 {
			t.Errorf("%s belongs to %d with %s, want %d with 0640", name, got, info.Mode(), uid)
		}
	}
}

func TestNewSpoolBelongsToTheOwnerOfItsDirectory(t *testing.T) {
	if os.Geteuid() != 0 {
		// Nobody else can give files away: what is made is the process's own.
		return
	}
	dir := ramDir(t)
	if err := os.Chown(dir, 1234, 1234); err != nil {
		t.Fatal(err)
	}
	newHouse(t, Options{Path: filepath.Join(dir, "spool.db")})
	for _, name := range []string{"spool.db", "spool.db.lock"} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if uid := info.Sys().(*syscall.Stat_t).Uid; uid != 1234 || info.Mode().Perm() != 0o600 {
			t.Errorf("%s belongs to %d with %s", name, uid, info.Mode())
		}
	}
}

func TestLinkToTheSpoolStays(t *testing.T) {
	for _, there := range []bool{true, false} {
		dir, target := ramDir(t), filepath.Join(ramDir(t), "disk", "spool.db")
		if err := os.Mkdir(filepath.Dir(target), 0o700); err != nil {
			t.Fatal(err)
		}
		if there {
			if err := os.WriteFile(target, []byte("garbage"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		link := filepath.Join(dir, "spool.db")
		if err := os.Symlink(target, link); err != nil {
			t.Fatal(err)
		}
		h := newHouse(t, Options{Path: link})
		h.put("ops", "a")
		h.reopen()
		if got, err := os.Readlink(link); got != target || err != nil {
			t.Errorf("the link leads to %q, %v", got, err)
		}
		if info, err := os.Lstat(target); err != nil || !info.Mode().IsRegular() {
			t.Errorf("%v, %v", info, err)
		}
		if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
			t.Errorf("%v beside the link, %v", entries, err)
		}
		if _, err := Open(Options{Path: target}); !errors.Is(err, ErrLocked) {
			t.Errorf("the target is open under two names: %v", err)
		}
	}
}

func TestDamagedFileSetAsideIn1970Stays(t *testing.T) {
	h := newHouse(t, Options{})
	damage := func() string {
		h.close()
		if err := os.WriteFile(h.options.Path, []byte("garbage"), 0o600); err != nil {
			t.Fatal(err)
		}
		h.open()
		return h.Rescued().SetAside
	}
	damage()
	older := damage()
	h.set(time.Unix(100, 0).Sub(epoch))
	newest := damage()
	for _, name := range []string{older, newest} {
		if _, err := os.Stat(name); err != nil {
			t.Error(err)
		}
	}
}

func TestRescueTellsNoOldLossAgain(t *testing.T) {
	for _, untoldEntry := range []bool{true, false} {
		h := newHouse(t, Options{})
		h.put("ops", "a", "b")
		var stale []byte
		lose := func(n uint64) {
			h.update(func(tx *Tx) error { return tx.Queue("ops").Lose(Loss{Cause: Evicted, Records: n, Events: 2 * n}) })
		}
		key := format.Named(format.KindUntold, "ops", []byte(Evicted)...)
		lose(5)
		h.view(func(tx *Tx) { stale = bytes.Clone(tx.txn.Get(key)) })
		h.update(func(tx *Tx) error { return tx.Queue("ops").LossesTold(tx.Queue("ops").UntoldLosses()) })
		lose(2)
		// What a rescue finds of an older page of the tree, or does not find.
		h.update(func(tx *Tx) error {
			if untoldEntry {
				_, err := tx.txn.Put(key, stale)
				return err
			}
			_, err := tx.txn.Delete(key)
			return err
		})
		h.close()
		data, err := os.ReadFile(h.options.Path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(h.options.Path, bytes.ReplaceAll(data, []byte("body of a"), []byte("body of ?")), 0o600); err != nil {
			t.Fatal(err)
		}
		h.open()
		if h.Rescued() == nil {
			t.Fatal("not rescued")
		}
		for _, l := range h.untoldLosses("ops") {
			if l.Cause == Evicted && (l.Records != 2 || l.Events != 4 || l.Times != 1) {
				t.Errorf("%+v is untold after the rescue, want 2 records", l)
			}
		}
		if n := len(h.untoldLosses("ops")); n != 2 {
			t.Errorf("%v", h.untoldLosses("ops"))
		}
	}
}

// A command of root's follows a link to wherever it leads: one that the agent's user made must not lead to another's file.
func TestRootFollowsNoLinkOfAnotherToAThirdsFile(t *testing.T) {
	if os.Geteuid() != 0 {
		return
	}
	dir, target := ramDir(t), filepath.Join(ramDir(t), "shadow")
	if err := os.WriteFile(target, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "spool.db")
	if err := errors.Join(os.Symlink(target, link), os.Lchown(link, 1234, 1234)); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Options{Path: link}); !errors.Is(err, ErrPermission) {
		t.Errorf("%v", err)
	}
	if data, err := os.ReadFile(target); string(data) != "secret" || err != nil {
		t.Errorf("%q, %v", data, err)
	}
	if err := os.Lchown(link, 0, 0); err != nil {
		t.Fatal(err)
	}
	s, err := Open(Options{Path: link})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}
