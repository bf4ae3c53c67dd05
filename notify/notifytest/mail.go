package notifytest

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"mime"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"
)

// maxMail is the size that a Mail announces.
const maxMail = 64 << 10

// MailOptions say what a mail server offers and asks for.
type MailOptions struct {
	// TLS is offered by STARTTLS, or spoken at once with Implicit. Nil: neither.
	TLS      *tls.Config
	Implicit bool
	// User and Password must be given if set. Mechanisms are those of AUTH. Default: PLAIN LOGIN.
	User, Password string
	Mechanisms     string
}

// Mail is a server for the submission of mail. It takes what it would have to pass on as it is: ASCII in lines that end with CR and LF, a header
// that RFC 5322 allows, with each field once. Its faults are set by the verb after which they come.
type Mail struct {
	options MailOptions
	listen  net.Listener

	mu          sync.Mutex
	answers     map[string][]string
	hangs       string
	letters     []Letter
	connections int
	commands    []string
	conns       map[net.Conn]bool
	stop        chan struct{}
	onReceive   func(Letter)
	served      sync.WaitGroup
}

// Letter is a message that was taken.
type Letter struct {
	At   time.Time
	From string
	To   []string
	// Header is decoded; Body is the text without its encoding, its lines ending with LF.
	Header mail.Header
	Body   string
	Raw    []byte
}

// Subject is the decoded subject.
func (l *Letter) Subject() string {
	text, err := new(mime.WordDecoder).DecodeHeader(l.Header.Get("Subject"))
	if err != nil {
		return "cannot decode: " + err.Error()
	}
	return text
}

// StartMail runs a mail server at the address, such as 127.0.0.1:0, until Close.
func StartMail(address string, o MailOptions) (*Mail, error) {
	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen for mail: %w", err)
	}
	m := NewMail(o)
	m.Listen(listener)
	return m, nil
}

// Listen serves the connections of a listener until Close.
func (m *Mail) Listen(listener net.Listener) {
	m.listen = listener
	m.served.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			m.served.Go(func() { m.Serve(conn) })
		}
	})
}

// NewMail returns a server that listens nowhere: Serve hands it connections.
func NewMail(o MailOptions) *Mail {
	if o.Mechanisms == "" {
		o.Mechanisms = "PLAIN LOGIN"
	}
	return &Mail{options: o, answers: make(map[string][]string), conns: make(map[net.Conn]bool), stop: make(chan struct{})}
}

// Address is host:port.
func (m *Mail) Address() string { return m.listen.Addr().String() }

// Answer gives the next of a verb this line without looking: GREETING, EHLO, STARTTLS, AUTH, MAIL, RCPT, DATA, QUIT, or END, the end of a message. An
// empty line closes the connection instead. With n below 0 each one gets it until Heal.
func (m *Mail) Answer(verb string, n int, line string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if n < 0 {
		n = 1 << 16
	}
	m.answers[verb] = append(m.answers[verb], slices.Repeat([]string{line}, n)...)
}

// Hang answers nothing from the verb on, until Heal.
func (m *Mail) Hang(verb string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.hangs = verb
}

// Heal ends all faults.
func (m *Mail) Heal() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.hangs = ""
	clear(m.answers)
	close(m.stop)
	m.stop = make(chan struct{})
}

// Drop closes all connections, as a server does with idle ones.
func (m *Mail) Drop() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for conn := range m.conns {
		_ = conn.Close()
	}
}

// Close stops the server and waits for its connections.
func (m *Mail) Close() {
	if m.listen != nil {
		_ = m.listen.Close()
	}
	m.Heal()
	m.Drop()
	m.served.Wait()
}

// OnReceive calls f with each message that is taken, before it is answered.
func (m *Mail) OnReceive(f func(Letter)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.onReceive = f
}

// Received returns the messages that were taken, oldest first.
func (m *Mail) Received() []Letter {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.letters)
}

// Connections counts the connections that were opened, Commands lists what was said over them.
func (m *Mail) Connections() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.connections
}

// Commands lists what clients said, a line each, without the messages.
func (m *Mail) Commands() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.commands)
}

