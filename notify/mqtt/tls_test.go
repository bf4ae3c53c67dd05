package mqtt_test

import (
	"crypto/tls"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/edge-eventer/edge-eventer/notify"
	"github.com/edge-eventer/edge-eventer/notify/mqtt"
	"github.com/edge-eventer/edge-eventer/notify/notifytest"
)

// identity writes a certificate for a name, and its key.
func identity(t *testing.T, authority *notifytest.Authority, name, certFile, keyFile string) {
	t.Helper()
	issued, err := authority.Issue(name)
	if err != nil {
		t.Fatal(err)
	}
	certificate, key, err := notifytest.Files(issued)
	if err != nil {
		t.Fatal(err)
	}
	write(t, certFile, certificate)
	write(t, keyFile, key)
}

func write(t *testing.T, path string, text []byte) {
	t.Helper()
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestCertificateSignsInAndItsFileIsReadAgain shows a broker that asks for certificates two of them, one after the other.
func TestCertificateSignsInAndItsFileIsReadAgain(t *testing.T) {
	authority, err := notifytest.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	issued, err := authority.Issue("broker.example")
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var clients []string
	var resumed int
	b := startBroker(t, &tls.Config{
		Certificates: []tls.Certificate{*issued}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: authority.Pool(),
		VerifyConnection: func(s tls.ConnectionState) error {
			mu.Lock()
			defer mu.Unlock()
			clients = append(clients, s.PeerCertificates[0].Subject.CommonName)
			if s.DidResume {
				resumed++
			}
			return nil
		},
	})
	dir := t.TempDir()
	files := notify.TLS{
		CAFile: filepath.Join(dir, "ca.pem"), CertFile: filepath.Join(dir, "cert.pem"), KeyFile: filepath.Join(dir, "key.pem"), ServerName: "broker.example",
	}
	write(t, files.CAFile, authority.PEM())
	identity(t, authority, "shop-1", files.CertFile, files.KeyFile)
	secure := func(s *mqtt.Config) { s.URL = notify.SecretValue("mqtts://" + b.address) }
	r := receiver(t, b.address, secure, notify.Common{TLS: files})
	for range 2 {
		if err := send(t, r, message("shop", 1), time.Minute); err != nil {
			t.Fatal(err)
		}
	}
	r.Close()
	if err := send(t, r, message("shop", 1), time.Minute); err != nil {
		t.Fatal(err)
	}
	identity(t, authority, "shop-2", files.CertFile, files.KeyFile)
	if err := send(t, r, message("shop", 1), time.Minute); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	if !slices.Equal(clients, []string{"shop-1", "shop-1", "shop-2"}) || resumed != 1 {
		t.Errorf("clients %v, %d sessions resumed", clients, resumed)
	}
	mu.Unlock()

	var doubted []string
	distrust := files
	distrust.CAFile = ""
	r = receiver(t, b.address, secure, notify.Common{TLS: distrust, Doubt: func(host string, wrong bool) {
		if wrong {
			doubted = append(doubted, host)
		}
	}})
	e := failure(t, send(t, r, message("shop", 1), time.Minute))
	if e.Outcome != notify.Retry || !strings.Contains(e.Reason, "not trusted") || !slices.Equal(doubted, []string{"127.0.0.1"}) {
		t.Errorf("%v, doubted %v", e, doubted)
	}
	other := files
	other.ServerName = "another.example"
	r = receiver(t, b.address, secure, notify.Common{TLS: other})
	if e := failure(t, send(t, r, message("shop", 1), time.Minute)); !strings.Contains(e.Reason, "not trusted") {
		t.Errorf("a certificate for another name: %v", e)
	}
}
