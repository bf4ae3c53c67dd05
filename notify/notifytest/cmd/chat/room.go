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

	"github.com/edge-eventer/edge-eventer/notify/notifytest"
)

// maxShown is how many messages the page shows; older ones are forgotten.
const maxShown = 200

// place is one destination: a fake, where it listens, and how its messages are shown.
type place struct {
	name   string
	prefix string
	fake   *notifytest.Fake
	show   func(*notifytest.Received) card
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

func newRoom(base, secret string) *room {
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
		{name: "webhook", prefix: "/webhook", fake: notifytest.New(&notifytest.Webhook{}), show: showWebhook, config: []string{url("/webhook")}},
		{name: "alertmanager", prefix: "/api/v2/alerts", fake: notifytest.New(&notifytest.Alertmanager{}), show: showAlerts, config: []string{"url: " + base}},
		{name: "kafka-rest", prefix: "/topics/", fake: notifytest.New(&notifytest.KafkaRest{}), show: showJSON, config: []string{"url: " + base}},
		{name: "cloudevents", prefix: "/cloudevents", fake: notifytest.New(&notifytest.CloudEvents{Batched: true}), show: showJSON, config: []string{url("/cloudevents")}},
	}
	for _, p := range r.places {
		p.fake.OnReceive(func(m notifytest.Received) { r.add(p, &m) })
	}
	return r
}

func (r *room) add(p *place, m *notifytest.Received) {
	c := p.show(m)
	c.Place, c.Time, c.Raw = p.name, m.At.Format("15:04:05"), indented(m.Body)
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
		p.fake.Heal()
	}
}

// faults are the buttons.
func faults() []struct {
	Name, Label string
	set         func(*notifytest.Fake)
} {
	return []struct {
		Name, Label string
		set         func(*notifytest.Fake)
	}{
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
			if strings.HasPrefix(req.URL.Path, p.prefix) {
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
		s := shownPlace{
			Name: p.name, Count: len(p.fake.Received()), Asked: p.fake.Requests(),
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
				p.fake.Heal()
				f.set(p.fake)
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