// next notes a verb and returns what is to be answered in its place.
func (m *Mail) next(verb, line string) (answer string, scripted bool) {
	m.mu.Lock()
	if line != "" && len(m.commands) < maxReceived {
		m.commands = append(m.commands, line)
	}
	if m.hangs == verb {
		stop := m.stop
		m.mu.Unlock()
		<-stop
		return "", true
	}
	defer m.mu.Unlock()
	if left := m.answers[verb]; len(left) > 0 {
		m.answers[verb] = left[1:]
		return left[0], true
	}
	return "", false
}

// mailConn is one connection.
type mailConn struct {
	*Mail

	conn    net.Conn
	r       *bufio.Reader
	secure  bool
	greeted bool
	user    bool
	from    string
	size    int
	to      []string
}

// errMailEnd ends a connection.
const errMailEnd = mailEnd("the conversation is over")

type mailEnd string

// Error returns the text.
func (e mailEnd) Error() string { return string(e) }

// Serve talks to one client.
func (m *Mail) Serve(conn net.Conn) {
	m.mu.Lock()
	m.connections++
	m.conns[conn] = true
	m.mu.Unlock()
	defer func() {
		m.mu.Lock()
		delete(m.conns, conn)
		m.mu.Unlock()
		_ = conn.Close()
	}()
	c := &mailConn{Mail: m, conn: conn}
	if m.options.Implicit {
		c.conn, c.secure = tls.Server(conn, m.options.TLS), true
	}
	c.r = bufio.NewReader(c.conn)
	if c.say("GREETING", "", "220 mail.example ESMTP") != nil {
		return
	}
	for {
		line, err := c.r.ReadString('\n')
		if err != nil || c.command(strings.TrimSuffix(line, "\r\n")) != nil {
			return
		}
	}
}

// say writes what is due after a verb, or what was set in its place.
func (c *mailConn) say(verb, line, due string) error {
	answer, scripted := c.next(verb, line)
	if !scripted {
		answer = due
	}
	if answer == "" {
		return errMailEnd
	}
	_, err := io.WriteString(c.conn, strings.ReplaceAll(answer, "\n", "\r\n")+"\r\n")
	if err == nil && scripted && (strings.HasPrefix(answer, "421") || verb == "GREETING" && answer[0] != '2') {
		return errMailEnd
	}
	return err
}

func (c *mailConn) command(line string) error {
	verb, rest, _ := strings.Cut(line, " ")
	verb = strings.ToUpper(verb)
	switch verb {
	case "EHLO":
		c.greeted = true
		lines := []string{"mail.example", "8BITMIME", "SMTPUTF8", "SIZE " + strconv.Itoa(maxMail)}
		if c.options.TLS != nil && !c.secure {
			lines = append(lines, "STARTTLS")
		}
		if c.options.User != "" && (c.secure || c.options.TLS == nil) {
			lines = append(lines, "AUTH "+c.options.Mechanisms)
		}
		last := len(lines) - 1
		return c.say(verb, line, "250-"+strings.Join(lines[:last], "\n250-")+"\n250 "+lines[last])
	case "STARTTLS":
		if c.options.TLS == nil || c.secure {
			return c.say(verb, line, "502 5.5.1 not offered")
		}
		if err := c.say(verb, line, "220 2.0.0 go ahead"); err != nil {
			return err
		}
		c.conn, c.secure, c.greeted = tls.Server(c.conn, c.options.TLS), true, false
		c.r = bufio.NewReader(c.conn)
		return nil
	case "AUTH":
		return c.auth(line, rest)
	case "MAIL", "RCPT":
		return c.envelope(verb, line, rest)
	case "DATA":
		return c.data(line)
	case "QUIT":
		_ = c.say(verb, line, "221 2.0.0 bye")
		return errMailEnd
	}
	return c.say(verb, line, "502 5.5.2 unknown command")
}

