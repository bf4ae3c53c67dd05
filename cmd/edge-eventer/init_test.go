package main

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/edge-eventer/edge-eventer/agent/config"
	"github.com/edge-eventer/edge-eventer/cmd/edge-eventer/configure"
)

// TestInitWritesAConfigurationThatWorks answers its questions and gives it flags, under a umask that would make files useless or public.
func TestInitWritesAConfigurationThatWorks(t *testing.T) {
	taken := make(chan string, 10)
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		taken <- r.URL.Path + sent(r)
	}))
	defer receiver.Close()
	address := receiver.URL + "/secret-token"
	for _, mask := range []int{0o000, 0o077} {
		for name, c := range map[string]struct {
			in   string
			args []string
		}{
			"flags":     {address + "\n", []string{"--type", "webhook", "--url", "-", "--cluster", "shop-17", "--send-test"}},
			"questions": {"webhook\n" + address + "\ny\n", []string{"--cluster", "shop-17"}},
		} {
			dir := filepath.Join(t.TempDir(), "edge-eventer")
			path := filepath.Join(dir, "config.yaml")
			var out, said bytes.Buffer
			old := syscall.Umask(mask)
			code := run(append([]string{"init", "--config", path}, c.args...), strings.NewReader(c.in), &out, &said)
			syscall.Umask(old)
			if code != exitOK || !strings.Contains(out.String(), "ok, 1 receivers") || !strings.Contains(out.String(), "delivered") {
				t.Fatalf("%s: exit code %d\n%s%s", name, code, &out, &said)
			}
			if got := <-taken; !strings.HasPrefix(got, "/secret-token") || !strings.Contains(got, "shop-17") {
				t.Errorf("%s: the test message was %s", name, got)
			}
			if strings.Contains(out.String()+said.String(), "secret-token") {
				t.Errorf("%s: the address is shown:\n%s%s", name, &out, &said)
			}
			for file, mode := range map[string]os.FileMode{path: 0o644, filepath.Join(dir, "secrets", "webhook-url"): 0o600} {
				info, err := os.Stat(file)
				if err != nil || info.Mode().Perm() != mode {
					t.Errorf("%s: %s has mode %v, %v", name, file, info.Mode(), err)
				}
			}
			if text, err := os.ReadFile(path); err != nil || bytes.Contains(text, []byte("secret-token")) || bytes.Count(text, []byte("#")) < 5 {
				t.Errorf("%s: the configuration is %s (%v)", name, text, err)
			}
			// A second one replaces nothing.
			if code := run(append([]string{"init", "--config", path}, c.args...), strings.NewReader(c.in), &out, &said); code != exitUsage || !strings.Contains(said.String(), "is not replaced") {
				t.Errorf("%s again: exit code %d: %s", name, code, &said)
			}
		}
	}
}

// TestInitWritesNothingThatIsWrong leaves no file behind.
func TestInitWritesNothingThatIsWrong(t *testing.T) {
	for _, c := range []struct {
		in, args, want string
	}{
		{"", "--type feishuu --url x", "did you mean feishu?"},
		{"", "--type feishu", "give the receiver's address"},
		{"", "--type feishu --url ftp://x", "must begin with https://"},
		{"", "--type feishu --url https://open.feishu.cn/x --language de", "allowed: en, zh"},
		{"", "--type telegram --url 1:a", "chatId"},
	} {
		dir := filepath.Join(t.TempDir(), "new")
		var out, said bytes.Buffer
		args := append([]string{"init", "--config", filepath.Join(dir, "config.yaml")}, strings.Fields(c.args)...)
		if code := run(args, strings.NewReader(c.in), &out, &said); code != exitUsage || !strings.Contains(said.String(), c.want) {
			t.Errorf("%s: exit code %d: %s", c.args, code, &said)
		}
		if _, err := os.Stat(dir); err == nil {
			t.Errorf("%s: something was written", c.args)
		}
	}
}

// TestInitKnowsEachTypeThatItOffers makes a configuration of each.
func TestInitKnowsEachTypeThatItOffers(t *testing.T) {
	for _, kind := range configure.FirstReceivers() {
		path := filepath.Join(t.TempDir(), "config.yaml")
		args := []string{"init", "--config", path, "--type", kind, "--language", "zh"}
		switch kind {
		case "telegram":
			args = append(args, "--url", "123456:abcdefghijklmnopqrstuvwxyzabcdefghi", "--chat-id", "-100123")
		case "stdout":
		default:
			args = append(args, "--url", "https://receiver.example/hook")
		}
		var out, said bytes.Buffer
		if code := run(args, strings.NewReader(""), &out, &said); code != exitOK {
			t.Errorf("%s: exit code %d: %s", kind, code, &said)
			continue
		}
		if c, err := config.Load(path); err != nil || c.Receivers[0].Type != kind || c.Language != "zh" {
			t.Errorf("%s: %v", kind, err)
		}
	}
}
