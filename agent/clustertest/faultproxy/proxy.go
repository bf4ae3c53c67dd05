package faultproxy

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/edge-eventer/edge-eventer/agent/clustertest"
)

// maxRequests bounds what a proxy remembers; a test that makes more is looping hot and sees it in the count.
const maxRequests = 100_000

// waitTimeout is how long WaitForRequests waits: clients back off for up to a minute.
const waitTimeout = 2 * time.Minute

// Always arms a fault until Disarm.
const Always = -1

// Options say what a proxy stands in front of.
type Options struct {
	// Config says where the API server is and whom to trust. Its credentials are not used: the client's are handed on.
	Config *rest.Config
	// TokenFile is the client's credential in the kubeconfig that the proxy gives; empty for none.
	TokenFile string
	// HTTP1 leaves out HTTP/2.
	HTTP1 bool
}

// Proxy is an HTTPS server on loopback with a certificate of its own that hands every request on to an API server, unless a
// fault is armed for it. Answers are passed on as they come, a watch frame by frame.
type Proxy struct {
	// Server is the proxy's URL. It stays the same while the proxy lives.
	Server string

	tokenFile string
	caPEM     []byte
	address   string
	server    *http.Server
	forward   http.Handler

	mu       sync.Mutex
	listener net.Listener
	conns    map[*gateConn]struct{}
	// freezeNew says that connections are frozen from their start.
	freezeNew bool
	armed     []*armedFault
	// denied are the namespaces that Deny named.
	denied   map[string]bool
	requests []Request
	// arrived is closed and made anew at each request.
	arrived chan struct{}
}

type armedFault struct {
	match Match
	times int
	fault Fault
}

// Before starts a proxy in front of a control plane that ends with the test. Its kubeconfig has the agent's credential.
func Before(t clustertest.T, c *clustertest.Cluster) *Proxy {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", c.AgentKubeconfig)
	if err != nil {
		t.Fatalf("read the agent's kubeconfig: %v", err)
	}
	return Start(t, Options{Config: config, TokenFile: c.AgentToken})
}

// Start starts a proxy that ends with the test.
func Start(t clustertest.T, o Options) *Proxy {
	t.Helper()
	target, _, err := rest.DefaultServerUrlFor(o.Config)
	if err != nil {
		t.Fatalf("proxy's target: %v", err)
	}
	upstreamTLS, err := rest.TLSConfigFor(rest.AnonymousClientConfig(o.Config))
	if err != nil {
		t.Fatalf("proxy's target: %v", err)
	}
	cert, caPEM, err := selfSigned()
	if err != nil {
		t.Fatalf("make the proxy's certificate: %v", err)
	}
	transport := &http.Transport{TLSClientConfig: upstreamTLS, ForceAttemptHTTP2: true, DisableCompression: true}
	silent := log.New(io.Discard, "", 0)
	p := &Proxy{
		tokenFile: o.TokenFile,
		caPEM:     caPEM,
		forward: &httputil.ReverseProxy{
			Rewrite:       func(r *httputil.ProxyRequest) { r.SetURL(target) },
			Transport:     transport,
			FlushInterval: -1,
			ErrorLog:      silent,
			// A client sees an API server that is down as a connection that breaks, not as an answer.
			ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
		},
		conns:   make(map[*gateConn]struct{}),
		arrived: make(chan struct{}),
	}
	p.server = &http.Server{
		Handler:           http.HandlerFunc(p.serve),
		TLSConfig:         &tls.Config{Certificates: []tls.Certificate{cert}},
		ErrorLog:          silent,
		ReadHeaderTimeout: time.Minute,
	}
	if o.HTTP1 {
		p.server.Protocols = new(http.Protocols)
		p.server.Protocols.SetHTTP1(true)
	}
	if err := p.listen(); err != nil {
		t.Fatalf("start the proxy: %v", err)
	}
	t.Cleanup(func() {
		// The server may or may not have seen yet that its listener is closed.
		if err := errors.Join(p.refuse(), p.server.Close()); err != nil && !errors.Is(err, net.ErrClosed) {
			t.Errorf("stop the proxy: %v", err)
		}
		transport.CloseIdleConnections()
	})
	p.Server = "https://" + p.address
	return p
}

