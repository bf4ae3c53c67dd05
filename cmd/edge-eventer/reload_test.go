package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// configMap is a volume as the kubelet makes it: config.yaml is a link to ..data/config.yaml, ..data a link to a directory with the
// time in its name, and an update puts another directory beside it and renames a new link over ..data.
type configMap struct {
	t       *testing.T
	dir     string
	version int
}

func (m *configMap) swap(text string) {
	m.t.Helper()
	m.version++
	fresh := fmt.Sprintf("..2026_11_21_%02d", m.version)
	for _, err := range []error{
		os.Mkdir(filepath.Join(m.dir, fresh), 0o700),
		os.WriteFile(filepath.Join(m.dir, fresh, "config.yaml"), []byte(text), 0o600),
		os.Symlink(fresh, filepath.Join(m.dir, "..data_tmp")),
		os.Rename(filepath.Join(m.dir, "..data_tmp"), filepath.Join(m.dir, "..data")),
	} {
		if err != nil {
			m.t.Fatal(err)
		}
	}
	if m.version > 1 {
		if err := os.RemoveAll(filepath.Join(m.dir, fmt.Sprintf("..2026_11_21_%02d", m.version-1))); err != nil {
			m.t.Fatal(err)
		}
		return
	}
	if err := os.Symlink("..data/config.yaml", filepath.Join(m.dir, "config.yaml")); err != nil {
		m.t.Fatal(err)
	}
}

// TestConfigMapIsReloadedWhenTheKubeletSwapsIt renames a receiver whose queue is not empty, then brings a file with mistakes, then
// the first one again, on the real process: by swaps that nobody signals, and by SIGHUP.
func TestConfigMapIsReloadedWhenTheKubeletSwapsIt(t *testing.T) {
	t.Parallel()
	away := newArchive(t)
	away.setDown(true)
	d := newDesk(t, "{name: ops, type: webhook, url: '"+away.URL+"'}")
	d.put(4)
	text, err := os.ReadFile(d.config)
	if err != nil {
		t.Fatal(err)
	}
	first := string(text) + "kubernetes: {kubeconfig: " + filepath.Join(t.TempDir(), "missing") + "}\n"
	m := &configMap{t: t, dir: t.TempDir()}
	m.swap(first)
	d.config = filepath.Join(m.dir, "config.yaml")
	b := runBeside(t, d)

	// Nobody signals: it is seen within 30 seconds.
	m.swap(strings.Replace(first, "{name: ops,", "{name: operators,", 1))
	b.agent.waitForLog("configuration reloaded")
	b.agent.waitForLog("receiver removed, its queue is kept")
	s := b.status()
	if len(s.Receivers) != 2 || s.Receivers[0].Name != "operators" || s.Receivers[1].Name != "ops" || s.Receivers[1].Type != "" || s.Receivers[1].Untold != 6 {
		t.Errorf("receivers: %+v", s.Receivers)
	}
	if notes := strings.Join(s.Notes, "\n"); !strings.Contains(notes, "queue ops has no receiver") {
		t.Errorf("notes: %s", notes)
	}

	m.swap(first + "typo: 1\n")
	b.agent.signal(syscall.SIGHUP)
	until(b.t, "the status says that the file was refused", func() bool { return !b.status().Config.Refused.IsZero() })
	if s := b.status(); !strings.Contains(s.Config.Mistakes, "typo: unknown key") || s.Receivers[0].Name != "operators" {
		t.Errorf("after a bad file: %q, receivers %+v", s.Config.Mistakes, s.Receivers)
	}
	// The command reads the same bad file, and says so; the agent goes on.
	if _, errOut, code := b.command("", "spool", "ls"); code != exitOK {
		t.Errorf("spool ls beside a bad file: exit code %d: %s", code, errOut)
	}

	m.swap(first)
	away.setDown(false)
	b.agent.signal(syscall.SIGHUP)
	until(b.t, "the old receiver has its queue again and all is delivered", func() bool {
		s := b.status()
		return len(s.Receivers) == 1 && s.Receivers[0].Name == "ops" && s.Receivers[0].Untold == 0 && s.Config.Refused.IsZero()
	})
	// The events that d.put made have no UID, so only whole messages can be told apart.
	if _, messages := away.repeated(); messages != 0 || away.told() != 6 {
		t.Errorf("%d messages were repeated, %d events told, want 6", messages, away.told())
	}
}
