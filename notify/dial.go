package notify

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
)

// Dialer opens the connections of a receiver that does not speak HTTP: over the sockets that count bytes, and TLS over them. TLS
// sessions are resumed until a file of tls changes. Several goroutines may use it.
type Dialer struct {
	common Common

	mu sync.Mutex
	// mu guards trust.
	trust Trust
}

// NewDialer returns a dialer. It opens no connection.
func NewDialer(c Common) *Dialer { return &Dialer{common: c} }

// Dial opens a connection to host:port within ctx, and at most 15 seconds. With secure it is one over TLS.
func (d *Dialer) Dial(ctx context.Context, network, address string, secure bool) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	dial := d.common.DialContext
	if dial == nil {
		dial = (&net.Dialer{KeepAlive: -1}).DialContext
	}
	conn, err := dial(ctx, network, address)
	if err != nil || !secure {
		return conn, err
	}
	over, err := d.Secure(ctx, conn, address)
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return over, nil
}

// Secure speaks TLS over a connection to host:port. Where somebody else answers, the host's name is doubted. The connection stays the
// caller's to close where it fails.
func (d *Dialer) Secure(ctx context.Context, conn net.Conn, address string) (net.Conn, error) {
	config, err := d.tlsConfig()
	if err != nil {
		return nil, err
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("dial: %w", err)
	}
	if config.ServerName == "" {
		config = config.Clone()
		config.ServerName = host
	}
	over := tls.Client(conn, config)
	if err := over.HandshakeContext(ctx); err != nil {
		_, untrusted := errors.AsType[*tls.CertificateVerificationError](err)
		_, plain := errors.AsType[tls.RecordHeaderError](err)
		d.Doubt(address, untrusted || plain)
		return nil, err
	}
	return over, nil
}

// Doubt tells that an exchange with host:port failed, with wrong set that somebody else answered there.
func (d *Dialer) Doubt(address string, wrong bool) {
	if host, _, err := net.SplitHostPort(address); err == nil && d.common.Doubt != nil {
		d.common.Doubt(host, wrong)
	}
}

// Files tells one state of the files of tls from another: a connection that was opened under another one is not to be used again. It
// fails if one of them cannot be read.
func (d *Dialer) Files() ([sha256.Size]byte, error) {
	files, err := readTLSFiles(&d.common)
	if err != nil {
		return [sha256.Size]byte{}, err
	}
	return files.sum(), nil
}

func (d *Dialer) tlsConfig() (*tls.Config, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.trust.Config(&d.common)
}
