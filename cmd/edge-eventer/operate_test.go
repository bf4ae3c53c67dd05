package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	corev1 "k8s.io/api/core/v1"

	"github.com/edge-eventer/edge-eventer/agent/config"
	"github.com/edge-eventer/edge-eventer/agent/control"
	"github.com/edge-eventer/edge-eventer/agent/event"
	"github.com/edge-eventer/edge-eventer/agent/incident"
	"github.com/edge-eventer/edge-eventer/spool"
)

// desk is a directory with a configuration and a spool, and no agent.
type desk struct {
	t      *testing.T
	config string
	spool  string
}

func newDesk(t *testing.T, receivers ...string) *desk {
	t.Helper()
	dir := t.TempDir()
	d := &desk{t: t, config: filepath.Join(dir, "config.yaml"), spool: filepath.Join(dir, "spool.db")}
	text := fmt.Sprintf("cluster: shop-1\nspool: {path: %s}\nserver: {listen: \"\"}\nreceivers:\n- %s\n", d.spool, strings.Join(receivers, "\n- "))
	if err := os.WriteFile(d.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return d
}

// run runs a command as a shell would and returns what it printed.
func (d *desk) run(in string, wantCode int, args ...string) (out, errOut string) {
	d.t.Helper()
	var o, e bytes.Buffer
	if code := run(args, strings.NewReader(in), &o, &e); code != wantCode {
		d.t.Fatalf("edge-eventer %s: exit code %d, want %d\n%s%s", strings.Join(args, " "), code, wantCode, &o, &e)
	}
	return o.String(), e.String()
}

// put stores n incidents for ops, of which the first is a dead letter.
func (d *desk) put(n int) {
	d.t.Helper()
	d.putFor("ops", n)
}

func (d *desk) putFor(receiver string, n int) {
	d.t.Helper()
	s, err := spool.Open(spool.Options{Path: d.spool})
	if err != nil {
		d.t.Fatal(err)
	}
	defer s.Close()
	err = s.Update(func(tx *spool.Tx) error {
		for i := range n {
			name := fmt.Sprintf("web%d", i)
			in, due, _ := incident.Policy{GroupWait: time.Second, ResolveAfter: time.Hour}.Fold(nil, &incident.Observation{
				Event: event.Event{
					InvolvedObject: event.Reference{Kind: "Pod", Namespace: "shop", Name: name},
					Reason:         "BackOff", Message: "\x1b]0;owned\a\x1b[31mBack-off\nrestarting", Count: 2, Type: "Warning",
				},
				Workload: name, New: 2, At: time.Now(),
			})
			if err := tx.Queue(receiver).Put(spool.Record{Key: incident.Key("shop", "Pod", name, "BackOff"), Due: due, Untold: in.Untold(), Body: in.Append(nil)}); err != nil {
				return err
			}
		}
		return tx.Queue(receiver).Bury(incident.Key("shop", "Pod", "web0", "BackOff"), "too long", []byte("no"), time.Now())
	})
	if err != nil {
		d.t.Fatal(err)
	}
}

const stdoutReceiver = "{name: ops, type: stdout}"

func TestSpoolIsInspectedAndRepairedWithoutAnAgent(t *testing.T) {
	d := newDesk(t, stdoutReceiver)
	d.put(3)
	out, _ := d.run("", exitOK, "spool", "ls", "--config", d.config)
	if !utf8.ValidString(out) {
		t.Errorf("a name was cut within a character:\n%s", out)
	}
	if lines := strings.Count(out, "\n"); lines != 4 || !strings.Contains(out, "dead") {
		t.Errorf("ls printed:\n%s", out)
	}
	out, _ = d.run("", exitOK, "spool", "export", "--config", d.config)
	dead := ""
	for line := range strings.Lines(out) {
		var e control.Entry
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("export: %v in %s", err, line)
		}
		if e.Dead {
			dead = e.ID
		}
	}
	out, _ = d.run("", exitOK, "spool", "show", "--config", d.config, dead[:8])
	if !strings.Contains(out, `"reason": "too long"`) || !strings.Contains(out, `"workload": "web0"`) {
		t.Errorf("show printed:\n%s", out)
	}
	out, _ = d.run("", exitOK, "spool", "retry", "--config", d.config, "--receiver", "ops")
	if out != "1 incidents with 2 events are due now\n" {
		t.Errorf("retry printed: %s", out)
	}
	d.run("", exitFailed, "spool", "show", "--config", d.config, "0123456789")
}

