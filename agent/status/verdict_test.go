package status

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

// sound is the document of an agent that sees and delivers everything.
func sound(receivers ...string) *Document {
	now := time.Now()
	d := &Document{Agent: Agent{Now: now, Cluster: "shop-1"}, Link: Link{LinkState: "up"}, Watch: []Watch{{State: "watching", LastAnswer: now}}}
	for _, name := range receivers {
		d.Receivers = append(d.Receivers, Receiver{Name: name, Type: "webhook", Sending: Sending{State: "idle"}})
	}
	return d
}

// TestVerdictNamesTheReceiversThatDoNotDeliver is one of six that is away, while another holds repeats back on purpose.
func TestVerdictNamesTheReceiversThatDoNotDeliver(t *testing.T) {
	d := sound("chat", "a", "b", "c", "d", "e")
	// A queue that no receiver empties does not count.
	d.Receivers = append(d.Receivers, Receiver{Name: "gone"})
	if d.Judge(); d.Verdict.Level != Working || d.Verdict.Headline != "WORKING" || d.Verdict.Waiting != "" || !d.Ready {
		t.Errorf("all is well: %+v", d.Findings)
	}
	chat, other := &d.Receivers[0], &d.Receivers[1]
	chat.State, chat.LastError, chat.Untold, chat.Next = "backoff", "HTTP status 503", 69, d.Now.Add(time.Minute)
	other.Untold, other.Held, other.NextDue = 176, 176, d.Now.Add(5*time.Minute)
	for language, want := range map[string][]string{
		"en": {"WORKING, 1 of 6 receivers not delivering: chat", "245 events wait: 69 due, 176 held back, the next in 5m00s", "chat: HTTP status 503; next attempt in 1m00s"},
		"zh": {"正常，6 个接收方中有 1 个无法投递：chat", "245 个事件等待：69 个已到期，176 个按计划暂缓，下一批在 5m00s 后", "chat：HTTP status 503；1m00s 后再试"},
	} {
		d.Language = language
		d.Judge()
		if v := d.Verdict; v.Level != Degraded || v.Headline != want[0] || v.Waiting != want[1] || len(v.Reasons) != 1 || v.Reasons[0] != want[2] {
			t.Errorf("%s: %+v", language, v)
		}
	}
	d.Language, chat.RefusedSince = "en", d.Now
	d.Judge()
	if v := d.Verdict; v.Level != Broken || v.Headline != "NOT WORKING" || !strings.Contains(strings.Join(v.Hints, "\n"), "spool retry --receiver chat") || d.Ready {
		t.Errorf("refused: %+v", d.Findings)
	}
	d.Fail(errors.New("the spool is not open yet"))
	if v := d.Verdict; v.Level != Broken || v.Reasons[0] != "the spool is not open yet" || d.Problems[0] != v.Reasons[0] {
		t.Errorf("failed: %+v", d.Findings)
	}
}

// TestMissingSecretIsTheFirstWord is a quiet cluster: nothing was to be sent yet, and nothing could be.
func TestMissingSecretIsTheFirstWord(t *testing.T) {
	d := sound("ops", "archive")
	d.Receivers[0].MissingFiles = []string{"open /etc/edge-eventer/feishu-url: no such file or directory"}
	for language, want := range map[string][]string{
		"en": {"NOT WORKING", "receiver ops has no address or secret: open /etc/edge-eventer/feishu-url: no such file or directory", "0 events wait on disk for ops until the file is there; no restart is needed"},
		"zh": {"异常", "接收方 ops 缺少地址或密钥：open /etc/edge-eventer/feishu-url: no such file or directory", "有 0 个事件在磁盘上等待 ops，直到该文件存在；无需重启"},
	} {
		d.Language = language
		d.Judge()
		v := d.Verdict
		if v.Level != Broken || v.Headline != want[0] || !slices.Equal(v.Reasons, want[1:2]) || !slices.Equal(v.Hints, want[2:]) {
			t.Errorf("%s: %+v", language, v)
		}
	}
	// What an attempt finds later is the same fault, and is said once.
	d.Receivers[0].RefusedSince = d.Now
	if d.Judge(); len(d.Problems) != 1 || d.Ready {
		t.Errorf("the problems are %q", d.Problems)
	}
	if texts := d.Unready(false); len(texts) != 1 || strings.Contains(texts[0], "feishu-url") {
		t.Errorf("everybody is told %q", texts)
	}
}

