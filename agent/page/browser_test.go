//go:build browser

package page

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/edge-eventer/edge-eventer/notify/notifytest"
)

// TestBrowserDrawsThePageAndRunsNothingOfItsText opens the page in a headless Chromium, which also holds it to its policy.
func TestBrowserDrawsThePageAndRunsNothingOfItsText(t *testing.T) {
	mux := http.NewServeMux()
	newPage(Incident{Reason: "BackOff", Message: `<script>document.title = "taken"</script> back-off`, Last: time.Now()}).Register(mux)
	server := httptest.NewServer(mux)
	defer server.Close()
	dom, err := notifytest.Browse(t.Context(), server.URL+"/")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"WORKING, not delivering: ops", "shop-1", "BackOff", "&lt;script&gt;", "<rect", "300.0 KiB of 1.0 MiB, 29 %", "failed, is tried again", "3 times in 2 min", "2 incidents, 1 event"} {
		if !strings.Contains(dom, want) {
			t.Errorf("the drawn page has no %q", want)
		}
	}
	if strings.Contains(dom, "<title>taken</title>") {
		t.Error("the text of an event ran as a script")
	}
}
