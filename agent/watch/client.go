package watch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
)

const (
	// k3sKubeconfig is where a K3s server keeps its own.
	k3sKubeconfig = "/etc/rancher/k3s/k3s.yaml"

	// A half-open connection, without bytes and without a FIN, is given up 45 s after its last frame.
	pingAfter   = 30 * time.Second
	pingTimeout = 15 * time.Second

	// maxStreamWindow is how much the API server may send ahead of a sink that waits. Go's default, 4 MiB for each
	// watch, would break the memory budget.
	maxStreamWindow = 256 << 10
	maxConnWindow   = 1 << 20

	maxErrorBody = 64 << 10
	// maxRetryAfter bounds what the API server may ask for: its own priority and fairness asks for seconds.
	maxRetryAfter = time.Minute
)

// RouteClientLogs sends what client-go logs without a context, of which a token file that cannot be read is all that
// matters here, to the logger. It changes klog's global state, so the program calls it once before New; no function of
// this package does.
func RouteClientLogs(logger *slog.Logger) { klog.SetSlogLogger(logger) }

// connection is a way to one API server as one identity.
type connection struct {
	client *http.Client
	base   *url.URL
	// closeIdle ends connections that no request uses.
	closeIdle func()
	// config is what it was made from; a difference means that it must be made anew.
	config *rest.Config
}

// connect reads the kubeconfig and every file that it names, except a bearer token's: that one is read again each minute
// and whenever the API server refuses the token.
func connect(o Options) (connection, error) {
	config, err := loadConfig(o.Kubeconfig)
	if err != nil {
		return connection{}, err
	}
	config.UserAgent = "edge-eventer/" + o.Version
	config.APIPath = "/api"
	config.GroupVersion = &schema.GroupVersion{Version: "v1"}
	if err := rest.LoadTLSFiles(config); err != nil {
		return connection{}, fmt.Errorf("read kubeconfig's certificates: %w", err)
	}
	base, path, err := rest.DefaultServerUrlFor(config)
	if err != nil {
		return connection{}, fmt.Errorf("kubeconfig's server: %w", err)
	}
	tls, err := rest.TLSConfigFor(config)
	if err != nil {
		return connection{}, fmt.Errorf("kubeconfig's TLS settings: %w", err)
	}
	proxy := http.ProxyFromEnvironment
	if config.Proxy != nil {
		proxy = config.Proxy
	}
	transport := &http.Transport{
		Proxy:           proxy,
		TLSClientConfig: tls,
		DialContext: (&net.Dialer{
			Timeout: 30 * time.Second,
			// Over HTTP/1.1 there are no pings: TCP itself notices a peer that is gone after a minute.
			KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 20 * time.Second, Interval: 10 * time.Second, Count: 4},
		}).DialContext,
		TLSHandshakeTimeout: 10 * time.Second,
		IdleConnTimeout:     90 * time.Second,
		MaxIdleConnsPerHost: 2,
		DisableCompression:  true,
		ForceAttemptHTTP2:   true,
		HTTP2: &http.HTTP2Config{
			SendPingTimeout:               o.timing.pingAfter,
			PingTimeout:                   o.timing.pingTimeout,
			WriteByteTimeout:              o.timing.stall,
			MaxReceiveBufferPerStream:     maxStreamWindow,
			MaxReceiveBufferPerConnection: maxConnWindow,
		},
	}
	authorized, err := rest.HTTPWrappersForConfig(config, transport)
	if err != nil {
		return connection{}, fmt.Errorf("kubeconfig's credential: %w", err)
	}
	return connection{
		client: &http.Client{
			Transport: authorized,
			// A redirect would take the credential elsewhere.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		base:      base.JoinPath(path),
		closeIdle: transport.CloseIdleConnections,
		config:    config,
	}, nil
}

// loadConfig finds out where the API server is and who the agent is.
func loadConfig(path string) (*rest.Config, error) {
	var files []string
	switch {
	case path != "":
		files = []string{path}
	case os.Getenv("KUBERNETES_SERVICE_HOST") != "" && os.Getenv("KUBERNETES_SERVICE_PORT") != "":
		config, err := rest.InClusterConfig()
		if err != nil {
			return nil, fmt.Errorf("read the pod's ServiceAccount: %w", err)
		}
		return config, nil
	case os.Getenv(clientcmd.RecommendedConfigPathEnvVar) != "":
		files = filepath.SplitList(os.Getenv(clientcmd.RecommendedConfigPathEnvVar))
	default:
		files = []string{k3sKubeconfig}
		if _, err := os.Stat(k3sKubeconfig); errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("no way to the API server: not in a pod, $KUBECONFIG is empty, and there is no %s", k3sKubeconfig)
		}
	}
	rules := &clientcmd.ClientConfigLoadingRules{Precedence: files, WarnIfAllMissing: false}
	if len(files) == 1 {
		rules = &clientcmd.ClientConfigLoadingRules{ExplicitPath: files[0]}
	}
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, nil).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("read kubeconfig %s: %w", strings.Join(files, string(filepath.ListSeparator)), err)
	}
	return config, nil
}

// client asks for events. It is shared by the loops, so that they share one HTTP/2 connection.
type client struct {
	connect func() (connection, error)
	stall   time.Duration

	mu      sync.Mutex
	current connection
}

func newClient(o Options) (*client, error) {
	current, err := o.connect()
	if err != nil {
		return nil, err
	}
	return &client{connect: o.connect, stall: o.timing.stall, current: current}, nil
}

// refresh reads the kubeconfig again. K3s writes a new one with new certificates when it starts, and the old ones end.
func (c *client) refresh() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	fresh, err := c.connect()
	if err != nil {
		return err
	}
	if !reflect.DeepEqual(fresh.config, c.current.config) {
		c.current.closeIdle()
		c.current = fresh
	}
	return nil
}

