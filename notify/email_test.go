package notify_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
	"github.com/google/go-cmp/cmp"

	"github.com/edge-eventer/edge-eventer/notify"
	"github.com/edge-eventer/edge-eventer/notify/email"
	"github.com/edge-eventer/edge-eventer/notify/notifytest"
)

const mailPassword = "correct-horse-battery-7"

// mailer is an email receiver under test.
type mailer struct {
	config email.Config
	common notify.Common
}

// newMailer is for a server at the address without TLS or a user.
func newMailer(address string) *mailer {
	c := *email.Defaults().(*email.Config)
	c.Smarthost, c.Security, c.From, c.To = address, "none", "edge@shop.example", []string{"ops@example.com"}
	return &mailer{config: c, common: notify.Common{Name: "mail", Cluster: "shop-1"}}
}

// signedIn is mailer with a user, over STARTTLS to a server of the authority.
func (m *mailer) signedIn(caFile string) *mailer {
	m.config.Security, m.config.User, m.config.Password = "starttls", "edge", notify.SecretValue(mailPassword)
	m.common.TLS.CAFile = caFile
	return m
}

func (m *mailer) receiver(t testing.TB) notify.Receiver {
	t.Helper()
	m.config.Check(func(key, format string, args ...any) { t.Fatalf("%s: "+format, append([]any{key}, args...)...) })
	r, err := m.config.New(m.common)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

func startMail(t testing.TB, o notifytest.MailOptions) *notifytest.Mail {
	t.Helper()
	server, err := notifytest.StartMail("127.0.0.1:0", o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	return server
}

// mailTLS is the TLS of a server, with the file that a receiver trusts it by.
func mailTLS(t *testing.T) (*tls.Config, string) {
	t.Helper()
	authority := newAuthority(t)
	path := filepath.Join(t.TempDir(), "ca.pem")
	writeFile(t, path, authority.PEM())
	return &tls.Config{Certificates: []tls.Certificate{*issue(t, authority, "127.0.0.1")}}, path
}

func TestEmailRequestsAreAsTheGoldenFilesSay(t *testing.T) {
	for _, language := range []string{"en", "zh"} {
		m := newMailer("127.0.0.1:1")
		m.common.Language, m.common.Location = language, shanghai(t)
		m.config.To = append(m.config.To, "night@example.com")
		r := m.receiver(t)
		for _, name := range []string{"critical", "plain", "digest", "losses-only", "resolved", "hostile-quotes", "hostile-all", "cjk"} {
			golden(t, filepath.Join("testdata", "email", language+"-"+name+".golden.json"), render(t, r, messages()[name], notify.Full))
		}
	}
}

// TestEmailIsTakenAsItIs has a server that refuses what another one would have to repair, and messages whose every field is hostile.
func TestEmailIsTakenAsItIs(t *testing.T) {
	server := startMail(t, notifytest.MailOptions{})
	var all []string
	server.OnReceive(func(l notifytest.Letter) { all = append(all, l.Subject()+"\n"+l.Body) })
	r := newMailer(server.Address()).receiver(t)
	for name, m := range messages() {
		for _, form := range []notify.Form{notify.Full, notify.Simple} {
			request := render(t, r, m, form)
			if err := r.Send(t.Context(), request); err != nil {
				t.Fatalf("%s: %v\n%s", name, err, request.Body)
			}
			if len(request.Body) > 16_000 {
				t.Errorf("%s: %d bytes, want 16,000 at most", name, len(request.Body))
			}
			if len(m.Incidents) > 0 && request.Incidents < 1 || m.Digest == nil && request.Incidents > 1 {
				t.Errorf("%s: %d incidents", name, request.Incidents)
			}
		}
	}
	text := strings.ToLower(strings.Join(all, "\n"))
	for _, live := range []string{"<at id=all", "<!channel", "@everyone", "bcc:"} {
		if strings.Contains(text, live) {
			t.Errorf("live mention %q", live)
		}
	}
	if got := server.Connections(); got != 1 {
		t.Errorf("%d connections for %d messages one after the other, want 1", got, len(all))
	}
}

// TestSubjectCannotBreakTheHeader has what an event's writer would try: line ends, encoded words, a subject without an end.
func TestSubjectCannotBreakTheHeader(t *testing.T) {
	server := startMail(t, notifytest.MailOptions{})
	r := newMailer(server.Address()).receiver(t)
	for _, text := range []string{
		"a\r\nBcc: all@example.com", "a\nX: y\n\nbody", "a\rb", "=?utf-8?q?=0D=0ABcc:_x?=", "\x00\x1b[2J", strings.Repeat("节点", 500),
		strings.Repeat("a", 5000), "a\u2028b", "ends =?", "\u202Egnitteg", strings.Repeat("😀", 300),
	} {
		in := plainIncident()
		in.Reason, in.Workload, in.Cluster = text, text, text
		request := render(t, r, message(in), notify.Full)
		if err := r.Send(t.Context(), request); err != nil {
			t.Fatalf("%q: %v\n%s", text, err, request.Body)
		}
		letters := server.Received()
		got := letters[len(letters)-1]
		if subject := got.Subject(); strings.ContainsAny(subject, "\r\n") || len([]rune(subject)) > 150 || strings.Contains(string(got.Raw), "\r\nBcc") {
			t.Errorf("%q became the subject %q", text, subject)
		}
		for line := range strings.SplitSeq(string(got.Raw), "\r\n") {
			if len(line) > 150 {
				t.Errorf("%q: a line of %d bytes", text, len(line))
			}
		}
	}
}

func TestIncidentIsOneThread(t *testing.T) {
	server := startMail(t, notifytest.MailOptions{})
	r := newMailer(server.Address()).receiver(t)
	tell := func(in notify.Incident) notifytest.Letter {
		t.Helper()
		if err := r.Send(t.Context(), render(t, r, message(in), notify.Full)); err != nil {
			t.Fatal(err)
		}
		letters := server.Received()
		return letters[len(letters)-1]
	}
	first := plainIncident()
	again := first
	again.ID, again.Occurrences, again.Message, again.LastSeen = "another", 400, "another sample", now
	anew := first
	anew.ID, anew.FirstSeen = "third", now
	other := first
	other.ID, other.Workload = "fourth", "database"
	a, repeat, b, c, d := tell(first), tell(first), tell(again), tell(anew), tell(other)
	root := a.Header.Get("References")
	if root == "" || b.Header.Get("References") != root || b.Header.Get("In-Reply-To") != root || a.Subject() != b.Subject() {
		t.Errorf("one incident: %q %q and %q %q", root, a.Subject(), b.Header.Get("References"), b.Subject())
	}
	if c.Header.Get("References") == root || d.Header.Get("References") == root {
		t.Error("another incident is in the thread")
	}
	if id := a.Header.Get("Message-Id"); repeat.Header.Get("Message-Id") != id || b.Header.Get("Message-Id") == id || id == root {
		t.Errorf("Message-ID %q, of a repeat %q, of news %q", id, repeat.Header.Get("Message-Id"), b.Header.Get("Message-Id"))
	}
}

// mailAnswer is an answer to a verb, and what it must be taken for.
type mailAnswer struct {
	verb, line string
	outcome    notify.Outcome
	code, says string
	wait       time.Duration
}

func mailAnswers() []mailAnswer {
	const greylisting = 5 * time.Minute
	return []mailAnswer{
		{"GREETING", "421 4.3.2 too many connections", notify.Retry, "421 4.3.2", "not available", 0},
		{"GREETING", "554 5.7.1 no service for 203.0.113.7", notify.BadTarget, "554 5.7.1", "does not serve", 0},
		{"GREETING", "HTTP/1.1 400 Bad Request", notify.Retry, "", "captive portal", 0},
		{"GREETING", "", notify.Retry, "", "broke", 0},
		{"EHLO", "", notify.Retry, "", "broke", 0},
		{"MAIL", "421 4.4.2 idle", notify.Retry, "421 4.4.2", "not available", 0},
		{"MAIL", "450 4.7.1 try later", notify.Retry, "450 4.7.1", "puts the message off", greylisting},
		{"MAIL", "451 4.3.0 trouble", notify.Retry, "451 4.3.0", "trouble", greylisting},
		{"MAIL", "452 4.3.1 disk full", notify.Retry, "452 4.3.1", "", greylisting},
		{"MAIL", "530 5.7.0 sign in", notify.BadTarget, "530 5.7.0", "this sender", 0},
		{"MAIL", "550 5.7.1 not yours", notify.BadTarget, "550 5.7.1", "this sender", 0},
		{"MAIL", "501 5.1.7 syntax", notify.BadTarget, "501 5.1.7", "", 0},
		{"MAIL", "552 5.3.4 too big", notify.BadPayload, "552 5.3.4", "too large", 0},
		{"MAIL", "555 5.5.4 parameter", notify.BadTarget, "555 5.5.4", "", 0},
		{"RCPT", "421 bye", notify.Retry, "421", "", 0},
		{"RCPT", "450 4.2.0 greylisted", notify.Retry, "450 4.2.0", "puts the message off", greylisting},
		{"RCPT", "452 4.2.2 mailbox full", notify.Retry, "452 4.2.2", "", greylisting},
		{"RCPT", "550 5.1.1 no such user", notify.BadTarget, "550 5.1.1", "these recipients", 0},
		{"RCPT", "551 5.1.6 moved", notify.BadTarget, "551 5.1.6", "", 0},
		{"RCPT", "552 5.2.2 mailbox full", notify.BadTarget, "552 5.2.2", "", 0},
		{"RCPT", "553 mailbox name not allowed", notify.BadTarget, "553", "", 0},
		{"RCPT", "550 5.7.1 relaying denied", notify.BadTarget, "550 5.7.1", "relaying denied", 0},
		{"DATA", "451 4.3.0 trouble", notify.Retry, "451 4.3.0", "", 0},
		{"DATA", "554 5.5.1 no valid recipients", notify.BadTarget, "554 5.5.1", "", 0},
		{"DATA", "250 what", notify.Retry, "250", "not due", 0},
		{"END", "421 4.3.0 going down", notify.Retry, "421 4.3.0", "", 0},
		{"END", "451 4.7.1 greylisted", notify.Retry, "451 4.7.1", "", 0},
		{"END", "452 4.3.1 disk full", notify.Retry, "452 4.3.1", "", 0},
		{"END", "550 spam", notify.BadPayload, "550", "refused the message: spam", 0},
		{"END", "550 5.1.1 no such user", notify.BadTarget, "550 5.1.1", "these recipients", 0},
		{"END", "552 5.3.4 too big", notify.BadPayload, "552 5.3.4", "too large", 0},
		{"END", "554 5.6.0 malformed", notify.BadPayload, "554 5.6.0", "", 0},
		{"END", "", notify.Retry, "", "may have arrived", 0},
	}
}

func TestEveryDocumentedAnswerOfAMailServerHasItsOutcome(t *testing.T) {
	server := startMail(t, notifytest.MailOptions{})
	for _, c := range mailAnswers() {
		r := newMailer(server.Address()).receiver(t)
		server.Answer(c.verb, 1, c.line)
		checkMailAnswer(t, c, send(t, r))
		if err := send(t, r); err != nil {
			t.Errorf("%s %s: the next message: %v", c.verb, c.line, err)
		}
	}
}

func checkMailAnswer(t *testing.T, c mailAnswer, err error) {
	t.Helper()
	e := failure(t, err)
	if e.Outcome != c.outcome || e.Code != c.code || e.RetryAfter != c.wait || !strings.Contains(e.Reason, c.says) || strings.HasSuffix(e.Reason, ".") {
		t.Errorf("%s %s: %s, code %q, wait %s, %q; want %s, %q, %s, …%s…", c.verb, c.line, e.Outcome, e.Code, e.RetryAfter, e.Reason, c.outcome, c.code, c.wait, c.says)
	}
}

// TestSigningInIsJudged has the answers to AUTH and STARTTLS, of servers that offer them and of one that does not.
func TestSigningInIsJudged(t *testing.T) {
	secure, caFile := mailTLS(t)
	server := startMail(t, notifytest.MailOptions{TLS: secure, User: "edge", Password: mailPassword})
	for _, c := range []mailAnswer{
		{"AUTH", "454 4.7.0 temporary", notify.Retry, "454 4.7.0", "not available", 0},
		{"AUTH", "432 4.7.12 password transition", notify.BadTarget, "432 4.7.12", "user and password", 0},
		{"AUTH", "530 5.7.0 must not", notify.BadTarget, "530 5.7.0", "user and password", 0},
		{"AUTH", "534 5.7.9 too weak", notify.BadTarget, "534 5.7.9", "too weak", 0},
		{"AUTH", "535 5.7.8 wrong " + base64.StdEncoding.EncodeToString([]byte("\x00edge\x00"+mailPassword)), notify.BadTarget, "535 5.7.8", "wrong <secret>", 0},
		{"AUTH", "538 5.7.11 encrypt", notify.BadTarget, "538 5.7.11", "", 0},
		{"AUTH", "", notify.Retry, "", "broke", 0},
		{"STARTTLS", "454 4.7.0 not now", notify.Retry, "454 4.7.0", "", 0},
		{"STARTTLS", "502 5.5.1 what", notify.BadTarget, "502 5.5.1", "", 0},
	} {
		r := newMailer(server.Address()).signedIn(caFile).receiver(t)
		server.Answer(c.verb, 1, c.line)
		checkMailAnswer(t, c, send(t, r))
		if err := send(t, r); err != nil {
			t.Errorf("%s %s: the next message: %v", c.verb, c.line, err)
		}
	}
	wrong := newMailer(server.Address()).signedIn(caFile)
	wrong.config.Password = notify.SecretValue("another")
	checkMailAnswer(t, mailAnswer{"AUTH", "", notify.BadTarget, "535 5.7.8", "refuses user and password", 0}, send(t, wrong.receiver(t)))
}

func TestPasswordIsNeverSentInTheClear(t *testing.T) {
	server := startMail(t, notifytest.MailOptions{User: "edge", Password: mailPassword})
	e := failure(t, send(t, newMailer(server.Address()).signedIn("").receiver(t)))
	if e.Outcome != notify.BadTarget || !strings.Contains(e.Reason, "offers no STARTTLS") {
		t.Errorf("%v, want bad target for the missing STARTTLS", e)
	}
	for _, line := range server.Commands() {
		if !strings.HasPrefix(line, "EHLO") && line != "QUIT" {
			t.Errorf("the agent said %q without TLS", line)
		}
	}
	c := newMailer("127.0.0.1:25").config
	c.User, c.Password = "edge", notify.SecretValue(mailPassword)
	var mistakes []string
	c.Check(func(key, _ string, _ ...any) { mistakes = append(mistakes, key) })
	if !slices.Equal(mistakes, []string{"security"}) {
		t.Errorf("a user without TLS: mistakes %q", mistakes)
	}
}

// TestMailServersCertificateIsChecked goes over both ways to TLS, the names, client certificates, and sessions that are resumed.
func TestMailServersCertificateIsChecked(t *testing.T) {
	for _, implicit := range []bool{false, true} {
		secure, caFile := mailTLS(t)
		secure.ClientAuth = tls.RequireAnyClientCert
		resumed := 0
		secure.VerifyConnection = func(state tls.ConnectionState) error {
			if state.DidResume {
				resumed++
			}
			return nil
		}
		server := startMail(t, notifytest.MailOptions{TLS: secure, Implicit: implicit, User: "edge", Password: mailPassword})
		strange := newMailer(server.Address()).signedIn("")
		proper := newMailer(server.Address()).signedIn(caFile)
		certificate, key, err := notifytest.Files(issue(t, newAuthority(t), "edge-17"))
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		proper.common.TLS.CertFile, proper.common.TLS.KeyFile = filepath.Join(dir, "c.pem"), filepath.Join(dir, "k.pem")
		writeFile(t, proper.common.TLS.CertFile, certificate)
		writeFile(t, proper.common.TLS.KeyFile, key)
		misnamed := *proper
		misnamed.common.TLS.ServerName = "mail.example"
		for _, m := range []*mailer{strange, proper, &misnamed} {
			if implicit {
				m.config.Security = "tls"
			}
		}
		for _, m := range []*mailer{strange, &misnamed} {
			if e := failure(t, send(t, m.receiver(t))); e.Outcome != notify.Retry || !strings.Contains(e.Reason, "not trusted") {
				t.Errorf("implicit %v: %v, want a retry that says so", implicit, e)
			}
		}
		r := proper.receiver(t)
		for range 2 {
			if err := send(t, r); err != nil {
				t.Fatalf("implicit %v: %v", implicit, err)
			}
			server.Drop()
		}
		if resumed == 0 {
			t.Errorf("implicit %v: no session was resumed", implicit)
		}
	}
}

func TestMailServersConnectionIsKeptAndReplaced(t *testing.T) {
	server := startMail(t, notifytest.MailOptions{})
	r := newMailer(server.Address()).receiver(t)
	for range 3 {
		if err := send(t, r); err != nil {
			t.Fatal(err)
		}
	}
	if got := server.Connections(); got != 1 {
		t.Errorf("%d connections for 3 messages, want 1", got)
	}
	server.Drop()
	if err := send(t, r); err != nil {
		t.Errorf("after the server closed the connection: %v", err)
	}
	server.Answer("MAIL", 1, "421 4.4.2 idle for too long")
	if err := send(t, r); err != nil {
		t.Errorf("after 421 on a kept connection: %v", err)
	}
	if got := len(server.Received()); got != 5 || server.Connections() != 3 {
		t.Errorf("%d messages over %d connections, want 5 over 3", got, server.Connections())
	}
	r.Close()
	if last := server.Commands(); last[len(last)-1] != "QUIT" {
		// The server may not have read it yet; what counts is that nothing follows.
		t.Logf("the last command is %q", last[len(last)-1])
	}
}

// TestRecipientThatIsRefusedHoldsNoOther: a mailbox that is gone, or full for days, must not keep the alert from the others.
func TestRecipientThatIsRefusedHoldsNoOther(t *testing.T) {
	var logged bytes.Buffer
	synctest.Test(t, func(t *testing.T) {
		server := notifytest.NewMail(notifytest.MailOptions{})
		m := newMailer("mail.example:25")
		m.config.To = []string{"gone@example.com", "ops@example.com"}
		m.common.Logger = slog.New(slog.NewTextHandler(&logged, nil))
		m.common.DialContext = inMemory(server.Serve)
		r := m.receiver(t)
		for range 2 {
			server.Answer("RCPT", 1, "550 5.1.1 no such user")
			if err := send(t, r); err != nil {
				t.Fatal(err)
			}
		}
		if got := server.Received(); len(got) != 2 || !slices.Equal(got[1].To, []string{"ops@example.com"}) {
			t.Errorf("received %d", len(got))
		}
		if strings.Count(logged.String(), "gone@example.com") != 1 {
			t.Errorf("log: %s", logged.String())
		}
		server.Answer("RCPT", 1, "452 4.2.2 mailbox full")
		if e := failure(t, send(t, r)); e.Outcome != notify.Retry {
			t.Errorf("a recipient that is put off: %v, want retry", e)
		}
		<-time.After(61 * time.Minute)
		server.Answer("RCPT", 1, "452 4.2.2 mailbox full")
		if err := send(t, r); err != nil {
			t.Errorf("after an hour: %v", err)
		}
		r.Close()
		server.Heal()
	})
}

func TestRefusalsByPolicyInARowAreTheTargetsFault(t *testing.T) {
	server := startMail(t, notifytest.MailOptions{})
	r := newMailer(server.Address()).receiver(t)
	var outcomes []notify.Outcome
	tell := func() { outcomes = append(outcomes, notify.OutcomeOf(send(t, r))) }
	server.Answer("END", 2, "554 5.7.1 looks like spam")
	tell()
	tell()
	if err := send(t, r); err != nil {
		t.Fatal(err)
	}
	server.Answer("END", 3, "554 5.7.1 looks like spam")
	tell()
	tell()
	tell()
	want := []notify.Outcome{notify.BadPayload, notify.BadPayload, notify.BadPayload, notify.BadPayload, notify.BadTarget}
	if !slices.Equal(outcomes, want) {
		t.Errorf("%v, want %v", outcomes, want)
	}
}

func TestEachPhaseOfASubmissionHasATimeLimit(t *testing.T) {
	for verb, within := range map[string]time.Duration{
		"GREETING": time.Minute, "EHLO": 2 * time.Minute, "MAIL": time.Minute, "RCPT": time.Minute, "DATA": time.Minute, "END": 2 * time.Minute, "dial": 15 * time.Second,
	} {
		synctest.Test(t, func(t *testing.T) {
			server := notifytest.NewMail(notifytest.MailOptions{})
			server.Hang(verb)
			m := newMailer("mail.example:25")
			m.common.DialContext = inMemory(server.Serve)
			if verb == "dial" {
				m.common.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
					<-ctx.Done()
					return nil, ctx.Err()
				}
			}
			r := m.receiver(t)
			begin := time.Now()
			err := r.Send(context.Background(), render(t, r, message(plainIncident()), notify.Full))
			if e := failure(t, err); e.Outcome != notify.Retry {
				t.Errorf("%s: %v, want retry", verb, e)
			}
			if took := time.Since(begin); took > within {
				t.Errorf("%s: gave up after %s, want %s", verb, took, within)
			}
			// The attempt's own end comes first.
			ctx, cancel := context.WithTimeoutCause(context.Background(), 10*time.Second, errors.New("the attempt is over"))
			defer cancel()
			begin = time.Now()
			err = r.Send(ctx, render(t, r, message(plainIncident()), notify.Full))
			if e := failure(t, err); e.Outcome != notify.Retry || time.Since(begin) > 10*time.Second || !strings.Contains(e.Error(), "the attempt is over") {
				t.Errorf("%s: %v after %s, want a retry after 10 s", verb, e, time.Since(begin))
			}
			r.Close()
			server.Heal()
		})
	}
}

func TestAnswerOfAMailServerIsReadWithinBounds(t *testing.T) {
	for name, text := range map[string]string{"a line": strings.Repeat("2", 1000), "lines": strings.Repeat("220-yes\r\n", 100)} {
		written := 0
		m := newMailer("mail.example:25")
		served := make(chan struct{})
		m.common.DialContext = inMemory(func(far net.Conn) {
			defer close(served)
			for written < 4<<20 {
				n, err := io.WriteString(far, text)
				if written += n; err != nil {
					return
				}
			}
		})
		if e := failure(t, send(t, m.receiver(t))); e.Outcome != notify.Retry {
			t.Errorf("%s: %v, want retry", name, e)
		}
		if <-served; written > 70<<10 {
			t.Errorf("%s: %d bytes were read", name, written)
		}
	}
}

func TestNoMailSecretInErrorsOrFormattedValues(t *testing.T) {
	secure, caFile := mailTLS(t)
	server := startMail(t, notifytest.MailOptions{TLS: secure, User: "edge", Password: mailPassword})
	secrets := []string{mailPassword, base64.StdEncoding.EncodeToString([]byte(mailPassword)), base64.StdEncoding.EncodeToString([]byte("\x00edge\x00" + mailPassword))}
	for _, verb := range []string{"GREETING", "EHLO", "AUTH", "MAIL", "RCPT", "DATA", "END"} {
		m := newMailer(server.Address()).signedIn(caFile)
		server.Answer(verb, 2, "554 5.5.0 you said "+strings.Join(secrets, " "))
		err := send(t, m.receiver(t))
		server.Heal()
		for e := err; e != nil; e = errors.Unwrap(e) {
			noSecret(t, verb, secrets, fmt.Sprintf("%s %v %+v %#v %q", e, e, e, e, e))
		}
		if err != nil {
			noSecret(t, verb, secrets, string(failure(t, err).Answer))
		}
		noSecret(t, "config", secrets, fmt.Sprintf("%v %+v %#v", m.config, m.config, m.config))
	}
}

func TestEmailConfigurationIsChecked(t *testing.T) {
	c := email.Config{Smarthost: "smtp.example.com", Security: "ssl", User: "edge", From: "Edge <edge@example.com>", To: []string{"a@b\r\nRCPT", "ok@example.com", "ünï@example.com"}, Hello: "a b"}
	var mistakes []string
	c.Check(func(key, _ string, _ ...any) { mistakes = append(mistakes, key) })
	if want := []string{"smarthost", "security", "user", "from", "to[0]", "to[2]", "hello"}; !slices.Equal(mistakes, want) {
		t.Errorf("mistakes %q, want %q", mistakes, want)
	}
	c = email.Config{Smarthost: "smtp.example.com:465", From: "a@b.example", Hello: "localhost"}
	mistakes = nil
	c.Check(func(key, _ string, _ ...any) { mistakes = append(mistakes, key) })
	if !slices.Equal(mistakes, []string{"to"}) {
		t.Errorf("mistakes %q", mistakes)
	}
}

// mailbox is the far end of a real SMTP server.
type mailbox struct {
	mu       sync.Mutex
	from, to string
	messages []string
	users    []string
}

// NewSession begins one.
func (b *mailbox) NewSession(*smtp.Conn) (smtp.Session, error) { return &mailSession{b}, nil }

type mailSession struct{ *mailbox }

// AuthMechanisms are those that the server knows.
func (s *mailSession) AuthMechanisms() []string { return []string{sasl.Plain} }

// Auth takes any user with the right password.
func (s *mailSession) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.users = append(s.users, user)
		if password != mailPassword {
			return errors.New("wrong")
		}
		return nil
	}), nil
}