func TestDropAsksFirst(t *testing.T) {
	d := newDesk(t, stdoutReceiver)
	d.put(3)
	_, asked := d.run("no\n", exitFailed, "spool", "drop", "--config", d.config, "--receiver", "ops")
	if !strings.Contains(asked, "all 3 incidents of ops") || !strings.Contains(asked, "nothing was dropped") {
		t.Errorf("it asked: %s", asked)
	}
	out, _ := d.run("", exitOK, "spool", "ls", "--config", d.config)
	if strings.Count(out, "\n") != 4 {
		t.Errorf("after a no, ls prints:\n%s", out)
	}
	d.run("yes\n", exitOK, "spool", "drop", "--config", d.config, "--receiver", "ops")
	d.put(2)
	d.run("", exitOK, "spool", "drop", "--config", d.config, "--receiver", "ops", "--yes")
	if out, _ := d.run("", exitOK, "spool", "ls", "--config", d.config); strings.Count(out, "\n") != 1 {
		t.Errorf("after two drops, ls prints:\n%s", out)
	}
}

func TestEventTextIsHarmlessOnATerminal(t *testing.T) {
	d := newDesk(t, stdoutReceiver)
	d.put(2)
	out, _ := d.run("", exitOK, "spool", "ls", "--config", d.config)
	if strings.ContainsAny(out, "\x1b\a") {
		t.Errorf("ls prints control characters: %q", out)
	}
}

// TestListedEntriesCanBeSearchedAndPasted pipes spool ls, with a receiver's name and a message that are long.
func TestListedEntriesCanBeSearchedAndPasted(t *testing.T) {
	const name = "a-receiver-whose-name-is-long-and-not-cut-in-a-pipe"
	d := newDesk(t, "{name: "+name+", type: stdout}")
	d.putFor(name, 2)
	exported, _ := d.run("", exitOK, "spool", "export", "--config", d.config)
	for _, format := range []string{"text", "wide"} {
		out, _ := d.run("", exitOK, "spool", "ls", "-o", format, "--config", d.config)
		lines := strings.Split(strings.TrimSpace(out), "\n")
		for _, line := range lines[1:] {
			words := strings.Fields(line)
			shown, _ := d.run("", exitOK, "spool", "show", words[0], "--receiver", words[1], "--config", d.config)
			if !strings.Contains(shown, words[0]) || words[1] != name {
				t.Errorf("%s cannot be pasted", words[:2])
			}
			if _, what, _ := strings.Cut(line, "  BackOff Pod shop/web"); !strings.HasSuffix(what, ": \ufffd]0;owned\ufffd\ufffd[31mBack-off restarting") {
				t.Errorf("the reason does not stand first, or the message is cut: %s", line)
			}
		}
		if len(lines) != 3 || format == "wide" != strings.Contains(lines[0], " DUE ") {
			t.Errorf("%s:\n%s", format, out)
		}
	}
	if out, _ := d.run("", exitOK, "spool", "ls", "-o", "json", "--config", d.config); out != exported {
		t.Errorf("-o json prints:\n%s", out)
	}
	d.run("", exitUsage, "spool", "ls", "-o", "xml", "--config", d.config)
}

func TestSpoolCommandMakesNoSpool(t *testing.T) {
	d := newDesk(t, stdoutReceiver)
	_, errOut := d.run("", exitFailed, "spool", "ls", "--config", d.config)
	if !strings.Contains(errOut, "there is no spool") {
		t.Errorf("it says: %s", errOut)
	}
	if _, err := os.Stat(d.spool); !os.IsNotExist(err) {
		t.Errorf("a spool was made: %v", err)
	}
}