// get opens an answer to a request for events. The answer's header has to come within the stall time.
func (c *client) get(ctx context.Context, namespace string, query url.Values) (*answer, error) {
	c.mu.Lock()
	current := c.current
	c.mu.Unlock()

	u := current.base
	if namespace != "" {
		u = u.JoinPath("namespaces", url.PathEscape(namespace))
	}
	u = u.JoinPath("events")
	u.RawQuery = query.Encode()

	ctx, cancel := context.WithCancelCause(ctx)
	a := &answer{ctx: ctx, cancel: cancel, stall: c.stall}
	a.watchdog = time.AfterFunc(c.stall, func() { cancel(errStalled) })
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), http.NoBody)
	if err != nil {
		a.close()
		return nil, fmt.Errorf("make request: %w", err)
	}
	request.Header.Set("Accept", "application/json")
	response, err := current.client.Do(request) //nolint:bodyclose // The answer owns the body; its close closes it.
	a.watchdog.Stop()
	if err != nil {
		// The URL, with its long continue token, says nothing new.
		if wrapped, ok := errors.AsType[*url.Error](err); ok {
			err = wrapped.Err
		}
		err = a.why(err)
		a.close()
		return nil, err
	}
	a.body = response.Body
	if date, err := http.ParseTime(response.Header.Get("Date")); err == nil {
		a.date = date
	}
	if response.StatusCode != http.StatusOK {
		defer a.close()
		return nil, a.refusal(response)
	}
	return a, nil
}

// answer is the body of an answer.
type answer struct {
	ctx      context.Context
	cancel   context.CancelCauseFunc
	watchdog *time.Timer
	stall    time.Duration
	body     io.ReadCloser
	// date is the API server's clock when it began to answer; the zero time where it did not say.
	date time.Time
	// endless is set for a watch, which is silent while nothing happens.
	endless bool
}

// endAfter ends the answer after d even if the API server does not.
func (a *answer) endAfter(d time.Duration) {
	a.watchdog = time.AfterFunc(d, func() { a.cancel(errOverdue) })
}

// Read fails if nothing arrives for the stall time. The time between reads does not count, because the sink may wait.
func (a *answer) Read(p []byte) (int, error) {
	if !a.endless {
		a.watchdog.Reset(a.stall)
		defer a.watchdog.Stop()
	}
	n, err := a.body.Read(p)
	if err != nil && err != io.EOF { //nolint:errorlint // io.Reader's contract is the bare io.EOF.
		err = a.why(err)
	}
	return n, err
}

// why replaces the error of a request that was given up with the reason.
func (a *answer) why(err error) error {
	if cause := context.Cause(a.ctx); cause != nil {
		return cause
	}
	return err
}

func (a *answer) close() {
	a.watchdog.Stop()
	a.cancel(nil)
	if a.body != nil {
		_ = a.body.Close()
	}
}

// refusal is the error of an answer that is not 200 OK.
func (a *answer) refusal(response *http.Response) error {
	refusal := &apiError{Code: response.StatusCode}
	body, err := io.ReadAll(io.LimitReader(a, maxErrorBody))
	if err != nil {
		return fmt.Errorf("read %d answer: %w", response.StatusCode, err)
	}
	var s wireStatus
	if json.Unmarshal(body, &s) == nil && s.Kind == "Status" {
		refusal.fill(&s)
	} else {
		refusal.Message = cut(strings.TrimSpace(strings.ToValidUTF8(string(body), "\uFFFD")), maxField, 0)
	}
	if seconds, err := strconv.Atoi(response.Header.Get("Retry-After")); err == nil {
		refusal.retryAfter(seconds)
	}
	return refusal
}

// wireStatus is the part of a metav1.Status that matters here.
type wireStatus struct {
	Kind     string `json:"kind"`
	Code     int    `json:"code"`
	Reason   string `json:"reason"`
	Message  string `json:"message"`
	Metadata struct {
		Continue string `json:"continue"`
	} `json:"metadata"`
	Details struct {
		RetryAfterSeconds int `json:"retryAfterSeconds"`
	} `json:"details"`
}

// apiError is an error that the API server told, by an HTTP status or by an ERROR frame of a watch.
type apiError struct {
	Code    int
	Reason  string
	Message string
	// RetryAfter is how long the API server wants to be left alone, at most maxRetryAfter; 0: it did not say.
	RetryAfter time.Duration
	// Continue is offered with an expired continue token: it goes on from the same key, but at another resourceVersion.
	Continue string
}

func (e *apiError) Error() string {
	message := e.Message
	if message == "" {
		message = http.StatusText(e.Code)
	}
	return fmt.Sprintf("%d %s: %s", e.Code, e.Reason, message)
}

func (e *apiError) fill(s *wireStatus) {
	if s.Code != 0 {
		e.Code = s.Code
	}
	e.Reason = cut(s.Reason, maxField, 0)
	e.Message = cut(s.Message, maxField, 0)
	e.Continue = s.Metadata.Continue
	e.retryAfter(s.Details.RetryAfterSeconds)
}

func (e *apiError) retryAfter(seconds int) {
	if seconds > 0 {
		e.RetryAfter = max(e.RetryAfter, min(time.Duration(seconds)*time.Second, maxRetryAfter))
	}
}

// gone reports whether err says that a resourceVersion or a continue token is too old. The code is 410; the reason is
// Expired or Gone (apimachinery pkg/api/errors, IsResourceExpired and IsGone).
func gone(err error) bool {
	refusal, ok := errors.AsType[*apiError](err)
	return ok && (refusal.Code == http.StatusGone || refusal.Reason == "Expired" || refusal.Reason == "Gone")
}
