package faultproxy_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"github.com/edge-eventer/edge-eventer/agent/clustertest"
	"github.com/edge-eventer/edge-eventer/agent/clustertest/faultproxy"
)

const (
	listPath     = "/api/v1/events"
	continuePath = "/api/v1/events?continue=page2"
	watchPath    = "/api/v1/events?watch=true"

	frame = `{"type":"ADDED","object":{"kind":"Event"}}`
)

// upstream is an API server that shows what the proxy does to its answers: a watch is as many frames as are sent to it, a
// list is its own query and credential.
type upstream struct {
	*httptest.Server

	frames chan string
}

func newUpstream(t *testing.T) *upstream {
	t.Helper()
	u := &upstream{frames: make(chan string)}
	u.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("watch") == "" {
			_, _ = fmt.Fprintf(w, "%s %s %s", r.URL.RequestURI(), r.Header.Get("Authorization"), strings.Repeat("x", 100))
			return
		}
		_ = http.NewResponseController(w).Flush()
		for {
			select {
			case f := <-u.frames:
				_, _ = fmt.Fprintln(w, f)
				_ = http.NewResponseController(w).Flush()
			case <-r.Context().Done():
				return
			}
		}
	}))
	u.EnableHTTP2 = true
	u.StartTLS()
	t.Cleanup(func() {
		u.CloseClientConnections()
		u.Close()
	})
	return u
}

// newProxy returns a proxy before u, and a client made from the proxy's kubeconfig.
func newProxy(t *testing.T, u *upstream, http1 bool) (*faultproxy.Proxy, *http.Client) {
	t.Helper()
	tokenFile := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(tokenFile, []byte("s3cret"), 0o600); err != nil {
		t.Fatal(err)
	}
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: u.Certificate().Raw})
	p := faultproxy.Start(t, faultproxy.Options{
		Config:    &rest.Config{Host: u.URL, TLSClientConfig: rest.TLSClientConfig{CAData: ca}},
		TokenFile: tokenFile,
		HTTP1:     http1,
	})
	return p, clustertest.Client(t, p.Kubeconfig(t))
}

func get(t *testing.T, client *http.Client, url string) (*http.Response, string, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, "", err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	return resp, string(body), err
}

// open starts a watch and returns its frames.
func open(t *testing.T, client *http.Client, url string) *bufio.Reader {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	return bufio.NewReader(resp.Body)
}

func TestProxyHandsRequestsAndCredentialsOn(t *testing.T) {
	for _, http1 := range []bool{false, true} {
		p, client := newProxy(t, newUpstream(t), http1)
		resp, body, err := get(t, client, p.Server+"/api/v1/events?fieldSelector=type%3DWarning&limit=5")
		if err != nil {
			t.Fatal(err)
		}
		want := "HTTP/2.0"
		if http1 {
			want = "HTTP/1.1"
		}
		if resp.Proto != want {
			t.Errorf("the proxy speaks %s, want %s", resp.Proto, want)
		}
		if want := "/api/v1/events?fieldSelector=type%3DWarning&limit=5 Bearer s3cret "; !strings.HasPrefix(body, want) {
			t.Errorf("the API server saw %q, want %q", body, want)
		}
	}
}

func TestProxyStreamsEachFrameAtOnce(t *testing.T) {
	u := newUpstream(t)
	p, client := newProxy(t, u, false)
	watch := open(t, client, p.Server+watchPath)
	for range 3 {
		// The next frame is made only when this one has come.
		u.frames <- frame
		if line, err := watch.ReadString('\n'); err != nil || line != frame+"\n" {
			t.Fatalf("got %q, %v", line, err)
		}
	}
}

func TestProxyRemembersRequests(t *testing.T) {
	p, client := newProxy(t, newUpstream(t), false)
	p.Arm(faultproxy.Watch, 1, faultproxy.SilentClose())
	for _, path := range []string{listPath, continuePath, watchPath, "/version"} {
		if _, _, err := get(t, client, p.Server+path); err != nil {
			t.Fatal(err)
		}
	}
	p.WaitForRequests(t, faultproxy.Any, 4)
	all := p.Requests(faultproxy.Any)
	for i, want := range []faultproxy.Match{faultproxy.List, faultproxy.Continue, faultproxy.Watch, faultproxy.Other} {
		if all[i].Kind != want || all[i].Faulted != (want == faultproxy.Watch) {
			t.Errorf("request %d: %+v, want a %s", i, all[i], want)
		}
	}
	if got := p.Requests(faultproxy.Continue); len(got) != 1 || got[0].Query.Get("continue") != "page2" {
		t.Errorf("requests with continue: %+v", got)
	}
	p.Forget()
	if got := p.Requests(faultproxy.Any); len(got) != 0 {
		t.Errorf("after Forget there are %d requests", len(got))
	}
}

