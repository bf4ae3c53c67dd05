package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// post sends what the agent would, and returns the answer's status and body, or the error.
func post(t *testing.T, client *http.Client, url, text string, patience time.Duration) (int, string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	answer, err := client.Do(r)
	if err != nil {
		return 0, "", err
	}
	defer answer.Body.Close()
	if answer.StatusCode == http.StatusSwitchingProtocols {
		// The context does not end the reading of what is no answer any more.
		return answer.StatusCode, "", nil
	}
	body, err := io.ReadAll(io.LimitReader(answer.Body, 1<<10))
	return answer.StatusCode, string(body), err
}

func TestReceiversRefuseInUnknownWordsWhatIsMarkedSo(t *testing.T) {
	s, err := newSink(t.Context(), newBook(usualBytes), rand.New(rand.NewPCG(1, 1)), "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	for _, c := range []struct {
		path, message string
		status        int
		body          string
	}{
		{"/archive", "all is well", 200, `{"ok": true}`},
		{"/archive", stuckWords()[0], 200, `{"ok": false, "code": 45002}`},
		{"/alerts", stuckWords()[1], 500, "cannot store this\n"},
		{"/archive", poison, 400, "poisoned\n"},
		{"/alerts", poison, 200, `{"ok": true}`},
		{chatPath, stuckWords()[0], 200, chatStuck},
	} {
		text := `{"incidents":[{"own":true,"event":{"message":"` + c.message + `"}}]}`
		status, body, err := post(t, http.DefaultClient, "http://"+s.plainAt+c.path, text, time.Minute)
		if err != nil || status != c.status || body != c.body {
			t.Errorf("%s, %q: %d %q %v, want %d %q", c.path, c.message, status, body, err, c.status, c.body)
		}
	}
}

// Each mood but that of a receiver that is well must give no yes, over either protocol. The slow one gives it late.
func TestNoMoodButAGoodOneSaysYes(t *testing.T) {
	s, err := newSink(t.Context(), newBook(usualBytes), rand.New(rand.NewPCG(1, 1)), "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(s.authorityPEM)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true}}
	for mood, name := range moodNames() {
		if mood == slow {
			continue
		}
		// Most answers that are no yes never end.
		patience := 200 * time.Millisecond
		if mood == well {
			patience = time.Minute
		}
		for _, secure := range []bool{false, true} {
			handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				// net/http notices a client that leaves only once the request is read.
				_, _ = io.Copy(io.Discard, r.Body)
				s.answer(w, r, archive, new(message), mood)
			})
			server := httptest.NewUnstartedServer(handler)
			if secure {
				server.EnableHTTP2 = true
				// Not that of s, which net/http changes when it begins to serve.
				server.TLS = &tls.Config{Certificates: []tls.Certificate{s.certificate}, MinVersion: tls.VersionTLS12}
				server.StartTLS()
			} else {
				server.Start()
			}
			status, body, err := post(t, client, server.URL+"/archive", "{}", patience)
			if yes := err == nil && status == 200 && body == `{"ok": true}`; yes != (mood == well) {
				t.Errorf("%s, TLS %t: %d %q %v", name, secure, status, body, err)
			}
			client.CloseIdleConnections()
			server.CloseClientConnections()
			server.Close()
		}
	}
}
