package main

import (
	"errors"
	"fmt"
	"runtime"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/edge-eventer/edge-eventer/agent/config"
	"github.com/edge-eventer/edge-eventer/cmd/edge-eventer/cli"
	"github.com/edge-eventer/edge-eventer/cmd/edge-eventer/configure"
	"github.com/edge-eventer/edge-eventer/cmd/edge-eventer/operate"
	"github.com/edge-eventer/edge-eventer/cmd/edge-eventer/serve"
)

// newCommand returns the command line: help, completion in four shells and the man page are made of it. The root is the agent, which is what
// runs when no command is named.
func newCommand(proc *cli.Process) *cobra.Command {
	root := &cobra.Command{
		Use:   "edge-eventer",
		Short: "tell people about the Warning events of an edge cluster",
		Long: `edge-eventer watches the events of a Kubernetes or K3s cluster and tells a chat group or a webhook about the Warning ones, over a link that
comes and goes. What cannot be sent waits on disk, repeats of one problem are folded, and a backlog becomes a digest. A message counts as
delivered only when the receiver's own answer says so.

Without a command it is the agent: see edge-eventer run --help.`,
		Example: `  edge-eventer init
  edge-eventer check-config && edge-eventer send-test
  edge-eventer run
  edge-eventer status`,
		SilenceErrors: true, SilenceUsage: true,
	}
	root.SetIn(proc.In)
	root.SetOut(proc.Out)
	root.SetErr(proc.Err)
	root.SetFlagErrorFunc(flagError)
	agent := serve.Agent(root, proc)
	asked := root.Flags().Bool("version", false, "print version and commit")
	root.RunE = func(*cobra.Command, []string) error {
		if *asked {
			return printVersion(proc)
		}
		return agent()
	}
	root.AddCommand(
		serve.Command(proc), configure.CheckConfig(proc), configure.SendTest(proc), configure.Render(proc), operate.Status(proc),
		operate.Spool(proc), operate.Silence(proc), configure.Init(proc), versionCommand(proc),
	)
	return root
}

// flagError says of an unknown flag which one was probably meant.
func flagError(command *cobra.Command, err error) error {
	if unknown, ok := errors.AsType[*pflag.NotExistError](err); ok {
		var names []string
		command.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
		if near := config.Nearest(unknown.GetSpecifiedName(), names); near != "" {
			return fmt.Errorf("%w; did you mean --%s?", err, near)
		}
	}
	return err
}

func versionCommand(proc *cli.Process) *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "print version and commit",
		Long:    "Prints version and commit.",
		Example: "  edge-eventer version",
		Args:    cli.Takes(0, 0, ""),
		RunE:    func(*cobra.Command, []string) error { return printVersion(proc) },
	}
}

func printVersion(proc *cli.Process) error {
	_, err := fmt.Fprintf(proc.Out, "edge-eventer %s (commit %s, %s, %s/%s)\n", proc.Version, proc.Commit, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return err
}
