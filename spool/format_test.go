package spool

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/edge-eventer/edge-eventer/spool/format"
)

var update = flag.Bool("update", false, "write the fixtures of the format anew")

// fixtures are files of format version 1, written on amd64.
var fixtures = map[string]int{"v1.db": 4096, "v1-16k.db": 16384, "v1-2k.db": 2048}

func fillFixture(tx *Tx) error {
	q := tx.Queue("ops")
	var errs []error
	for i := range 40 {
		r := Record{
			Key: fmt.Appendf(nil, "key-%02d", i), Due: epoch.Add(time.Duration(i) * time.Second), Untold: uint32(i),
			Body: bytes.Repeat([]byte{byte('a' + i%26)}, 20*i), Added: epoch,
		}
		errs = append(errs, q.Put(r), tx.Take(eventID(i), Taken{Version: uint64(i) << 33, Count: uint32(i)}))
	}
	errs = append(errs,
		q.Bury([]byte("key-07"), "refused", []byte(`{"code":19001}`), epoch),
		q.Lose(Loss{Cause: Unseen, Records: 1, Events: 1 << 40, Since: epoch}),
		tx.Queue("archive").Put(Record{Key: []byte{0, 0xff}, Due: epoch, Added: epoch}),
		tx.SetPosition("", "4711"), tx.SetPosition("default", "12"),
		tx.Add("events", 1<<40), tx.SetValue("started", []byte{1, 0, 2}),
	)
	return errors.Join(errs...)
}

// describe returns all that a fixture holds.
func describe(tx *Tx) snapshot {
	s := snapshotOf(tx)
	// Which arrival it was, a file of an older release does not say; what was taken follows.
	maps.DeleteFunc(s, func(key, _ string) bool { return strings.HasPrefix(key, "taken ") })
	for _, receiver := range tx.Receivers() {
		q := tx.Queue(receiver)
		var next time.Time
		for r := range q.Due(epoch.Add(1e6 * time.Hour)) {
			next = r.Due
			break
		}
		last, _ := q.LastDue()
		s["queue "+receiver] = fmt.Sprint(q.Len(), q.Bytes(), q.Untold(), q.DeadLen(), next.UnixMilli(), last.UnixMilli())
		for _, l := range append(q.UntoldLosses(), q.TotalLosses()...) {
			s["loss "+receiver+l.Cause] += fmt.Sprint(l.Cause, l.Records, l.Events, l.Times, l.Since.UnixMilli(), ";")
		}
	}
	for i := range 41 {
		taken, ok := tx.Taken(eventID(i))
		s[fmt.Sprintf("event %d", i)] = fmt.Sprint(taken, ok)
	}
	for _, namespace := range []string{"", "default"} {
		s["position "+namespace], _ = tx.Position(namespace)
	}
	s["counter"], s["value"] = fmt.Sprint(tx.Counter("events")), fmt.Sprintf("%x", tx.Value("started"))
	return s
}

// TestFilesOfVersion1Open reads files that another machine wrote, and goes on writing to them. It also runs as arm and
// arm64, where the kernel may have pages of 4 KiB or more.
func TestFilesOfVersion1Open(t *testing.T) {
	fresh := newHouse(t, Options{})
	fresh.update(fillFixture)
	var want snapshot
	fresh.view(func(tx *Tx) { want = describe(tx) })
	for name, pageSize := range fixtures {
		t.Run(name, func(t *testing.T) {
			fixture := filepath.Join("testdata", name)
			if *update {
				writeFixture(t, fixture, pageSize)
			}
			data, err := os.ReadFile(fixture)
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(ramDir(t), "spool.db")
			if err := os.WriteFile(path, data, 0o600); err != nil {
				t.Fatal(err)
			}
			for round := range 3 {
				s, err := Open(Options{Path: path, MaxBytes: 1 << 20})
				if err != nil {
					t.Fatal(err)
				}
				if s.Rescued() != nil {
					t.Fatalf("rescued: %v", s.Rescued().Cause)
				}
				if err := s.View(func(tx *Tx) error {
					got := describe(tx)
					delete(got, "queue new")
					for key := range got {
						if bytes.HasPrefix([]byte(key), []byte("record new")) {
							delete(got, key)
						}
					}
					if diff := cmp.Diff(want, got); diff != "" {
						t.Error(diff)
					}
					return nil
				}); err != nil {
					t.Fatal(err)
				}
				err = s.Update(func(tx *Tx) error {
					return tx.Queue("new").Put(Record{Key: []byte{byte(round)}, Body: make([]byte, 5000)})
				})
				if err = errors.Join(err, s.Close()); err != nil {
					t.Fatal(err)
				}
				checkFile(t, path)
			}
		})
	}
}

