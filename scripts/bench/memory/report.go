package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
)

func mib(n int64) string { return fmt.Sprintf("%.1f", float64(n)/(1<<20)) }

func limitName(limit int64) string {
	if limit == 0 {
		return "none"
	}
	return fmt.Sprintf("%d MiB", limit>>20)
}

// report prints the tables. The numbers stand in MiB, so that tables of two commits can be compared line by line.
func report(out io.Writer, results []*result) {
	fmt.Fprintln(out, "| limit | end | CPU s | VmHWM | RssAnon, peak | at rest: RssAnon | RssFile | cgroup, peak | read again | major faults | delivered | lost, told |")
	fmt.Fprintln(out, "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|")
	for _, r := range results {
		last := r.peak()
		fmt.Fprintf(out, "| %s | %s | %.1f | %s | %s | %s | %s | %s | %s | %d | %d | %d |\n",
			limitName(r.limit), r.ending(), r.cpu.Seconds(), mib(last.peak), mib(r.peakAnon()), mib(last.anon), mib(last.file), mib(r.pressure.peak), mib(r.pressure.refaults), r.pressure.majorFaults, r.delivered, r.lost)
	}
	if len(results) == 0 {
		return
	}
	r := results[0]
	fmt.Fprintf(out, "\n| resident by mapping, limit %s | largest | at rest |\n|---|---:|---:|\n", limitName(r.limit))
	names := slices.SortedFunc(maps.Keys(r.largest), func(a, b string) int { return cmp.Compare(r.largest[b], r.largest[a]) })
	for _, name := range names {
		fmt.Fprintf(out, "| %s | %s | %s |\n", name, mib(r.largest[name]), mib(r.atRest[name]))
	}
	fmt.Fprintf(out, "| together | %s | %s |\n", mib(r.largest.total()), mib(r.atRest.total()))
}
