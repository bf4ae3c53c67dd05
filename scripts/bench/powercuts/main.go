// Command powercuts records every write and sync of a spool at work, and cuts the power at random points of that record.
// scripts/crash starts it.
//
//   - work.go is the work: transactions that follow from the seed, on a spool and on a model of it.
//   - trace.go reads what strace recorded, and keeps what is on the disk for certain apart from what may be.
//   - main.go cuts, opens what is left, and compares it with the model.
//
// The same seed gives the same transactions and the same kind of cuts. It does not give the same pages: bbolt chooses among free
// ones in the order of a Go map. So what a finding leaves is kept.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"github.com/edge-eventer/edge-eventer/spool"
)

func main() {
	cuts := flag.Int("cuts", 1000, "how many power cuts")
	seed := flag.Uint64("seed", 0, "seed of the work and of the cuts; 0: a random one")
	transactions := flag.Int("transactions", 2000, "how many transactions are recorded")
	child := flag.String("child", "", "do the work on the spool at this `PATH`, and nothing else")
	flag.Parse()
	if *child != "" {
		if err := work(*child, *seed, *transactions); err != nil {
			fmt.Fprintln(os.Stderr, "powercuts: work:", err)
			os.Exit(1)
		}
		return
	}
	if *seed == 0 {
		*seed = rand.Uint64()
	}
	if err := run(*cuts, *seed, *transactions); err != nil {
		fmt.Fprintln(os.Stderr, "powercuts:", err)
		os.Exit(1)
	}
}

func run(cuts int, seed uint64, transactions int) error {
	fmt.Printf("seed %d: %d transactions, %d power cuts\n", seed, transactions, cuts)
	dir, err := os.MkdirTemp("", "edge-eventer-powercuts.")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	ops, err := record(dir, seed, transactions)
	if err != nil {
		return err
	}
	results, err := cutAll(filepath.Join(dir, "cut"), ops, cuts, seed, transactions)
	if err != nil {
		return err
	}
	return report(ops, results)
}

// record runs the work under strace.
func record(dir string, seed uint64, transactions int) ([]op, error) {
	trace := filepath.Join(dir, "trace")
	home := filepath.Join(dir, "spool")
	if err := os.Mkdir(home, 0o700); err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	//nolint:noctx // It ends by itself.
	command := exec.Command("strace", "-f", "-y", "-xx", "-s", "2000000", "-o", trace,
		"-e", "trace=write,pwrite64,pwritev,pwritev2,writev,fdatasync,fsync,msync,sync_file_range,ftruncate,fallocate,rename,renameat,renameat2,unlink,unlinkat",
		"--", self, "-child", filepath.Join(home, "spool.db"), "-seed", fmt.Sprint(seed), "-transactions", fmt.Sprint(transactions))
	var stderr bytes.Buffer
	command.Stderr = &stderr
	if err := command.Run(); err != nil {
		return nil, fmt.Errorf("record the work with strace: %w\n%s", err, stderr.Bytes())
	}
	file, err := os.Open(trace)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return readTrace(file, home)
}

// way is what a cut does with what was not synced.
type way int

const (
	dropped way = iota
	short
	reordered
	ways
)

func (w way) String() string {
	return [...]string{"unsynced dropped", "cut short and torn", "sectors reordered"}[w]
}

// outcome is what was found after a cut.
type outcome struct {
	at, committed int
	way           way
	// kept: the transaction under way is on the disk as a whole.
	kept, rescued bool
	// lost are committed records, ahead ledger entries without their record, again acknowledged records that came back.
	lost, ahead, again int
	err                error
}

