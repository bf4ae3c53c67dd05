package spool

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// writtenBytes returns what the process had written to disks so far, as the kernel counts it: whole pages of the page
// cache when they become dirty.
func writtenBytes(b testing.TB) int64 {
	b.Helper()
	data, err := os.ReadFile("/proc/self/io")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(data)) {
		if v, ok := strings.CutPrefix(line, "write_bytes: "); ok {
			n, err := strconv.ParseInt(strings.TrimSpace(v), 10, 64)
			if err != nil {
				b.Fatal(err)
			}
			return n
		}
	}
	return 0
}

func benchHouse(b *testing.B, pageSize int) *house {
	h := newHouse(b, Options{Path: filepath.Join(b.TempDir(), "spool.db"), PageSize: pageSize})
	// What a busy agent has: 20,000 events known, 300 incidents waiting for each of three receivers.
	for from := 0; from < 20_000; from += 1000 {
		h.update(func(tx *Tx) error {
			for i := from; i < from+1000; i++ {
				if err := tx.Take(eventID(i), Taken{Version: uint64(i), Count: 1}); err != nil {
					return err
				}
			}
			return nil
		})
	}
	h.update(func(tx *Tx) error {
		for i := range 900 {
			r := Record{Key: fmt.Appendf(nil, "incident-key-%012d", i/3), Due: epoch, Untold: 1, Body: make([]byte, 600)}
			if err := tx.Queue(fmt.Sprintf("receiver%d", i%3)).Put(r); err != nil {
				return err
			}
		}
		return nil
	})
	return h
}

// BenchmarkUpdate is a commit of events that fold into waiting incidents: the ledger, the position, and the records of
// one receiver.
func BenchmarkUpdate(b *testing.B) {
	for _, pageSize := range []int{1024, 2048, 4096} {
		for _, n := range []int{1, 10, 100} {
			b.Run(fmt.Sprintf("page=%d/records=%d", pageSize, n), func(b *testing.B) {
				h := benchHouse(b, pageSize)
				before := writtenBytes(b)
				next := 20_000
				b.ReportAllocs()
				for b.Loop() {
					h.update(func(tx *Tx) error {
						q := tx.Queue("receiver0")
						for range n {
							next++
							// A few incidents get most of the events.
							r := Record{Key: fmt.Appendf(nil, "incident-key-%012d", next%10), Due: epoch, Untold: uint32(next), Body: make([]byte, 600)}
							if err := errors.Join(q.Put(r), tx.Take(eventID(next), Taken{Version: uint64(next), Count: 1})); err != nil {
								return err
							}
						}
						return tx.SetPosition("", fmt.Sprint(next))
					})
				}
				b.ReportMetric(float64(writtenBytes(b)-before)/float64(b.N), "disk-B/op")
			})
		}
	}
}

// BenchmarkPeek reads the ten records that are due first.
func BenchmarkPeek(b *testing.B) {
	h := benchHouse(b, 0)
	b.ReportAllocs()
	for b.Loop() {
		h.view(func(tx *Tx) {
			n := 0
			for range tx.Queue("receiver1").Due(epoch.Add(time.Hour)) {
				if n++; n == 10 {
					break
				}
			}
		})
	}
}

// BenchmarkOpen reads a file of 20,000 ledger entries and 900 records, and one of 100,000 entries.
func BenchmarkOpen(b *testing.B) {
	for _, entries := range []int{20_000, 100_000} {
		b.Run(fmt.Sprintf("ledger=%d", entries), func(b *testing.B) {
			h := benchHouse(b, 0)
			h.take(20_000, entries)
			file, _ := h.Size()
			b.ReportAllocs()
			for b.Loop() {
				h.reopen()
			}
			b.ReportMetric(float64(file), "file-B")
		})
	}
}