func TestStatusSaysThatNoAgentRuns(t *testing.T) {
	d := newDesk(t, stdoutReceiver)
	_, errOut := d.run("", exitFailed, "status", "--config", d.config)
	if !strings.HasPrefix(errOut, "NOT WORKING\n  ! no agent is running here") {
		t.Errorf("it says: %s", errOut)
	}
}

func TestSendTestTellsTheVerdict(t *testing.T) {
	code := http.StatusOK
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(code)
		fmt.Fprint(w, "that went \x1b[1mwrong")
	}))
	defer server.Close()
	d := newDesk(t, "{name: hook, type: webhook, url: '"+server.URL+"/token-1234'}", stdoutReceiver)
	out, _ := d.run("", exitOK, "send-test", "--config", d.config, "--receiver", "hook")
	if out != "hook (webhook): delivered, the receiver confirmed it\n" {
		t.Errorf("it says: %s", out)
	}
	code = http.StatusForbidden
	out, _ = d.run("", exitFailed, "send-test", "--config", d.config, "--receiver", "hook")
	if !strings.HasPrefix(out, "hook (webhook): NOT DELIVERED") || strings.Contains(out, "token-1234") || strings.Contains(out, "\x1b") {
		t.Errorf("it says: %q", out)
	}
	_, errOut := d.run("", exitUsage, "send-test", "--config", d.config, "--receiver", "nobody")
	if !strings.Contains(errOut, "hook ops") {
		t.Errorf("it says: %s", errOut)
	}
}

const eventJSON = `{"metadata":{"name":"web.1","namespace":"shop","uid":"u-1","resourceVersion":"7"},
"involvedObject":{"kind":"Pod","namespace":"shop","name":"web-7d9f8c6b5d-x2x4z"},"reason":"BackOff","message":"say \"hello\"","count":4,"type":"Warning",
"firstTimestamp":"2026-11-21T04:58:24Z","lastTimestamp":"2026-11-21T05:02:27Z"}`

func TestRenderPrintsTheRequestWithoutSecrets(t *testing.T) {
	d := newDesk(t, "{name: hook, type: webhook, url: 'http://127.0.0.1:1/token-1234', headers: {Authorization: 'Bearer token-1234'}, body: {text: '{{ .Reason }} {{ .Message }}'}}")
	out, _ := d.run(eventJSON, exitOK, "render", "--config", d.config)
	if !strings.HasPrefix(out, "POST\n") || !strings.Contains(out, `{"text":"BackOff say \"hello\""}`) || strings.Contains(out, "token-1234") {
		t.Errorf("it prints:\n%s", out)
	}
	_, errOut := d.run("no event", exitUsage, "render", "--config", d.config, "--receiver", "hook")
	if !strings.Contains(errOut, "is no event") {
		t.Errorf("it says: %s", errOut)
	}
}

