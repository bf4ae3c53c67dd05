package secret_test

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/edge-eventer/edge-eventer/agent/config"
	"github.com/edge-eventer/edge-eventer/agent/secret"
)

// TestMissingSecretIsSaidBeforeAnEventComesAndOnce gives a receiver an address, a signing secret and a header in files that are not there, empty and
// as they should be.
func TestMissingSecretIsSaidBeforeAnEventComesAndOnce(t *testing.T) {
	dir := t.TempDir()
	address, key, header := filepath.Join(dir, "url"), filepath.Join(dir, "key"), filepath.Join(dir, "header")
	c, err := config.Parse([]byte("receivers:\n- {name: ops, type: feishu, urlFile: " + address + ", secretFile: " + key + "}\n" +
		"- {name: archive, type: webhook, url: 'http://127.0.0.1:1/', headers: {Authorization: {file: " + header + "}}}\n" +
		"- {name: console, type: stdout}\n"))
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	files := secret.New(slog.New(slog.NewTextHandler(&log, nil)))
	put := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	look := func(lines int, missing map[string][]string) {
		t.Helper()
		log.Reset()
		files.Look(c.Receivers)
		if got := strings.Count(log.String(), "\n"); got != lines {
			t.Errorf("%d lines are logged, want %d:\n%s", got, lines, &log)
		}
		if strings.Contains(log.String(), "token-1234") {
			t.Errorf("a secret is logged: %s", &log)
		}
		for _, r := range c.Receivers {
			got := files.Unreadable(r.Name)
			if !slices.EqualFunc(got, missing[r.Name], strings.HasPrefix) {
				t.Errorf("%s: missing is %q, want %q", r.Name, got, missing[r.Name])
			}
			for _, why := range got {
				if !strings.Contains(why, dir) {
					t.Errorf("%q does not name the file", why)
				}
			}
		}
		if files.Any() != (len(missing) > 0) {
			t.Errorf("Any is %t", files.Any())
		}
	}
	all := map[string][]string{"ops": {"secretFile: ", "urlFile: "}, "archive": {"headers.Authorization: "}}
	look(2, all)
	look(0, all)
	put(key, "token-1234\n")
	put(header, " \n")
	look(2, map[string][]string{"ops": {"urlFile: "}, "archive": {"headers.Authorization: "}})
	put(address, "https://open.feishu.cn/open-apis/bot/v2/hook/token-1234\n")
	put(header, "Bearer token-1234")
	look(2, nil)
	if err := os.Remove(key); err != nil {
		t.Fatal(err)
	}
	look(1, map[string][]string{"ops": {"secretFile: "}})
	// A reload that takes the receiver away takes its trouble with it.
	c.Receivers = c.Receivers[1:]
	look(0, nil)
}
