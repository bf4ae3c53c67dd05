package notifytest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
)

// Browse opens a page in a headless Chromium and returns its document after its scripts ran for 3 seconds of the page's own
// time. More flags, such as --screenshot=FILE, go before the address. It fails where chromium is not installed.
func Browse(ctx context.Context, url string, flags ...string) (string, error) {
	profile, err := os.MkdirTemp("", "browse.")
	if err != nil {
		return "", fmt.Errorf("make profile: %w", err)
	}
	defer os.RemoveAll(profile)
	// Without the background flags it looks up its maker's hosts at each start.
	flags = append([]string{"--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
		"--user-data-dir=" + profile, "--virtual-time-budget=3000", "--dump-dom"}, flags...)
	out, err := exec.CommandContext(ctx, "chromium", append(flags, url)...).Output()
	if err != nil {
		return "", fmt.Errorf("open page in chromium: %w", err)
	}
	return string(out), nil
}
