package notify_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/config/configtest"
	"github.com/edge-eventer/edge-eventer/notify"
)

func printer(t *testing.T, out io.Writer) notify.Receiver {
	t.Helper()
	r, err := configtest.New(configtest.Keys{Name: "out", Type: "stdout", Cluster: "shop-1", Output: out})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

func TestStdoutReadsLikeAReport(t *testing.T) {
	var out bytes.Buffer
	if err := send(t, printer(t, &out)); err != nil {
		t.Fatal(err)
	}
	want := `warning   BackOff Pod shop/web ×312 (9 new)
          Back-off restarting failed container web in pod web-7d9f8c6b5d-x2x4z_shop
          objects: web-7d9f8c6b5d-x2x4z, web-7d9f8c6b5d-b8k2m
          2026-11-21 02:06:00 – 04:06:00 UTC · told 1h late · from kubelet on pi-4b-01 · #` + "\n"
	got := out.String()
	// The short id follows.
	if i := strings.LastIndex(got, "#"); i < 0 || got[:i+1]+"\n" != want {
		t.Errorf("printed\n%s\nwant\n%s", got, want)
	}
}

func TestStdoutTakesNoControlCharacters(t *testing.T) {
	var out bytes.Buffer
	r := printer(t, &out)
	for _, text := range hostile {
		if err := r.Send(t.Context(), render(t, r, message(hostileEverywhere(text)), notify.Full)); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range out.String() {
		if c < ' ' && c != '\n' || c >= 0x7f && c < 0xA0 {
			t.Fatalf("control character %U was printed", c)
		}
	}
}

func TestStdoutThatNobodyReadsHoldsNobody(t *testing.T) {
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = writer.Close() })
	r := printer(t, writer)
	request := &notify.Request{Body: bytes.Repeat([]byte("x"), 1<<20)}
	for range 2 {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		err := r.Send(ctx, request)
		cancel()
		if notify.OutcomeOf(err) != notify.Retry || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v, want a retry because of the deadline", err)
		}
	}
	_ = reader.Close()
}

func TestStdoutThatFailsIsNotSuccess(t *testing.T) {
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	_ = reader.Close()
	_ = writer.Close()
	if err := send(t, printer(t, writer)); err == nil {
		t.Error("success on a closed file")
	}
}
