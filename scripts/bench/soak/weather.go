package main

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/clustertest"
	"github.com/edge-eventer/edge-eventer/agent/clustertest/faultproxy"
	"github.com/edge-eventer/edge-eventer/scripts/bench/stage"
)

// sky is all that the weather is made of.
type sky struct {
	stage   *stage.Stage
	book    *book
	cluster *clustertest.Cluster
	proxy   *faultproxy.Proxy
	// network is the agent's own; nil: it has the machine's.
	network *network
	// wires are the ways to the receivers, over HTTP and over TLS.
	wires  []*wire
	sink   *sink
	rain   *rain
	keeper *keeper
	// disk is a small file system that holds the spool; empty: there is none.
	disk string
	// clock is the agent's; nil: it has the machine's.
	clock *clock

	// link is held by who changes the link: its own lane, or a storm.
	link sync.Mutex
}

// setLink changes all wires.
func (s *sky) setLink(mode linkMode) {
	for _, w := range s.wires {
		w.set(mode)
	}
}

// within draws a time.
func within(r *rand.Rand, from, to time.Duration) time.Duration {
	return from + time.Duration(r.Int64N(int64(to-from)))
}

// spell waits, and reports false when the weather is over.
func spell(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}

// blow runs all lanes until ctx ends, and leaves a clear sky.
func (s *sky) blow(ctx context.Context, o *options) {
	lanes := []func(context.Context, *rand.Rand){
		s.rains, s.links, s.receivers, s.servers, s.agents, s.disks, s.clocks, s.denials, s.damages, s.routes, s.floods,
	}
	var running sync.WaitGroup
	running.Go(func() { s.rain.drain(ctx) })
	for i, lane := range lanes {
		if !o.leavesOut(kinds()[i]) {
			running.Go(func() { lane(ctx, rand.New(rand.NewPCG(o.seed, uint64(i+1)))) })
		}
	}
	running.Wait()
}

// kinds are the names of the lanes, and of the messages that are refused in unknown words.
func kinds() []string {
	return []string{"rain", "links", "receivers", "servers", "agents", "disks", "clocks", "denials", "damages", "routes", "floods", stuckKind}
}

const stuckKind = "stuck"

// rains makes bursts, drizzle, repeats and quiet, and now and then a storm: more than the spool can hold, over a dead link. The third shower
// is one, so that no run is without.
func (s *sky) rains(ctx context.Context, r *rand.Rand) {
	for i := 0; ctx.Err() == nil; i++ {
		n := r.IntN(100)
		if i == 2 {
			n = 77
		}
		switch {
		case n < 30:
			s.book.did("burst")
			s.rain.burst(ctx, 20+r.IntN(380), r.IntN(900), true)
		case n < 60:
			s.book.did("drizzle")
			for range 10 + r.IntN(40) {
				s.rain.burst(ctx, 1, r.IntN(500), true)
				if !spell(ctx, within(r, 50*time.Millisecond, 400*time.Millisecond)) {
					break
				}
			}
		case n < 77:
			s.book.did("repeats")
			s.rain.repeat(ctx, 20+r.IntN(200))
		case n < 78:
			s.storm(ctx, r)
		default:
			s.book.did("quiet")
			spell(ctx, within(r, 2*time.Second, 12*time.Second))
		}
		spell(ctx, within(r, 100*time.Millisecond, 2*time.Second))
	}
}

func (s *sky) storm(ctx context.Context, r *rand.Rand) {
	s.link.Lock()
	defer s.link.Unlock()
	s.book.did("storm")
	end := s.book.begin("link refuses")
	s.setLink(linkRefuses)
	s.rain.burst(ctx, 6000, 1200, false)
	spell(ctx, within(r, 2*time.Second, 8*time.Second))
	s.setLink(linkUp)
	end()
}

func (s *sky) links(ctx context.Context, r *rand.Rand) {
	for spell(ctx, within(r, time.Second, 18*time.Second)) {
		s.link.Lock()
		mode := []linkMode{linkRefuses, linkSilent, linkCutsAnswers, linkStalls}[r.IntN(4)]
		end := s.book.begin("link " + mode.String())
		s.setLink(mode)
		spell(ctx, within(r, 200*time.Millisecond, 12*time.Second))
		s.setLink(linkUp)
		end()
		s.link.Unlock()
	}
}

func (s *sky) receivers(ctx context.Context, r *rand.Rand) {
	names := moodNames()
	for spell(ctx, within(r, time.Second, 12*time.Second)) {
		receiver := receivers()[r.IntN(3)]
		mood := 1 + r.IntN(moods-1)
		s.book.did("receiver " + names[mood])
		s.sink.setMood(receiver, mood)
		spell(ctx, within(r, time.Second, 10*time.Second))
		s.sink.setMood(receiver, well)
	}
}

