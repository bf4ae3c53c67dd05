package notify_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/edge-eventer/edge-eventer/agent/config/configtest"
	"github.com/edge-eventer/edge-eventer/notify"
)

// unzipper is a far end that reads what is compressed, or answers it in one of the ways of those that do not.
type unzipper struct {
	*httptest.Server

	mu sync.Mutex
	// refuse answers what is compressed; nil: it is read. answer answers what was read; nil: with 200.
	refuse, answer func(w http.ResponseWriter)
	bodies         []string
	requests       int
}

func startUnzipper(t *testing.T) *unzipper {
	t.Helper()
	u := &unzipper{}
	u.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u.mu.Lock()
		defer u.mu.Unlock()
		u.requests++
		body, _ := io.ReadAll(r.Body)
		if r.Header.Get("Content-Encoding") == "gzip" {
			if u.refuse != nil {
				u.refuse(w)
				return
			}
			z, err := gzip.NewReader(bytes.NewReader(body))
			if err != nil {
				w.WriteHeader(http.StatusInternalServerError)
				return
			}
			body, _ = io.ReadAll(z)
		}
		if u.answer != nil {
			u.answer(w)
			return
		}
		u.bodies = append(u.bodies, string(body))
		_, _ = io.WriteString(w, `{"ok":true}`)
	}))
	t.Cleanup(u.Close)
	return u
}

func (u *unzipper) count() (requests, taken int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.requests, len(u.bodies)
}

func statusOnly(status int) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) { w.WriteHeader(status) }
}

// TestReceiverThatReadsNoGzipGetsEachMessagePlain within the attempt in which that shows, and from then on at once.
func TestReceiverThatReadsNoGzipGetsEachMessagePlain(t *testing.T) {
	for name, refuse := range map[string]func(http.ResponseWriter){
		"415": statusOnly(http.StatusUnsupportedMediaType), "400": statusOnly(http.StatusBadRequest),
		"422": statusOnly(http.StatusUnprocessableEntity), "500": statusOnly(http.StatusInternalServerError),
		"200 with a no": func(w http.ResponseWriter) { _, _ = io.WriteString(w, `{"ok":false}`) },
	} {
		t.Run(name, func(t *testing.T) {
			u := startUnzipper(t)
			u.refuse = refuse
			r, err := configtest.New(configtest.Keys{Name: "w", Type: "webhook", URL: notify.SecretValue(u.URL), SuccessJSON: map[string]any{"ok": true}})
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			for i := range 3 {
				if err := send(t, r); err != nil {
					t.Fatal(err)
				}
				if requests, taken := u.count(); requests != i+2 || taken != i+1 {
					t.Errorf("%d requests for %d messages that were taken", requests, taken)
				}
			}
			for _, body := range u.bodies {
				if !strings.HasPrefix(body, `{"version":1`) {
					t.Errorf("taken: %.80q", body)
				}
			}
		})
	}
}

// TestRefusedMessageIsNotSentTwiceOnceGzipWasRead: what the receiver refuses then is the message.
func TestRefusedMessageIsNotSentTwiceOnceGzipWasRead(t *testing.T) {
	u := startUnzipper(t)
	r, err := configtest.New(configtest.Keys{Name: "w", Type: "webhook", URL: notify.SecretValue(u.URL)})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	understand(t, r)
	u.mu.Lock()
	u.answer = statusOnly(http.StatusBadRequest)
	u.mu.Unlock()
	if e := failure(t, send(t, r)); e.Outcome != notify.BadPayload {
		t.Errorf("%v: outcome %s", e, e.Outcome)
	}
	if requests, _ := u.count(); requests != 2 {
		t.Errorf("%d requests, want one for each message", requests)
	}
	// One that reads it no more, such as another program at the same address, says so.
	u.mu.Lock()
	u.answer, u.refuse = nil, statusOnly(http.StatusUnsupportedMediaType)
	u.mu.Unlock()
	if err := send(t, r); err != nil {
		t.Errorf("after the receiver forgot how to read gzip: %v", err)
	}
}

// TestMessageThatIsRefusedPlainTooIsJudgedByThat, and says nothing about the compression.
func TestMessageThatIsRefusedPlainTooIsJudgedByThat(t *testing.T) {
	u := startUnzipper(t)
	u.answer, u.refuse = statusOnly(http.StatusBadRequest), statusOnly(http.StatusBadRequest)
	r, err := configtest.New(configtest.Keys{Name: "w", Type: "webhook", URL: notify.SecretValue(u.URL)})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if e := failure(t, send(t, r)); e.Outcome != notify.BadPayload {
		t.Errorf("%v: outcome %s", e, e.Outcome)
	}
	u.mu.Lock()
	u.answer, u.refuse, u.requests = nil, nil, 0
	u.mu.Unlock()
	understand(t, r)
	if requests, _ := u.count(); requests != 1 {
		t.Errorf("%d requests", requests)
	}
}
