//go:build browser

package page

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/status"
	"github.com/edge-eventer/edge-eventer/notify/notifytest"
)

// TestBrowserDrawsThePageAndRunsNothingOfItsText opens the page in a headless Chromium, which also holds it to its policy.
func TestBrowserDrawsThePageAndRunsNothingOfItsText(t *testing.T) {
	dom := browse(t, newPage(Incident{Reason: "BackOff", Message: `<script>document.title = "taken"</script> back-off`, Last: time.Now()}))
	for _, want := range []string{"WORKING, not delivering: ops", "shop-1", "BackOff", "&lt;script&gt;", "<rect", "300.0 KiB of 1.0 MiB, 29 %", "failed, is tried again", "3 times in 2 min", "2 incidents, 1 event"} {
		if !strings.Contains(dom, want) {
			t.Errorf("the drawn page has no %q", want)
		}
	}
	if strings.Contains(dom, "<title>taken</title>") {
		t.Error("the text of an event ran as a script")
	}
}

// TestBrowserShowsThePageInTheConfiguredLanguage looks for words of each part of the page.
func TestBrowserShowsThePageInTheConfiguredLanguage(t *testing.T) {
	p := newPage()
	english := p.Document
	p.Document = func() (status.Document, error) {
		d, err := english()
		d.Language = status.Chinese
		d.Judge()
		return d, err
	}
	dom := browse(t, p)
	for _, want := range []string{`<html lang="zh">`, "正常，无法投递：ops", "接收方", "重试中", "今天 300.0 KiB / 1.0 MiB，29 %", "失败，将重试", "3 次，历时 2 分钟", "2 个故障，1 个事件"} {
		if !strings.Contains(dom, want) {
			t.Errorf("the drawn page has no %q", want)
		}
	}
}

// browse returns what a browser makes of a page.
func browse(t *testing.T, p *Page) string {
	t.Helper()
	mux := http.NewServeMux()
	p.Register(mux)
	server := httptest.NewServer(mux)
	defer server.Close()
	dom, err := notifytest.Browse(t.Context(), server.URL+"/")
	if err != nil {
		t.Fatal(err)
	}
	return dom
}
