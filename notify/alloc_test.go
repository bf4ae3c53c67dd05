package notify_test

import (
	"testing"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/config/configtest"
	"github.com/edge-eventer/edge-eventer/notify"
)

// rendering is something that is rendered again and again on a busy day, and what that may cost.
type rendering struct {
	name    string
	config  configtest.Keys
	message *notify.Message
	// allocs and bytes of one Render. They are about a third above what it takes, so that only a change of kind breaks them.
	allocs, bytes int64
}

func renderings() []rendering {
	address := notify.SecretValue("http://127.0.0.1:1/hook")
	return []rendering{
		{"feishu card", configtest.Keys{Type: "feishu", URL: address}, message(plainIncident()), 112, 24_000},
		{"feishu digest of 256", configtest.Keys{Type: "feishu", URL: address}, digest(many(256), losses()), 11_000, 700_000},
		{"webhook batch of 100", configtest.Keys{Type: "webhook", URL: address}, message(many(100)...), 2_450, 490_000},
		{"webhook template", configtest.Keys{Type: "webhook", URL: address, Body: map[string]any{
			"title": "{{ .Reason | upper }} in {{ .InvolvedObject.Namespace }}", "text": "{{ .Message | truncate 100 }}", "at": "{{ .LastTimestamp }}",
			"object": map[string]any{"kind": "{{ .InvolvedObject.Kind }}", "name": "{{ .InvolvedObject.Name }}"},
		}}, message(plainIncident()), 215, 13_500},
	}
}

func (x *rendering) receiver(tb testing.TB) notify.Receiver {
	tb.Helper()
	x.config.Name, x.config.Cluster, x.config.Location = "ops", "shop-1", time.UTC
	r, err := configtest.New(x.config)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(r.Close)
	return r
}

func TestRenderingStaysWithinItsAllocations(t *testing.T) {
	for _, x := range renderings() {
		r := x.receiver(t)
		result := testing.Benchmark(func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				render(b, r, x.message, notify.Full)
			}
		})
		t.Logf("%s: %d allocations, %d bytes, %v", x.name, result.AllocsPerOp(), result.AllocedBytesPerOp(), time.Duration(result.NsPerOp()))
		if n := result.AllocsPerOp(); n > x.allocs*raceFactor {
			t.Errorf("%s: %d allocations, the budget is %d", x.name, n, x.allocs)
		}
		if n := result.AllocedBytesPerOp(); n > x.bytes*raceFactor {
			t.Errorf("%s: %d bytes allocated, the budget is %d", x.name, n, x.bytes)
		}
	}
}

func BenchmarkRender(b *testing.B) {
	for _, x := range renderings() {
		b.Run(x.name, func(b *testing.B) {
			r := x.receiver(b)
			b.ReportAllocs()
			for b.Loop() {
				render(b, r, x.message, notify.Full)
			}
		})
	}
}