func (c *mailConn) auth(line, rest string) error {
	mechanism, initial, _ := strings.Cut(rest, " ")
	if !strings.Contains(" "+c.options.Mechanisms+" ", " "+mechanism+" ") || c.options.User == "" {
		return c.say("AUTH", line, "504 5.5.4 unknown mechanism")
	}
	if answer, scripted := c.next("AUTH", line); scripted {
		if answer == "" {
			return errMailEnd
		}
		_, err := io.WriteString(c.conn, answer+"\r\n")
		return err
	}
	ask := func(question string) (string, error) {
		_, _ = fmt.Fprintf(c.conn, "334 %s\r\n", base64.StdEncoding.EncodeToString([]byte(question)))
		answer, err := c.r.ReadString('\n')
		text, _ := base64.StdEncoding.DecodeString(strings.TrimSpace(answer))
		return string(text), err
	}
	var user, password string
	if mechanism == "PLAIN" {
		text, _ := base64.StdEncoding.DecodeString(initial)
		parts := append(strings.Split(string(text), "\x00"), "", "", "")
		user, password = parts[1], parts[2]
	} else {
		user, _ = ask("Username:")
		password, _ = ask("Password:")
	}
	if user != c.options.User || password != c.options.Password {
		_, err := io.WriteString(c.conn, "535 5.7.8 authentication credentials invalid\r\n")
		return err
	}
	c.user = true
	_, err := io.WriteString(c.conn, "235 2.7.0 welcome\r\n")
	return err
}

func (c *mailConn) envelope(verb, line, rest string) error {
	fields := strings.Fields(rest)
	switch {
	case !c.greeted:
		return c.say(verb, line, "503 5.5.1 say EHLO first")
	case c.options.TLS != nil && !c.secure:
		return c.say(verb, line, "530 5.7.0 say STARTTLS first")
	case c.options.User != "" && !c.user:
		return c.say(verb, line, "530 5.7.0 authentication required")
	case len(fields) == 0:
		return c.say(verb, line, "501 5.5.4 syntax")
	}
	prefix := map[string]string{"MAIL": "FROM:<", "RCPT": "TO:<"}[verb]
	address, ok := strings.CutPrefix(fields[0], prefix)
	address, closed := strings.CutSuffix(address, ">")
	if !ok || !closed || strings.Count(address, "@") != 1 {
		return c.say(verb, line, "501 5.1.7 syntax of the address")
	}
	if answer, scripted := c.next(verb, line); scripted {
		if answer != "" {
			_, err := io.WriteString(c.conn, answer+"\r\n")
			return err
		}
		return errMailEnd
	}
	if verb == "RCPT" {
		c.to = append(c.to, address)
	} else {
		c.from, c.to, c.size = address, nil, 0
		for _, parameter := range fields[1:] {
			size, isSize := strings.CutPrefix(parameter, "SIZE=")
			if !isSize {
				// What asks for more than ASCII may meet a server that does not know it.
				_, err := io.WriteString(c.conn, "555 5.5.4 parameter "+parameter+"\r\n")
				return err
			}
			c.size, _ = strconv.Atoi(size)
		}
		if c.size > maxMail {
			_, err := io.WriteString(c.conn, "552 5.3.4 too large\r\n")
			return err
		}
	}
	_, err := io.WriteString(c.conn, "250 2.1.0 ok\r\n")
	return err
}

func (c *mailConn) data(line string) error {
	if c.from == "" || len(c.to) == 0 {
		return c.say("DATA", line, "503 5.5.1 who to whom?")
	}
	answer, scripted := c.next("DATA", line)
	if scripted {
		if answer == "" {
			return errMailEnd
		}
		_, err := io.WriteString(c.conn, answer+"\r\n")
		return err
	}
	if _, err := io.WriteString(c.conn, "354 go on\r\n"); err != nil {
		return err
	}
	raw, err := c.message()
	if err != nil {
		return err
	}
	letter, mistake := readLetter(raw)
	letter.At, letter.From, letter.To = time.Now(), c.from, c.to
	switch {
	case mistake == "" && c.size != 0 && c.size != len(raw):
		mistake = fmt.Sprintf("SIZE says %d, it is %d", c.size, len(raw))
	case mistake == "" && letter.Header.Get("From") != "<"+c.from+">":
		mistake = "From is not who sends"
	}
	if mistake != "" {
		return c.say("END", "", "554 5.6.0 "+mistake)
	}
	answer, scripted = c.next("END", "")
	// A server may take a message and be gone before it says so.
	if !scripted || answer == "" || answer[0] == '2' {
		c.mu.Lock()
		if len(c.letters) == maxReceived {
			c.letters = slices.Delete(c.letters, 0, maxReceived/10)
		}
		c.letters = append(c.letters, letter)
		receive := c.onReceive
		c.mu.Unlock()
		if receive != nil {
			receive(letter)
		}
	}
	switch {
	case !scripted:
		answer = "250 2.0.0 queued as 4bXk0"
	case answer == "":
		return errMailEnd
	}
	_, err = io.WriteString(c.conn, answer+"\r\n")
	c.from, c.to = "", nil
	return err
}

