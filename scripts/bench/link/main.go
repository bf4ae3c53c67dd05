package main

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"flag"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/edge-eventer/edge-eventer/notify/notifytest"
)

const (
	burstEvents, burstIncidents = 200, 10
	incidents, events           = 50, 5000
	// naiveSample of the events are sent by the naive sender and multiplied: each costs the same.
	naiveSample = 500
	path        = "/open-apis/bot/v2/hook/0123abcd-bench"
	naivePath   = "/open-apis/bot/v2/hook/0123abcd-naive"
	secret      = "bench-signing-secret"
)

func main() {
	agent := flag.String("agent", "bin/edge-eventer", "the agent's binary")
	seed := flag.Uint64("seed", 4, "seed of the events")
	withDay := flag.Bool("day", false, "a day of recorded events too, which takes 10 minutes more")
	types := flag.Bool("types", false, "only what an event costs through each type of receiver that a machine reads, which takes seconds")
	flag.Parse()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Minute)
	defer cancel()
	if *types {
		if err := typesRun(ctx, *seed, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "bench-link:", err)
			os.Exit(1)
		}
		return
	}
	if err := run(ctx, *agent, *seed, *withDay, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "bench-link:", err)
		os.Exit(1)
	}
}

// feishu is the fake behind TLS with a chain of two RSA-2048 certificates, as the platforms have it. It closes connections that
// are idle for so long; 0: never.
func feishu(ctx context.Context, dir string, idle time.Duration, taken *atomic.Int64) (server *http.Server, address string, err error) {
	chain, caPEM, err := certificates()
	if err != nil {
		return nil, "", err
	}
	if err := os.WriteFile(filepath.Join(dir, "ca.pem"), caPEM, 0o600); err != nil {
		return nil, "", err
	}
	// The naive sender does not sign.
	signed, unsigned := &notifytest.Feishu{Secret: secret}, &notifytest.Feishu{}
	server = &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				return
			}
			fake := signed
			if r.URL.Path == naivePath {
				fake = unsigned
			}
			answer, ok := fake.Judge(r, body, time.Now())
			if ok {
				taken.Add(1)
			}
			w.Header().Set("Content-Type", "application/json; charset=utf-8")
			if answer.Status != 0 {
				w.WriteHeader(answer.Status)
			}
			_, _ = io.WriteString(w, answer.Body)
		}),
		TLSConfig:         &tls.Config{Certificates: []tls.Certificate{chain}, NextProtos: []string{"http/1.1"}},
		ReadHeaderTimeout: time.Minute,
		IdleTimeout:       idle,
		// Connections that are cut are part of the measurement.
		ErrorLog: log.New(io.Discard, "", 0),
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, "", err
	}
	go func() { _ = server.ServeTLS(l, "", "") }()
	return server, l.Addr().String(), nil
}

func certificates() (chain tls.Certificate, caPEM []byte, err error) {
	var keys [3]*rsa.PrivateKey
	var ders [3][]byte
	var parents [3]*x509.Certificate
	for i, name := range []string{"Bench Root CA", "Bench Organization Validation Secure Server CA", "*.feishu.test"} {
		if keys[i], err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
			return chain, nil, err
		}
		template := &x509.Certificate{
			SerialNumber: big.NewInt(int64(i + 1)), Subject: pkix.Name{CommonName: name, Organization: []string{"Bench"}, Country: []string{"CN"}},
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
			IsCA: i < 2, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		}
		if i == 2 {
			template.KeyUsage = x509.KeyUsageDigitalSignature
			template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
			template.DNSNames = []string{"*.feishu.test", "feishu.test"}
			template.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
		}
		parent := max(0, i-1)
		issuer := parents[parent]
		if i == 0 {
			issuer = template
		}
		if ders[i], err = x509.CreateCertificate(rand.Reader, template, issuer, &keys[i].PublicKey, keys[parent]); err != nil {
			return chain, nil, err
		}
		if parents[i], err = x509.ParseCertificate(ders[i]); err != nil {
			return chain, nil, err
		}
	}
	chain = tls.Certificate{Certificate: [][]byte{ders[2], ders[1]}, PrivateKey: keys[2]}
	return chain, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ders[0]}), nil
}

// start runs the agent until stop.
func start(ctx context.Context, binary, dir, receiver, apiServer, notify string) (stop func() error, err error) {
	kubeconfig := fmt.Sprintf("apiVersion: v1\nkind: Config\nclusters: [{name: c, cluster: {server: %q}}]\n"+
		"users: [{name: u, user: {}}]\ncontexts: [{name: x, context: {cluster: c, user: u}}]\ncurrent-context: x\n", apiServer)
	config := fmt.Sprintf(`cluster: shop-17
kubernetes: {kubeconfig: %q}
spool: {path: %q, commitInterval: 20ms}
notify: %s
server: {listen: ""}
receivers:
  - {name: ops, type: feishu, url: "https://%s%s", secret: %s, tls: {caFile: %q}}
`, filepath.Join(dir, "kubeconfig"), filepath.Join(dir, "spool", "spool.db"), notify, receiver, path, secret, filepath.Join(dir, "ca.pem"))
	for name, text := range map[string]string{"kubeconfig": kubeconfig, "config.yaml": config} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return nil, err
		}
	}
	output, err := os.Create(filepath.Join(dir, "agent.log"))
	if err != nil {
		return nil, err
	}
	c := exec.CommandContext(ctx, binary, "run", "--config", filepath.Join(dir, "config.yaml"))
	c.Stdout, c.Stderr = output, output
	if err := c.Start(); err != nil {
		return nil, err
	}
	return func() error {
		defer func() { _ = output.Close() }()
		if err := c.Process.Signal(syscall.SIGTERM); err != nil {
			return err
		}
		return c.Wait()
	}, nil
}

// until polls another process; it gives up after a minute and a half.
func until(ctx context.Context, what string, done func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, 90*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", what, ctx.Err())
		}
	}
	return nil
}

type row struct {
	what     string
	messages int64
	bytes    int64
}

// bench is one run of the agent over one link.
type bench struct {
	cluster  *cluster
	link     *proxy
	requests func() int64
}

// measure sets something off and counts until the link has been quiet for a while after at least one message was taken.
func (b *bench) measure(ctx context.Context, what string, quiet time.Duration, trigger func()) (row, error) {
	bytes, requests := b.link.bytes.Load(), b.requests()
	trigger()
	err := until(ctx, what, func() bool { return b.requests() > requests && b.link.quiet() > quiet })
	return row{what, b.requests() - requests, b.link.bytes.Load() - bytes}, err
}
