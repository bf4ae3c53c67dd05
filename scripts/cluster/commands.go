package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"
	"time"
)

// readLines sends the lines of r, and calls atEnd when there are no more.
func readLines(r io.Reader, lines chan<- string, atEnd func()) {
	defer atEnd()
	scanner := bufio.NewScanner(r)
	for scanner.Scan() {
		lines <- scanner.Text()
	}
}

// command does what one line says. COMPONENT is kine, apiserver, controller-manager or scheduler.
//
//	kill COMPONENT      SIGKILL, and wait until it is gone
//	stop COMPONENT      SIGTERM, and wait until it is gone
//	start COMPONENT     start it on the address it had, and wait until it is ready
//	launch COMPONENT    start it without waiting
//	restart COMPONENT   kill and start
//	pause COMPONENT     SIGSTOP: connections stay open, nothing is answered
//	resume COMPONENT    SIGCONT
//	compact             make every resourceVersion that was handed out so far stale
//	store FILE          put events, a line of JSON each, into the datastore, past the API server
//	token DURATION      write a token that is refused after DURATION to agent.token
//	revoke              make every token of the agent invalid
func (c *controlPlane) command(ctx context.Context, line string) error {
	words := strings.Fields(line)
	if len(words) == 0 {
		return errors.New("empty command")
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	verb, args := words[0], words[1:]
	switch verb {
	case "compact", "revoke":
		if len(args) != 0 {
			return fmt.Errorf("%s takes no argument", verb)
		}
		if verb == "compact" {
			return c.compact(ctx)
		}
		return c.revoke(ctx)
	case "store":
		if len(args) != 1 {
			return errors.New("store takes a file")
		}
		return c.store(ctx, args[0])
	case "token":
		if len(args) != 1 {
			return errors.New("token takes a duration")
		}
		d, err := time.ParseDuration(args[0])
		if err != nil {
			return fmt.Errorf("token: %w", err)
		}
		return c.newToken(ctx, d)
	}
	if len(args) != 1 {
		return fmt.Errorf("unknown command, or not one argument: %q", line)
	}
	p := c.process(args[0])
	if p == nil {
		return fmt.Errorf("no component %q", args[0])
	}
	switch verb {
	case "kill":
		return p.end(syscall.SIGKILL)
	case "stop":
		return p.end(syscall.SIGTERM)
	case "launch":
		return p.start()
	case "start":
		return c.startAndWait(ctx, p.name)
	case "restart":
		if err := p.end(syscall.SIGKILL); err != nil {
			return err
		}
		return c.startAndWait(ctx, p.name)
	case "pause":
		return p.signal(syscall.SIGSTOP)
	case "resume":
		return p.signal(syscall.SIGCONT)
	}
	return fmt.Errorf("unknown command %q", verb)
}
