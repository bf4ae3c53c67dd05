package main

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"
)

// version and commit are set by the linker: see the Makefile.
var (
	version = "devel"
	commit  = "unknown"
)

func versionCommand(s streams) *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "print version and commit",
		Long:    "Prints version and commit.",
		Example: "  edge-eventer version",
		Args:    takes(0, 0, ""),
		RunE:    func(*cobra.Command, []string) error { return ended(printVersion(s)) },
	}
}

func printVersion(s streams) int {
	fmt.Fprintf(s.out, "edge-eventer %s (commit %s, %s, %s/%s)\n", version, commit, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return exitOK
}
