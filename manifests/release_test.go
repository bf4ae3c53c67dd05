package manifests_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestReleaseIsBuiltForTheOldestMachineWhateverTheEnvironmentSays: GOAMD64=v3 in somebody's shell would make binaries that end
// with an illegal instruction elsewhere, and two builds of a release would differ.
func TestReleaseIsBuiltForTheOldestMachineWhateverTheEnvironmentSays(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "make", "-C", "..", "--no-print-directory", "--dry-run", "cross")
	cmd.Env = append(os.Environ(), "GOAMD64=v3", "GOARM64=v9.0", "GOARM=5", "GOEXPERIMENT=jsonv2", "GOFIPS140=latest", "GOFLAGS=-tags=other", "CGO_ENABLED=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("make: %v\n%s", err, out)
	}
	builds := 0
	for line := range strings.Lines(string(out)) {
		settings, _, ok := strings.Cut(line, " go build ")
		if !ok {
			continue
		}
		builds++
		for _, want := range []string{"CGO_ENABLED=0", "GOAMD64=v1", "GOARM64=v8.0", "GOARM=7", "GOEXPERIMENT=", "GOFIPS140=off"} {
			if !slices.Contains(strings.Fields(settings), want) {
				t.Errorf("%s is not set for: %s", want, line)
			}
		}
	}
	if builds != 3 {
		t.Errorf("%d builds, want 3:\n%s", builds, out)
	}
	// GOFLAGS is exported empty, and no line of a recipe sets it again.
	makefile := readText(t, "../Makefile")
	if !strings.Contains(makefile, "\nexport GOFLAGS :=\n") || strings.Contains(string(out), "-tags=other") {
		t.Error("GOFLAGS of the environment reaches the build")
	}
}

func TestReleaseRefusesATreeWithChangesAndLeavesTheLastOne(t *testing.T) {
	dir := t.TempDir()
	writeText(t, filepath.Join(dir, "scripts/release"), readText(t, "../scripts/release"))
	// The build itself is not what is asked here.
	writeText(t, filepath.Join(dir, "Makefile"), "cross:\n\t@echo building; exit 1\n")
	writeText(t, filepath.Join(dir, ".gitignore"), "/dist/\n")
	writeText(t, filepath.Join(dir, "manifests/edge-eventer.yaml"), "          image: "+imageName+":1.2.3\n")
	git := func(args ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "git", append([]string{"-c", "user.name=n", "-c", "user.email=e"}, args...)...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
	git("init", "-q")
	git("add", ".")
	git("commit", "-q", "-m", "all")
	release := func(version string) string {
		t.Helper()
		writeText(t, filepath.Join(dir, "dist/last"), "the last release")
		cmd := exec.CommandContext(t.Context(), "bash", filepath.Join(dir, "scripts/release"))
		cmd.Env = append(os.Environ(), "VERSION="+version, "COMMIT=0123456789ab", "SOURCE_DATE_EPOCH=1700000000")
		out, err := cmd.CombinedOutput()
		if err == nil {
			t.Errorf("it ended well:\n%s", out)
		}
		return string(out)
	}
	for _, version := range []string{"1.2.3", "v1.2.3", "1.2.4-rc.1"} {
		if out := release(version); !strings.Contains(out, "building") {
			t.Errorf("a clean tree is not built as %s:\n%s", version, out)
		}
	}
	if out := release("1.2.4"); strings.Contains(out, "building") || !strings.Contains(out, "has another tag than 1.2.4") {
		t.Errorf("a clone of that tag would run another image:\n%s", out)
	}
	for name, change := range map[string]func(){
		"a changed file": func() { writeText(t, filepath.Join(dir, "Makefile"), "cross:\n\t@echo building else\n") },
		"a new file":     func() { git("checkout", "-q", "."); writeText(t, filepath.Join(dir, "more.go"), "package more\n") },
	} {
		change()
		if out := release("1.2.3"); strings.Contains(out, "building") || !strings.Contains(out, "changes that are in no commit") {
			t.Errorf("%s:\n%s", name, out)
		}
		if _, err := os.Stat(filepath.Join(dir, "dist/last")); err != nil {
			t.Errorf("%s: refused, and the last release is gone", name)
		}
	}
}

// TestVersionIsTheSameEverywhere: what is cut next, in the order in which a reader meets it.
func TestVersionIsTheSameEverywhere(t *testing.T) {
	version := regexp.MustCompile(`image: ` + regexp.QuoteMeta(imageName) + `:(\S+)`).FindStringSubmatch(readText(t, manifestFile))[1]
	for path, pattern := range map[string]string{
		"edge-eventer-several-servers.yaml": `image: ` + regexp.QuoteMeta(imageName) + `:(\S+)`,
		"../CHANGELOG.md":                   `\A# Changelog\n\n## (\S+)\n`,
		"chart/Chart.yaml":                  `(?m)^version: (\S+)$`,
		"helmchart.yaml":                    `/v[0-9.]+/edge-eventer-(\S+)\.tgz\n`,
		"../README.md":                      `sudo apt install \./edge-eventer_(\S+)_arm64\.deb\n`,
		"../README.zh-CN.md":                `sudo apt install \./edge-eventer_(\S+)_arm64\.deb\n`,
	} {
		found := regexp.MustCompile(pattern).FindStringSubmatch(readText(t, path))
		if found == nil || found[1] != version {
			t.Errorf("%s: %q, the manifest has %s", path, found, version)
		}
	}
	for line := range strings.Lines(readText(t, "kustomization.yaml")) {
		if strings.HasPrefix(line, "images:") {
			t.Error("the kustomization sets another tag than the manifest's")
		}
	}
}
