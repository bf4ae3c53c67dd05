package main

import (
	"flag"
	"fmt"

	"github.com/edge-eventer/edge-eventer/agent/config"
)

func checkConfig(args []string, s streams) int {
	flags := flag.NewFlagSet("check-config", flag.ContinueOnError)
	if code, ok := parse(flags, args, s, 1); !ok {
		return code
	}
	if flags.NArg() != 1 {
		fmt.Fprintln(s.err, "edge-eventer check-config: name the configuration file")
		return exitUsage
	}
	c, err := config.Load(flags.Arg(0))
	if err != nil {
		fmt.Fprintln(s.err, err)
		return exitUsage
	}
	fmt.Fprintf(s.out, "%s: ok, %d receivers\n", flags.Arg(0), len(c.Receivers))
	return exitOK
}