// fillRuns makes a file of version 2: events that a list showed out of order lie in runs.
func fillRuns(h *house) {
	h.take(0, 130)
	for from := 0; from < 40; from += 20 {
		h.update(func(tx *Tx) error {
			for i := from; i < from+20; i++ {
				if err := tx.Take(scatteredID(i), Taken{Version: uint64(i) << 33, Count: uint32(i)}); err != nil {
					return err
				}
			}
			return nil
		})
	}
}

// TestFilesOfVersion2Open reads a file with runs that another machine wrote, goes on writing to it, and ends the list.
func TestFilesOfVersion2Open(t *testing.T) {
	const fixture = "testdata/v2.db"
	fresh := newHouse(t, Options{MaxBytes: 1 << 20})
	fillRuns(fresh)
	var want snapshot
	fresh.view(func(tx *Tx) { want = snapshotOf(tx) })
	if *update {
		fresh.close()
		if err := fresh.compact(); err != nil {
			t.Fatal(err)
		}
		trimFile(t, fresh.options.Path, fixture, 4096)
		fresh.open()
	}
	h := newHouse(t, Options{MaxBytes: 1 << 20})
	h.close()
	copyFile(t, fixture, h.options.Path)
	h.open()
	for _, end := range []bool{false, true} {
		if h.Rescued() != nil {
			t.Fatalf("rescued: %v", h.Rescued().Cause)
		}
		wantVersion := byte(format.FormatVersion)
		if end {
			wantVersion = format.LeastVersion
			h.update(func(tx *Tx) error {
				_, err := tx.Sweep("", func(EventKey) bool { return true })
				return err
			})
		}
		if got := h.version(); got != wantVersion {
			t.Errorf("version %d, want %d", got, wantVersion)
		}
		h.view(func(tx *Tx) {
			if diff := cmp.Diff(want, snapshotOf(tx)); diff != "" {
				t.Error(diff)
			}
		})
		h.reopen()
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, data, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func writeFixture(t *testing.T, path string, pageSize int) {
	t.Helper()
	h := newHouse(t, Options{PageSize: pageSize, MaxBytes: 1 << 20})
	h.update(fillFixture)
	// Compaction leaves out the room that the file grew by.
	h.close()
	if err := h.compact(); err != nil {
		t.Fatal(err)
	}
	trimFile(t, h.options.Path, path, pageSize)
	h.open()
}

// trimFile copies a file without the room that it grew by.
func trimFile(t *testing.T, from, to string, pageSize int) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	data = bytes.TrimRight(data, "\x00")
	data = append(data, make([]byte, (pageSize-len(data)%pageSize)%pageSize)...)
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

func FuzzRecord(f *testing.F) {
	r := format.Record{Due: 1, Added: 2, Rev: 3, Untold: 4, Key: []byte("k"), Body: []byte("body")}
	key := format.SeqKey(format.KindRecord, "ops", 7)
	f.Add(key, format.Seal(key, r.Append(nil)))
	d := format.DeadLetter{At: 9, Reason: []byte("no"), Answer: []byte("{}"), Record: r}
	deadKey := format.SeqKey(format.KindDead, "ops", 7)
	f.Add(deadKey, format.Seal(deadKey, d.Append(nil)))
	f.Add([]byte{format.KindTotals}, format.Seal([]byte{format.KindTotals}, format.Totals{NextSeq: 1, Rev: 2, LedgerLen: 3, Forgotten: 4}.Append(nil)))
	f.Add(format.Named(format.KindKey, "ops", 'k'), make([]byte, 8))
	f.Add(format.DueKey("ops", 5, 7), []byte{})
	f.Fuzz(func(t *testing.T, key, value []byte) {
		// Whatever the bytes, nothing panics, and what is read is what is written.
		_, _ = format.Parse(key, value)
		_, _ = format.Parse(key, format.Seal(key, value))
		if s, err := format.DecodeRecord(value); err == nil && !bytes.Equal(s.Append(nil), value) {
			t.Errorf("%x is read as %+v", value, s)
		}
		if d, err := format.DecodeDeadLetter(value); err == nil && !bytes.Equal(d.Append(nil), value) {
			t.Errorf("%x is read as %+v", value, d)
		}
	})
}
