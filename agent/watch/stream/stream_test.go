package stream

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/edge-eventer/edge-eventer/agent/event"
)

var update = flag.Bool("update", false, "write the golden file anew")

// line is what the golden file shows of an event: what an alert is made of.
func line(e *event.Event) string {
	return fmt.Sprintf("%s | %s %s/%s -> %s | %s | first %s last %s x%d | by %q on %q | %d bytes %.40q",
		e.Type, e.InvolvedObject.Kind, e.InvolvedObject.Namespace, e.InvolvedObject.Name,
		event.Workload(e.InvolvedObject.Kind, e.InvolvedObject.Name), e.Reason,
		e.FirstSeen().Format(time.RFC3339Nano), e.LastSeen().Format(time.RFC3339Nano), e.Observed(),
		e.Reporter(), e.Host(), len(e.Message), e.Message)
}

func TestRecordedEventsConvert(t *testing.T) {
	var got strings.Builder
	files, err := filepath.Glob("testdata/events/*.json")
	if err != nil {
		t.Fatal(err)
	}
	normal, err := filepath.Glob("testdata/events/normal/*.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range slices.Concat(files, normal) {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&got, "== %s\n", filepath.ToSlash(file))
		if filepath.Base(file) == "list.json" {
			_, err = NewScanner(bytes.NewReader(data)).List(func(_ ListMeta, item Raw) error {
				e, err := item.Event()
				fmt.Fprintln(&got, line(&e))
				return err
			})
		} else {
			var e event.Event
			e, err = decode(data, 0)
			fmt.Fprintln(&got, line(&e))
		}
		if err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
	fmt.Fprintln(&got, "== testdata/events/watch.jsonl")
	for _, e := range recordedFrames(t) {
		fmt.Fprintln(&got, line(&e))
	}

	const golden = "testdata/events.golden"
	if *update {
		if err := os.WriteFile(golden, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got.String(), "\n")); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// The reference is the type that everything in Kubernetes reads events with.
func TestRecordedEventsConvertAsKubernetesReadsThem(t *testing.T) {
	files, err := filepath.Glob("testdata/events/*-*.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		got, err := decode(data, 0)
		if err != nil {
			t.Fatal(err)
		}
		var r corev1.Event
		if err := json.Unmarshal(data, &r); err != nil {
			t.Fatal(err)
		}
		reference := func(o corev1.ObjectReference) event.Reference {
			return event.Reference{
				Kind: o.Kind, Namespace: o.Namespace, Name: o.Name, UID: string(o.UID), APIVersion: o.APIVersion,
				ResourceVersion: o.ResourceVersion, FieldPath: o.FieldPath,
			}
		}
		want := event.Event{
			ObjectMeta: event.ObjectMeta{
				Name: r.Name, Namespace: r.Namespace, UID: string(r.UID), ResourceVersion: r.ResourceVersion,
				CreationTimestamp: r.CreationTimestamp.Time,
			},
			InvolvedObject: reference(r.InvolvedObject),
			Reason:         r.Reason, Message: r.Message, Source: event.Source(r.Source),
			FirstTimestamp: r.FirstTimestamp.Time, LastTimestamp: r.LastTimestamp.Time, Count: r.Count, Type: r.Type,
			EventTime: r.EventTime.Time, Action: r.Action,
			ReportingController: r.ReportingController, ReportingInstance: r.ReportingInstance,
		}
		if r.Series != nil {
			want.Series = &event.Series{Count: r.Series.Count, LastObservedTime: r.Series.LastObservedTime.Time}
		}
		if r.Related != nil {
			related := reference(*r.Related)
			want.Related = &related
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: -want +got:\n%s", file, diff)
		}
	}
	if len(files) < 60 {
		t.Errorf("only %d recorded events", len(files))
	}
}

func recordedFrames(t *testing.T) []event.Event {
	t.Helper()
	data, err := os.ReadFile("testdata/events/watch.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	var events []event.Event
	s := NewScanner(iotest.OneByteReader(bytes.NewReader(data)))
	for {
		value, err := s.value()
		if errors.Is(err, io.EOF) {
			return events
		}
		if err != nil {
			t.Fatal(err)
		}
		var f struct {
			Object wireEvent `json:"object"`
		}
		if err := unmarshal(value, &f); err != nil {
			t.Fatal(err)
		}
		e, err := f.Object.event(s.cut)
		if err != nil {
			t.Fatal(err)
		}
		events = append(events, e)
	}
}

func TestAllFieldsOfAnEventAreKept(t *testing.T) {
	at := func(s string) time.Time {
		parsed, err := time.Parse(time.RFC3339Nano, s)
		if err != nil {
			t.Fatal(err)
		}
		return parsed
	}
	got, err := decode([]byte(`{"metadata":{"name":"n","namespace":"ns","uid":"u","resourceVersion":"7","creationTimestamp":"2026-11-21T05:05:48Z",
		"managedFields":[{"manager":"x"}],"labels":{"a":"b"}},
		"involvedObject":{"kind":"Pod","namespace":"shop","name":"p","uid":"pu","apiVersion":"v1","resourceVersion":"3","fieldPath":"spec.containers{app}"},
		"reason":"r","message":"m","source":{"component":"c","host":"h"},"firstTimestamp":"2026-11-21T07:05:48+02:00","lastTimestamp":"2026-11-21T05:06:48Z",
		"count":4,"type":"Warning","eventTime":"2026-11-21T05:05:48.798302Z","series":{"count":9,"lastObservedTime":"2026-11-21T05:07:48.000001Z"},
		"action":"a","related":{"kind":"Node","name":"pi"},"reportingComponent":"rc","reportingInstance":"ri"}`), 0)
	want := event.Event{
		ObjectMeta:     event.ObjectMeta{Name: "n", Namespace: "ns", UID: "u", ResourceVersion: "7", CreationTimestamp: at("2026-11-21T05:05:48Z")},
		InvolvedObject: event.Reference{Kind: "Pod", Namespace: "shop", Name: "p", UID: "pu", APIVersion: "v1", ResourceVersion: "3", FieldPath: "spec.containers{app}"},
		Reason:         "r", Message: "m", Source: event.Source{Component: "c", Host: "h"},
		FirstTimestamp: at("2026-11-21T05:05:48Z"), LastTimestamp: at("2026-11-21T05:06:48Z"), Count: 4, Type: "Warning",
		EventTime: at("2026-11-21T05:05:48.798302Z"), Series: &event.Series{Count: 9, LastObservedTime: at("2026-11-21T05:07:48.000001Z")},
		Action: "a", Related: &event.Reference{Kind: "Node", Name: "pi"}, ReportingController: "rc", ReportingInstance: "ri",
	}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("err %v, -want +got:\n%s", err, diff)
	}
}

func TestEventWithoutTimesHasThatOfItsCreation(t *testing.T) {
	e, err := decode([]byte(`{"metadata":{"uid":"u","resourceVersion":"7","creationTimestamp":"2026-11-21T05:05:48Z"},
		"firstTimestamp":null,"lastTimestamp":"yesterday","eventTime":null,"count":"many"}`), 0)
	if err != nil {
		t.Fatal(err)
	}
	if want := time.Date(2026, 11, 21, 5, 5, 48, 0, time.UTC); !e.LastSeen().Equal(want) || !e.FirstSeen().Equal(want) || e.Observed() != 1 {
		t.Errorf("first %v, last %v, count %d", e.FirstSeen(), e.LastSeen(), e.Observed())
	}
}

func TestLongMessageIsCutOnARuneBoundaryAndSaysSo(t *testing.T) {
	for name, c := range map[string]struct{ message, json string }{
		"ascii":         {strings.Repeat("x", 1<<20), ""},
		"chinese":       {strings.Repeat("镜像拉取失败", 60_000), ""},
		"one too many":  {strings.Repeat("x", MaxMessage+1), ""},
		"escaped":       {strings.Repeat("\"\\\n", 100_000), ""},
		"as \\u":        {strings.Repeat("\u0001é像", 50_000), strings.Repeat(`\u0001\u00e9\u50cf`, 50_000)},
		"surrogates":    {strings.Repeat("😀", 50_000), strings.Repeat(`\ud83d\ude00`, 50_000)},
		"emoji":         {"x" + strings.Repeat("😀", 50_000), ""},
		"tricky ending": {strings.Repeat(`\`, 200_000), ""},
	} {
		t.Run(name, func(t *testing.T) {
			if c.json == "" {
				c.json = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(c.message)
			}
			s := NewScanner(strings.NewReader(`{"metadata":{"uid":"u","resourceVersion":"7"},"message":"` + c.json + `","reason":"after"} {"next":1}`))
			value, err := s.value()
			if err != nil {
				t.Fatal(err)
			}
			if len(value) > maxRawString+1024 {
				t.Errorf("%d bytes were held", len(value))
			}
			e, err := decode(value, s.cut)
			if err != nil {
				t.Fatal(err)
			}
			kept, mark, found := strings.Cut(e.Message, "… (")
			if !found || !utf8.ValidString(kept) || !strings.HasPrefix(c.message, kept) || len(kept) > MaxMessage || len(kept) < MaxMessage-3 {
				t.Errorf("kept %d bytes: %q", len(kept), e.Message[max(0, len(e.Message)-60):])
			}
			if want := fmt.Sprintf("%d more bytes)", len(c.message)-len(kept)); mark != want {
				t.Errorf("the mark says %q, want %q", mark, want)
			}
			if e.Reason != "after" {
				t.Errorf("reason %q", e.Reason)
			}
			if next, err := s.value(); err != nil || string(next) != `{"next":1}` {
				t.Errorf("next value %q, %v", next, err)
			}
		})
	}
}

func TestMessageOfUsualLengthIsUntouched(t *testing.T) {
	message := strings.Repeat("m", MaxMessage)
	e, err := decode([]byte(`{"metadata":{"uid":"u","resourceVersion":"7"},"message":"`+message+`","reason":"`+strings.Repeat("r", 2000)+`"}`), 0)
	if err != nil || e.Message != message {
		t.Errorf("err %v, %d bytes", err, len(e.Message))
	}
	if want := strings.Repeat("r", MaxField) + "… (976 more bytes)"; e.Reason != want {
		t.Errorf("reason %.20q… of %d bytes", e.Reason, len(e.Reason))
	}
}

func TestInvalidUTF8IsRepaired(t *testing.T) {
	e, err := decode([]byte("{\"metadata\":{\"uid\":\"u\",\"resourceVersion\":\"7\"},\"message\":\"a\xff\xfeb\\ud83d c\"}"), 0)
	if err != nil || !utf8.ValidString(e.Message) || e.Message != "a\uFFFD\uFFFDb\uFFFD c" {
		t.Errorf("%q, %v", e.Message, err)
	}
}

func TestListIsReadInAnyOrderOfItsParts(t *testing.T) {
	item := `{"metadata":{"uid":"u","resourceVersion":"7"}}`
	for _, c := range []struct {
		body, wantErr string
		items         int
	}{
		{`{"kind":"EventList","apiVersion":"v1","metadata":{"resourceVersion":"9","continue":"c"},"items":[` + item + `,` + item + `]}`, "", 2},
		{`{"items":[` + item + `],"metadata":{"resourceVersion":"9","continue":"c"},"extra":[{"a":["]}"]}],"kind":"EventList"}`, "", 1},
		{"\n{ \"kind\" : \"EventList\" , \"metadata\" : {\"resourceVersion\":\"9\",\"continue\":\"c\"} , \"items\" : null }\n", "", 0},
		{`{"kind":"EventList","metadata":{"resourceVersion":"9"},"items":[` + item, "unexpected EOF", 1},
		{`{"kind":"EventList","metadata":{},"items":[]}`, "resourceVersion", 0},
		{`{"kind":"Status","metadata":{"resourceVersion":"9"}}`, `kind "Status"`, 0},
		{`{"kind":"EventList","metadata":{"resourceVersion":"9"},"items":{"a":1}}`, "decode answer", 0},
		{`<html>`, "'<' where JSON needs '{'", 0},
		{`[]`, "'['", 0},
		{``, "unexpected EOF", 0},
		{`{"kind":}`, "'}' where JSON needs a value", 0},
	} {
		n := 0
		meta, err := NewScanner(strings.NewReader(c.body)).List(func(_ ListMeta, item Raw) error {
			n++
			_, err := item.Event()
			return err
		})
		if n != c.items {
			t.Errorf("%s: %d items, want %d", c.body, n, c.items)
		}
		switch {
		case c.wantErr == "" && err != nil, c.wantErr != "" && (err == nil || !strings.Contains(err.Error(), c.wantErr)):
			t.Errorf("%s: error %v, want %q", c.body, err, c.wantErr)
		case c.wantErr == "" && meta.ResourceVersion != "9":
			t.Errorf("%s: %+v", c.body, meta)
		}
	}
}

func TestScannerHoldsNoMoreThanItsLimits(t *testing.T) {
	// An endless string, an endless object and an endless number.
	for _, endless := range []string{`{"a":"`, `{"a":[`, `12`} {
		s := NewScanner(io.MultiReader(strings.NewReader(endless), io.LimitReader(repeat("7"), 4<<20)))
		if _, err := s.value(); err == nil {
			t.Errorf("%s… was read", endless)
		}
		if cap(s.buf) > 2*maxValue {
			t.Errorf("%s…: the buffer grew to %d bytes", endless, cap(s.buf))
		}
	}
	s := NewScanner(strings.NewReader(`["` + strings.Repeat("x", 100_000) + `"] []`))
	for range 2 {
		if _, err := s.value(); err != nil {
			t.Fatal(err)
		}
	}
	if cap(s.buf) > keepBuffer {
		t.Errorf("the buffer of a large value is kept: %d bytes", cap(s.buf))
	}
}

type repeat string

func (r repeat) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = r[i%len(r)]
	}
	return len(p), nil
}

func FuzzList(f *testing.F) {
	data, err := os.ReadFile("testdata/events/list.json")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data[:3000])
	f.Add([]byte(`{"items":[{"metadata":{"uid":"u","resourceVersion":"7"}},null,1],"metadata":{"resourceVersion":"9"},"kind":"EventList"}`))
	f.Add([]byte(`{"a":"\u00`))
	f.Fuzz(func(t *testing.T, data []byte) {
		s := NewScanner(bytes.NewReader(data))
		items := 0
		_, err := s.List(func(_ ListMeta, item Raw) error {
			items++
			checkEvent(t, item.data, item.cut)
			return nil
		})
		if items > len(data) || cap(s.buf) > 2*maxValue {
			t.Errorf("%d items, buffer of %d bytes", items, cap(s.buf))
		}
		_ = err
	})
}

func FuzzWatchFrames(f *testing.F) {
	data, err := os.ReadFile("testdata/events/watch.jsonl")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data[:1500])
	f.Add([]byte(`{"type":"ERROR","object":{"kind":"Status","status":"Failure","message":"too old resource version: 1 (2)","reason":"Expired","code":410}}`))
	f.Add([]byte(`{"type":"ADDED","object":{"metadata":{"uid":"u","resourceVersion":"7"},"message":"` + strings.Repeat("é", 40) + `"}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		s := NewScanner(bytes.NewReader(data))
		for n := 0; ; n++ {
			value, err := s.value()
			if n > len(data) {
				t.Fatal("more frames than bytes")
			}
			if err != nil && !errors.Is(err, errTooLarge) {
				return
			}
			checkEvent(t, value, s.cut)
		}
	})
}

// checkEvent fails unless what decodes is bounded and valid.
func checkEvent(t *testing.T, data []byte, cut int) {
	t.Helper()
	e, err := decode(data, cut)
	if err != nil {
		return
	}
	if len(e.Message) > MaxMessage+64 || !utf8.ValidString(e.Message) {
		t.Errorf("message of %d bytes", len(e.Message))
	}
	for _, s := range []string{e.Name, e.Namespace, e.UID, e.Reason, e.Type, e.Action, e.InvolvedObject.Name, e.Source.Host} {
		if len(s) > MaxField+64 || !utf8.ValidString(s) {
			t.Errorf("field of %d bytes", len(s))
		}
	}
}

func BenchmarkListItem(b *testing.B) {
	data, err := os.ReadFile("testdata/events/list.json")
	if err != nil {
		b.Fatal(err)
	}
	items := 0
	b.ReportAllocs()
	for b.Loop() {
		s := NewScanner(bytes.NewReader(data))
		_, err := s.List(func(_ ListMeta, item Raw) error {
			items++
			_, err := item.Event()
			return err
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(items)/b.Elapsed().Seconds(), "events/s")
}

func decode(data []byte, cut int) (event.Event, error) {
	return Raw{data: data, cut: cut}.Event()
}

// TestWhatCannotBeReadSaysAsMuchOfItselfAsItCan: the names of an event come before what makes it too large.
func TestWhatCannotBeReadSaysAsMuchOfItselfAsItCan(t *testing.T) {
	meta := event.ObjectMeta{
		Name: "web.1", Namespace: "shop", UID: "u-1", ResourceVersion: "77",
		CreationTimestamp: time.Date(2026, 11, 21, 5, 5, 48, 0, time.UTC),
	}
	names := `{"kind":"Event","apiVersion":"v1","metadata":{"name":"web.1","namespace":"shop","ownerReferences":[{"uid":"no","a":{}}],"uid":"u-1",` +
		`"resourceVersion":"77","creationTimestamp":"2026-11-21T05:05:48Z","annotations":{"uid":"no","k`
	for _, c := range []struct {
		data, frameType string
		meta            event.ObjectMeta
	}{
		{names, "", meta},
		{names + `":""}},"type":"Warning"}`, "", meta},
		{`{"type":"DELETED","object":` + names, "DELETED", meta},
		{`{"type":"ADDED","object":{"metadata":{"name":"web.1","resourceVersion":"0x1"},"type":"Warning"}}`, "ADDED",
			event.ObjectMeta{Name: "web.1", ResourceVersion: "0x1"}},
		{`{"type":"ADDED","object":[`, "ADDED", event.ObjectMeta{}},
		{`{"metadata":{"uid":7,"name":`, "", event.ObjectMeta{}},
		{`[]`, "", event.ObjectMeta{}},
	} {
		h := readHead([]byte(c.data))
		if c.meta.UID == "" {
			if len(h.meta.UID) != len("unreadable-")+64 || h != readHead([]byte(c.data)) || h.meta.UID == readHead([]byte(c.data+" ")).meta.UID {
				t.Errorf("%.80s: uid %s is none that is the same each time", c.data, h.meta.UID)
			}
			h.meta.UID = ""
		}
		if h.frameType != c.frameType || h.meta != c.meta {
			t.Errorf("%.80s: %+v, want %q %+v", c.data, h, c.frameType, c.meta)
		}
	}
}
