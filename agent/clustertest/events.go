package clustertest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// writers is how many requests are under way at once. More do not make sqlite, which writes one at a time, any faster.
const writers = 16

// EventTemplate says how the events of CreateEvents look. The zero value is a Warning of a pod of its own for each.
type EventTemplate struct {
	// Namespace is made if it is not there. Default: "default".
	Namespace string
	// Prefix begins the names; a dash and the event's number, five digits from 00000, follow. Default: "event".
	Prefix string
	// From is the number of the first one. Default: 0.
	From int
	// Type is Warning or Normal. Default: Warning.
	Type string
	// Reason of all. Default: BackOff.
	Reason string
	// Message of all. Default: "Back-off restarting failed container".
	Message string
	// MessageBytes is how long a message is at least: it is filled up with dots. Default: 0.
	MessageBytes int
	// Scattered gives names that sort in no order of the numbers, and so of time, as a list shows those of real events.
	Scattered bool
	// Objects is over how many pods the events are spread. Default: each event has a pod of its own. A pod is named as
	// those of a deployment that is called Prefix.
	Objects int
	// Count is how often the event was seen. Default: 1.
	Count int32
	// At is when it was seen, first and last. Default: now.
	At time.Time
}

func (o EventTemplate) withDefaults() EventTemplate {
	for field, value := range map[*string]string{
		&o.Namespace: metav1.NamespaceDefault,
		&o.Prefix:    "event",
		&o.Type:      corev1.EventTypeWarning,
		&o.Reason:    "BackOff",
		&o.Message:   "Back-off restarting failed container",
	} {
		if *field == "" {
			*field = value
		}
	}
	if o.Count == 0 {
		o.Count = 1
	}
	if o.At.IsZero() {
		o.At = time.Now()
	}
	if missing := o.MessageBytes - len(o.Message); missing > 0 {
		o.Message += strings.Repeat(".", missing)
	}
	return o
}

func (o EventTemplate) event(n int) *corev1.Event {
	object := n
	if o.Objects > 0 {
		object = n % o.Objects
	}
	name := fmt.Sprintf("%s-%05d", o.Prefix, n)
	if o.Scattered {
		name = fmt.Sprintf("%s-%08x.%05d", o.Prefix, uint32(n)*2654435761, n)
	}
	at := metav1.NewTime(o.At)
	return &corev1.Event{
		ObjectMeta: metav1.ObjectMeta{Namespace: o.Namespace, Name: name},
		InvolvedObject: corev1.ObjectReference{
			APIVersion: "v1", Kind: "Pod", Namespace: o.Namespace, Name: podName(o.Prefix, object),
		},
		Type:           o.Type,
		Reason:         o.Reason,
		Message:        o.Message,
		Source:         corev1.EventSource{Component: "kubelet", Host: "counter-pi"},
		FirstTimestamp: at,
		LastTimestamp:  at,
		Count:          o.Count,
	}
}

// podName names pod n of a deployment. Kubernetes builds its suffixes from these 27 characters.
func podName(deployment string, n int) string {
	const alphabet = "bcdfghjklmnpqrstvwxz2456789"
	suffix := []byte("bbbbb")
	for i := len(suffix) - 1; i >= 0; i-- {
		suffix[i] = alphabet[n%len(alphabet)]
		n /= len(alphabet)
	}
	return deployment + "-7d9f8c6b5d-" + string(suffix)
}

// CreateEvents creates n events, several at a time, logs the rate, and returns their names.
func (c *Cluster) CreateEvents(t T, n int, o EventTemplate) []string {
	t.Helper()
	o = o.withDefaults()
	c.CreateNamespace(t, o.Namespace)
	began := time.Now()
	names := make([]string, n)
	inParallel(t, n, func(ctx context.Context, i int) error {
		event := o.event(o.From + i)
		names[i] = event.Name
		_, err := c.do(ctx, http.MethodPost, "/api/v1/namespaces/"+o.Namespace+"/events", nil, event)
		return err
	})
	took := time.Since(began)
	t.Logf("%d events were created in %.1f s, %.0f a second", n, took.Seconds(), float64(n)/took.Seconds())
	return names
}

