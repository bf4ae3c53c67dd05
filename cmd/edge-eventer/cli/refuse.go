package cli

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/edge-eventer/edge-eventer/agent/config"
)

// Load returns the configuration. Its mistakes are printed, and ErrRefused returned.
func Load(path string, proc *Process) (*config.Config, error) {
	c, err := config.Load(path)
	if err != nil {
		return nil, Refuse(path, err, proc)
	}
	return c, nil
}

// Refuse prints the mistakes of a configuration, each as FILE:LINE: KEY: TEXT, and returns ErrRefused.
func Refuse(path string, mistakes error, proc *Process) error {
	found, ok := errors.AsType[*config.Errors](mistakes)
	if !ok {
		fmt.Fprintf(proc.Err, "edge-eventer: %v\n", mistakes)
		if errors.Is(mistakes, fs.ErrPermission) {
			fmt.Fprintln(proc.Err, "Run it with sudo.")
		}
		if errors.Is(mistakes, fs.ErrNotExist) {
			fmt.Fprintln(proc.Err, "edge-eventer init writes a first configuration: see edge-eventer init --help")
		}
		return ErrRefused
	}
	for _, m := range found.Mistakes {
		fmt.Fprintln(proc.Err, m.In(path))
	}
	if found.More > 0 {
		fmt.Fprintf(proc.Err, "%s: and %d more\n", path, found.More)
	}
	return ErrRefused
}
