package notifytest

import (
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
)

// Server runs a fake on loopback.
type Server struct {
	*Fake

	http        *httptest.Server
	connections atomic.Int64
}

// Start runs the fake until Close.
func Start(f *Fake) *Server {
	s := &Server{Fake: f}
	s.http = httptest.NewUnstartedServer(f)
	s.http.Config.ConnState = s.count
	s.http.Start()
	return s
}

// StartTLS is Start with a certificate of httptest's own authority.
func StartTLS(f *Fake) *Server {
	s := &Server{Fake: f}
	s.http = httptest.NewUnstartedServer(f)
	s.http.Config.ConnState = s.count
	s.http.StartTLS()
	return s
}

func (s *Server) count(_ net.Conn, state http.ConnState) {
	if state == http.StateNew {
		s.connections.Add(1)
	}
}

// URL returns the base URL, without a slash at its end.
func (s *Server) URL() string { return s.http.URL }

// CertificateDER returns the server's certificate, nil without TLS.
func (s *Server) CertificateDER() []byte {
	if c := s.http.Certificate(); c != nil {
		return c.Raw
	}
	return nil
}

// Connections counts the connections that were opened.
func (s *Server) Connections() int { return int(s.connections.Load()) }

// Close ends all faults, releases what hangs and stops the server.
func (s *Server) Close() {
	s.Heal()
	s.http.CloseClientConnections()
	s.http.Close()
}
