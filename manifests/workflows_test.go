package manifests_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// workflow is as much of a workflow of GitHub's as is looked at here.
type workflow struct {
	Permissions any
	Jobs        map[string]struct {
		Steps []struct{ Uses, Run string }
	}
}

func readWorkflow(t *testing.T, name string) (w workflow, commands string) {
	t.Helper()
	if err := yaml.Unmarshal([]byte(readText(t, filepath.Join("../.github/workflows", name))), &w); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	for _, job := range w.Jobs {
		for _, step := range job.Steps {
			commands += step.Run + "\n"
		}
	}
	return w, commands
}

func TestWorkflowsRunWhatDevelopersRun(t *testing.T) {
	for name, want := range map[string][]string{
		"test.yml":    {".ci/run"},
		"release.yml": {"scripts/release-notes ", "make release VERSION=", "cosign sign-blob", "skopeo copy --all"},
	} {
		w, commands := readWorkflow(t, name)
		for _, command := range want {
			if !strings.Contains(commands, command) {
				t.Errorf("%s does not run %s", name, command)
			}
		}
		if w.Permissions == nil {
			t.Errorf("%s: its token may do everything", name)
		}
		for _, script := range regexp.MustCompile(`(?:scripts|\.ci)/[a-z-]+`).FindAllString(commands, -1) {
			if info, err := os.Stat(filepath.Join("..", script)); err != nil || info.Mode()&0o111 == 0 {
				t.Errorf("%s: %s cannot be run: %v", name, script, err)
			}
		}
		for _, job := range w.Jobs {
			for _, step := range job.Steps {
				// The code of an action is GitHub's own or that of the signatures, at a version.
				if step.Uses != "" && !regexp.MustCompile(`^(actions|sigstore)/[a-z-]+@v[0-9]+$`).MatchString(step.Uses) {
					t.Errorf("%s uses %s", name, step.Uses)
				}
			}
		}
	}
	if !strings.Contains(readText(t, "../.ci/run"), "\nmake test\n") {
		t.Error(".ci/run is not make test")
	}
}

func TestFormsAndRobotsAreReadable(t *testing.T) {
	files, err := filepath.Glob("../.github/ISSUE_TEMPLATE/*.yml")
	if err != nil || len(files) < 3 {
		t.Fatalf("%v %v", files, err)
	}
	for _, file := range append(files, "../.github/dependabot.yml") {
		var form map[string]any
		if err := yaml.Unmarshal([]byte(readText(t, file)), &form); err != nil || len(form) < 2 {
			t.Errorf("%s: %v", file, err)
		}
	}
}

// TestReleaseNotesAreThoseOfTheChangelog: a tag whose version CHANGELOG.md does not know is no release.
func TestReleaseNotesAreThoseOfTheChangelog(t *testing.T) {
	dir := t.TempDir()
	writeText(t, filepath.Join(dir, "scripts/release-notes"), readText(t, "../scripts/release-notes"))
	writeText(t, filepath.Join(dir, "CHANGELOG.md"), "# Changelog\n\n## 1.3.0\n\n- third\n\n## 1.2.3 (2026-11-25)\n\n### Added\n\n- second\n\n## 1.2.0\n\n- first\n")
	notes := func(version string) (string, error) {
		out, err := exec.CommandContext(t.Context(), "bash", filepath.Join(dir, "scripts/release-notes"), version).CombinedOutput()
		return string(out), err
	}
	for version, want := range map[string]string{"v1.2.3": "\n### Added\n\n- second\n\nMade with go", "1.3.0-rc.1": "\n- third\n\nMade with go", "v1.2.0": "\n- first\n\nMade with go"} {
		if out, err := notes(version); err != nil || !strings.HasPrefix(out, want) || !regexp.MustCompile(`, dpkg-deb [0-9.]+, zstd [0-9.]+, tar [0-9.]+, gzip [0-9.]+\.\n$`).MatchString(out) {
			t.Errorf("%s: %v: %q, want %q", version, err, out, want)
		}
	}
	if out, err := notes("v1.2"); err == nil {
		t.Errorf("a version that was never cut has notes: %s", out)
	}
}
