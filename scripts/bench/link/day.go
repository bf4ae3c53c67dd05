package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"
)

// dayScale is how much faster a day goes: 24 hours in 10 minutes. The agent's times are divided by it, and so is the time after
// which the receiver closes an idle connection.
const dayScale = 144

const (
	day = 24 * time.Hour
	// dayProblems go wrong in the day, each as one of the recorded events.
	dayProblems = 60
	// serverIdle is after how long a receiver closes a connection that nothing comes on: nginx's default.
	serverIdle = 75 * time.Second
)

// dayOutages are when there is no link: at night for six hours, and twice for a while.
func dayOutages() [][2]time.Duration {
	return [][2]time.Duration{
		{1 * time.Hour, 7 * time.Hour}, {11 * time.Hour, 11*time.Hour + 20*time.Minute}, {18 * time.Hour, 18*time.Hour + 45*time.Minute},
	}
}

// step is something that happens in the day.
type step struct {
	at time.Duration
	do func()
}

// recorded reads the recorded events, without what a server keeps only for itself.
func recorded() ([]map[string]any, error) {
	names, err := filepath.Glob("agent/watch/stream/testdata/events/*.json")
	if err != nil {
		return nil, err
	}
	var events []map[string]any
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		var e map[string]any
		if err := json.Unmarshal(data, &e); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		metadata, ok := e["metadata"].(map[string]any)
		if e["type"] != "Warning" || !ok {
			continue
		}
		delete(metadata, "managedFields")
		events = append(events, e)
	}
	if len(events) < 20 {
		return nil, fmt.Errorf("%d recorded events, want 20 at least", len(events))
	}
	return events, nil
}

// problems plans what goes wrong: each problem begins at some time, lasts from minutes to hours, and is reported again and again
// by the same event, whose count grows, as the kubelet does it. It returns how many versions of events there are.
func problems(c *cluster, events []map[string]any) (steps []step, versions int) {
	for n := range dayProblems {
		template := events[n%len(events)]
		begin := time.Duration(c.random.Int64N(int64(day)))
		// Half of them last less than 20 minutes, some for hours.
		length := time.Duration(float64(5*time.Minute) * (1 + 40*c.random.Float64()*c.random.Float64()*c.random.Float64()))
		period := 10*time.Second + time.Duration(c.random.Int64N(int64(4*time.Minute)))
		uid := fmt.Sprintf("%08x-0000-4000-8000-%012x", c.random.Uint32(), n)
		object := n / len(events)
		count := 0
		for at := begin; at < min(begin+length, day); at += period {
			versions++
			steps = append(steps, step{at, func() {
				count++
				c.repeat(template, uid, object, count)
			}})
		}
	}
	return steps, versions
}

// repeat shows the next version of an event.
func (c *cluster) repeat(template map[string]any, uid string, object, count int) {
	e := maps.Clone(template)
	now := time.Now().UTC().Format(time.RFC3339)
	old, _ := template["metadata"].(map[string]any)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.version++
	e["metadata"] = map[string]any{
		"name": fmt.Sprintf("%v-%d", old["name"], object), "namespace": old["namespace"], "uid": uid,
		"resourceVersion": fmt.Sprint(c.version), "creationTimestamp": now,
	}
	if involved, ok := template["involvedObject"].(map[string]any); ok && object > 0 {
		another := maps.Clone(involved)
		another["name"] = fmt.Sprintf("shop%d-%v", object, involved["name"])
		e["involvedObject"] = another
	}
	delete(e, "series")
	e["eventTime"], e["count"], e["firstTimestamp"], e["lastTimestamp"] = nil, count, now, now
	data, err := json.Marshal(e)
	if err != nil {
		panic(err)
	}
	kind := "MODIFIED"
	if count == 1 {
		kind = "ADDED"
	}
	c.show(kind, data)
}

// dayRun lets a day pass and measures it as a whole.
func dayRun(ctx context.Context, binary, dir string, seed uint64) (rows []row, err error) {
	events, err := recorded()
	if err != nil {
		return nil, err
	}
	var requests atomic.Int64
	server, address, err := feishu(ctx, dir, serverIdle/dayScale, &requests)
	if err != nil {
		return nil, err
	}
	defer func() { _ = server.Close() }()
	link, err := newProxy(ctx, address, 0, 0)
	if err != nil {
		return nil, err
	}
	defer link.close()
	c := newCluster(seed)
	c.random = rand.New(rand.NewPCG(seed, 24))
	api := httptest.NewServer(c)
	defer api.Close()
	defer api.CloseClientConnections()
	if err := os.RemoveAll(filepath.Join(dir, "spool")); err != nil {
		return nil, err
	}
	fast := func(d time.Duration) time.Duration { return (d / dayScale).Round(time.Millisecond) }
	stop, err := start(ctx, binary, dir, link.address(), api.URL, fmt.Sprintf(
		"{groupWait: %s, groupInterval: %s, repeatInterval: %s, resolveAfter: %s, digestAge: %s, maxBackoff: %s, timeout: 5s}",
		fast(5*time.Second), fast(5*time.Minute), fast(4*time.Hour), fast(30*time.Minute), fast(10*time.Minute), fast(5*time.Minute)))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, stop()) }()

	steps, versions := problems(c, events)
	for _, o := range dayOutages() {
		steps = append(steps, step{o[0], func() { link.set(cut) }}, step{o[1], func() { link.set(pass) }})
	}
	slices.SortStableFunc(steps, func(a, b step) int { return cmp.Compare(a.at, b.at) })
	bytes, messages, begin := link.bytes.Load(), requests.Load(), time.Now()
	for _, s := range steps {
		if err := pause(ctx, time.Until(begin.Add(s.at/dayScale))); err != nil {
			return nil, err
		}
		s.do()
	}
	if err := until(ctx, "the end of the day", func() bool { return time.Since(begin) > day/dayScale && link.quiet() > 5*time.Second }); err != nil {
		return nil, err
	}
	what := fmt.Sprintf("a day of recorded events: %d versions of %d problems, three outages of 7 h in all", versions, dayProblems)
	return []row{{what, requests.Load() - messages, link.bytes.Load() - bytes}}, nil
}
