package main

import (
	"compress/gzip"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	cryptorand "crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/edge-eventer/edge-eventer/notify/notifytest"
)

const (
	chatPath   = "/open-apis/bot/v2/hook/0123abcd-soak"
	chatSecret = "soak-signing-secret"
	// chatStuck is a code that Feishu's documents do not explain for this bot.
	chatStuck = `{"code":230001,"msg":"Your request contains an invalid request parameter."}`
)

const (
	// poison in an event's message makes the archive refuse it for good.
	poison = "poisoned"
	// stuck in an event's message makes each receiver refuse it, in words that no document knows: the agent can but try again.
	stuck = "unspeakable"
)

// stuckWords returns how such messages begin: one is refused with 200 and a code, the other with a 500 that belongs to the message.
func stuckWords() [2]string { return [2]string{stuck + " 200 ", stuck + " 500 "} }

// The answers of what stands between the agent and its receivers.
const (
	blockPage  = "<!DOCTYPE html><html><head><title>Blocked</title></head><body><h1>451</h1><p>Your operator says no.</p></body></html>"
	portalPage = "<!DOCTYPE html><html><head><title>Welcome</title></head><body><form action=/login>Accept our terms</form></body></html>"
)

// message is what the agent posts: agent/notify's document, as far as the book needs it.
type message struct {
	Batch     string `json:"batch"`
	Incidents []struct {
		ID          string `json:"id"`
		Occurrences int    `json:"occurrences"`
		Untold      int    `json:"untold"`
		Own         bool   `json:"own"`
		Event       struct {
			Metadata struct {
				Name string `json:"name"`
				UID  string `json:"uid"`
			} `json:"metadata"`
			Reason  string `json:"reason"`
			Message string `json:"message"`
			Count   int32  `json:"count"`
		} `json:"event"`
	} `json:"incidents"`
	Losses []struct {
		Cause     string `json:"cause"`
		Incidents uint64 `json:"incidents"`
		Events    uint64 `json:"events"`
	} `json:"losses"`
}

// The moods of a receiver.
const (
	well = iota
	busy
	broken
	unavailable
	lying
	hung
	slow
	endless
	garbled
	blocked
	portal
	redirecting
	switching
	informing
	halfStatus
	halfHeader
	halfBody
	noTrailer
	moods
)

func moodNames() [moods]string {
	return [moods]string{
		well: "well", busy: "429", broken: "500", unavailable: "503", lying: "lying 200", hung: "hung", slow: "slow", endless: "endless body",
		garbled: "garbled 200", blocked: "451 page", portal: "portal's page", redirecting: "portal's 302", switching: "101", informing: "endless 103",
		halfStatus: "half a status line", halfHeader: "half a header", halfBody: "half a body", noTrailer: "no trailer",
	}
}

// sink is the receivers: a server over HTTP and one over TLS, whose path says which.
type sink struct {
	book           *book
	plain, tls     *http.Server
	plainAt, tlsAt string
	authorityPEM   []byte
	certificate    tls.Certificate

	mu     sync.Mutex
	random *rand.Rand
	mood   map[string]int
	chat   notifytest.Feishu
}

// newSink starts them on loopback; who knows them by address knows them by that one.
func newSink(ctx context.Context, b *book, random *rand.Rand, address string) (*sink, error) {
	s := &sink{book: b, random: random, mood: make(map[string]int), chat: notifytest.Feishu{Secret: chatSecret, PerSecond: 5, PerMinute: 100}}
	certificate, pem, err := certificateFor(net.ParseIP(address))
	if err != nil {
		return nil, fmt.Errorf("make a certificate: %w", err)
	}
	s.authorityPEM, s.certificate = pem, certificate
	silent := log.New(io.Discard, "", 0)
	s.plain = &http.Server{Handler: s, ReadHeaderTimeout: time.Minute, ErrorLog: silent}
	s.tls = &http.Server{
		Handler: s, ReadHeaderTimeout: time.Minute, ErrorLog: silent,
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12},
	}
	for server, at := range map[*http.Server]*string{s.plain: &s.plainAt, s.tls: &s.tlsAt} {
		l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		*at = l.Addr().String()
		go func() {
			if server == s.tls {
				_ = server.ServeTLS(l, "", "")
				return
			}
			_ = server.Serve(l)
		}()
	}
	return s, nil
}