// Mail, Rcpt and Data note what is said.
func (s *mailSession) Mail(from string, _ *smtp.MailOptions) error {
	s.from = from
	return nil
}

// Rcpt notes the recipient.
func (s *mailSession) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.to = to
	return nil
}

// Data reads the message.
func (s *mailSession) Data(r io.Reader) error {
	text, err := io.ReadAll(r)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.messages = append(s.messages, string(text))
	return err
}

// Reset and Logout have nothing to do.
func (s *mailSession) Reset() {}

// Logout ends it.
func (s *mailSession) Logout() error { return nil }

// TestRealServerTakesMail is against a server that this project did not write, by both ways to TLS and with every message of the contract.
func TestRealServerTakesMail(t *testing.T) {
	for _, security := range []string{"starttls", "tls"} {
		secure, caFile := mailTLS(t)
		box := &mailbox{}
		server := smtp.NewServer(box)
		server.TLSConfig, server.Domain, server.MaxMessageBytes, server.ErrorLog = secure, "mail.example", 20_000, quietLog{}
		listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		address := listener.Addr().String()
		if security == "tls" {
			listener = tls.NewListener(listener, secure)
		}
		done := make(chan error, 1)
		go func() { done <- server.Serve(listener) }()
		m := newMailer(address).signedIn(caFile)
		m.config.Security = security
		r := m.receiver(t)
		all := messages()
		for name, m := range all {
			request := render(t, r, m, notify.Full)
			if err := r.Send(t.Context(), request); err != nil {
				t.Fatalf("%s, %s: %v", security, name, err)
			}
		}
		r.Close()
		_ = server.Close()
		if err := <-done; err != nil && !errors.Is(err, smtp.ErrServerClosed) {
			t.Error(err)
		}
		if len(box.messages) != len(all) || box.from != "edge@shop.example" || box.to != "ops@example.com" || !slices.Equal(box.users, []string{"edge"}) {
			t.Errorf("%s: %d messages of %d from %q to %q, signed in as %q", security, len(box.messages), len(all), box.from, box.to, box.users)
		}
		for _, text := range box.messages {
			if header, body, ok := strings.Cut(text, "\r\n\r\n"); !ok || body == "" || !regexp.MustCompile(`(?m)^Message-ID: <[0-9a-f]{32}\.\d@shop\.example>\r$`).MatchString(header) {
				t.Errorf("%s: %q", security, text)
			}
		}
	}
}

