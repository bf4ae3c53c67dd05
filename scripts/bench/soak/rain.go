package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/edge-eventer/edge-eventer/agent/event"
)

// lifetime is how long events stay after they were last seen: longer than a request may be repeated.
const lifetime = 6 * time.Minute

// drops is how many requests to the API server are under way at once.
const drops = 8

const (
	// longMessage is what anybody who may create events can put into one.
	longMessage = 16 << 10
	// One event in stuckOneIn is refused in unknown words, but not more than maxStuck of them, and not sooner than stuckPause after
	// the one before: each is tried for ever.
	stuckOneIn, maxStuck = 300, 20
	stuckPause           = 90 * time.Second
)

// rain makes events.
type rain struct {
	book   *book
	server string
	client *http.Client
	random *rand.Rand
	// scale divides the numbers of events: a small spool holds a small ledger.
	scale int

	next int
	// stuck is how many events were made that every receiver refuses in unknown words, and stuckAt when the last one was.
	stuck   int
	stuckAt time.Time
	// recent are the events that may be seen again, with their counts.
	recent []recent
}

type recent struct {
	namespace, name string
	count           int32
}

func newRain(b *book, server, kubeconfig string, random *rand.Rand, scale int) (*rain, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, err
	}
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, err
	}
	client.Timeout = 20 * time.Second
	return &rain{book: b, server: server, client: client, random: random, scale: scale}, nil
}

// namespaces are those of the events. The last one is forbidden now and then.
func namespaces() []string { return []string{"soak-field", "soak-shop", forbidden} }

const forbidden = "soak-yard"

// event draws an event. A quarter of them are of a workload that is never heard of again.
func (r *rain) event(size int) *corev1.Event {
	const alphabet = "bcdfghjklmnpqrstvwxz2456789"
	suffix := make([]byte, 5)
	for i := range suffix {
		suffix[i] = alphabet[r.random.IntN(len(alphabet))]
	}
	r.next++
	in := namespaces()
	reasons := []string{"BackOff", "FailedMount", "Unhealthy", "FailedScheduling", "NodeNotReady"}
	deployment := fmt.Sprintf("web-%d", r.random.IntN(12))
	if r.random.IntN(4) == 0 {
		deployment = fmt.Sprintf("once-%d", r.next)
	}
	now := metav1.Now()
	message := strings.Repeat("0123456789abcdef", 1+size/16)
	// All numbers are drawn at each event, so that one seed gives the same rain whatever the time is.
	isPoison, isStuck, isLong := r.random.IntN(400) == 0, r.random.IntN(stuckOneIn) == 0, r.random.IntN(150) == 0
	switch {
	case size >= 1000:
	case isPoison:
		message = poison + message
	case isStuck && r.stuck < maxStuck && time.Since(r.stuckAt) > stuckPause:
		r.stuck, r.stuckAt = r.stuck+1, time.Now()
		words := stuckWords()
		message = words[r.stuck%len(words)] + message
	case isLong:
		message = strings.Repeat("0123456789abcdef", longMessage/16)
	}
	return &corev1.Event{
		ObjectMeta: metav1.ObjectMeta{Namespace: in[r.random.IntN(len(in))], Name: fmt.Sprintf("soak-%07d", r.next)},
		InvolvedObject: corev1.ObjectReference{
			APIVersion: "v1", Kind: "Pod", Namespace: "", Name: deployment + "-7d9f8c6b5d-" + string(suffix),
		},
		Type: corev1.EventTypeWarning, Reason: reasons[r.random.IntN(len(reasons))], Message: message,
		Source:         corev1.EventSource{Component: "kubelet", Host: "pi-soak"},
		FirstTimestamp: now, LastTimestamp: now, Count: int32(1 + r.random.IntN(3)),
	}
}