func (s *sink) close() {
	_ = s.plain.Close()
	_ = s.tls.Close()
}

// certificateFor makes one that is its own authority, and good by any clock that the weather sets.
func certificateFor(address net.IP) (tls.Certificate, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), cryptorand.Reader)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "soak"}, NotBefore: time.Unix(0, 0).AddDate(-1, 0, 0), NotAfter: time.Unix(0, 0).AddDate(200, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, IPAddresses: []net.IP{address},
	}
	der, err := x509.CreateCertificate(cryptorand.Reader, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), nil
}

func (s *sink) setMood(receiver string, mood int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mood[receiver] = mood
}

// moodFor draws: a receiver in a bad mood still answers one request in four as it should.
func (s *sink) moodFor(receiver string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.random.IntN(4) == 0 {
		return well
	}
	return s.mood[receiver]
}

func (s *sink) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	receiver := strings.TrimPrefix(r.URL.Path, "/")
	if r.URL.Path == chatPath {
		s.serveChat(w, r)
		return
	}
	var body io.Reader = r.Body
	if r.Header.Get("Content-Encoding") == "gzip" {
		unzipped, err := gzip.NewReader(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		body = unzipped
	}
	var m message
	text, err := io.ReadAll(body)
	if err != nil {
		// The link or the agent went in the middle of the request.
		return
	}
	if err := json.Unmarshal(text, &m); err != nil {
		s.book.finding("%s got what is no message: %v: %.200q", receiver, err, text)
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if s.refuses(w, receiver, &m) {
		return
	}
	s.answer(w, r, receiver, &m, s.moodFor(receiver))
}

// refuses answers for good, or in words that nobody knows, what holds such a message.
func (s *sink) refuses(w http.ResponseWriter, receiver string, m *message) bool {
	for i := range m.Incidents {
		text := m.Incidents[i].Event.Message
		switch {
		case receiver == archive && strings.HasPrefix(text, poison):
			s.book.answered(receiver, m, "400, poisoned", false)
			http.Error(w, "poisoned", http.StatusBadRequest)
			return true
		case strings.HasPrefix(text, stuckWords()[0]):
			s.book.answered(receiver, m, "200, an unknown code", false)
			_, _ = io.WriteString(w, `{"ok": false, "code": 45002}`)
			return true
		case strings.HasPrefix(text, stuckWords()[1]):
			s.book.answered(receiver, m, "500 for this message", false)
			http.Error(w, "cannot store this", http.StatusInternalServerError)
			return true
		}
	}
	return false
}

// answer answers as the mood is.
func (s *sink) answer(w http.ResponseWriter, r *http.Request, receiver string, m *message, mood int) {
	answer := moodNames()[mood]
	switch mood {
	case well:
		// Entered before it is answered: an agent that is killed right after the answer has nothing more to say.
		s.book.answered(receiver, m, answer, r.Context().Err() == nil)
		_, _ = io.WriteString(w, `{"ok": true}`)
		return
	case slow:
		end := s.book.begin("slow answer")
		select {
		case <-time.After(s.delay()):
			s.book.answered(receiver, m, "200, late", true)
			_, _ = io.WriteString(w, `{"ok": true}`)
		case <-r.Context().Done():
			s.book.answered(receiver, m, "none, it went while the answer was slow", false)
		}
		end()
		return
	case noTrailer:
		// The yes is there, and the answer has no end: the agent may believe it or not.
		end := s.book.begin("slow answer without a trailer")
		s.book.answered(receiver, m, answer, true)
		s.half(w, r, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\nTrailer: X-End\r\n\r\nc\r\n"+`{"ok": true}`+"\r\n0\r\n", `{"ok": true}`)
		end()
		return
	case busy:
		w.Header().Set("Retry-After", "1")
		http.Error(w, "too many requests", http.StatusTooManyRequests)
	case broken:
		http.Error(w, "broken", http.StatusInternalServerError)
	case unavailable:
		http.Error(w, "unavailable", http.StatusServiceUnavailable)
	case lying:
		_, _ = io.WriteString(w, `{"ok": false, "error": "frequency limited"}`)
	case garbled:
		_, _ = io.WriteString(w, `{"ok": tr`)
	default:
		s.hostile(w, r, mood)
	}
	s.book.answered(receiver, m, answer, false)
}

// hostile answers as no receiver does, but what stands in the way.
func (s *sink) hostile(w http.ResponseWriter, r *http.Request, mood int) {
	const ok = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
	switch mood {
	case blocked:
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.WriteHeader(http.StatusUnavailableForLegalReasons)
		_, _ = io.WriteString(w, blockPage)
	case portal:
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = io.WriteString(w, portalPage)
	case redirecting:
		http.Redirect(w, r, "http://"+r.Host+"/login", http.StatusFound)
	case switching:
		s.half(w, r, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: soak\r\n\r\n", "")
	case informing:
		s.inform(w, r)
	case halfStatus:
		s.half(w, r, "HTTP/1.1 20", "")
	case halfHeader:
		s.half(w, r, ok+"Content-Le", "{")
	case halfBody:
		s.half(w, r, ok+"Content-Length: 12\r\n\r\n"+`{"ok": `, `{"ok": `)
	case endless:
		s.pour(w)
	default:
		<-r.Context().Done()
	}
}

// half writes the text in place of an answer, and then nothing until the agent goes. Over HTTP/2 it writes a part of a body.
func (s *sink) half(w http.ResponseWriter, r *http.Request, text, body string) {
	c, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		_, _ = io.WriteString(w, body)
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
		return
	}
	defer c.Close()
	_, _ = io.WriteString(c, text)
	_ = c.SetReadDeadline(time.Now().Add(time.Minute))
	_, _ = io.Copy(io.Discard, c)
}

// inform says for ever that the answer will come.
func (s *sink) inform(w http.ResponseWriter, r *http.Request) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for range 1000 {
		w.WriteHeader(http.StatusEarlyHints)
		select {
		case <-tick.C:
		case <-r.Context().Done():
			return
		}
	}
}

// serveChat is the Feishu group. Its messages are for people, and the book knows only how many it took.
func (s *sink) serveChat(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	if strings.Contains(string(body), stuck) {
		s.book.chatted(false, chatStuck)
		_, _ = io.WriteString(w, chatStuck)
		return
	}
	switch mood := s.moodFor(chat); mood {
	case well:
		s.mu.Lock()
		answer, taken := s.chat.Judge(r, body, time.Now())
		s.mu.Unlock()
		s.book.chatted(taken, answer.Body)
		if answer.Status != 0 {
			w.WriteHeader(answer.Status)
		}
		_, _ = io.WriteString(w, answer.Body)
	case busy, lying:
		_, _ = io.WriteString(w, notifytest.FeishuRate)
	case broken:
		_, _ = io.WriteString(w, notifytest.FeishuGateway)
	case unavailable:
		http.Error(w, "unavailable", http.StatusServiceUnavailable)
	case garbled:
		_, _ = io.WriteString(w, notifytest.FeishuOK[:20])
	default:
		s.hostile(w, r, mood)
	}
}

func (s *sink) delay() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Duration(s.random.Int64N(int64(2 * timeout)))
}

// pour writes until the other side goes, at most 64 MiB.
func (s *sink) pour(w http.ResponseWriter) {
	blanks := []byte(strings.Repeat(" ", 64<<10))
	for range 1024 {
		if _, err := fmt.Fprintf(w, "%s", blanks); err != nil {
			return
		}
	}
}