func TestFaultIsUsedUp(t *testing.T) {
	p, client := newProxy(t, newUpstream(t), false)
	p.Arm(faultproxy.List, 2, faultproxy.InternalError())
	p.Arm(faultproxy.List, faultproxy.Always, faultproxy.Forbidden())
	for i, want := range []int{500, 500, 403, 403, 403} {
		resp, _, err := get(t, client, p.Server+listPath)
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != want {
			t.Errorf("answer %d is %d, want %d", i, resp.StatusCode, want)
		}
	}
	if resp, _, err := get(t, client, p.Server+continuePath); err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("a request of another kind: %v, %v", resp, err)
	}
	p.Disarm()
	if resp, _, err := get(t, client, p.Server+listPath); err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("after Disarm: %v, %v", resp, err)
	}
}

func TestFaultsAnswerWithAStatus(t *testing.T) {
	for _, c := range []struct {
		name       string
		path       string
		match      faultproxy.Match
		fault      faultproxy.Fault
		status     int
		reason     string
		retryAfter string
	}{
		{"410 on continue", continuePath, faultproxy.Continue, faultproxy.Gone(), 410, "Expired", ""},
		{"410 on watch", watchPath, faultproxy.Watch, faultproxy.Gone(), 410, "Expired", ""},
		{"401", listPath, faultproxy.List, faultproxy.Unauthorized(), 401, "Unauthorized", ""},
		{"403", listPath, faultproxy.List, faultproxy.Forbidden(), 403, "Forbidden", ""},
		{"429", listPath, faultproxy.List, faultproxy.TooManyRequests(7 * time.Second), 429, "TooManyRequests", "7"},
		{"500", watchPath, faultproxy.Any, faultproxy.InternalError(), 500, "InternalError", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, client := newProxy(t, newUpstream(t), false)
			p.Arm(c.match, 1, c.fault)
			resp, body, err := get(t, client, p.Server+c.path)
			if err != nil {
				t.Fatal(err)
			}
			var status struct {
				Kind   string
				Reason string
				Code   int
			}
			if err := json.Unmarshal([]byte(body), &status); err != nil {
				t.Fatalf("%q: %v", body, err)
			}
			if resp.StatusCode != c.status || status.Kind != "Status" || status.Code != c.status || status.Reason != c.reason {
				t.Errorf("answer %d %+v, want %d %s", resp.StatusCode, status, c.status, c.reason)
			}
			if got := resp.Header.Get("Retry-After"); got != c.retryAfter {
				t.Errorf("Retry-After %q, want %q", got, c.retryAfter)
			}
		})
	}
}

