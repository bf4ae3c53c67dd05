package otlp

import (
	"testing"

	"github.com/edge-eventer/edge-eventer/notify/notifytest"
)

// FuzzReply holds that no answer makes the parser panic, and that what it finds is in the answer.
func FuzzReply(f *testing.F) {
	f.Add([]byte(nil))
	f.Add([]byte(notifytest.PartialSuccess(3, "too old")))
	f.Add([]byte(notifytest.PartialSuccess(0, "")))
	f.Add([]byte(notifytest.StatusBody("no")))
	f.Add([]byte("<html>"))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := parseReply(b)
		if err == nil && (p.rejected != 0 || p.message != "") && !p.set {
			t.Errorf("%+v of %q", p, b)
		}
		if len(parseStatus(b)) > len(b) {
			t.Errorf("a message longer than %q", b)
		}
	})
}

func TestPartialSuccessIsRead(t *testing.T) {
	p, err := parseReply([]byte(notifytest.PartialSuccess(3, "too old")))
	if err != nil || p != (partial{set: true, rejected: 3, message: "too old"}) {
		t.Errorf("%+v, %v", p, err)
	}
	if p, err := parseReply([]byte{0x0a, 0}); err != nil || p != (partial{set: true}) {
		t.Errorf("%+v, %v", p, err)
	}
}