// StoreEvents makes n events as CreateEvents does, but writes all but the first into the datastore, past the API server, which takes a
// fraction of the time: it is for thousands that lie there when a test begins. It logs the rate, and returns their names.
func (c *Cluster) StoreEvents(t T, n int, o EventTemplate) []string {
	t.Helper()
	o = o.withDefaults()
	began := time.Now()
	names := c.CreateEvents(t, 1, o)
	body, err := c.do(t.Context(), http.MethodGet, "/api/v1/namespaces/"+o.Namespace+"/events/"+names[0], nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	// The first one has what the API server adds.
	var stored corev1.Event
	if err := json.Unmarshal(body, &stored); err != nil {
		t.Fatalf("read an event: %v", err)
	}
	file := filepath.Join(t.TempDir(), "events.jsonl")
	if names, err = o.write(file, &stored, names, n); err != nil {
		t.Fatal(err)
	}
	c.command(t, "store "+file)
	took := time.Since(began)
	t.Logf("%d events were stored in %.1f s, %.0f a second", n, took.Seconds(), float64(n)/took.Seconds())
	return names
}

// write writes events up to the nth into a file, a line of JSON each, and returns their names behind those that are there already.
func (o EventTemplate) write(file string, stored *corev1.Event, names []string, n int) ([]string, error) {
	f, err := os.Create(file)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	buffered := bufio.NewWriter(f)
	encoder := json.NewEncoder(buffered)
	for i := len(names); i < n; i++ {
		e := o.event(o.From + i)
		e.TypeMeta, e.ManagedFields = stored.TypeMeta, stored.ManagedFields
		e.UID, e.CreationTimestamp = stored.UID+types.UID(fmt.Sprintf("-%05d", i)), stored.CreationTimestamp
		if err := encoder.Encode(e); err != nil {
			return nil, fmt.Errorf("encode an event: %w", err)
		}
		names = append(names, e.Name)
	}
	return names, errors.Join(buffered.Flush(), f.Close())
}

// PatchEvent sets an event's count, and its lastTimestamp to now, as the recorder of client-go does for a repeat: a watch
// shows it as MODIFIED. It returns the event's new resourceVersion.
func (c *Cluster) PatchEvent(t T, namespace, name string, count int32) string {
	t.Helper()
	version, err := c.patchEvent(t.Context(), namespace, name, count)
	if err != nil {
		t.Fatal(err)
	}
	return version
}

// PatchEvents does what PatchEvent does to many events, several at a time.
func (c *Cluster) PatchEvents(t T, namespace string, names []string, count int32) {
	t.Helper()
	inParallel(t, len(names), func(ctx context.Context, i int) error {
		_, err := c.patchEvent(ctx, namespace, names[i], count)
		return err
	})
}

func (c *Cluster) patchEvent(ctx context.Context, namespace, name string, count int32) (string, error) {
	body, err := c.do(ctx, http.MethodPatch, "/api/v1/namespaces/"+namespace+"/events/"+name, nil,
		map[string]any{"count": count, "lastTimestamp": metav1.Now()})
	if err != nil {
		return "", err
	}
	var event corev1.Event
	if err := json.Unmarshal(body, &event); err != nil {
		return "", fmt.Errorf("read the patched event: %w", err)
	}
	return event.ResourceVersion, nil
}

// DeleteEvents deletes events, several at a time.
func (c *Cluster) DeleteEvents(t T, namespace string, names ...string) {
	t.Helper()
	inParallel(t, len(names), func(ctx context.Context, i int) error {
		_, err := c.do(ctx, http.MethodDelete, "/api/v1/namespaces/"+namespace+"/events/"+names[i], nil, nil)
		return err
	})
}

// CreateNamespace makes a namespace; that it is there already is no error.
func (c *Cluster) CreateNamespace(t T, name string) {
	t.Helper()
	if _, err := c.do(t.Context(), http.MethodGet, "/api/v1/namespaces/"+name, nil, nil); err == nil {
		return
	}
	if _, err := c.do(t.Context(), http.MethodPost, "/api/v1/namespaces", nil, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}); err != nil {
		t.Fatal(err)
	}
}

// Events returns the events of a namespace, "" for all, that have the type, "" for any, and the resourceVersion of that list.
func (c *Cluster) Events(t T, namespace, eventType string) ([]corev1.Event, string) {
	t.Helper()
	path := "/api/v1/events"
	if namespace != "" {
		path = "/api/v1/namespaces/" + namespace + "/events"
	}
	query := url.Values{"limit": {"1000"}}
	if eventType != "" {
		query.Set("fieldSelector", "type="+eventType)
	}
	var all []corev1.Event
	for {
		body, err := c.do(t.Context(), http.MethodGet, path, query, nil)
		if err != nil {
			t.Fatal(err)
		}
		var page corev1.EventList
		if err := json.Unmarshal(body, &page); err != nil {
			t.Fatalf("read a list of events: %v", err)
		}
		all = append(all, page.Items...)
		if page.Continue == "" {
			return all, page.ResourceVersion
		}
		query.Set("continue", page.Continue)
	}
}

// do sends a request as the administrator and returns the body of a 2xx answer.
func (c *Cluster) do(ctx context.Context, method, path string, query url.Values, in any) ([]byte, error) {
	var body io.Reader
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return nil, fmt.Errorf("encode the body of %s %s: %w", method, path, err)
		}
		body = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.url(path, query), body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("Content-Type", "application/json")
	if method == http.MethodPatch {
		req.Header.Set("Content-Type", "application/merge-patch+json")
	}
	resp, err := c.admin.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("%s %s: read the answer: %w", method, path, err)
	}
	if resp.StatusCode/100 != 2 {
		return nil, fmt.Errorf("%s %s: %s: %.300s", method, path, resp.Status, answer)
	}
	return answer, nil
}

// inParallel calls f for 0 to n-1; the first error ends it and fails the test.
func inParallel(t T, n int, f func(ctx context.Context, i int) error) {
	t.Helper()
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	var next atomic.Int64
	var running sync.WaitGroup
	for range min(writers, n) {
		running.Go(func() {
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				if err := f(ctx, i); err != nil {
					cancel(err)
				}
			}
		})
	}
	running.Wait()
	if err := context.Cause(ctx); err != nil {
		t.Fatal(err)
	}
}
