package apiclient

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
)

const (
	// K3sKubeconfig is where a K3s server keeps its own.
	K3sKubeconfig = "/etc/rancher/k3s/k3s.yaml"

	// A half-open connection, without bytes and without a FIN, is given up 45 s after its last frame.
	pingAfter   = 30 * time.Second
	pingTimeout = 15 * time.Second
	// stall is how long nothing may arrive of an answer that has an end, or of the header of one that has none.
	stall = time.Minute

	// MaxStreamWindow is how many bytes the API server may send ahead of a sink that waits. Go's default, 4 MiB for each
	// watch, would break the memory budget.
	MaxStreamWindow = 256 << 10
	maxConnWindow   = 1 << 20
)

// Options say who asks whom. The zero value is what the agent has in a pod.
type Options struct {
	// Kubeconfig is a file. Empty: the pod's ServiceAccount, then $KUBECONFIG, then K3sKubeconfig, whichever is there first.
	Kubeconfig string
	// Version is told to the API server as User-Agent edge-eventer/VERSION.
	Version string
	// Stall is how long nothing may arrive of an answer that has an end, or of the header of one that has none. Default: 1 minute.
	Stall time.Duration
	// PingAfter is how long a connection may be silent until the other side is asked whether it is there, PingTimeout how long it has
	// to answer. Defaults: 30 and 15 seconds.
	PingAfter, PingTimeout time.Duration
}

func (o Options) withDefaults() Options {
	for field, value := range map[*time.Duration]time.Duration{&o.Stall: stall, &o.PingAfter: pingAfter, &o.PingTimeout: pingTimeout} {
		if *field == 0 {
			*field = value
		}
	}
	return o
}

// RouteClientLogs sends what client-go logs without a context, of which a token file that cannot be read is all that
// matters here, to the logger. It changes klog's global state, so the program calls it once before New; no function of
// this package does.
func RouteClientLogs(logger *slog.Logger) { klog.SetSlogLogger(logger) }

// Connection is a way to one API server as one identity.
type Connection struct {
	// Client signs in, and follows no redirect.
	Client *http.Client
	// Base is the URL of core/v1.
	Base *url.URL
	// CloseIdle ends connections that no request uses.
	CloseIdle func()
	// Config is what it was made from; a difference means that it must be made anew.
	Config *rest.Config
}

// Connect reads the kubeconfig and every file that it names, except a bearer token's: that one is read again each minute
// and whenever the API server refuses the token.
func Connect(o Options) (Connection, error) {
	o = o.withDefaults()
	config, err := loadConfig(o.Kubeconfig)
	if err != nil {
		return Connection{}, err
	}
	config.UserAgent = "edge-eventer/" + o.Version
	config.APIPath = "/api"
	config.GroupVersion = &schema.GroupVersion{Version: "v1"}
	if err := rest.LoadTLSFiles(config); err != nil {
		return Connection{}, fmt.Errorf("read kubeconfig's certificates: %w", err)
	}
	base, path, err := rest.DefaultServerUrlFor(config)
	if err != nil {
		return Connection{}, fmt.Errorf("kubeconfig's server: %w", err)
	}
	transport, err := o.transport(config)
	if err != nil {
		return Connection{}, err
	}
	authorized, err := rest.HTTPWrappersForConfig(config, transport)
	if err != nil {
		return Connection{}, fmt.Errorf("kubeconfig's credential: %w", err)
	}
	return Connection{
		Client: &http.Client{
			Transport: authorized,
			// A redirect would take the credential elsewhere.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		Base:      base.JoinPath(path),
		CloseIdle: transport.CloseIdleConnections,
		Config:    config,
	}, nil
}

// transport speaks HTTP/2 where the API server does, with windows and pings of its own.
func (o Options) transport(config *rest.Config) (*http.Transport, error) {
	tls, err := rest.TLSConfigFor(config)
	if err != nil {
		return nil, fmt.Errorf("kubeconfig's TLS settings: %w", err)
	}
	proxy := http.ProxyFromEnvironment
	if config.Proxy != nil {
		proxy = config.Proxy
	}
	return &http.Transport{
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
			SendPingTimeout:               o.PingAfter,
			PingTimeout:                   o.PingTimeout,
			WriteByteTimeout:              o.Stall,
			MaxReceiveBufferPerStream:     MaxStreamWindow,
			MaxReceiveBufferPerConnection: maxConnWindow,
		},
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
		files = []string{K3sKubeconfig}
		if _, err := os.Stat(K3sKubeconfig); errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("no way to the API server: not in a pod, $KUBECONFIG is empty, and there is no %s", K3sKubeconfig)
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
