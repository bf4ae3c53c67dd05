//go:build browser

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/edge-eventer/edge-eventer/notify"
	"github.com/edge-eventer/edge-eventer/notify/notifytest"
)

// TestBrowserShowsCardsAndRunsNothingOfTheirText opens the page in a headless Chromium.
func TestBrowserShowsCardsAndRunsNothingOfTheirText(t *testing.T) {
	_, base := start(t)
	m := notify.Sample("shop-1", time.Now())
	m.Incidents[0].Message = `<script>document.title = "taken"</script><at id=all></at> back-off`
	for name, r := range receivers(t, base) {
		if err := send(t.Context(), r, m); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	screenshot := filepath.Join(t.TempDir(), "page.png")
	dom, err := notifytest.Browse(t.Context(), base+"/", "--screenshot="+screenshot)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"feishu", "shop-1", "&lt;script&gt;", "captive portal"} {
		if !strings.Contains(dom, want) {
			t.Errorf("the page does not show %q", want)
		}
	}
	if strings.Contains(dom, "<title>taken</title>") {
		t.Error("the text of an event ran as a script")
	}
	if info, err := os.Stat(screenshot); err != nil || info.Size() < 10_000 {
		t.Errorf("the picture of the page: %s", fmt.Sprint(info, err))
	}
}
