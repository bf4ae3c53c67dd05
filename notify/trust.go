package notify

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
)

// maxTLSFile bounds what is read of a file with certificates or a key.
const maxTLSFile = 1 << 20

// trust is what the files of tls say: whom a receiver believes, and who it is itself.
type trust struct {
	roots        *x509.CertPool
	certificates []tls.Certificate
}

// tlsFiles holds the contents of the files of tls, nil where none is configured.
type tlsFiles struct{ ca, certificate, key []byte }

// readTLSFiles reads what is configured, and fails if one of the files cannot be read or is larger than 1 MiB.
func readTLSFiles(c *Common) (tlsFiles, error) {
	var files tlsFiles
	for _, f := range []struct {
		key, path string
		into      *[]byte
	}{
		{"caFile", c.TLS.CAFile, &files.ca},
		{"certFile", c.TLS.CertFile, &files.certificate},
		{"keyFile", c.TLS.KeyFile, &files.key},
	} {
		if f.path == "" {
			continue
		}
		text, err := readTLSFile(f.path)
		if err != nil {
			return tlsFiles{}, fmt.Errorf("read tls.%s: %w", f.key, err)
		}
		*f.into = text
	}
	return files, nil
}

func readTLSFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	text, err := io.ReadAll(io.LimitReader(f, maxTLSFile+1))
	switch {
	case err != nil:
		return nil, err
	case len(text) > maxTLSFile:
		return nil, fmt.Errorf("%s is larger than %d bytes", path, maxTLSFile)
	}
	return text, nil
}

// sum tells one state of the files from another without keeping a private key.
func (f *tlsFiles) sum() [sha256.Size]byte {
	h := sha256.New()
	for _, text := range [][]byte{f.ca, f.certificate, f.key} {
		_, _ = fmt.Fprintf(h, "%d:", len(text))
		_, _ = h.Write(text)
	}
	return [sha256.Size]byte(h.Sum(nil))
}

// trust parses the files. The authorities of caFile are trusted beside the system's.
func (f *tlsFiles) trust() (trust, error) {
	var t trust
	if f.ca != nil {
		roots, err := x509.SystemCertPool()
		if err != nil {
			roots = x509.NewCertPool()
		}
		if !roots.AppendCertsFromPEM(f.ca) {
			return t, errors.New("read tls.caFile: no certificate in it")
		}
		t.roots = roots
	}
	if f.certificate != nil {
		pair, err := tls.X509KeyPair(f.certificate, f.key)
		if err != nil {
			return t, fmt.Errorf("read tls.certFile and tls.keyFile: %w", err)
		}
		t.certificates = []tls.Certificate{pair}
	}
	return t, nil
}

// tlsConfig resumes sessions, which saves the 2 KB of a certificate chain, and offers X25519 as the only key share unless
// hybrid is asked for. P-256 and P-384 stay allowed for servers that know nothing else; they cost no bytes. The check of the
// certificate is crypto/tls's own: of the name or the IP address that stands in the URL, which the transport fills in for
// each connection, also behind a proxy, or of tls.serverName instead.
func tlsConfig(c *Common, with trust) *tls.Config {
	t := &tls.Config{
		MinVersion:         tls.VersionTLS12,
		ClientSessionCache: tls.NewLRUClientSessionCache(4),
		CurvePreferences:   []tls.CurveID{tls.X25519, tls.CurveP256, tls.CurveP384},
		ServerName:         c.TLS.ServerName,
		RootCAs:            with.roots,
		Certificates:       with.certificates,
		InsecureSkipVerify: c.TLS.InsecureSkipVerify,
	}
	if c.KeyExchange == "hybrid" {
		t.CurvePreferences = slices.Insert(t.CurvePreferences, 0, tls.X25519MLKEM768)
	}
	return t
}

// refresh makes a new transport when a file of tls changed: connections and sessions of the old one were made under other
// trust.
func (p *Poster) refresh() error {
	files, err := readTLSFiles(&p.common)
	if err != nil {
		return err
	}
	sum := files.sum()
	if p.transport != nil && sum == p.files {
		return nil
	}
	with, err := files.trust()
	if err != nil {
		return err
	}
	p.Close()
	p.transport, p.files = newTransport(&p.common, tlsConfig(&p.common, with)), sum
	return nil
}

// proxyOf returns which proxy stands before a URL, nil for none.
func proxyOf(c *Common) func(*http.Request) (*url.URL, error) {
	proxy := http.ProxyFromEnvironment
	if c.Proxy != "" {
		proxy = func(*http.Request) (*url.URL, error) { return url.Parse(c.Proxy) }
	}
	if c.TLS.ServerName == "" {
		return proxy
	}
	return func(r *http.Request) (*url.URL, error) {
		u, err := proxy(r)
		if err == nil && u != nil && u.Scheme == "https" {
			// The transport would look for the receiver's name in the proxy's certificate.
			return nil, errors.New("tls.serverName cannot be used behind a proxy that is reached by https")
		}
		return u, err
	}
}

// Trust is how a receiver that does not speak HTTP opens TLS connections. It keeps the sessions that can be resumed, until one of the files of
// tls changes: they were made under other trust.
type Trust struct {
	files  [sha256.Size]byte
	config *tls.Config
}

// Config returns the configuration, the same one for as long as no file changes. The caller sets nothing in it but in a clone.
func (t *Trust) Config(c *Common) (*tls.Config, error) {
	files, err := readTLSFiles(c)
	if err != nil {
		return nil, err
	}
	sum := files.sum()
	if t.config != nil && sum == t.files {
		return t.config, nil
	}
	with, err := files.trust()
	if err != nil {
		return nil, err
	}
	t.config, t.files = tlsConfig(c, with), sum
	return t.config, nil
}
