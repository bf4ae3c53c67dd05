package config_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/edge-eventer/edge-eventer/agent/config"
)

// TestMigrationGuideLoads loads every configuration that the guides give for this agent.
func TestMigrationGuideLoads(t *testing.T) {
	t.Run("MIGRATING.md", func(t *testing.T) { loadGuide(t, "MIGRATING.md", 10) })
	pages, err := filepath.Glob("../../notify/*/README*.md")
	if err != nil || len(pages) < 8 {
		t.Fatalf("pages of engines: %q, %v", pages, err)
	}
	for _, path := range pages {
		name := strings.TrimPrefix(path, "../../notify/")
		// One for each engine to begin with, and one in earnest.
		t.Run(name, func(t *testing.T) { loadGuide(t, name, 2) })
	}
}

func loadGuide(t *testing.T, name string, least int) {
	for _, name := range []string{"FEISHU_URL", "SLACK_URL", "DINGTALK_URL", "WECOM_URL", "WORKTILE_URL", "WEBHOOK_URL"} {
		t.Setenv(name, "https://receiver.example/hook")
	}
	t.Setenv("WEBHOOK_TOKEN", "token")
	text, err := os.ReadFile("../../notify/" + name)
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(string(text), -1)
	loaded := 0
	for _, block := range blocks {
		if !strings.HasPrefix(block[1], "# edge-eventer\n") {
			continue
		}
		loaded++
		if _, err := config.Parse([]byte(block[1])); err != nil {
			t.Errorf("%v\nin\n%s", err, block[1])
		}
	}
	if loaded < least {
		t.Errorf("the guide has %d configurations of this agent, want at least %d", loaded, least)
	}
}