// burst makes n events, several at a time, and returns when the API server has confirmed all.
func (r *rain) burst(ctx context.Context, n, size int, again bool) {
	var running sync.WaitGroup
	turn := make(chan struct{}, drops)
	for range max(1, n/r.scale) {
		e := r.event(size)
		e.InvolvedObject.Namespace = e.Namespace
		workload := event.Workload(e.InvolvedObject.Kind, e.InvolvedObject.Name)
		r.book.planned(e.Namespace, e.Name, incidentOf(e.Namespace, "Pod", workload, e.Reason), e.Message)
		if again {
			if len(r.recent) == 200 {
				r.recent = append(r.recent[:0], r.recent[1:]...)
			}
			r.recent = append(r.recent, recent{e.Namespace, e.Name, e.Count})
		}
		select {
		case turn <- struct{}{}:
		case <-ctx.Done():
			running.Wait()
			return
		}
		running.Go(func() {
			defer func() { <-turn }()
			r.insist(ctx, http.MethodPost, "/api/v1/namespaces/"+e.Namespace+"/events", e.Namespace, e.Name, e)
		})
	}
	running.Wait()
}

// repeat sees n of the recent events again.
func (r *rain) repeat(ctx context.Context, n int) {
	for range min(n/r.scale, len(r.recent)) {
		if ctx.Err() != nil {
			return
		}
		e := &r.recent[r.random.IntN(len(r.recent))]
		e.count += int32(1 + r.random.IntN(4))
		r.insist(ctx, http.MethodPatch, "/api/v1/namespaces/"+e.namespace+"/events/"+e.name, e.namespace, e.name,
			map[string]any{"count": e.count, "lastTimestamp": metav1.Now()})
	}
}

// insist repeats a request until the API server has done it: the book must know what is there. It goes on after the end of the
// rain, for what is begun must be known too.
func (r *rain) insist(ctx context.Context, method, path, namespace, name string, body any) {
	ctx = context.WithoutCancel(ctx)
	give := time.Now().Add(5 * time.Minute)
	for {
		got, status, err := r.do(ctx, method, path, body)
		if status == http.StatusConflict && method == http.MethodPost {
			// An attempt whose answer was lost had made it.
			got, status, err = r.do(ctx, http.MethodGet, "/api/v1/namespaces/"+namespace+"/events/"+name, nil)
		}
		switch {
		case err == nil && status/100 == 2:
			r.book.made(name, string(got.UID), got.ResourceVersion, got.Count)
			return
		case status == http.StatusNotFound && method == http.MethodPatch:
			return
		case time.Now().After(give):
			r.book.finding("the API server does not take %s %s: status %d, %v", method, path, status, err)
			return
		}
		<-time.After(200 * time.Millisecond)
	}
}

// drain deletes events of which the agent has heard, some time after they were last seen. The datastore would do so, but begins
// each life anew when it is killed, and a list of all events ever would be longer than the fair weather between two faults.
func (r *rain) drain(ctx context.Context) {
	for spell(ctx, 5*time.Second) {
		for {
			old := r.book.old(time.Now().Add(-lifetime), 100)
			var running sync.WaitGroup
			for part := range slices.Chunk(old, len(old)/drops+1) {
				running.Go(func() {
					for _, e := range part {
						// What is not deleted is left to the datastore.
						_, _, _ = r.do(ctx, http.MethodDelete, "/api/v1/namespaces/"+e.namespace+"/events/"+e.name, nil)
					}
				})
			}
			running.Wait()
			if len(old) < 100 || ctx.Err() != nil {
				break
			}
		}
	}
}

func (r *rain) do(ctx context.Context, method, path string, in any) (*corev1.Event, int, error) {
	text, err := json.Marshal(in)
	if err != nil {
		return nil, 0, err
	}
	request, err := http.NewRequestWithContext(ctx, method, r.server+path, bytes.NewReader(text))
	if err != nil {
		return nil, 0, err
	}
	request.Header.Set("Accept", "application/json")
	request.Header.Set("Content-Type", "application/json")
	if method == http.MethodPatch {
		request.Header.Set("Content-Type", "application/merge-patch+json")
	}
	answer, err := r.client.Do(request)
	if err != nil {
		return nil, 0, err
	}
	defer answer.Body.Close()
	text, err = io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode/100 != 2 {
		return nil, answer.StatusCode, err
	}
	var e corev1.Event
	return &e, answer.StatusCode, json.Unmarshal(text, &e)
}
