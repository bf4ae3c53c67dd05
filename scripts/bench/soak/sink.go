package main

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
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
)

// poison in an event's message makes the archive refuse it for good.
const poison = "poisoned"

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
	moods
)

// sink is the receivers: one server, whose path says which.
type sink struct {
	book   *book
	server *http.Server
	addr   string

	mu     sync.Mutex
	random *rand.Rand
	mood   map[string]int
	chat   notifytest.Feishu
}

func newSink(ctx context.Context, b *book, random *rand.Rand) (*sink, error) {
	s := &sink{book: b, random: random, mood: make(map[string]int), chat: notifytest.Feishu{Secret: chatSecret, PerSecond: 5, PerMinute: 100}}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s.addr = l.Addr().String()
	s.server = &http.Server{Handler: s, ReadHeaderTimeout: time.Minute}
	go func() { _ = s.server.Serve(l) }()
	return s, nil
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
	if receiver == archive {
		for i := range m.Incidents {
			if strings.Contains(m.Incidents[i].Event.Message, poison) {
				s.book.answered(receiver, &m, "400, poisoned", false)
				http.Error(w, "poisoned", http.StatusBadRequest)
				return
			}
		}
	}
	mood := s.moodFor(receiver)
	answer, confirmed := "200", false
	switch mood {
	case well:
		confirmed = r.Context().Err() == nil
		// Entered before it is answered: an agent that is killed right after the answer has nothing more to say.
		s.book.answered(receiver, &m, answer, confirmed)
		_, _ = io.WriteString(w, `{"ok": true}`)
		return
	case slow:
		end := s.book.begin("slow answer")
		select {
		case <-time.After(s.delay()):
			s.book.answered(receiver, &m, "200, late", true)
			_, _ = io.WriteString(w, `{"ok": true}`)
		case <-r.Context().Done():
			s.book.answered(receiver, &m, "none, it went while the answer was slow", false)
		}
		end()
		return
	case busy:
		answer = "429"
		w.Header().Set("Retry-After", "1")
		http.Error(w, "too many requests", http.StatusTooManyRequests)
	case broken:
		answer = "500"
		http.Error(w, "broken", http.StatusInternalServerError)
	case unavailable:
		answer = "503"
		http.Error(w, "unavailable", http.StatusServiceUnavailable)
	case lying:
		answer = "200, error in the body"
		_, _ = io.WriteString(w, `{"ok": false, "error": "frequency limited"}`)
	case garbled:
		answer = "200, half a body"
		_, _ = io.WriteString(w, `{"ok": tr`)
	case hung:
		answer = "none"
		<-r.Context().Done()
	case endless:
		answer = "200, endless body"
		s.pour(w)
	}
	s.book.answered(receiver, &m, answer, false)
}

// serveChat is the Feishu group. Its messages are for people, and the book knows only how many it took.
func (s *sink) serveChat(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	switch s.moodFor(chat) {
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
	case endless:
		s.pour(w)
	case garbled:
		_, _ = io.WriteString(w, notifytest.FeishuOK[:20])
	default:
		<-r.Context().Done()
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
