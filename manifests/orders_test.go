package manifests_test

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// nodeTree is a machine on which the package and install.sh were used in some order.
type nodeTree struct {
	root      string // the tree of its files
	deb       string // "", "removed" or "installed"
	sh, wiped bool   // wiped: neither configuration nor secret nor spool is left
	path      []string
}

// buildDeb builds the package of one architecture from a text in place of its binary.
func buildDeb(t *testing.T, version string) string {
	t.Helper()
	dist := t.TempDir()
	cmd := exec.CommandContext(t.Context(), "../scripts/deb")
	cmd.Env = append(os.Environ(), "BIN="+inputs(t), "DIST="+dist, "VERSION="+version, "SOURCE_DATE_EPOCH=1700000000")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("scripts/deb: %v\n%s", err, out)
	}
	return filepath.Join(dist, "edge-eventer_"+version+"_amd64.deb")
}

// dpkg runs on a tree; the maintainer scripts run outside of it and take its place from DPKG_ROOT.
func dpkg(t *testing.T, root string, env []string, args ...string) (string, error) {
	t.Helper()
	for _, dir := range []string{"var/lib/dpkg/info", "var/lib/dpkg/updates", "var/log"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, file := range []string{"var/lib/dpkg/status", "var/lib/dpkg/available"} {
		f, err := os.OpenFile(filepath.Join(root, file), os.O_CREATE, 0o644)
		if err != nil {
			t.Fatal(err)
		}
		_ = f.Close()
	}
	command := append([]string{"dpkg", "--root=" + root, "--force-script-chrootless", "--force-depends", "--force-architecture", "--force-bad-path", "--force-unsafe-io"}, args...)
	if os.Getuid() != 0 {
		command = append([]string{"fakeroot"}, command...)
	}
	cmd := exec.CommandContext(t.Context(), command[0], command[1:]...)
	cmd.Env = append(os.Environ(), append(env, "LC_ALL=C")...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// data is what is the operator's; it is put there as soon as an agent is installed.
func data() map[string]string {
	return map[string]string{
		"etc/edge-eventer/config.yaml":          "mine",
		"etc/edge-eventer/secrets/feishu-url":   "https://open.feishu.cn/x",
		"var/lib/private/edge-eventer/spool.db": "not delivered",
	}
}

// signature tells trees apart by everything that a later step may depend on.
func signature(t *testing.T, root string) string {
	t.Helper()
	sum := sha256.New()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		name, _ := strings.CutPrefix(path, root)
		if err != nil || strings.HasPrefix(name, "/var/log") || strings.HasSuffix(name, "-old") {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		fmt.Fprintln(sum, name, info.Mode())
		if d.Type() == fs.ModeSymlink {
			target, err := os.Readlink(path)
			fmt.Fprintln(sum, target)
			return err
		}
		if d.Type().IsRegular() {
			text, err := os.ReadFile(path)
			fmt.Fprintf(sum, "%q\n", text)
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%x", sum.Sum(nil))
}

// TestPackageAndInstallScriptInAnyOrderLoseNothingAndLeaveOneAgent goes from an empty machine through every state that installing,
// removing and purging the package and installing and uninstalling with install.sh can reach, until there is no new one.
func TestPackageAndInstallScriptInAnyOrderLoseNothingAndLeaveOneAgent(t *testing.T) {
	t.Parallel()
	deb, release := buildDeb(t, "9.8.7"), unpacked(t, program)
	steps := map[string]func(n *nodeTree) (string, error, bool){ // What it said, its error, and whether an error is what must come.
		"package": func(n *nodeTree) (string, error, bool) {
			out, err := dpkg(t, n.root, nil, "-i", deb)
			n.deb, n.sh, n.wiped = "installed", false, false
			return out, err, false
		},
		"remove": func(n *nodeTree) (string, error, bool) {
			out, err := dpkg(t, n.root, nil, "-r", "edge-eventer")
			n.deb = "removed"
			return out, err, false
		},
		"purge": func(n *nodeTree) (string, error, bool) {
			out, err := dpkg(t, n.root, nil, "-P", "edge-eventer")
			n.deb, n.wiped = "", !n.sh
			return out, err, false
		},
		"install.sh": func(n *nodeTree) (string, error, bool) {
			out, err := tryInstall(t, release, n.root, "")
			if n.deb == "installed" {
				return out, err, true
			}
			n.sh, n.wiped = true, false
			return out, err, false
		},
		"uninstall": func(n *nodeTree) (string, error, bool) {
			out, err := tryInstall(t, release, n.root, "y\n", "--uninstall")
			if n.deb == "installed" {
				return out, err, true
			}
			// The spool goes, which is what the answer was; a new one is made by the next agent.
			n.sh = false
			return out, err, false
		},
	}
	names := []string{"install.sh", "package", "purge", "remove", "uninstall"}
	seen := map[string]bool{}
	queue := []nodeTree{{root: t.TempDir(), wiped: true}}
	for len(queue) > 0 {
		from := queue[0]
		queue = queue[1:]
		for _, name := range names {
			if name == "remove" && from.deb != "installed" || name == "purge" && from.deb == "" {
				continue
			}
			to := from
			to.root, to.path = t.TempDir(), append(slices.Clone(from.path), name)
			if out, err := exec.CommandContext(t.Context(), "cp", "-a", from.root+"/.", to.root).CombinedOutput(); err != nil {
				t.Fatalf("cp: %v: %s", err, out)
			}
			before := signature(t, to.root)
			out, err, refused := steps[name](&to)
			if (err != nil) != refused {
				t.Fatalf("%v: %v, want a refusal: %v\n%s", to.path, err, refused, out)
			}
			if refused && signature(t, to.root) != before {
				t.Errorf("%v: refused, and something changed", to.path)
			}
			checkNode(t, to, name == "uninstall" && !refused)
			if t.Failed() {
				t.Fatalf("%v said:\n%s", to.path, out)
			}
			if s := signature(t, to.root); !seen[s] {
				seen[s] = true
				queue = append(queue, to)
			}
		}
	}
	t.Logf("%d states", len(seen))
	if len(seen) < 8 {
		t.Error("these are too few to have seen anything")
	}
}

// checkNode holds a tree against what was done to it, and puts the operator's data where an agent is installed.
func checkNode(t *testing.T, n nodeTree, spoolDeleted bool) {
	t.Helper()
	there := func(name string) bool { _, err := os.Lstat(filepath.Join(n.root, name)); return err == nil }
	const unit, wants = "etc/systemd/system/edge-eventer.service", "etc/systemd/system/multi-user.target.wants/edge-eventer.service"
	mine := false
	if info, err := os.Lstat(filepath.Join(n.root, unit)); err == nil && info.Mode().IsRegular() {
		mine = true
	}
	for what, c := range map[string]struct{ got, want bool }{
		"the binary of install.sh": {there("usr/local/bin/edge-eventer"), n.sh},
		"the man page":             {there("usr/local/share/man/man1/edge-eventer.1"), n.sh},
		"the unit of install.sh":   {mine, n.sh},
		"the binary of dpkg":       {there("usr/bin/edge-eventer"), n.deb == "installed"},
		"the unit of dpkg":         {there("lib/systemd/system/edge-eventer.service"), n.deb == "installed"},
		"a folder for secrets":     {there("etc/edge-eventer/secrets"), !n.wiped || n.sh || n.deb == "installed"},
		"the configuration":        {there("etc/edge-eventer/config.yaml"), !n.wiped},
	} {
		if c.got != c.want {
			t.Errorf("%v: %s is there: %v, want %v", n.path, what, c.got, c.want)
		}
	}
	if target, _ := os.Readlink(filepath.Join(n.root, wants)); n.sh || n.deb == "installed" {
		want := "/lib/systemd/system/edge-eventer.service"
		if n.sh {
			want = "/etc/systemd/system/edge-eventer.service"
		}
		if target != want {
			t.Errorf("%v: the system starts %q, want %q", n.path, target, want)
		}
		if n.deb == "installed" && there(unit) {
			t.Errorf("%v: something is in front of the package's unit", n.path)
		}
	} else if target == "/etc/systemd/system/edge-eventer.service" {
		t.Errorf("%v: the system starts what is not there", n.path)
	}
	for name, text := range data() {
		got, err := os.ReadFile(filepath.Join(n.root, name))
		gone := n.wiped || spoolDeleted && strings.HasSuffix(name, "spool.db")
		fresh := !there("mark")
		switch {
		case fresh || gone:
			if gone && err == nil {
				t.Errorf("%v: %s is left", n.path, name)
			}
		case string(got) != text:
			t.Errorf("%v: %s is %q %v, want the operator's", n.path, name, got, err)
		}
	}
	_ = os.Remove(filepath.Join(n.root, "mark"))
	if n.sh || n.deb == "installed" || there("etc/edge-eventer/config.yaml") {
		for name, text := range data() {
			writeText(t, filepath.Join(n.root, name), text)
		}
		writeText(t, filepath.Join(n.root, "mark"), "the operator's data are there")
	}
}

func TestPackageIsRefusedOnARMv6BeforeItIsUnpacked(t *testing.T) {
	root, fake := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(fake, "uname"), []byte("#!/bin/sh\necho armv6l\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	out, err := dpkg(t, root, []string{"PATH=" + fake + ":" + os.Getenv("PATH")}, "-i", buildDeb(t, "9.8.7"))
	if err == nil || !strings.Contains(out, "this is an ARMv6 machine") {
		t.Errorf("%v: %s", err, out)
	}
	if _, err := os.Stat(filepath.Join(root, "usr/bin/edge-eventer")); err == nil {
		t.Error("it was unpacked all the same")
	}
}

func TestPackageSaysThatAnotherUnitIsInForce(t *testing.T) {
	root := t.TempDir()
	unit := filepath.Join(root, "etc/systemd/system/edge-eventer.service")
	writeText(t, unit, "[Service]\nExecStart=/usr/bin/edge-eventer run\n")
	out, err := dpkg(t, root, nil, "-i", buildDeb(t, "9.8.7"))
	if err != nil || !strings.Contains(out, unit+" is in force instead of this package's unit") {
		t.Errorf("%v: %s", err, out)
	}
	if _, err := os.Stat(unit); err != nil {
		t.Errorf("the administrator's unit: %v", err)
	}
}

// TestPackageVersionsSortAsTheReleasesFollowEachOther asks dpkg.
func TestPackageVersionsSortAsTheReleasesFollowEachOther(t *testing.T) {
	ordered := []string{"abc1234", "0.1.0-rc1", "0.1.0-rc1-3-gabc1234", "0.1.0-rc2", "0.1.0", "0.1.0-5-gabc1234", "0.1.0-5-gabc1234-dirty", "0.1.1-beta.1", "0.1.1"}
	var versions []string
	for _, version := range ordered {
		out, err := exec.CommandContext(t.Context(), "dpkg-deb", "--field", buildDeb(t, version), "Version").Output()
		if err != nil {
			t.Fatal(err)
		}
		versions = append(versions, strings.TrimSpace(string(out)))
	}
	for i := 1; i < len(versions); i++ {
		if err := exec.CommandContext(t.Context(), "dpkg", "--compare-versions", versions[i-1], "lt", versions[i]).Run(); err != nil {
			t.Errorf("%s is not older than %s", versions[i-1], versions[i])
		}
	}
}