func TestReadinessTellsWhatKeepsEventsFromTheSpool(t *testing.T) {
	d := sound()
	d.LinkState = "down" // That is what the spool is for.
	if problems := d.Unready(true); len(problems) != 0 {
		t.Errorf("a sound agent has problems: %q", problems)
	}
	d.Watch[0].Namespace, d.Watch[0].LastAnswer = "shop", time.Time{}
	d.Spool.BlockedSince, d.Spool.BlockedBy = d.Now, "the disk of the spool is full"
	problems := strings.Join(d.Unready(true), "\n")
	for _, want := range []string{"has not answered yet for namespace shop", "the disk of the spool is full (since "} {
		if !strings.Contains(problems, want) {
			t.Errorf("the problems are %s", problems)
		}
	}
}

// TestNotesNameWhatIsSetAside looks at the document of the status command.
func TestNotesNameWhatIsSetAside(t *testing.T) {
	d := sound("ops")
	d.Receivers[0].AsideCount, d.Receivers[0].Aside = 6, []Aside{
		{Group: "events-shop", Since: time.Unix(0, 0), Next: time.Unix(600, 0), Tries: 7, Failure: "the topic does not exist"},
		{Workload: "web", Reason: "BackOff", Since: time.Unix(0, 0), Next: time.Unix(600, 0), Tries: 7, Failure: "code 230001"},
	}
	d.Judge()
	text, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	notes := strings.Join(d.Notes, "\n")
	for _, want := range []string{
		"receiver ops does not take what goes to events-shop since 1970-01-01T00:00:00Z, while it takes others (7 tries, the next at 1970-01-01T00:10:00Z): the topic does not exist",
		"receiver ops does not take BackOff of web since", "code 230001", "receiver ops does not take 2 more messages",
	} {
		if !strings.Contains(notes, want) {
			t.Errorf("the notes do not say %q:\n%s", want, notes)
		}
	}
	if !strings.Contains(string(text), `"group":"events-shop"`) || !strings.Contains(string(text), `"asideCount":6`) {
		t.Errorf("the document does not name it: %s", text)
	}
}

// TestEverySentenceHasBothLanguages stages every fault at once and looks for the other language in each.
func TestEverySentenceHasBothLanguages(t *testing.T) {
	d := &Document{
		Agent: Agent{Now: time.Now()}, SignInError: "x", Link: Link{LinkState: "down"},
		Watch:  []Watch{{Unseen: true, FailingSince: time.Now()}, {Namespace: "shop"}},
		Spool:  Spool{BlockedSince: time.Now(), Used: 10, Max: 10},
		Budget: &Budget{Level: Frugal},
		Config: Configuration{Refused: time.Now()},
		Receivers: []Receiver{
			{Name: "a", Type: "webhook", MissingFiles: []string{"x"}, Queue: Queue{Dead: 1}},
			{Name: "b", Type: "webhook", Sending: Sending{RefusedSince: time.Now(), MuteOnLosses: true, AsideCount: 9, Aside: []Aside{{Group: "x"}, {Workload: "x"}}}},
			{Name: "c"},
		},
	}
	chinese := func(text string) bool {
		return strings.ContainsFunc(text, func(r rune) bool { return r >= 0x4e00 && r <= 0x9fff })
	}
	for _, language := range []string{"en", Chinese} {
		d.Language = language
		d.Judge()
		texts := slices.Concat([]string{d.Verdict.Headline}, d.Verdict.Reasons, d.Verdict.Hints, d.Notes)
		if len(texts) < 18 {
			t.Errorf("only %d sentences", len(texts))
		}
		for _, text := range texts {
			if chinese(text) != (language == Chinese) || strings.Contains(text, "%!") {
				t.Errorf("in %s: %s", language, text)
			}
		}
	}
	if slices.ContainsFunc(d.Problems, chinese) {
		t.Errorf("a script reads the problems in English: %q", d.Problems)
	}
}