func TestGoneInStreamIsOneErrorFrame(t *testing.T) {
	p, client := newProxy(t, newUpstream(t), false)
	p.Arm(faultproxy.Watch, 1, faultproxy.GoneInStream())
	resp, body, err := get(t, client, p.Server+watchPath)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"type":"ERROR","object":{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"too old resource version: 1 (2)","reason":"Expired","code":410}}` + "\n"
	if resp.StatusCode != http.StatusOK || body != want {
		t.Errorf("got %d %q", resp.StatusCode, body)
	}
}

func TestSilentCloseIsAnEmptyAnswer(t *testing.T) {
	p, client := newProxy(t, newUpstream(t), false)
	p.Arm(faultproxy.Watch, 1, faultproxy.SilentClose())
	resp, body, err := get(t, client, p.Server+watchPath)
	if err != nil || resp.StatusCode != http.StatusOK || body != "" {
		t.Errorf("got %v %q, %v", resp, body, err)
	}
}

func TestStreamIsCutInMidFrame(t *testing.T) {
	for _, http1 := range []bool{false, true} {
		u := newUpstream(t)
		p, client := newProxy(t, u, http1)
		p.Arm(faultproxy.Watch, 1, faultproxy.CutInFrame(2))
		watch := open(t, client, p.Server+watchPath)
		for range 3 {
			u.frames <- frame
		}
		for i := range 2 {
			if line, err := watch.ReadString('\n'); err != nil || line != frame+"\n" {
				t.Fatalf("frame %d: %q, %v", i, line, err)
			}
		}
		line, err := watch.ReadString('\n')
		if line != frame[:len(frame)/2] || err == nil || errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("HTTP/1.1 %t: the cut frame is %q, %v", http1, line, err)
		}
	}
}

func TestListIsCutAfterBytes(t *testing.T) {
	p, client := newProxy(t, newUpstream(t), false)
	p.Arm(faultproxy.List, 1, faultproxy.CutAfter(10))
	_, body, err := get(t, client, p.Server+listPath)
	if body != listPath[:10] || err == nil {
		t.Errorf("got %q, %v", body, err)
	}
}

func TestRequestIsBrokenOff(t *testing.T) {
	p, client := newProxy(t, newUpstream(t), false)
	p.Arm(faultproxy.List, 1, faultproxy.Break())
	if _, body, err := get(t, client, p.Server+listPath); err == nil {
		t.Errorf("got %q and no error", body)
	}
	if _, _, err := get(t, client, p.Server+listPath); err != nil {
		t.Error(err)
	}
}

func TestHangingRequestEndsWithItsClient(t *testing.T) {
	p, client := newProxy(t, newUpstream(t), false)
	p.Arm(faultproxy.List, 1, faultproxy.Hang())
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.Server+listPath, nil)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		_, err := client.Do(req) //nolint:bodyclose // There is no answer.
		ended <- err
	}()
	p.WaitForRequests(t, faultproxy.List, 1)
	select {
	case err := <-ended:
		t.Fatalf("it ended: %v", err)
	default:
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestSlowAnswerComesWhole(t *testing.T) {
	p, client := newProxy(t, newUpstream(t), false)
	p.Arm(faultproxy.List, 1, faultproxy.Slow(50*time.Millisecond))
	began := time.Now()
	_, body, err := get(t, client, p.Server+listPath)
	if err != nil || !strings.HasPrefix(body, listPath) {
		t.Errorf("got %q, %v", body, err)
	}
	if took := time.Since(began); took < 50*time.Millisecond {
		t.Errorf("it took only %s", took)
	}
}

func TestFrozenConnectionIsHalfOpenUntilThawed(t *testing.T) {
	u := newUpstream(t)
	p, client := newProxy(t, u, false)
	watch := open(t, client, p.Server+watchPath)
	p.Freeze(false)

	lines := make(chan string, 1)
	go func() {
		line, err := watch.ReadString('\n')
		lines <- fmt.Sprintf("%s%v", line, err)
	}()
	u.frames <- frame
	// Neither the frame nor an end comes through, while a new connection does its work.
	other := clustertest.Client(t, p.Kubeconfig(t))
	if _, _, err := get(t, other, p.Server+listPath); err != nil {
		t.Fatalf("a new connection: %v", err)
	}
	select {
	case line := <-lines:
		t.Fatalf("the frozen connection brought %q", line)
	case <-time.After(200 * time.Millisecond):
	}
	if n := p.Connections(); n != 2 {
		t.Errorf("%d connections are open, want 2", n)
	}
	p.Thaw()
	if got := <-lines; got != frame+"\n<nil>" {
		t.Errorf("after the thaw: %q", got)
	}
}

func TestNewConnectionsCanBeFrozenToo(t *testing.T) {
	p, client := newProxy(t, newUpstream(t), false)
	p.Freeze(true)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.Server+listPath, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Do(req); !errors.Is(err, context.DeadlineExceeded) { //nolint:bodyclose // There is no answer.
		t.Errorf("got %v", err)
	}
	if n := len(p.Requests(faultproxy.Any)); n != 0 {
		t.Errorf("%d requests came through", n)
	}
	p.Thaw()
	if _, _, err := get(t, client, p.Server+listPath); err != nil {
		t.Errorf("after the thaw: %v", err)
	}
}

func TestCutConnectionsAreReset(t *testing.T) {
	p, client := newProxy(t, newUpstream(t), false)
	watch := open(t, client, p.Server+watchPath)
	p.CutConnections()
	if _, err := watch.ReadString('\n'); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("got %v, want a reset", err)
	}
	if _, _, err := get(t, client, p.Server+listPath); err != nil {
		t.Errorf("a new connection: %v", err)
	}
}

func TestRefusedConnectionsComeBackOnTheSameAddress(t *testing.T) {
	p, client := newProxy(t, newUpstream(t), false)
	watch := open(t, client, p.Server+watchPath)
	for range 3 {
		p.Refuse(t)
		// A client that has no connection yet: one that has sees a reset first.
		fresh := clustertest.Client(t, p.Kubeconfig(t))
		if _, _, err := get(t, fresh, p.Server+listPath); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("got %v, want refused", err)
		}
		p.Accept(t)
		if _, _, err := get(t, fresh, p.Server+listPath); err != nil {
			t.Errorf("after Accept: %v", err)
		}
	}
	if _, err := watch.ReadString('\n'); err == nil {
		t.Error("the old connection lives")
	}
}

func TestAPIServerThatIsDownBreaksTheConnection(t *testing.T) {
	u := newUpstream(t)
	p, client := newProxy(t, u, false)
	u.CloseClientConnections()
	u.Close()
	if resp, _, err := get(t, client, p.Server+listPath); err == nil {
		t.Errorf("got %s", resp.Status)
	}
}

func TestDeniedNamespaceIsForbiddenUntilItIsAllowed(t *testing.T) {
	p, client := newProxy(t, newUpstream(t), false)
	const path = "/api/v1/namespaces/yard/events"
	status := func(path string) int {
		t.Helper()
		resp, _, err := get(t, client, p.Server+path)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode
	}
	p.Deny("yard")
	for path, want := range map[string]int{path: 403, path + "?watch=true": 403, "/api/v1/namespaces/shop/events": 200, listPath: 200} {
		if got := status(path); got != want {
			t.Errorf("%s: %d, want %d", path, got, want)
		}
	}
	p.Allow("yard")
	if got := status(path); got != 200 {
		t.Errorf("after Allow: %d", got)
	}
}

func TestProxyIsTrustedOnlyByItsKubeconfig(t *testing.T) {
	p, _ := newProxy(t, newUpstream(t), false)
	var unknown *tls.CertificateVerificationError
	if _, _, err := get(t, &http.Client{Transport: &http.Transport{}}, p.Server+listPath); !errors.As(err, &unknown) {
		t.Errorf("got %v", err)
	}
}