// TestCheckConfigNamesFileAndLine gives it a file in each of three ways, with mistakes, with notes only, and not at all.
func TestCheckConfigNamesFileAndLine(t *testing.T) {
	const bad = "clustre: shop\nreceivers:\n- {name: ops, type: fieshu}\n"
	const noted = "receivers:\n- name: ops\n  type: slack\n  urlFile: /nowhere/slack-url\n"
	d := newDesk(t, stdoutReceiver)
	for _, c := range []struct {
		text string
		code int
		want []string
	}{
		{bad, exitUsage, []string{":1: clustre: unknown key; did you mean cluster?", `:3: receivers[0].type: "fieshu" is unknown; did you mean feishu?`}},
		{noted, exitOK, []string{`:4: receivers[0].urlFile: note: "/nowhere/slack-url" does not exist yet`}},
	} {
		if err := os.WriteFile(d.config, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		for name, args := range map[string][]string{d.config: {"check-config", d.config}, d.config + " ": {"check-config", "--config", d.config}, "-": {"check-config", "-"}} {
			_, said := d.run(c.text, c.code, args...)
			for _, want := range c.want {
				if !strings.Contains(said, strings.TrimSpace(name)+want) {
					t.Errorf("%s says:\n%s", args, said)
				}
			}
		}
	}
	_, said := d.run("", exitUsage, "check-config", filepath.Join(t.TempDir(), "none.yaml"))
	if !strings.Contains(said, "edge-eventer init") {
		t.Errorf("a missing file: %s", said)
	}
}

// TestShownEntryIsAnObjectOfCoreV1ThatRenderTakes pipes spool show and spool export into render, and decodes them as client-go does.
func TestShownEntryIsAnObjectOfCoreV1ThatRenderTakes(t *testing.T) {
	d := newDesk(t, "{name: ops, type: webhook, url: 'http://127.0.0.1:1/', body: {text: '{{ .Reason }} {{ .InvolvedObject.Name }} {{ .Count }}'}}")
	d.put(3)
	exported, _ := d.run("", exitOK, "spool", "export", "--config", d.config)
	for line := range strings.Lines(exported) {
		var e struct {
			ID       string
			Incident struct {
				Event corev1.Event
			}
		}
		decoder := json.NewDecoder(strings.NewReader(line))
		if err := decoder.Decode(&e); err != nil {
			t.Fatalf("client-go's types do not take %s: %v", line, err)
		}
		name := e.Incident.Event.InvolvedObject.Name
		if e.Incident.Event.Kind != "Event" || e.Incident.Event.APIVersion != "v1" || e.Incident.Event.Count != 2 || !strings.HasPrefix(name, "web") {
			t.Errorf("the event is %+v", e.Incident.Event)
		}
		shown, _ := d.run("", exitOK, "spool", "show", e.ID, "--config", d.config)
		for _, in := range []string{line, shown} {
			if out, _ := d.run(in, exitOK, "render", "--config", d.config); !strings.Contains(out, `{"text":"BackOff `+name+` 2"}`) {
				t.Errorf("render prints:\n%s", out)
			}
		}
	}
	if out, _ := d.run(exported, exitOK, "render", "--config", d.config); strings.Count(out, "POST\n") != 3 {
		t.Errorf("render of three prints:\n%s", out)
	}
}

// TestATimeBeyondYear9999IsRenderedByEveryReceiver: RFC 3339 with an offset reaches into the years 10000 and -1, which
// encoding/json refuses, and a message may show a time in a zone that is hours ahead or behind.
func TestATimeBeyondYear9999IsRenderedByEveryReceiver(t *testing.T) {
	var receivers []string
	for _, kind := range config.Types() {
		if kind == "stdout" {
			receivers = append(receivers, "{name: stdout, type: stdout}")
			continue
		}
		more := map[string]string{
			"telegram": "token: '1:a', chatId: '2'", "kafka": "brokers: ['127.0.0.1:1'], plaintext: true",
			"influxdb": "url: 'http://127.0.0.1:1', api: '1', database: events",
			"email":    "smarthost: '127.0.0.1:1', from: edge@example.com, to: [ops@example.com]", "mqtt": "url: 'mqtts://127.0.0.1:1'",
		}[kind]
		if more == "" {
			more = "url: 'http://127.0.0.1:1/hook'"
		}
		receivers = append(receivers, fmt.Sprintf("{name: %[1]s, type: %[1]s, %[2]s}", kind, more))
	}
	receivers = append(receivers, "{name: body, type: webhook, url: 'http://127.0.0.1:1/hook', "+
		"body: {seen: '{{ .LastTimestamp }}', all: '{{ toJson . }}'}}")
	for _, zone := range []string{"Pacific/Kiritimati", "Pacific/Pago_Pago"} {
		d := newDesk(t, receivers...)
		config, err := os.ReadFile(d.config)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(d.config, append(config, "timezone: "+zone+"\n"...), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, at := range []string{"9999-12-31T23:59:59-23:59", "9999-12-31T23:59:59Z", "0000-01-01T00:00:00+23:59", "0001-01-01T00:00:01Z"} {
			event := strings.NewReplacer("2026-11-21T04:58:24Z", at, "2026-11-21T05:02:27Z", at).Replace(eventJSON)
			for _, receiver := range receivers {
				name, _, _ := strings.Cut(strings.TrimPrefix(receiver, "{name: "), ",")
				out, _ := d.run(event, exitOK, "render", "--config", d.config, "--receiver", name)
				if !strings.Contains(out, "BackOff") && name != "body" {
					t.Errorf("%s in %s, %s: it prints\n%s", name, zone, at, out)
				}
			}
		}
	}
}

func TestLogFlagsAreChecked(t *testing.T) {
	d := newDesk(t, stdoutReceiver)
	_, errOut := d.run("", exitUsage, "run", "--config", d.config, "--log-format", "xml")
	if !strings.Contains(errOut, "auto, text or json") {
		t.Errorf("it says: %s", errOut)
	}
	_, errOut = d.run("", exitUsage, "run", "--config", d.config, "--log-level", "loud")
	if !strings.Contains(errOut, "loud") {
		t.Errorf("it says: %s", errOut)
	}
}

// TestBadConfigurationOpensNoSpool: the default of maxBytes would make a larger spool fit, and the oldest go.
func TestBadConfigurationOpensNoSpool(t *testing.T) {
	d := newDesk(t, stdoutReceiver)
	d.put(2)
	appendTo(t, d.config, "typo: 1\n")
	for _, command := range [][]string{{"status"}, {"spool", "ls"}} {
		_, errOut := d.run("", exitUsage, append(command, "--config", d.config)...)
		if !strings.Contains(errOut, "typo: unknown key") {
			t.Errorf("%s says: %s", command, errOut)
		}
	}
}

func TestFlagsStandAnywhere(t *testing.T) {
	d := newDesk(t, stdoutReceiver)
	d.put(3)
	out, _ := d.run("", exitOK, "spool", "export", "--config", d.config)
	var e control.Entry
	if err := json.Unmarshal([]byte(out[:strings.Index(out, "\n")]), &e); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{e.ID, "--config", d.config, "--receiver", "ops"},
		{"--config", d.config, e.ID, "--receiver=ops"},
		{"--config", d.config, "--", e.ID},
	} {
		if out, _ := d.run("", exitOK, append([]string{"spool", "show"}, args...)...); !strings.Contains(out, e.ID) {
			t.Errorf("%s prints %s", args, out)
		}
	}
	if _, errOut := d.run("", exitFailed, "spool", "show", "--config", d.config, "--", "--receiver"); !strings.Contains(errOut, ": --receiver") {
		t.Errorf("behind -- it says: %s", errOut)
	}
	d.run("", exitUsage, "spool", "ls", e.ID, "--config", d.config)
}

// A look used to compact or rescue the file, and as root to give it to root, after which the agent could not write it.
func TestLookAtTheSpoolOfAStoppedAgentChangesNothing(t *testing.T) {
	d := newDesk(t, stdoutReceiver)
	d.put(3)
	state := func() string {
		var s strings.Builder
		names, err := filepath.Glob(d.spool + "*")
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			info, err := os.Stat(name)
			if err != nil {
				t.Fatal(err)
			}
			data, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&s, "%s %s %s %+v %x\n", name, info.Mode(), info.ModTime(), info.Sys(), sha256.Sum256(data))
		}
		// The time of the last access is no change.
		return regexp.MustCompile(`Atim:\{[^}]*\}`).ReplaceAllString(s.String(), "")
	}
	before := state()
	for _, args := range [][]string{{"ls"}, {"export"}, {"ls", "--receiver", "ops"}} {
		d.run("", exitOK, append([]string{"spool", "--config", d.config}, args...)...)
		if after := state(); after != before {
			t.Fatalf("after %v:\n%s\nbefore:\n%s", args, after, before)
		}
	}
	data, err := os.ReadFile(d.spool)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(d.spool, bytes.ReplaceAll(data, []byte("BackOff"), []byte("Backoff")), 0o600); err != nil {
		t.Fatal(err)
	}
	before = state()
	_, said := d.run("", exitFailed, "spool", "--config", d.config, "ls")
	if !strings.Contains(said, "spool is damaged") || state() != before {
		t.Errorf("ls of a damaged spool said %s and left:\n%s\nbefore:\n%s", said, state(), before)
	}
}
