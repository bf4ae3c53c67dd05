package config_test

import (
	"errors"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"
	_ "time/tzdata" // The zones of the test files are known on every machine.

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.yaml.in/yaml/v3"

	"github.com/edge-eventer/edge-eventer/agent/config"
	"github.com/edge-eventer/edge-eventer/agent/filter"
	"github.com/edge-eventer/edge-eventer/agent/inhibit"
	"github.com/edge-eventer/edge-eventer/agent/timeinterval"
	"github.com/edge-eventer/edge-eventer/notify"
	"github.com/edge-eventer/edge-eventer/notify/feishu"
	"github.com/edge-eventer/edge-eventer/notify/stdout"
	"github.com/edge-eventer/edge-eventer/notify/webhook"
)

var update = flag.Bool("update", false, "write the expected texts of testdata/bad anew")

// secret stands in the test files wherever something must not be shown.
const secret = "hunter2"

const reference = "../../manifests/config.yaml"

func setEnvironment(t *testing.T) {
	t.Helper()
	t.Setenv("EDGE_EVENTER_TEST_HOOK", secret+"\n")
	t.Setenv("EDGE_EVENTER_TEST_EMPTY", "")
}

func load(t *testing.T, path string) *config.Config {
	t.Helper()
	setEnvironment(t)
	c, err := config.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func parse(t *testing.T, text string) *config.Config {
	t.Helper()
	c, err := config.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// ignoreCompiled leaves out what Parse derives from other fields.
var ignoreCompiled = cmpopts.IgnoreUnexported(config.Config{})

var compareSecrets = cmp.AllowUnexported(notify.Secret{})

func hostName(t *testing.T) string {
	t.Helper()
	name, err := os.Hostname()
	if err != nil || name == "" {
		return "kubernetes"
	}
	return name
}

func TestEachMistakeIsToldExactly(t *testing.T) {
	setEnvironment(t)
	files, err := filepath.Glob("testdata/bad/*.yaml")
	if err != nil || len(files) < 50 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			_, err := config.Load(file)
			if _, ok := errors.AsType[*config.Errors](err); !ok {
				t.Fatalf("error is %T: %v", err, err)
			}
			got := withoutTypes(err.Error()) + "\n"
			if strings.Contains(got, secret) {
				t.Errorf("the secret is shown:\n%s", got)
			}
			expected := strings.TrimSuffix(file, ".yaml") + ".txt"
			if *update {
				if err := os.WriteFile(expected, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(expected)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// withoutTypes replaces lists of the types of receivers, which are those of package notify and grow there.
func withoutTypes(text string) string {
	text = strings.ReplaceAll(text, "allowed: "+strings.Join(config.Types(), ", "), "allowed: TYPES")
	return regexp.MustCompile(`only for type .*`).ReplaceAllString(text, "only for type TYPES")
}

// TestNotesSayWhatIsProbablyNotMeant has mistakes that are none: each is said, and the configuration is taken.
func TestNotesSayWhatIsProbablyNotMeant(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(empty, []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	text := `receivers:
  - name: chat
    type: slack
    url: https://open.feishu.cn/open-apis/bot/v2/hook/0123
    secret: s3cr3t
  - name: ops
    type: feishu
    urlFile: /nowhere/feishu-url
    chatId: "5"
    method: PUT
  - {name: hook, type: webhook, url: "https://hooks.slack.com/services/0123"}
  - {name: bot, type: telegram, chatId: "5", tokenFile: ` + empty + `}
`
	c, notes, err := config.Examine([]byte(text))
	if err != nil || len(c.Receivers) != 4 {
		t.Fatalf("it is refused: %v", err)
	}
	want := []string{
		"c.yaml:4: receivers[0].url: is an address of feishu; is type feishu meant?",
		"c.yaml:5: receivers[0].secret: not used by type slack; only by type dingtalk, feishu",
		`c.yaml:8: receivers[1].urlFile: "/nowhere/feishu-url" does not exist yet; until it does, nothing is delivered to this receiver`,
		"c.yaml:9: receivers[1].chatId: not used by type feishu; only by type telegram",
		"c.yaml:10: receivers[1].method: not used by type feishu; only by type webhook",
		"c.yaml:12: receivers[3].tokenFile: read secret file " + empty + ": it is empty; until that is mended, nothing is delivered to this receiver",
	}
	var got []string
	for _, n := range notes {
		got = append(got, n.In("c.yaml"))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if _, err := config.Parse([]byte(text)); err != nil {
		t.Errorf("the agent refuses it: %v", err)
	}
	for word, want := range map[string]string{
		"receivrs": "receivers", "feishuu": "feishu", "urlfile": "urlFile", "x": "", "groupwait": "groupWait", "": "", "webhok": "webhook", "pager": "",
	} {
		if got := config.Nearest(word, append(config.Types(), "receivers", "urlFile", "groupWait")); got != want {
			t.Errorf("nearest to %q is %q, want %q", word, got, want)
		}
	}
}

func TestEveryMistakeIsToldInTheOrderOfLines(t *testing.T) {
	_, err := config.Load("testdata/bad/many.yaml")
	all, ok := errors.AsType[*config.Errors](err)
	if !ok {
		t.Fatalf("error is %v", err)
	}
	var lines []int
	for _, m := range all.Mistakes {
		lines = append(lines, m.Line)
	}
	if diff := cmp.Diff([]int{1, 2, 4, 5, 7, 13, 16}, lines); diff != "" {
		t.Errorf("lines (-want +got):\n%s\n%v", diff, err)
	}
}

func TestTextThatIsNotYAMLIsToldWithItsLine(t *testing.T) {
	for text, want := range map[string]string{
		"a: 1\nb: c: d\n":       "line 2: not YAML: mapping values are not allowed in this context",
		"a:\n  b: 1\n c: 2\n":   "line 3: not YAML: did not find expected key",
		"a: 1\nb: [\nc: 1\n":    "line 2: not YAML: did not find expected ',' or ']'",
		"a: 1\nb: {x: 1\nc: }}": "line 2: not YAML: did not find expected ',' or '}'",
		"a: 1\nb\nc: 2\n":       "line 2: not YAML: could not find expected ':'",
		"a: 1\nb: @x\n":         "line 2: not YAML: found character that cannot start any token",
		"a: 1\n\n\nb: *x\n":     "line 4: not YAML: an alias without an anchor; a value that begins with * must stand in quotes",
		"\n\n\n\na: @x\n":       "line 5: not YAML: found character that cannot start any token",
		"a: [":                  "line 1: not YAML: did not find expected node content",
	} {
		if _, err := config.Parse([]byte(text)); err == nil || err.Error() != want {
			t.Errorf("%q: %v\nwant %s", text, err, want)
		}
	}
}

func TestNumberOfMistakesIsBounded(t *testing.T) {
	text := "kubernetes:\n  namespaces:\n" + strings.Repeat("    - [x]\n", 10_000)
	_, err := config.Parse([]byte(text))
	all, ok := errors.AsType[*config.Errors](err)
	if !ok {
		t.Fatalf("error is %v", err)
	}
	// Each item, the length of the list, and that there is no receiver.
	if len(all.Mistakes) != 100 || all.More != 10_002-100 {
		t.Errorf("%d mistakes and %d more", len(all.Mistakes), all.More)
	}
	if !strings.HasSuffix(err.Error(), "\nand 9902 more") {
		t.Error("the error does not say how many more mistakes there are")
	}
}

func TestSizeOfTheFileIsBounded(t *testing.T) {
	small := "receivers: [{name: ops, type: stdout}]\n"
	most := small + strings.Repeat("#", 128<<10-len(small))
	parse(t, most)
	path := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(path, []byte(most+"#"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := config.Load(path)
	if err == nil || err.Error() != "line 1: the file is larger than 128 KiB" {
		t.Errorf("error is %v", err)
	}
}

func TestFileThatCannotBeReadIsNoMistakeInIt(t *testing.T) {
	_, err := config.Load(filepath.Join(t.TempDir(), "none.yaml"))
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error is %v", err)
	}
	if _, ok := errors.AsType[*config.Errors](err); ok {
		t.Error("a missing file is reported as a mistake in it")
	}
}

func TestGoodFilesLoad(t *testing.T) {
	files, err := filepath.Glob("testdata/good/*.yaml")
	if err != nil || len(files) < 3 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) { load(t, file) })
	}
}

// TestReferenceStatesTheDefaults holds manifests/config.yaml and the example of the design against the code.
func TestReferenceStatesTheDefaults(t *testing.T) {
	for _, path := range []string{reference, "testdata/good/design.yaml"} {
		t.Run(filepath.Base(path), func(t *testing.T) {
			want := config.Default()
			want.Cluster = hostName(t)
			receiver := want.DefaultReceiver()
			receiver.Name, receiver.Type, receiver.Fold = "ops", "feishu", "incident"
			receiver.Settings = &feishu.Config{URL: notify.SecretFile("/etc/edge-eventer/feishu-url")}
			want.Receivers = []config.Receiver{receiver}
			if diff := cmp.Diff(want, load(t, path), ignoreCompiled, compareSecrets); diff != "" {
				t.Errorf("(-Default() +%s):\n%s", path, diff)
			}
		})
	}
}

// TestReferenceNamesEveryKey fails when a key is added to the code and not to manifests/config.yaml.
func TestReferenceNamesEveryKey(t *testing.T) {
	data, err := os.ReadFile(reference)
	if err != nil {
		t.Fatal(err)
	}
	var file any
	if err := yaml.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	var missing []string
	wantKeys(reflect.TypeFor[config.Config](), file, "", &missing)
	for _, path := range missing {
		t.Errorf("%s does not state %s", reference, path)
	}
	for field := range reflect.TypeFor[filter.Match]().Fields() {
		if key := field.Tag.Get("yaml"); !strings.Contains(string(data), key) {
			t.Errorf("%s does not mention the matcher %s", reference, key)
		}
	}
	for _, reason := range config.CriticalReasons() {
		if !strings.Contains(string(data), reason) {
			t.Errorf("%s does not list the critical reason %s", reference, reason)
		}
	}
}

// wantKeys lists the keys of a type that a value of the file does not have. The keys that receivers share with notify are
// stated there only.
func wantKeys(typ reflect.Type, value any, path string, missing *[]string) {
	object, _ := value.(map[string]any)
	for f := range typ.Fields() {
		key, options, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		if key == "" || options == "inline" {
			continue
		}
		keys := []string{key}
		if f.Type == reflect.TypeFor[notify.Secret]() {
			keys = append(keys, key+"File")
		}
		for _, k := range keys {
			if _, ok := object[k]; !ok {
				*missing = append(*missing, path+k)
			}
		}
		switch {
		case f.Type == reflect.TypeFor[[]config.Receiver]():
			list, _ := object[key].([]any)
			if len(list) == 1 {
				wantKeys(reflect.TypeFor[config.Receiver](), list[0], path+key+"[0].", missing)
			}
		case f.Type.Kind() == reflect.Struct && f.Type != reflect.TypeFor[notify.Secret]():
			wantKeys(f.Type, object[key], path+key+".", missing)
		}
	}
}

func TestEveryValueArrives(t *testing.T) {
	c := load(t, "testdata/good/full.yaml")
	want := config.Default()
	want.Cluster, want.Timezone, want.Language = "ship-7", "Asia/Shanghai", "zh"
	want.Kubernetes = config.Kubernetes{
		Kubeconfig: "/etc/rancher/k3s/k3s.yaml", Namespaces: []string{"shop", "42"}, StartupLookback: 90 * time.Second,
		EventTTL: 24 * time.Hour,
	}
	want.Filter = []filter.Rule{
		{Keep: &filter.Match{Kind: "Node"}},
		{Drop: &filter.Match{Reason: "Unhealthy", Namespace: "kube-system"}},
		{Drop: &filter.Match{Message: ".*deprecated.*", MinCount: 3}},
	}
	want.Notify.GroupInterval, want.Notify.Timeout = 90*time.Second, 10*time.Second
	want.Spool.MaxBytes = 3 << 19
	want.Link = config.Link{DailyBudget: 1_000_000, MonthlyBudget: 20 << 20, KeyExchange: "hybrid"}
	want.TimeIntervals = []config.TimeInterval{
		{Name: "night", Specs: []timeinterval.Spec{{
			Times: []timeinterval.TimeRange{{Start: "22:00", End: "24:00"}, {Start: "00:00", End: "06:00"}}, Location: "Europe/Berlin",
		}}},
		{Name: "the first days", Specs: []timeinterval.Spec{{
			DaysOfMonth: []string{"1:3", "-1"}, Months: []string{"1", "may:august"}, Years: []string{"2026"}, Weekdays: []string{"monday:friday"},
		}}},
	}
	want.Inhibit = []inhibit.Spec{{
		Source: []string{`reason="DatabaseDown"`}, Target: []string{`reason=~"Unhealthy|BackOff", kind="Pod"`}, Equal: []string{"namespace", "host"},
	}}
	want.InhibitBuiltIn = false
	want.Report.At = "08:00"
	want.Heartbeat = 24 * time.Hour
	want.Fleet.Every = time.Hour
	want.Server.Listen = ":8080"

	want.Labels = map[string]string{"site": "harbour", "region": "7"}
	ops := want.DefaultReceiver()
	ops.Name, ops.Type, ops.Fold = "ops.team_1", "feishu", "incident"
	ops.Settings = &feishu.Config{
		URL:    notify.SecretValue("https://open.feishu.cn/open-apis/bot/v2/hook/" + secret),
		Secret: notify.SecretFile("/etc/edge-eventer/feishu-secret"), Mention: []string{"all"},
	}
	ops.MuteTimeIntervals, ops.ActiveTimeIntervals, ops.MuteCritical = []string{"night"}, []string{"night", "the first days"}, true
	ops.Match = []filter.Match{{Namespace: "shop|bar"}, {Kind: "Node"}}
	ops.Rate.PerMinute = 60
	ops.GroupWait, ops.RepeatInterval = 0, 24*time.Hour
	ops.TLS = config.TLS{CAFile: "/etc/ssl/own.pem", CertFile: "/etc/ssl/site.crt", KeyFile: "/etc/ssl/site.key", ServerName: "alerts.example"}
	ops.Proxy = "http://10.0.0.1:3128"

	archive := want.DefaultReceiver()
	archive.Name, archive.Type, archive.Fold = "archive", "webhook", "event"
	archive.Settings = &webhook.Config{
		URL: notify.SecretValue("https://example.org/hook"),
		Headers: map[string]notify.Secret{
			"Authorization": notify.SecretValue("Bearer " + secret),
			"X-Key":         notify.SecretFile("/etc/edge-eventer/key"),
			"X-Number":      notify.SecretValue("7"),
		},
		Gzip: false, Format: "kube-eventer", Batch: notify.Batch{Max: 50, MaxBytes: 64_000}, Method: "PUT",
		Success: webhook.Success{Status: []int{200, 202}, JSON: map[string]any{"errcode": int64(0), "data.ok": true}},
	}

	lark := want.DefaultReceiver()
	lark.Name, lark.Type, lark.Fold = "lark", "webhook", "incident"
	lark.Settings = &webhook.Config{
		URL: notify.SecretValue("https://example.org/hook"), Batch: notify.DefaultBatch(), Method: "POST", Gzip: true, Format: "edge-eventer",
		Body: map[string]any{
			"msg_type": "text",
			"content":  map[string]any{"text": "{{ .Reason }}: {{ .Message }}"},
			"numbers":  []any{int64(1), -2.5, int64(16), uint64(1<<64 - 1)},
			"on":       true,
			"none":     nil,
			"date":     "2026-01-02",
		},
	}

	terminal := want.DefaultReceiver()
	terminal.Name, terminal.Type, terminal.Fold = "terminal", "stdout", "incident"
	terminal.Settings = &stdout.Config{}

	want.Receivers = []config.Receiver{ops, archive, lark, terminal}
	if diff := cmp.Diff(want, c, ignoreCompiled, compareSecrets); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if night := c.Interval("night"); night == nil || !night.Contains(time.Date(2026, 1, 10, 21, 30, 0, 0, time.UTC)) {
		t.Error("half past ten at night in Berlin is not in the night")
	}
	if got := c.Location().String(); got != "Asia/Shanghai" {
		t.Errorf("location is %s", got)
	}
}

func TestReceiverHasTheSettingsOfItsTypeAndWhatAllHave(t *testing.T) {
	c := load(t, "testdata/good/full.yaml")
	settings := &feishu.Config{
		URL:    notify.SecretValue("https://open.feishu.cn/open-apis/bot/v2/hook/" + secret),
		Secret: notify.SecretFile("/etc/edge-eventer/feishu-secret"), Mention: []string{"all"},
	}
	if diff := cmp.Diff(notify.Settings(settings), c.Receivers[0].Settings, compareSecrets); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	want := notify.Common{
		Name:  "ops.team_1",
		TLS:   notify.TLS{CAFile: "/etc/ssl/own.pem", CertFile: "/etc/ssl/site.crt", KeyFile: "/etc/ssl/site.key", ServerName: "alerts.example"},
		Proxy: "http://10.0.0.1:3128", Cluster: "ship-7", Labels: map[string]string{"site": "harbour", "region": "7"}, Location: c.Location(), Language: "zh", KeyExchange: "hybrid",
	}
	if diff := cmp.Diff(want, c.Receivers[0].Common(c), cmp.Comparer(func(a, b *time.Location) bool { return a.String() == b.String() })); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for i := range c.Receivers {
		r, err := c.Receivers[i].New(c.Receivers[i].Common(c))
		if err != nil {
			t.Errorf("New: %v", err)
			continue
		}
		r.Close()
	}
}

func TestArchivesGetEventsAndPeopleIncidents(t *testing.T) {
	for text, want := range map[string]string{
		"type: webhook, url: 'https://example.org/hook'":                 "event",
		"type: webhook, url: 'https://example.org/hook', fold: incident": "incident",
		"type: feishu, url: 'https://example.org/hook'":                  "incident",
		"type: feishu, url: 'https://example.org/hook', fold: event":     "event",
		"type: stdout": "incident",
	} {
		c := parse(t, "receivers: [{name: r, "+text+"}]")
		if got := c.Receivers[0].Fold; got != want {
			t.Errorf("%s: fold is %s, want %s", text, got, want)
		}
	}
}

func TestVariablesAreExpandedOnlyInSecrets(t *testing.T) {
	t.Setenv("NAME", secret)
	c := parse(t, `
cluster: ${NAME}
receivers:
  - name: hook
    type: webhook
    url: https://${NAME}.example.org/${NAME}?price=$5
    headers: {X-Key: "$NAME ${NAME}"}
    body: {text: "${NAME}"}
`)
	hook := c.Receivers[0].Settings.(*webhook.Config)
	if got, _ := hook.URL.Read(); got != "https://hunter2.example.org/hunter2?price=$5" {
		t.Errorf("url is %s", got)
	}
	if got, _ := hook.Headers["X-Key"].Read(); got != "$NAME hunter2" {
		t.Errorf("header is %s", got)
	}
	if c.Cluster != "${NAME}" || hook.Body.(map[string]any)["text"] != "${NAME}" {
		t.Errorf("cluster is %s, body is %v", c.Cluster, hook.Body)
	}
}

func TestSizesAreKubernetesQuantities(t *testing.T) {
	for text, want := range map[string]int64{
		"262144": 256 << 10, "256Ki": 256 << 10, "1Mi": 1 << 20, "1Gi": 1 << 30, "0.5Gi": 1 << 29, "1.5Mi": 3 << 19,
		"300k": 300_000, "1M": 1_000_000, "1G": 1_000_000_000, "262144.1": 256<<10 + 1, `"16Mi"`: 16 << 20,
	} {
		c := parse(t, "spool: {maxBytes: "+text+"}\nreceivers: [{name: ops, type: stdout}]")
		if got := c.Spool.MaxBytes; got != want {
			t.Errorf("%s is %d, want %d", text, got, want)
		}
	}
	for _, text := range []string{"16MB", "16m", "16Kii", "16 Mi", "Mi", ".5Mi", "1.Mi", "1e6", "-1Mi", "16Ei", "9223372036854775808", "0x10", "1.2.3", "''"} {
		_, err := config.Parse([]byte("spool: {maxBytes: " + text + "}\nreceivers: [{name: ops, type: stdout}]"))
		if err == nil || !strings.Contains(err.Error(), "line 1: spool.maxBytes: ") {
			t.Errorf("%s: error is %v", text, err)
		}
	}
}

func TestListenAddresses(t *testing.T) {
	for _, good := range []string{"", ":8080", "127.0.0.1:0", "[::1]:8080", "[fe80::1%eth0]:80", "localhost:8080", "0.0.0.0:65535"} {
		parse(t, "server: {listen: '"+good+"'}\nreceivers: [{name: ops, type: stdout}]")
	}
	for _, bad := range []string{"8080", "localhost", ":", ":http", ":65536", ":-1", ":08", "::1:80", "a b:80", "300.1.1.1:80"} {
		_, err := config.Parse([]byte("server: {listen: '" + bad + "'}\nreceivers: [{name: ops, type: stdout}]"))
		if err == nil || !strings.Contains(err.Error(), "line 1: server.listen: ") {
			t.Errorf("%q: error is %v", bad, err)
		}
	}
}

func TestKeyWithoutValueIsAsIfItWasNotThere(t *testing.T) {
	c := parse(t, "cluster: shop\nkubernetes:\nfilter:\nspool: {path: , maxBytes: ~}\nheartbeat: null\nreceivers: [{name: ops, type: stdout, url: , match: }]")
	want := config.Default()
	want.Cluster = "shop"
	r := want.DefaultReceiver()
	r.Name, r.Type, r.Fold = "ops", "stdout", "incident"
	r.Settings = &stdout.Config{}
	want.Receivers = []config.Receiver{r}
	if diff := cmp.Diff(want, c, ignoreCompiled, compareSecrets); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestReasonsOfNodeDiskMemoryAndSightAreCritical(t *testing.T) {
	c := config.Default()
	for _, reason := range []string{"NodeNotReady", "EvictionThresholdMet", "Evicted", "FreeDiskSpaceFailed", "SystemOOM", "Rebooted", "APIServerUnreachable", "SpoolDamaged"} {
		if got := c.SeverityOf(reason); got != notify.Critical {
			t.Errorf("%s is %s", reason, got)
		}
	}
	for _, reason := range []string{"BackOff", "Unhealthy", "FailedMount", "FailedScheduling", "OutOfmemory", "", "nodenotready", "Evicted2"} {
		if got := c.SeverityOf(reason); got != notify.Warning {
			t.Errorf("%s is %s", reason, got)
		}
	}
}

func TestConfiguredReasonsReplaceTheBuiltInOnes(t *testing.T) {
	c := parse(t, "severity: {critical: [BackOff, 'Failed.*']}\nreceivers: [{name: ops, type: stdout}]")
	for reason, want := range map[string]notify.Severity{
		"BackOff": notify.Critical, "FailedMount": notify.Critical, "ImageFailed": notify.Warning, "NodeNotReady": notify.Warning,
	} {
		if got := c.SeverityOf(reason); got != want {
			t.Errorf("%s is %s, want %s", reason, got, want)
		}
	}
}
