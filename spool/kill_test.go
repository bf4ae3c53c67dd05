package spool

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// killedChild is the environment variable that makes the test binary the child of TestKillLosesNothing. Its value is the
// path of the spool, a comma, and the first number.
const killedChild = "SPOOL_KILLED_CHILD"

func TestMain(m *testing.M) {
	if v := os.Getenv(killedChild); v != "" {
		path, first, _ := strings.Cut(v, ",")
		n, err := strconv.Atoi(first)
		if err == nil {
			err = appendUntilKilled(path, n)
		}
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// appendUntilKilled takes events one transaction after the other, acknowledges old ones, and prints the number of the
// last event of each transaction after Update returned.
func appendUntilKilled(path string, n int) error {
	s, err := Open(Options{Path: path, MaxBytes: 1 << 20})
	if err != nil {
		return err
	}
	for {
		last := n
		err := s.Update(func(tx *Tx) error {
			q := tx.Queue("ops")
			for range 1 + n%7 {
				last++
				r := Record{Key: fmt.Appendf(nil, "%d", last), Due: time.UnixMilli(int64(last)), Untold: 1, Body: make([]byte, last%997)}
				if err := errors.Join(q.Put(r), tx.Take(eventID(last), Taken{Version: uint64(last), Count: 1})); err != nil {
					return err
				}
				for i := range 3 {
					if err := tx.Take(scatteredID(3*last+i), Taken{Version: uint64(last), Count: 1}); err != nil {
						return err
					}
				}
			}
			if oldest, ok := q.Oldest(); ok && q.Len() > 50 {
				for range 3 {
					if err := q.Delete(oldest.Key); err != nil {
						return err
					}
					oldest, _ = q.Oldest()
				}
				// Every event below this one was acknowledged.
				if err := tx.SetValue("acked", oldest.Key); err != nil {
					return err
				}
			}
			return tx.SetPosition("", fmt.Sprint(last))
		})
		if err != nil {
			return err
		}
		n = last
		if _, err := fmt.Println(n); err != nil {
			return err
		}
	}
}

func TestKillLosesNothing(t *testing.T) {
	kills := 60
	if testing.Short() {
		kills = 30
	}
	r := seeded(t)
	path := filepath.Join(t.TempDir(), "spool.db")
	reported, commits := 0, 0
	for kill := range kills {
		n, c := runUntilKilled(t, r, path, reported)
		commits += c
		reached, err := checkAfterKill(path, n)
		if err != nil {
			t.Fatalf("kill %d after commit of %d: %v", kill, n, err)
		}
		reported = reached
	}
	t.Logf("%d kills, %d commits, %d events", kills, commits, reported)
	if commits < kills {
		t.Errorf("%d commits: the test shows little", commits)
	}
}

// runUntilKilled runs a child and kills it after a random number of commits and a random moment, and returns the last
// number that it reported.
func runUntilKilled(t *testing.T, r *rand.Rand, path string, first int) (last, commits int) {
	t.Helper()
	var stderr strings.Builder
	start := func(argv ...string) (*exec.Cmd, io.Reader, error) {
		child := exec.CommandContext(t.Context(), argv[0], argv[1:]...)
		child.Env = append(os.Environ(), fmt.Sprintf("%s=%s,%d", killedChild, path, first))
		child.Stderr = &stderr
		out, err := child.StdoutPipe()
		if err != nil {
			return nil, nil, err
		}
		return child, out, child.Start()
	}
	child, out, err := start(os.Args[0])
	if errors.Is(err, syscall.ENOEXEC) {
		// This binary is of another architecture and runs in an emulator, so its child has to.
		child, out, err = start(map[string]string{"arm": "qemu-arm-static", "arm64": "qemu-aarch64-static"}[runtime.GOARCH], os.Args[0])
	}
	if err != nil {
		t.Fatal(err)
	}
	last = first
	lines := bufio.NewScanner(out)
	wanted := r.IntN(12)
	for commits < wanted && lines.Scan() {
		if last, err = strconv.Atoi(lines.Text()); err != nil {
			t.Fatal(err)
		}
		commits++
	}
	// A moment within the next transaction, not a wait for anything.
	moment := time.NewTimer(time.Duration(r.IntN(3000)) * time.Microsecond)
	<-moment.C
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for lines.Scan() {
		// A line that the kill cut short was no report.
		if n, err := strconv.Atoi(lines.Text()); err == nil && n > last && n < last+8 {
			last = n
			commits++
		}
	}
	_, _ = io.Copy(io.Discard, out)
	_ = child.Wait()
	if stderr.Len() > 0 {
		t.Fatalf("child: %s", stderr.String())
	}
	return last, commits
}

// checkAfterKill opens the spool and checks that it is the state after the transaction that ended with last, or the one
// after it, and returns how far it got.
func checkAfterKill(path string, last int) (reached int, err error) {
	s, err := Open(Options{Path: path, MaxBytes: 1 << 20})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, s.Close(), soundness(path)) }()
	if s.Rescued() != nil {
		return 0, fmt.Errorf("rescued: %+v", s.Rescued())
	}
	err = s.View(func(tx *Tx) error {
		position, _ := tx.Position("")
		reached, _ = strconv.Atoi(position)
		if reached < last || reached > last+7 {
			return fmt.Errorf("position %d", reached)
		}
		acked, _ := strconv.Atoi(string(tx.Value("acked")))
		q := tx.Queue("ops")
		for n := max(1, acked); n <= reached; n++ {
			r, ok := q.Get(strconv.AppendInt(nil, int64(n), 10))
			if !ok || len(r.Body) != n%997 {
				return fmt.Errorf("event %d is gone", n)
			}
		}
		if q.Len() != reached-max(1, acked)+1 {
			return fmt.Errorf("%d records from %d to %d", q.Len(), acked, reached)
		}
		for n := max(1, reached-500); n <= reached+8; n++ {
			if _, ok := tx.Taken(eventID(n)); ok != (n <= reached) {
				return fmt.Errorf("event %d in the ledger: %t", n, ok)
			}
		}
		return nil
	})
	return reached, err
}
