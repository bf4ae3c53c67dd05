package cli

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/edge-eventer/edge-eventer/agent/config"
)

// DefaultConfig is where the packages and the manifest put the configuration.
const DefaultConfig = "/etc/edge-eventer/config.yaml"

// Takes lets a command have from least to most arguments; what says which, where there are too few.
func Takes(least, most int, what string) cobra.PositionalArgs {
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

// TakesCommand is for a command that only has commands below it.
func TakesCommand(command *cobra.Command, args []string) error {
	if len(args) == 0 {
		return errors.New("name a command")
	}
	text := fmt.Sprintf("there is no command %q", args[0])
	if near := command.SuggestionsFor(args[0]); len(near) > 0 {
		text += "; did you mean " + near[0] + "?"
	}
	return errors.New(text)
}

// ConfigFlag gives a command the flag --config.
func ConfigFlag(command *cobra.Command, why string) *string {
	path := command.Flags().String("config", DefaultConfig, "configuration `FILE`"+why)
	Complete(command, "config", nil)
	return path
}

// ReceiverFlag gives a command, which has the flag --config, the flag --receiver with the names of the configuration.
func ReceiverFlag(command *cobra.Command, usage string, path *string) *string {
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

// Complete offers values of a flag, or files of configuration where there are none.
func Complete(command *cobra.Command, flag string, values []string) {
	offer := cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)
	if values == nil {
		offer = ConfigFiles
	}
	must(command.RegisterFlagCompletionFunc(flag, offer))
}

// ConfigFiles offers files of configuration.
func ConfigFiles(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return []string{"yaml", "yml"}, cobra.ShellCompDirectiveFilterFileExt
}

// must is for errors that only a flag which does not exist can cause.
func must(err error) {
	if err != nil {
		panic(err)
	}
}
