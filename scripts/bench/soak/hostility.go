package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// denials forbid a namespace while the others go on, mostly for minutes and now and then for longer than its events live.
func (s *sky) denials(ctx context.Context, r *rand.Rand) {
	for spell(ctx, within(r, 20*time.Second, 4*time.Minute)) {
		length := within(r, 5*time.Second, 4*time.Minute)
		if r.IntN(5) == 0 {
			length = eventTTL + within(r, time.Minute, 4*time.Minute)
		}
		s.book.did("namespace forbidden")
		begin := time.Now()
		s.proxy.Deny(forbidden)
		// A watch that is open goes on until the API server ends it, minutes later.
		s.proxy.CutConnections()
		spell(ctx, length)
		s.proxy.Allow(forbidden)
		s.book.denied(forbidden, begin)
	}
}

// damages overwrite pages of the spool while the agent has it open, as a worn card does.
func (s *sky) damages(ctx context.Context, r *rand.Rand) {
	for spell(ctx, within(r, time.Minute, 8*time.Minute)) {
		pages := 1 + r.IntN(4)
		s.book.did(fmt.Sprintf("pages of the spool overwritten: %d", pages))
		if err := overwrite(s.keeper.spool, r, pages); err != nil {
			s.book.finding("overwrite pages: %v", err)
		}
		s.book.damaged(false)
	}
}

// overwrite puts blanks, noise, a flipped bit, or another page in the place of pages.
func overwrite(path string, r *rand.Rand, pages int) error {
	const size = 4096
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	for range pages {
		info, err := f.Stat()
		if err != nil {
			return err
		}
		at := r.Int64N(max(1, info.Size()/size)) * size
		page := make([]byte, size)
		switch r.IntN(4) {
		case 0:
		case 1:
			for i := range page {
				page[i] = byte(r.Uint32())
			}
		case 2:
			if _, err := f.ReadAt(page, at); err != nil && err != io.EOF {
				return err
			}
			page[r.IntN(size)] ^= 1 << r.IntN(8)
		case 3:
			if _, err := f.ReadAt(page, r.Int64N(max(1, info.Size()/size))*size); err != nil && err != io.EOF {
				return err
			}
		}
		// On a full disk there is no room for a page that the file has not.
		if _, err := f.WriteAt(page, at); err != nil && !errors.Is(err, syscall.ENOSPC) {
			return err
		}
	}
	return nil
}

// routes takes the agent's way out, or gives it another one.
func (s *sky) routes(ctx context.Context, r *rand.Rand) {
	if s.network == nil {
		return
	}
	n := s.network
	for spell(ctx, within(r, 5*time.Second, 90*time.Second)) {
		var what string
		var begin, end func() error
		switch r.IntN(4) {
		case 0:
			what, begin, end = "default routes gone", n.unroute, n.route
		case 1:
			what, begin = "address changed", n.readdress
		case 2:
			what = "interface down"
			begin = func() error { return n.inside("link set wan0 down") }
			end = func() error { return n.inside("link set wan0 up") }
		case 3:
			what = "carrier lost"
			begin = func() error { return outside(n.stage.Context(), "link set far-wan0 down") }
			end = func() error { return outside(n.stage.Context(), "link set far-wan0 up") }
		}
		over := s.book.begin("link: " + what)
		err := begin()
		if end != nil {
			spell(ctx, within(r, time.Second, 20*time.Second))
			if err == nil {
				err = end()
			}
			if err == nil {
				err = n.route()
			}
		}
		over()
		if err != nil {
			s.book.finding("%s: %v", what, err)
		}
	}
}

// floods lets many clients at the HTTP port who do what they should not.
func (s *sky) floods(ctx context.Context, r *rand.Rand) {
	for spell(ctx, within(r, 20*time.Second, 2*time.Minute)) {
		clients, kind := 100+r.IntN(1400), r.IntN(len(manners()))
		s.book.did("HTTP port: " + manners()[kind].name)
		s.flood(ctx, clients, manners()[kind], within(r, 2*time.Second, 15*time.Second))
	}
}

// manner is what a client of a flood sends. Where again is set, it sends that for as long as it is taken, and reads nothing.
type manner struct {
	name, first string
	again       string
}

func manners() []manner {
	const get = "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
	return []manner{
		{name: "silent clients"},
		{name: "clients with half a header", first: "GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Half: "},
		{name: "clients that pipeline", first: get, again: get},
		{name: "clients with an endless header", first: "GET /healthz HTTP/1.1\r\n", again: "X-Endless: 0123456789abcdef0123456789abcdef\r\n"},
	}
}

// flood connects so many clients, and lets go of them after the time. Those who are not let in are part of it.
func (s *sky) flood(ctx context.Context, clients int, m manner, d time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	var running sync.WaitGroup
	for range clients {
		c, err := s.keeper.dial(ctx, "tcp", s.keeper.address)
		if err != nil {
			if ctx.Err() != nil {
				break
			}
			continue
		}
		running.Go(func() {
			defer c.Close()
			stop := context.AfterFunc(ctx, func() { _ = c.Close() })
			defer stop()
			behave(ctx, c, m)
		})
	}
	running.Wait()
}

func behave(ctx context.Context, c net.Conn, m manner) {
	if _, err := io.WriteString(c, m.first); err != nil {
		return
	}
	if m.again == "" {
		<-ctx.Done()
		return
	}
	for {
		if _, err := io.WriteString(c, m.again); err != nil {
			return
		}
	}
}
