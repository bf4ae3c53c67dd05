package notify_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/edge-eventer/edge-eventer/agent/config/configtest"
	"github.com/edge-eventer/edge-eventer/notify"
	"github.com/edge-eventer/edge-eventer/notify/notifytest"
)

var update = flag.Bool("update", false, "write the golden files of this test")

// goldenRequest is a request as it stands in a golden file.
type goldenRequest struct {
	Method    string            `json:"method"`
	Header    map[string]string `json:"header,omitempty"`
	Incidents int               `json:"incidents"`
	Taken     []int             `json:"taken,omitempty"`
	Body      json.RawMessage   `json:"body,omitempty"`
	Text      string            `json:"text,omitempty"`
}

func TestRequestsAreAsTheGoldenFilesSay(t *testing.T) {
	type receiver struct {
		name string
		r    notify.Receiver
	}
	printer, err := configtest.New(configtest.Keys{Name: "stdout", Type: "stdout", Cluster: "shop-1", Output: new(bytes.Buffer)})
	if err != nil {
		t.Fatal(err)
	}
	all := []receiver{{"stdout", printer}}
	for _, s := range allSubjects() {
		all = append(all, receiver{s.name, s.receiver(t, "http://127.0.0.1:1", func(c *configtest.Keys) {
			if s.structure {
				c.BatchBytes = goldenBatch
			}
		})})
	}
	for _, c := range all {
		for name, m := range messages() {
			if hostileName, ok := strings.CutPrefix(name, "hostile-"); ok && !slices.Contains(goldenHostile(), hostileName) {
				continue
			}
			golden(t, filepath.Join("testdata", c.name, name+".golden.json"), render(t, c.r, m, notify.Full))
			if name == "plain" || name == "critical" || name == "50" {
				golden(t, filepath.Join("testdata", c.name, name+"-simple.golden.json"), render(t, c.r, m, notify.Simple))
			}
		}
	}
}

func goldenHostile() []string {
	return []string{"at-all", "channel", "all", "markdown", "quotes", "control", "invalid-utf8"}
}

// goldenBatch is the smallest that is allowed, so that 50 incidents and 64 KiB do not fit.
const goldenBatch = 16 << 10

func TestLabelsAreInTheConfiguredLanguageAndZone(t *testing.T) {
	zone := shanghai(t)
	for _, s := range allSubjects() {
		r := s.receiver(t, "http://127.0.0.1:1", func(c *configtest.Keys) { c.Language, c.Location = "zh", zone })
		golden(t, filepath.Join("testdata", s.name, "zh.golden.json"), render(t, r, messages()["losses"], notify.Full))
	}
}

func golden(t *testing.T, path string, request *notify.Request) {
	t.Helper()
	g := goldenRequest{Method: request.Method, Header: request.Header, Incidents: request.Incidents, Taken: request.Taken}
	records, err := notifytest.DecodeLogs(request.Body)
	switch {
	case err == nil:
		if g.Body, err = json.Marshal(records); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
	case json.Valid(request.Body):
		g.Body = request.Body
	default:
		g.Text = string(request.Body)
	}
	var got bytes.Buffer
	e := json.NewEncoder(&got)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	if err := e.Encode(g); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v (go test -update writes it)", err)
	}
	if diff := cmp.Diff(string(want), got.String()); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}
