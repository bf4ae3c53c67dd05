package configure

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/edge-eventer/edge-eventer/agent/config"
	"github.com/edge-eventer/edge-eventer/cmd/edge-eventer/cli"
)

// CheckConfig is the command that says what is wrong with a configuration.
func CheckConfig(proc *cli.Process) *cobra.Command {
	command := &cobra.Command{
		Use:   "check-config [FILE]",
		Short: "exit 0, or 2 with every mistake",
		Long: `Reads a configuration and prints every mistake as FILE:LINE: KEY: what is wrong and what is allowed. FILE may also be given as --config; - is
standard input. Notes say what is probably not meant, and are no mistakes. Exit status 2: there are mistakes.`,
		Example: `  edge-eventer check-config
  edge-eventer check-config new.yaml && mv new.yaml /etc/edge-eventer/config.yaml
  kubectl get cm -n edge-eventer edge-eventer -o jsonpath='{.data.config\.yaml}' | edge-eventer check-config -`,
		Args:              cli.Takes(0, 1, ""),
		ValidArgsFunction: cli.ConfigFiles,
	}
	path := cli.ConfigFlag(command, ", - for standard input")
	command.RunE = func(command *cobra.Command, args []string) error {
		if len(args) == 1 {
			if command.Flags().Changed("config") {
				return errors.New("name one file: --config or an argument")
			}
			*path = args[0]
		}
		return checkConfig(*path, proc)
	}
	return command
}

func checkConfig(path string, proc *cli.Process) error {
	in := proc.In
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return cli.Refuse(path, fmt.Errorf("read configuration: %w", err), proc)
		}
		defer f.Close()
		in = f
	}
	data, err := io.ReadAll(io.LimitReader(in, config.MaxFile+1))
	if err != nil {
		return cli.Refuse(path, fmt.Errorf("read configuration: %w", err), proc)
	}
	c, notes, err := config.Examine(data)
	for _, note := range notes {
		note.Text = "note: " + note.Text
		fmt.Fprintln(proc.Err, note.In(path))
	}
	if err != nil {
		return cli.Refuse(path, err, proc)
	}
	fmt.Fprintf(proc.Out, "%s: ok, %d receivers\n", path, len(c.Receivers))
	return nil
}
