package agent

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edge-eventer/edge-eventer/notify"
	"github.com/edge-eventer/edge-eventer/spool"
)

// disk is the disk of a spool, which can be full: then /dev/full is in the place of the file's descriptor.
type disk struct {
	t     *testing.T
	file  *os.File
	saved int
}

func (d *disk) open(name string, flag int, perm os.FileMode) (*os.File, error) {
	f, err := os.OpenFile(name, flag, perm)
	if err == nil && flag&os.O_RDWR != 0 {
		d.file = f
	}
	return f, err
}

func (d *disk) fill() {
	full, err := os.OpenFile("/dev/full", os.O_RDWR, 0)
	if err != nil {
		d.t.Error(err)
		return
	}
	defer func() { _ = full.Close() }()
	if d.saved, err = syscall.Dup(int(d.file.Fd())); err != nil {
		d.t.Error(err)
		return
	}
	if err := syscall.Dup3(int(full.Fd()), int(d.file.Fd()), syscall.O_CLOEXEC); err != nil {
		d.t.Error(err)
	}
}

func (d *disk) empty() {
	if err := syscall.Dup3(d.saved, int(d.file.Fd()), syscall.O_CLOEXEC); err != nil {
		d.t.Error(err)
	}
	_ = syscall.Close(d.saved)
}

// TestFullDiskRepeatsNoMessage: what the receiver confirmed cannot be taken out of the queue while the disk is full, and must
// not be sent again for that.
func TestFullDiskRepeatsNoMessage(t *testing.T) {
	for name, perEvent := range map[string]bool{"incident": false, "event": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := &disk{t: t}
				s, err := spool.Open(spool.Options{Path: filepath.Join(t.TempDir(), "spool.db"), OpenFile: d.open})
				if err != nil {
					t.Fatal(err)
				}
				full := false
				r := &scripted{}
				r.answer = func(context.Context, *notify.Message, notify.Form) error {
					if !full {
						full = true
						d.fill()
					}
					return nil
				}
				h := newHouseOn(t, s, map[string]notify.Receiver{"ops": r})
				policy := testPolicy
				policy.PerEvent = perEvent
				h.intake.routes[0].policy, h.deliveries["ops"].policy = policy, policy
				h.start()
				defer h.close()
				h.show(warning("web", 10, 3, time.Now()))
				pass(time.Hour)
				if n := r.tries(); n != 1 {
					t.Errorf("the message was sent %d times while the disk was full, want 1", n)
				}
				if n := h.untold("ops"); n != 3 {
					t.Errorf("%d observations wait, want 3: the disk was full", n)
				}
				d.empty()
				pass(time.Minute)
				if n := h.untold("ops"); n != 0 || r.tries() != 1 {
					t.Errorf("%d observations wait after %d messages, want 0 after 1", n, r.tries())
				}
				h.show(warning("db", 11, 1, time.Now()))
				pass(time.Minute)
				wantTold(t, r, map[string]int{"web": 1, "db": 1})
			})
		})
	}
}

// TestNoListOvertakesTheChangesBeforeIt: while the disk is full the watch shows changes, loses its position and lists. The list is
// committed behind the changes, so the position does not go back to them.
func TestNoListOvertakesTheChangesBeforeIt(t *testing.T) {
	for trial := range 20 {
		synctest.Test(t, func(t *testing.T) {
			d := &disk{t: t}
			s, err := spool.Open(spool.Options{Path: filepath.Join(t.TempDir(), "spool.db"), OpenFile: d.open})
			if err != nil {
				t.Fatal(err)
			}
			h := newHouseOn(t, s, map[string]notify.Receiver{"ops": &scripted{}})
			h.start()
			defer h.close()
			h.list("10", false, warning("web", 10, 1, time.Now()))
			d.fill()
			// The first fills a batch and blocks the intake; the others wait behind it.
			for i := range maxBatch + changeBuffer - 1 {
				h.show(warning("web", 11+i, 2+i, time.Now()))
			}
			var listed sync.WaitGroup
			listed.Go(func() { h.list("5000", false, warning("db", 4000, 1, time.Now())) })
			pass(time.Minute)
			d.empty()
			listed.Wait()
			pass(2 * time.Minute)
			if position, err := h.intake.Position(""); err != nil || position != "5000" {
				t.Errorf("trial %d: the position is %s, %v after a list of 5000", trial, position, err)
			}
		})
	}
}