// Kubeconfig writes a kubeconfig that points to the proxy, and returns its path.
func (p *Proxy) Kubeconfig(t clustertest.T) string {
	t.Helper()
	config := clientcmdapi.NewConfig()
	config.Clusters["proxy"] = &clientcmdapi.Cluster{Server: p.Server, CertificateAuthorityData: p.caPEM}
	config.AuthInfos["agent"] = &clientcmdapi.AuthInfo{TokenFile: p.tokenFile}
	config.Contexts["proxy"] = &clientcmdapi.Context{Cluster: "proxy", AuthInfo: "agent"}
	config.CurrentContext = "proxy"
	path := filepath.Join(t.TempDir(), "proxy.kubeconfig")
	if err := clientcmd.WriteToFile(*config, path); err != nil {
		t.Fatalf("write the proxy's kubeconfig: %v", err)
	}
	return path
}

// Arm lets the fault answer the next requests of the kind, as many as times says, or Always. Faults for the same kind are
// used up in the order in which they were armed.
func (p *Proxy) Arm(match Match, times int, fault Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.armed = append(p.armed, &armedFault{match: match, times: times, fault: fault})
}

// Disarm takes all faults back. Requests that a fault has already taken are not changed.
func (p *Proxy) Disarm() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.armed = nil
}

// take returns the fault for a request of the kind, or nil, and remembers the request.
func (p *Proxy) take(r *http.Request) Fault {
	kind := matchOf(r)
	p.mu.Lock()
	defer p.mu.Unlock()
	var fault Fault
	for i, a := range p.armed {
		if a.match != Any && a.match != kind {
			continue
		}
		fault = a.fault
		if a.times > 0 {
			if a.times--; a.times == 0 {
				p.armed = append(p.armed[:i:i], p.armed[i+1:]...)
			}
		}
		break
	}
	if p.denied[namespaceOf(r.URL.Path)] {
		fault = Forbidden()
	}
	if len(p.requests) < maxRequests {
		p.requests = append(p.requests, Request{
			Time: time.Now(), Kind: kind, Path: r.URL.Path, Query: r.URL.Query(), Protocol: r.Proto, Faulted: fault != nil,
		})
	}
	close(p.arrived)
	p.arrived = make(chan struct{})
	return fault
}

func (p *Proxy) serve(w http.ResponseWriter, r *http.Request) {
	if fault := p.take(r); fault != nil {
		fault(w, r, p.forward)
		return
	}
	p.forward.ServeHTTP(w, r)
}

// Deny answers every request for the namespace with 403, as after a RoleBinding was deleted, until Allow. As in an API server, a
// watch that is open goes on.
func (p *Proxy) Deny(namespace string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.denied == nil {
		p.denied = make(map[string]bool)
	}
	p.denied[namespace] = true
}

// Allow ends Deny.
func (p *Proxy) Allow(namespace string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.denied, namespace)
}

// namespaceOf returns the namespace of a path below /api/v1/namespaces/, and else nothing.
func namespaceOf(path string) string {
	rest, ok := strings.CutPrefix(path, "/api/v1/namespaces/")
	if !ok {
		return ""
	}
	namespace, _, _ := strings.Cut(rest, "/")
	return namespace
}

// Requests returns the requests of the kind that came so far, oldest first, at most 100,000 of all kinds.
func (p *Proxy) Requests(match Match) []Request {
	p.mu.Lock()
	defer p.mu.Unlock()
	var of []Request
	for _, r := range p.requests {
		if match == Any || match == r.Kind {
			of = append(of, r)
		}
	}
	return of
}

// Forget clears what Requests returns.
func (p *Proxy) Forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.requests = nil
}

// WaitForRequests waits until n requests of the kind have come since the start or since Forget.
func (p *Proxy) WaitForRequests(t clustertest.T, match Match, n int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), waitTimeout)
	defer cancel()
	for {
		p.mu.Lock()
		arrived := p.arrived
		p.mu.Unlock()
		if len(p.Requests(match)) >= n {
			return
		}
		select {
		case <-arrived:
		case <-ctx.Done():
			t.Fatalf("after %s only %d of %d %s requests have come", waitTimeout, len(p.Requests(match)), n, match)
		}
	}
}