type quietLog struct{}

// Printf and Println drop what is said.
func (quietLog) Printf(string, ...any) {}

// Println drops what is said.
func (quietLog) Println(...any) {}

// TestEveryByteOfMailIsCounted: mail goes through the sockets that count, like everything else.
func TestEveryByteOfMailIsCounted(t *testing.T) {
	server := startMail(t, notifytest.MailOptions{})
	m := newMailer(server.Address())
	var dialled []string
	m.common.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		dialled = append(dialled, address)
		return new(net.Dialer).DialContext(ctx, network, address)
	}
	r := m.receiver(t)
	if err := send(t, r); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{server.Address()}, dialled); diff != "" {
		t.Error(diff)
	}
	if got := r.(interface{ Destination() string }).Destination(); got != "127.0.0.1" {
		t.Errorf("destination %q", got)
	}
}

func TestUnreadablePasswordKeepsTheQueue(t *testing.T) {
	m := newMailer("127.0.0.1:1").signedIn("")
	m.config.Password = notify.SecretFile(filepath.Join(t.TempDir(), "missing"))
	if e := failure(t, send(t, m.receiver(t))); e.Outcome != notify.BadTarget || !errors.Is(e, os.ErrNotExist) {
		t.Errorf("%v, want bad target", e)
	}
}
