package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
)

// The exit codes of every command.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

const usage = `edge-eventer tells people about the Warning events of a cluster, over a link that comes and goes.

  edge-eventer [run] --config FILE     the agent (the default command)
  edge-eventer check-config FILE       exit 0, or 2 with every mistake
  edge-eventer send-test [--receiver NAME]
                                       send a sample, print what the receiver answered
  edge-eventer render --receiver NAME < event.json
                                       print the request it would send
  edge-eventer status [--watch] [-o json]
                                       is it working, and if not, why
  edge-eventer spool ls|show|retry|drop|export
                                       inspect and repair the queues
  edge-eventer version

Each command explains itself with --help.
`

// defaultConfig is where the packages and the manifest put the configuration.
const defaultConfig = "/etc/edge-eventer/config.yaml"

// streams are the standard streams of a command.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

// run runs the command that args name and returns its exit code.
func run(args []string, in io.Reader, out, errOut io.Writer) int {
	s := streams{in, out, errOut}
	name := "run"
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		name, args = args[0], args[1:]
	}
	switch name {
	case "run":
		return runAgent(args, s)
	case "check-config":
		return checkConfig(args, s)
	case "send-test":
		return sendTest(args, s)
	case "render":
		return render(args, s)
	case "status":
		return showStatus(args, s)
	case "spool":
		return runSpool(args, s)
	case "version":
		return printVersion(args, s)
	case "help":
		fmt.Fprint(out, usage)
		return exitOK
	}
	fmt.Fprintf(errOut, "edge-eventer: there is no command %q\n\n%s", name, usage)
	return exitUsage
}

// parse parses a command's flags, which may stand before, between and after its arguments; behind -- everything is an argument.
// Where it reports false, code is what the command returns.
func parse(flags *flag.FlagSet, args []string, s streams, positional int) (code int, ok bool) {
	flags.SetOutput(s.err)
	if flags.Name() == "run" {
		flags.Usage = func() {
			fmt.Fprint(s.err, usage, "\nFlags of run:\n")
			flags.PrintDefaults()
		}
	}
	switch err := parseAnywhere(flags, args); {
	case errors.Is(err, flag.ErrHelp):
		return exitOK, false
	case err != nil:
		return exitUsage, false
	case flags.NArg() > positional:
		fmt.Fprintf(s.err, "edge-eventer %s: unexpected argument %q\n", flags.Name(), flags.Arg(positional))
		return exitUsage, false
	}
	return exitOK, true
}

// parseAnywhere does not stop at the first argument as flag.Parse does: `spool show ID --receiver ops` is what people type.
func parseAnywhere(flags *flag.FlagSet, args []string) error {
	var positional []string
	for {
		if err := flags.Parse(args); err != nil {
			return err
		}
		rest := flags.Args()
		if read := len(args) - len(rest); len(rest) == 0 || read > 0 && args[read-1] == "--" {
			return flags.Parse(append(append([]string{"--"}, positional...), rest...))
		}
		positional, args = append(positional, rest[0]), rest[1:]
	}
}