// servers makes the faults of the API server, and of the way to it.
func (s *sky) servers(ctx context.Context, r *rand.Rand) {
	faults := []struct {
		name  string
		match faultproxy.Match
		fault faultproxy.Fault
	}{
		{"410 as status", faultproxy.Any, faultproxy.Gone()},
		{"410 in stream", faultproxy.Watch, faultproxy.GoneInStream()},
		{"silent close", faultproxy.Watch, faultproxy.SilentClose()},
		{"401", faultproxy.Any, faultproxy.Unauthorized()},
		{"429", faultproxy.Any, faultproxy.TooManyRequests(time.Second)},
		{"500", faultproxy.Any, faultproxy.InternalError()},
		{"break", faultproxy.Any, faultproxy.Break()},
		{"cut in frame", faultproxy.Watch, faultproxy.CutInFrame(2)},
		{"cut in list", faultproxy.List, faultproxy.CutAfter(20 << 10)},
		{"410 in continue", faultproxy.Continue, faultproxy.Gone()},
	}
	for spell(ctx, within(r, 2*time.Second, 18*time.Second)) {
		what, err := "", error(nil)
		switch n := r.IntN(20); {
		case n < 8:
			f := faults[r.IntN(len(faults))]
			what = "API " + f.name
			s.proxy.Arm(f.match, 1+r.IntN(3), f.fault)
			s.proxy.CutConnections()
		case n < 10:
			what = "API connections reset"
			s.proxy.CutConnections()
		case n < 12:
			what = "API frozen"
			s.proxy.Freeze(r.IntN(2) == 0)
			spell(ctx, within(r, time.Second, 40*time.Second))
			s.proxy.Thaw()
		case n < 14:
			what = "API refuses"
			s.try(what, func() { s.proxy.Refuse(s.stage) })
			spell(ctx, within(r, time.Second, 8*time.Second))
			s.try(what, func() { s.proxy.Accept(s.stage) })
		case n < 15:
			what = "API server killed"
			err = s.stage.Try(func() { s.cluster.Restart(s.stage, clustertest.APIServer) })
		case n < 16:
			what = "API server ended"
			err = s.stage.Try(func() {
				s.cluster.Terminate(s.stage, clustertest.APIServer)
				s.cluster.StartComponent(s.stage, clustertest.APIServer)
			})
		case n < 17:
			what = "API server paused"
			err = s.stage.Try(func() { s.cluster.Pause(s.stage, clustertest.APIServer) })
			spell(ctx, within(r, time.Second, 10*time.Second))
			err = errors.Join(err, s.stage.Try(func() { s.cluster.Resume(s.stage, clustertest.APIServer) }))
		case n < 18:
			what = "datastore killed"
			err = s.stage.Try(func() { s.cluster.Restart(s.stage, clustertest.Datastore) })
		default:
			what = "datastore compacted"
			// It fails where the API server is still busy with its start.
			_ = s.stage.Try(func() { s.cluster.Compact(s.stage) })
			s.proxy.CutConnections()
		}
		s.book.did(what)
		if err != nil {
			s.book.finding("%s: %v", what, err)
		}
	}
	s.proxy.Disarm()
	s.proxy.Forget()
}

func (s *sky) try(what string, f func()) {
	if err := s.stage.Try(f); err != nil {
		s.book.finding("%s: %v", what, err)
	}
}

// agents ends the agent, and starts it again after a while. One life in eight is long enough for what takes minutes.
func (s *sky) agents(ctx context.Context, r *rand.Rand) {
	for {
		life := within(r, 2*time.Second, 30*time.Second)
		if r.IntN(8) == 0 {
			life = within(r, 2*time.Minute, 6*time.Minute)
		}
		if !spell(ctx, life) {
			return
		}
		switch n := r.IntN(10); {
		case n < 5:
			end := s.book.begin("agent killed")
			s.keeper.kill()
			end()
		case n < 8:
			end := s.book.begin("agent ended")
			s.keeper.stop()
			end()
		default:
			s.book.did("agent reloaded")
			s.keeper.reload(r.IntN(2) == 0)
			continue
		}
		if r.IntN(3) == 0 {
			spell(ctx, within(r, 0, 10*time.Second))
		}
		s.keeper.start()
	}
}

// disks fills the disk of the spool.
func (s *sky) disks(ctx context.Context, r *rand.Rand) {
	if s.disk == "" {
		return
	}
	filler := filepath.Join(s.disk, "filler")
	for spell(ctx, within(r, 10*time.Second, 90*time.Second)) {
		s.book.did("disk full")
		begin := time.Now()
		s.keeper.setDiskFull(true)
		if err := fill(filler); err != nil {
			s.book.finding("fill the disk: %v", err)
		}
		spell(ctx, within(r, time.Second, 15*time.Second))
		_ = os.Remove(filler)
		s.keeper.setDiskFull(false)
		s.book.diskWasFull(begin)
	}
}

// clocks sets the agent's clock wrong for a while. A Pi has no clock that runs without power: it starts with the time of its last
// stop, or in 1970, and is set when the link is there. An agent that sees its clock go further ahead than maxAge knows that nothing
// is older for it; one that starts with such a clock cannot know.
func (s *sky) clocks(ctx context.Context, r *rand.Rand) {
	if s.clock == nil {
		return
	}
	set := func(ahead time.Duration) {
		s.keeper.setAhead(ahead)
		if err := s.clock.set(ahead); err != nil {
			s.book.finding("set the clock: %v", err)
		}
	}
	for spell(ctx, within(r, 2*time.Second, 40*time.Second)) {
		var what string
		var ahead time.Duration
		switch n := r.IntN(12); {
		case n >= 10:
			what, ahead = "weeks ahead", within(r, maxAge, 5*maxAge)
		case n < 2:
			what, ahead = "seconds ahead", within(r, time.Second, time.Minute)
		case n < 4:
			what, ahead = "seconds behind", -within(r, time.Second, time.Minute)
		case n < 6:
			what, ahead = "hours ahead", within(r, time.Minute, 72*time.Hour)
		case n < 8:
			what, ahead = "hours behind", -within(r, time.Minute, 72*time.Hour)
		default:
			what, ahead = "in 1970", -time.Since(time.Unix(0, 0))
		}
		s.book.did("clock " + what)
		set(ahead)
		spell(ctx, within(r, 500*time.Millisecond, 20*time.Second))
		set(0)
	}
}

// fill writes until the disk is full.
func fill(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	block := bytes.Repeat([]byte{1}, 4096)
	for {
		if _, err := f.Write(block); errors.Is(err, syscall.ENOSPC) {
			return nil
		} else if err != nil {
			return err
		}
	}
}
