package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"
)

// cluster is the part of an API server that the agent talks to: list and watch of events.
type cluster struct {
	random *rand.Rand

	mu      sync.Mutex
	version int
	// frames holds the watch frames of all events; streamed is how many a watch was given.
	frames   [][]byte
	streamed int
	changed  chan struct{}
}

func newCluster(seed uint64) *cluster {
	return &cluster{random: rand.New(rand.NewPCG(seed, seed)), version: 1000, changed: make(chan struct{})}
}

// add makes one event of the incident with this number, seen at the given time.
func (c *cluster) add(incident int, at time.Time) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.version++
	// A ReplicaSet's hash is decimal digits in an alphabet of ten, a pod's suffix is drawn from the whole one.
	const hash, alphabet = "456789bcdf", "bcdfghjklmnpqrstvwxz2456789"
	suffix := make([]byte, 15)
	for i := range suffix {
		if i < 10 {
			suffix[i] = hash[(incident*7+i*3)%len(hash)]
		} else {
			suffix[i] = alphabet[c.random.IntN(len(alphabet))]
		}
	}
	reasons := []string{"BackOff", "FailedScheduling", "Unhealthy", "FailedMount", "FailedCreatePodSandBox"}
	name := fmt.Sprintf("app-%02d-%s-%s", incident, suffix[:10], suffix[10:])
	stamp := at.UTC().Format(time.RFC3339)
	event := map[string]any{
		"kind": "Event", "apiVersion": "v1",
		"metadata": map[string]any{
			"name": fmt.Sprintf("%s.%x", name, c.version), "namespace": "shop",
			"uid":               fmt.Sprintf("%08x-0000-4000-8000-%012x", c.random.Uint32(), c.version),
			"resourceVersion":   fmt.Sprint(c.version),
			"creationTimestamp": stamp,
		},
		"involvedObject": map[string]any{
			"kind": "Pod", "apiVersion": "v1", "namespace": "shop", "name": name,
			"uid": fmt.Sprintf("%08x-0000-4000-9000-%012x", c.random.Uint32(), c.version),
		},
		"reason": reasons[incident%len(reasons)],
		"message": fmt.Sprintf("Back-off restarting failed container app in pod %s_shop(%08x-5b1c-4c43-8e0a-9b7d0f4a5e11): exit code %d",
			name, c.random.Uint32(), 1+c.random.IntN(120)),
		"source":         map[string]any{"component": "kubelet", "host": "pi-3"},
		"firstTimestamp": stamp, "lastTimestamp": stamp, "count": 1, "type": "Warning",
		"reportingComponent": "kubelet", "reportingInstance": "pi-3", "eventTime": nil,
	}
	object, err := json.Marshal(event)
	if err != nil {
		panic(err)
	}
	c.show("ADDED", object)
	return object
}

// show puts a frame before the watch. The caller holds mu.
func (c *cluster) show(kind string, object []byte) {
	c.frames = append(c.frames, fmt.Appendf(nil, `{"type":%q,"object":%s}`+"\n", kind, object))
	close(c.changed)
	c.changed = make(chan struct{})
}

// given reports how many events a watch was given, and how many there are.
func (c *cluster) given() (streamed, all int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.streamed, len(c.frames)
}

func (c *cluster) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	if r.URL.Path != "/api/v1/events" {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	if r.FormValue("watch") == "" {
		// The list is empty: events come by the watch only.
		_, _ = fmt.Fprint(w, `{"kind":"EventList","apiVersion":"v1","metadata":{"resourceVersion":"1000"},"items":[]}`)
		return
	}
	next := 0
	if _, err := fmt.Sscan(r.FormValue("resourceVersion"), &next); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	next = max(0, next-1000)
	flush := http.NewResponseController(w)
	_ = flush.Flush()
	for {
		c.mu.Lock()
		frames, changed := c.frames[min(next, len(c.frames)):], c.changed
		c.mu.Unlock()
		for _, frame := range frames {
			if _, err := w.Write(frame); err != nil {
				return
			}
		}
		_ = flush.Flush()
		next += len(frames)
		c.mu.Lock()
		c.streamed = max(c.streamed, next)
		c.mu.Unlock()
		select {
		case <-changed:
		case <-r.Context().Done():
			return
		}
	}
}
