package main

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/edge-eventer/edge-eventer/notify/notifytest"
)

// maxShown is how many messages the page shows; older ones are forgotten.
const maxShown = 200

// place is one destination: a fake, where it listens, and how its messages are shown.
type place struct {
	name   string
	prefix string
	// fake or mail is the far end.
	fake *notifytest.Fake
	mail *notifytest.Mail
	show func(*notifytest.Received) card
	// config is the receiver in the agent's configuration, its lines after the name.
	config []string
	fault  string
}

// room is all places and what arrived at them.
type room struct {
	places []*place
	page   *template.Template

	mu       sync.Mutex
	messages []card
	count    int
}

// card is a message as the page shows it.
type card struct {
	Number int
	Place  string
	Time   string
	// Color is a colour of CSS: the header's or the bar's.
	Color  string
	Title  string
	Blocks []block
	Raw    string
}

// block is a part of a message. HTML was made by this program, from escaped text.
type block struct {
	// Class is text, quote, note, pre, bar or line.
	Class string
	Color string
	HTML  template.HTML
}

//go:embed page.html
var pageSource string

// newRoom returns one whose fakes are at the base URL and whose mail server is at the address.
func newRoom(base, mail, secret string) *room {
	r := &room{page: template.Must(template.New("page").Parse(pageSource))}
	signed := func(lines ...string) []string {
		if secret != "" {
			lines = append(lines, "secret: "+secret)
		}
		return lines
	}
	url := func(path string) string { return "url: " + base + path }
	r.places = []*place{
		{name: "feishu", prefix: "/open-apis/bot/v2/hook/", fake: notifytest.New(&notifytest.Feishu{Secret: secret, PerSecond: 5, PerMinute: 100}), show: showFeishu, config: signed(url("/open-apis/bot/v2/hook/demo"))},
		{name: "dingtalk", prefix: "/robot/send", fake: notifytest.New(&notifytest.Dingtalk{Secret: secret, PerMinute: 20}), show: showDingtalk, config: signed(url("/robot/send?access_token=demo"))},
		{name: "wecom", prefix: "/cgi-bin/webhook/send", fake: notifytest.New(&notifytest.Wecom{PerMinute: 20}), show: showWecom, config: []string{url("/cgi-bin/webhook/send?key=demo")}},
		{name: "slack", prefix: "/services/", fake: notifytest.New(&notifytest.Slack{PerSecond: 3}), show: showSlack, config: []string{url("/services/T/B/demo")}},
		{name: "telegram", prefix: "/bot", fake: notifytest.New(&notifytest.Telegram{PerMinute: 20}), show: showTelegram, config: []string{"url: " + base, "token: 1:demo", "chatId: \"-100\""}},
		{name: "worktile", prefix: "/incoming/", fake: notifytest.New(&notifytest.Worktile{}), show: showWorktile, config: []string{url("/incoming/demo")}},
		{name: "teams", prefix: "/powerautomate/", fake: notifytest.New(&notifytest.Teams{Sig: "demo", PerSecond: 4}), show: showTeams, config: []string{url("/powerautomate/workflows/demo/triggers/manual/paths/invoke?sig=demo")}},
		{name: "email", mail: notifytest.NewMail(notifytest.MailOptions{}), config: []string{"smarthost: " + mail, "security: none", "from: edge@shop.example", "to: [ops@example.com]"}},
		{name: "webhook", prefix: "/webhook", fake: notifytest.New(&notifytest.Webhook{}), show: showWebhook, config: []string{url("/webhook")}},
		{name: "alertmanager", prefix: "/api/v2/alerts", fake: notifytest.New(&notifytest.Alertmanager{}), show: showAlerts, config: []string{"url: " + base}},
		{name: "kafka-rest", prefix: "/topics/", fake: notifytest.New(&notifytest.KafkaRest{}), show: showJSON, config: []string{"url: " + base}},
		{name: "cloudevents", prefix: "/cloudevents", fake: notifytest.New(&notifytest.CloudEvents{Batched: true}), show: showJSON, config: []string{url("/cloudevents")}},
	}
	for _, p := range r.places {
		if p.mail != nil {
			p.mail.OnReceive(func(l notifytest.Letter) { r.add(p, showLetter(&l), l.At, string(l.Raw)) })
			continue
		}
		p.fake.OnReceive(func(m notifytest.Received) { r.add(p, p.show(&m), m.At, indented(m.Body)) })
	}
	return r
}

// mail is the mail server among the places.
func (r *room) mail() *notifytest.Mail {
	for _, p := range r.places {
		if p.mail != nil {
			return p.mail
		}
	}
	return nil
}

// counts returns how many messages were taken, and how many there were.
func (p *place) counts() (taken, asked int) {
	if p.mail == nil {
		return len(p.fake.Received()), p.fake.Requests()
	}
	for _, line := range p.mail.Commands() {
		if strings.HasPrefix(line, "MAIL ") {
			asked++
		}
	}
	return len(p.mail.Received()), asked
}

