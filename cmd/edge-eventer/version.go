package main

import (
	"flag"
	"fmt"
	"runtime"
)

// version and commit are set by the linker: see the Makefile.
var (
	version = "devel"
	commit  = "unknown"
)

func printVersion(args []string, s streams) int {
	flags := flag.NewFlagSet("version", flag.ContinueOnError)
	if code, ok := parse(flags, args, s, 0); !ok {
		return code
	}
	fmt.Fprintf(s.out, "edge-eventer %s (commit %s, %s, %s/%s)\n", version, commit, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return exitOK
}