func cutAll(dir string, ops []op, cuts int, seed uint64, transactions int) ([]outcome, error) {
	models := modelsOf(seed, transactions)
	first := slices.IndexFunc(ops, func(o op) bool { return o.kind == committed })
	if first < 0 {
		return nil, errors.New("the record has no commit")
	}
	random := rand.New(rand.NewPCG(seed, 1))
	points := make([]int, cuts)
	compactions := compactionsOf(ops)
	for i := range points {
		points[i] = first + 1 + random.IntN(len(ops)-first-1)
		if i%4 == 0 && len(compactions) > 0 {
			// A compaction is a few dozen of many thousand operations.
			at := compactions[random.IntN(len(compactions))] - 60 + random.IntN(80)
			points[i] = min(max(at, first+1), len(ops)-1)
		}
	}
	slices.Sort(points)
	d := newDisk()
	next, commits := 0, 0
	var results []outcome
	var kept []string
	for i, at := range points {
		for ; next < at; next++ {
			if ops[next].kind == committed {
				commits = ops[next].number
			}
			d.apply(&ops[next])
		}
		// The operation at the cut is under way: it may have got as far as any that is not synced.
		left := d.clone()
		if o := &ops[at]; o.kind != synced {
			left.apply(o)
		}
		how := way(i) % ways
		if err := left.cut(dir, how, rand.New(rand.NewPCG(seed, uint64(i)))); err != nil {
			return nil, err
		}
		result := check(filepath.Join(dir, "spool.db"), models, commits)
		result.at, result.way = at, how
		if result.err != nil && len(kept) < 10 {
			// Open may have rescued it: the same cut once more, for who looks into it.
			kept = append(kept, fmt.Sprintf("%s.kept-%d", filepath.Dir(dir), i))
			if err := left.cut(kept[len(kept)-1], how, rand.New(rand.NewPCG(seed, uint64(i)))); err != nil {
				return nil, err
			}
			fmt.Printf("cut %d is kept in %s\n", i, kept[len(kept)-1])
		}
		results = append(results, result)
	}
	return results, nil
}

// compactionsOf returns where a new file took the place of the spool's. The first is the empty file.
func compactionsOf(ops []op) (at []int) {
	for i := range ops {
		if ops[i].kind == renamed {
			at = append(at, i)
		}
	}
	return at[min(1, len(at)):]
}

// check opens what a power cut left and compares it with the model after the last commit that returned, and after the one
// that was under way.
func check(path string, models []model, commits int) (o outcome) {
	o.committed = commits
	s, err := spool.Open(spool.Options{Path: path, MaxBytes: maxBytes})
	if err != nil {
		o.err = err
		return o
	}
	o.rescued = s.Rescued() != nil
	got, err := readModel(s)
	if o.err = errors.Join(err, s.Close()); o.err != nil {
		return o
	}
	before, after := models[commits], models[min(commits+1, len(models)-1)]
	switch {
	case got.equal(&before):
		return o
	case got.equal(&after):
		o.kept = true
		return o
	}
	o.err = errors.New("neither the state before nor after the transaction under way")
	for key := range before.records {
		if _, ok := got.records[key]; !ok && after.has(key) {
			o.lost++
		}
	}
	for key := range got.records {
		if !before.has(key) && !after.has(key) {
			o.again++
		}
	}
	for n := range got.ledger {
		if n > before.next && !got.has(fmt.Sprint(n)) {
			o.ahead++
		}
	}
	return o
}

func report(ops []op, results []outcome) error {
	writes, syncs, compactions := 0, 0, len(compactionsOf(ops))
	for _, o := range ops {
		switch o.kind {
		case written:
			writes++
		case synced:
			syncs++
		}
	}
	fmt.Printf("%d writes, %d syncs, %d compactions recorded, to which a fourth of the cuts goes\n\n", writes, syncs, compactions)
	if compactions == 0 {
		return errors.New("nothing was compacted: the transactions are too few to show what a cut does to a compaction")
	}
	fmt.Println("| power cuts | transaction under way: gone | kept | rescued | committed records lost | ledger ahead | acknowledged again |\n|---|---|---|---|---|---|---|")
	var failed []outcome
	for how := range ways {
		var n, gone, kept, rescued, lost, ahead, again int
		for _, r := range results {
			if r.way != how {
				continue
			}
			n++
			lost, ahead, again = lost+r.lost, ahead+r.ahead, again+r.again
			switch {
			case r.err != nil:
				failed = append(failed, r)
			case r.kept:
				kept++
			default:
				gone++
			}
			if r.rescued {
				rescued++
			}
		}
		fmt.Printf("| %d, %s | %d | %d | %d | %d | %d | %d |\n", n, how, gone, kept, rescued, lost, ahead, again)
	}
	for i, r := range failed {
		if i == 10 {
			break
		}
		fmt.Printf("FINDING: cut at operation %d of %d, %d commits returned, %s: %v; %d lost, %d ahead, %d again\n",
			r.at, len(ops), r.committed, r.way, r.err, r.lost, r.ahead, r.again)
	}
	if len(failed) > 0 {
		return fmt.Errorf("%d of %d cuts left something wrong", len(failed), len(results))
	}
	fmt.Printf("\nworst case: the one transaction under way is gone, or is there whole; %s\n", time.Now().UTC().Format(time.DateOnly))
	return nil
}
