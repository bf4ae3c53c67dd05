package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/edge-eventer/edge-eventer/agent/config"
)

func checkConfigCommand(s streams) *cobra.Command {
	command := &cobra.Command{
		Use:   "check-config [FILE]",
		Short: "exit 0, or 2 with every mistake",
		Long: `Reads a configuration and prints every mistake as FILE:LINE: KEY: what is wrong and what is allowed. FILE may also be given as --config; - is
standard input. Notes say what is probably not meant, and are no mistakes. Exit status 2: there are mistakes.`,
		Example: `  edge-eventer check-config
  edge-eventer check-config new.yaml && mv new.yaml /etc/edge-eventer/config.yaml
  kubectl get cm -n edge-eventer edge-eventer -o jsonpath='{.data.config\.yaml}' | edge-eventer check-config -`,
		Args:              takes(0, 1, ""),
		ValidArgsFunction: configFiles,
	}
	path := configFlag(command, ", - for standard input")
	command.RunE = func(command *cobra.Command, args []string) error {
		if len(args) == 1 {
			if command.Flags().Changed("config") {
				return errors.New("name one file: --config or an argument")
			}
			*path = args[0]
		}
		return ended(checkConfig(*path, s))
	}
	return command
}

func checkConfig(path string, s streams) int {
	in := s.in
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return refuse(path, fmt.Errorf("read configuration: %w", err), s)
		}
		defer f.Close()
		in = f
	}
	data, err := io.ReadAll(io.LimitReader(in, config.MaxFile+1))
	if err != nil {
		return refuse(path, fmt.Errorf("read configuration: %w", err), s)
	}
	c, notes, err := config.Examine(data)
	for _, note := range notes {
		note.Text = "note: " + note.Text
		fmt.Fprintln(s.err, note.In(path))
	}
	if err != nil {
		return refuse(path, err, s)
	}
	fmt.Fprintf(s.out, "%s: ok, %d receivers\n", path, len(c.Receivers))
	return exitOK
}
