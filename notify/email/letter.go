package email

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"mime"
	"mime/quotedprintable"
	"strings"
	"time"

	"github.com/edge-eventer/edge-eventer/notify"
	"github.com/edge-eventer/edge-eventer/notify/chat"
	"github.com/edge-eventer/edge-eventer/notify/untrusted"
)

const (
	// limit bounds the whole message with its header. Servers take 10 MB and more; a person reads a screen, and a link is paid by the byte.
	limit = 16_000
	// maxSubject is how many characters of a subject are shown: no more than mail programs show, and encoded well below a header's 998 bytes.
	maxSubject = 120
	// simpleText is how much of an event's message the simple form shows: a server may have found it too large, or its text suspicious.
	simpleText = 300
	// lineLength is of base64: RFC 2045, section 6.8.
	lineLength = 76
)

// Render builds a message of plain text as it goes over the wire, header and all; with Simple a shorter one.
func (r *receiver) Render(m *notify.Message, form notify.Form) (*notify.Request, error) {
	build := func(n, textLimit int) []byte {
		if form == notify.Simple {
			textLimit = min(textLimit, simpleText)
		}
		var b bytes.Buffer
		r.header(&b, m, n)
		encode(&b, r.Plain(m, n, textLimit)+"\n")
		return b.Bytes()
	}
	body, n := chat.Fit(m, r.Most(m), limit, build, chat.ByteSize)
	return &notify.Request{Method: "SMTP", Body: body, Incidents: n, Time: m.Now, Losses: m.LossesIn(notify.LossesWhole)}, nil
}

// header writes the header without what says how the body is encoded. No text of an event is in it but the subject's.
func (r *receiver) header(b *bytes.Buffer, m *notify.Message, n int) {
	field := func(name, value string) { _, _ = fmt.Fprintf(b, "%s: %s\r\n", name, value) }
	_, domain, _ := strings.Cut(r.config.From, "@")
	field("From", "<"+r.config.From+">")
	field("To", "<"+strings.Join(r.config.To, ">,\r\n <")+">")
	subject := r.Title(m, n)
	if critical := chat.CountCritical(m.Incidents[:n]); critical > 0 {
		if n == 1 && m.Digest == nil {
			e := r.Entry(m, &m.Incidents[0], 0)
			subject = "[" + e.Severity + "] " + subject
		}
		field("Importance", "high")
	}
	field("Subject", encoded(subject))
	field("Date", m.Now.In(r.Common.Location).Format(time.RFC1123Z))
	part := 0
	if m.Digest != nil {
		part = m.Digest.Part
	}
	// It is the same for each try of the same content, so that a mailbox can tell a repeat.
	field("Message-ID", fmt.Sprintf("<%s.%d@%s>", notify.BatchID(m.Incidents[:n], m.Losses), part, domain))
	if n == 1 && m.Digest == nil {
		// A root that was never sent is enough for mail programs to put what names it into one thread.
		root := "<" + thread(&m.Incidents[0]) + "@" + domain + ">"
		field("In-Reply-To", root)
		field("References", root)
	}
	field("MIME-Version", "1.0")
	// No vacation notice shall come back: RFC 3834.
	field("Auto-Submitted", "auto-generated")
	field("Content-Type", "text/plain; charset=utf-8")
}

// thread is the same for all that is told of one incident, and another one once it happens anew.
func thread(in *notify.Incident) string {
	h := sha256.New()
	for _, part := range []string{in.Cluster, in.InvolvedObject.Kind, in.InvolvedObject.Namespace, in.Workload, in.Reason} {
		_, _ = fmt.Fprintf(h, "%d:%s", len(part), part)
	}
	_, _ = fmt.Fprintf(h, "%d", in.FirstSeen.Unix())
	return "incident-" + hex.EncodeToString(h.Sum(nil)[:12])
}

// encoded is a text as it may stand in a header: one line of ASCII, folded where it is encoded. A text that looks encoded is not.
func encoded(text string) string {
	text = untrusted.CutRunes(untrusted.CleanLine(text), maxSubject)
	text = strings.ReplaceAll(text, "=?", "＝?")
	q, b := mime.QEncoding.Encode("utf-8", text), mime.BEncoding.Encode("utf-8", text)
	if len(b) < len(q) {
		q = b
	}
	return strings.ReplaceAll(q, "?= =?", "?=\r\n =?")
}

// encode writes how the body is encoded, an empty line, and the body: quoted-printable, which anybody can read, or base64 where that is
// shorter, as in Chinese.
func encode(b *bytes.Buffer, text string) {
	text = strings.ReplaceAll(text, "\n", "\r\n")
	var quoted bytes.Buffer
	w := quotedprintable.NewWriter(&quoted)
	_, _ = w.Write([]byte(text))
	_ = w.Close()
	if quoted.Len() <= len(text)*4/3 {
		b.WriteString("Content-Transfer-Encoding: quoted-printable\r\n\r\n")
		_, _ = quoted.WriteTo(b)
		return
	}
	b.WriteString("Content-Transfer-Encoding: base64\r\n\r\n")
	for line := base64.StdEncoding.EncodeToString([]byte(text)); line != ""; {
		n := min(len(line), lineLength)
		b.WriteString(line[:n] + "\r\n")
		line = line[n:]
	}
}
