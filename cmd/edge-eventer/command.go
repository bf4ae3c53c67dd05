package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/edge-eventer/edge-eventer/agent/config"
)

// The exit codes of every command. Only status has the last one: whether the agent works is not known, as it is of a monitoring check.
const (
	exitOK      = 0
	exitFailed  = 1
	exitUsage   = 2
	exitUnknown = 3
)

// defaultConfig is where the packages and the manifest put the configuration.
const defaultConfig = "/etc/edge-eventer/config.yaml"

// streams are the standard streams of a command.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

// exitCode is the error of a command that said itself what went wrong. All other errors are wrong use.
type exitCode int

func (c exitCode) Error() string { return "exit code " + strconv.Itoa(int(c)) }

// ended makes an exit code an error.
func ended(code int) error {
	if code == exitOK {
		return nil
	}
	return exitCode(code)
}

// run runs the command that args name and returns its exit code.
func run(args []string, in io.Reader, out, errOut io.Writer) int {
	root := newCommand(streams{in, out, errOut})
	root.SetArgs(args)
	command, err := root.ExecuteContextC(context.Background())
	if code, ok := errors.AsType[exitCode](err); ok {
		return int(code)
	}
	if err != nil {
		fmt.Fprintf(errOut, "%s: %v\nSee: %s --help\n", command.CommandPath(), err, command.CommandPath())
		return exitUsage
	}
	return exitOK
}

// newCommand returns the command line: help, completion in four shells and the man page are made of it.
func newCommand(s streams) *cobra.Command {
	root := runCommand(s)
	root.SetIn(s.in)
	root.SetOut(s.out)
	root.SetErr(s.err)
	root.SilenceErrors, root.SilenceUsage = true, true
	root.SetFlagErrorFunc(func(command *cobra.Command, err error) error {
		if unknown, ok := errors.AsType[*pflag.NotExistError](err); ok {
			var names []string
			command.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
			if near := config.Nearest(unknown.GetSpecifiedName(), names); near != "" {
				return fmt.Errorf("%w; did you mean --%s?", err, near)
			}
		}
		return err
	})
	root.AddCommand(
		agentCommand(s), checkConfigCommand(s), sendTestCommand(s), renderCommand(s), statusCommand(s), spoolCommands(s), initCommand(s),
		versionCommand(s),
	)
	return root
}

// takes lets a command have so many arguments, named as its usage names them.
func takes(least, most int, what string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		switch {
		case len(args) < least:
			return errors.New("name " + what)
		case len(args) > most:
			return fmt.Errorf("unexpected argument %q", args[most])
		}
		return nil
	}
}

// takesCommand is for a command that only has commands below it.
func takesCommand(command *cobra.Command, args []string) error {
	if len(args) == 0 {
		return errors.New("name a command")
	}
	text := fmt.Sprintf("there is no command %q", args[0])
	if near := command.SuggestionsFor(args[0]); len(near) > 0 {
		text += "; did you mean " + near[0] + "?"
	}
	return errors.New(text)
}

// configFlag gives a command the flag --config.
func configFlag(command *cobra.Command, why string) *string {
	path := command.Flags().String("config", defaultConfig, "configuration `FILE`"+why)
	complete(command, "config", nil)
	return path
}

// receiverFlag gives a command, which has the flag --config, the flag --receiver with the names of the configuration.
func receiverFlag(command *cobra.Command, usage string, path *string) *string {
	name := command.Flags().String("receiver", "", usage)
	must(command.RegisterFlagCompletionFunc("receiver", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		var names []string
		if c, _ := config.LoadAnyway(*path); c != nil {
			for i := range c.Receivers {
				names = append(names, c.Receivers[i].Name)
			}
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}))
	return name
}

// complete offers values of a flag, or files of configuration where there are none.
func complete(command *cobra.Command, flag string, values []string) {
	offer := cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)
	if values == nil {
		offer = configFiles
	}
	must(command.RegisterFlagCompletionFunc(flag, offer))
}

// configFiles offers files of configuration.
func configFiles(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return []string{"yaml", "yml"}, cobra.ShellCompDirectiveFilterFileExt
}

// must is for errors that only a flag which does not exist can cause.
func must(err error) {
	if err != nil {
		panic(err)
	}
}