// set sets a fault.
func (p *place) set(f *fault) {
	if p.mail == nil {
		p.fake.Heal()
		f.set(p.fake)
		return
	}
	p.mail.Heal()
	switch f.Name {
	case "heal":
	case "hang":
		p.mail.Hang("MAIL")
	default:
		verb := map[string]string{"down": "MAIL", "500": "END", "rate": "MAIL", "refuse": "MAIL", "portal": "GREETING"}[f.Name]
		p.mail.Answer(verb, -1, map[string]string{
			"500": "451 4.3.0 local error", "rate": "450 4.7.1 slow down", "refuse": "550 5.7.1 not from here", "portal": "HTTP/1.1 302 Found",
		}[f.Name])
		p.mail.Drop()
	}
}

func (r *room) add(p *place, c card, at time.Time, raw string) {
	c.Place, c.Time, c.Raw = p.name, at.Format("15:04:05"), raw
	r.mu.Lock()
	defer r.mu.Unlock()
	r.count++
	c.Number = r.count
	r.messages = append(r.messages, c)
	if len(r.messages) > maxShown {
		r.messages = slices.Delete(r.messages, 0, len(r.messages)-maxShown)
	}
}

func (r *room) heal() {
	for _, p := range r.places {
		p.set(&fault{Name: "heal", set: (*notifytest.Fake).Heal})
	}
}

// fault is a button.
type fault struct {
	Name, Label string
	set         func(*notifytest.Fake)
}

// faults are the buttons.
func faults() []fault {
	return []fault{
		{"heal", "works", (*notifytest.Fake).Heal},
		{"down", "down", (*notifytest.Fake).Down},
		{"hang", "hang", (*notifytest.Fake).Hang},
		{"500", "HTTP 500", func(f *notifytest.Fake) { f.FailAlways(notifytest.Answer{Status: http.StatusInternalServerError}) }},
		{"rate", "rate limit", (*notifytest.Fake).RateLimitAlways},
		{"refuse", "wrong signature", (*notifytest.Fake).RefuseAlways},
		{"portal", "captive portal", (*notifytest.Fake).CaptivePortal},
	}
}

func (r *room) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", r.servePage)
	mux.HandleFunc("POST /fault", r.setFault)
	mux.HandleFunc("/", func(w http.ResponseWriter, req *http.Request) {
		for _, p := range r.places {
			if p.fake != nil && strings.HasPrefix(req.URL.Path, p.prefix) {
				p.fake.ServeHTTP(w, req)
				return
			}
		}
		http.NotFound(w, req)
	})
	return mux
}

// servePage shows everything, or with ?part only what changes, which the page asks for each second.
func (r *room) servePage(w http.ResponseWriter, req *http.Request) {
	type button struct {
		Name, Label string
		On          bool
	}
	type shownPlace struct {
		Name    string
		Count   int
		Asked   int
		Buttons []button
		Config  string
	}
	var data struct {
		Places   []shownPlace
		Messages []card
		Only     string
	}
	data.Only = req.URL.Query().Get("only")
	r.mu.Lock()
	for _, p := range r.places {
		taken, asked := p.counts()
		s := shownPlace{
			Name: p.name, Count: taken, Asked: asked,
			Config: fmt.Sprintf("- name: %s-demo\n  type: %s\n  %s", p.name, p.name, strings.Join(p.config, "\n  ")),
		}
		for _, f := range faults() {
			s.Buttons = append(s.Buttons, button{f.Name, f.Label, p.fault == f.Name || p.fault == "" && f.Name == "heal"})
		}
		data.Places = append(data.Places, s)
	}
	for _, m := range slices.Backward(r.messages) {
		if data.Only == "" || m.Place == data.Only {
			data.Messages = append(data.Messages, m)
		}
	}
	r.mu.Unlock()
	name := "page"
	if req.URL.Query().Has("part") {
		name = "part"
	}
	var b bytes.Buffer
	if err := r.page.ExecuteTemplate(&b, name, data); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	header := w.Header()
	header.Set("Content-Type", "text/html; charset=utf-8")
	header.Set("Cache-Control", "no-store")
	header.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; form-action 'self'")
	_, _ = w.Write(b.Bytes())
}

func (r *room) setFault(w http.ResponseWriter, req *http.Request) {
	if site := req.Header.Get("Sec-Fetch-Site"); site != "" && site != "same-origin" && site != "none" {
		http.Error(w, "only from the page itself", http.StatusForbidden)
		return
	}
	name, wanted := req.FormValue("place"), req.FormValue("fault")
	for _, f := range faults() {
		if f.Name != wanted {
			continue
		}
		for _, p := range r.places {
			if p.name == name || name == "all" {
				p.set(&f)
				r.mu.Lock()
				p.fault = f.Name
				r.mu.Unlock()
			}
		}
		http.Redirect(w, req, "/", http.StatusSeeOther)
		return
	}
	http.Error(w, "unknown fault", http.StatusBadRequest)
}