// message reads up to the line with a dot, and undoes the doubling of dots.
func (c *mailConn) message() ([]byte, error) {
	var raw []byte
	for {
		line, err := c.r.ReadBytes('\n')
		if err != nil {
			return nil, err
		}
		if string(line) == ".\r\n" {
			return raw, nil
		}
		if raw = append(raw, bytes.TrimPrefix(line, []byte("."))...); len(raw) > 2*maxMail {
			return nil, errMailEnd
		}
	}
}

// readLetter reads a message, and says what is wrong with it.
func readLetter(raw []byte) (letter Letter, mistake string) {
	letter.Raw = raw
	for line := range bytes.SplitAfterSeq(raw, []byte("\n")) {
		text := bytes.TrimSuffix(line, []byte("\r\n"))
		switch {
		case len(line) == 0:
		case len(text) == len(line), bytes.ContainsAny(text, "\r\n\x00"):
			return letter, fmt.Sprintf("a line that does not end with CR LF: %q", line)
		case len(text) > 998:
			return letter, fmt.Sprintf("a line of %d bytes", len(text))
		case bytes.ContainsFunc(text, func(r rune) bool { return r > 0x7e || r < ' ' && r != '\t' }):
			return letter, fmt.Sprintf("a line that is not ASCII: %q", text)
		}
	}
	m, err := mail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		return letter, "header: " + err.Error()
	}
	letter.Header = m.Header
	if mistake := letterMistake(m.Header); mistake != "" {
		return letter, mistake
	}
	body := m.Body
	switch encoding := m.Header.Get("Content-Transfer-Encoding"); encoding {
	case "quoted-printable":
		body = quotedprintable.NewReader(body)
	case "base64":
		body = base64.NewDecoder(base64.StdEncoding, body)
	default:
		return letter, "unknown encoding " + encoding
	}
	text, err := io.ReadAll(body)
	letter.Body = strings.ReplaceAll(string(text), "\r\n", "\n")
	hidden := func(r rune) bool { return unicode.IsControl(r) && r != '\n' }
	switch {
	case err != nil:
		return letter, "body: " + err.Error()
	case !utf8.Valid(text):
		return letter, "the body is not UTF-8"
	case strings.ContainsFunc(letter.Body, hidden):
		return letter, "a control character in the body"
	}
	return letter, ""
}

// letterMistake finds a field that is missing, there twice, or none that the agent writes.
func letterMistake(header mail.Header) string {
	must := []string{
		"From", "To", "Subject", "Date", "Message-Id", "Mime-Version", "Auto-Submitted", "Content-Type", "Content-Transfer-Encoding",
	}
	may := []string{"In-Reply-To", "References", "Importance"}
	for _, name := range must {
		if len(header[textproto.CanonicalMIMEHeaderKey(name)]) != 1 {
			return fmt.Sprintf("%d times %s", len(header[name]), name)
		}
	}
	for name, values := range header {
		if len(values) != 1 || !slices.Contains(must, name) && !slices.Contains(may, name) {
			return "a header that is not the agent's: " + name
		}
	}
	id := header.Get("Message-Id")
	if !strings.HasPrefix(id, "<") || !strings.HasSuffix(id, ">") || strings.Count(id, "@") != 1 || strings.ContainsAny(id, " \t") {
		return "Message-ID " + id
	}
	if _, err := header.Date(); err != nil {
		return "Date: " + err.Error()
	}
	if _, err := header.AddressList("To"); err != nil {
		return "To: " + err.Error()
	}
	if _, err := new(mime.WordDecoder).DecodeHeader(header.Get("Subject")); err != nil {
		return "Subject: " + err.Error()
	}
	return ""
}
