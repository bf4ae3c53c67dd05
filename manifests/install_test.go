package manifests_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// unpacked makes the folder of an unpacked release whose binary is a text.
func unpacked(t *testing.T, binary string) string {
	t.Helper()
	dir := t.TempDir()
	for name, source := range map[string]string{
		"install.sh": "../scripts/install.sh", "edge-eventer.service": "systemd/edge-eventer.service",
		"config.yaml": "systemd/config.yaml", "edge-eventer.1": "man/edge-eventer.1",
		"edge-eventer.bash": "completion/edge-eventer.bash", "make-kubeconfig": "../scripts/make-kubeconfig",
	} {
		text, err := os.ReadFile(source)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "edge-eventer"), []byte(binary), 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

// install runs install.sh of a release on the tree root and returns what it said.
func install(t *testing.T, release, root, stdin string, args ...string) string {
	t.Helper()
	out, err := tryInstall(t, release, root, stdin, args...)
	if err != nil {
		t.Fatalf("install.sh %v: %v\n%s", args, err, out)
	}
	return out
}

func tryInstall(t *testing.T, release, root, stdin string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), filepath.Join(release, "install.sh"), append([]string{"--root", root}, args...)...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// tree lists what lies below a folder: mode, path, and where a link points.
func tree(t *testing.T, root string) []string {
	t.Helper()
	var list []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() && !strings.HasSuffix(path, "/secrets") {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		name, _ := strings.CutPrefix(path, root)
		if target, err := os.Readlink(path); err == nil {
			list = append(list, name+" -> "+target)
		} else {
			list = append(list, info.Mode().String()+" "+name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(list)
	return list
}

func readText(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func writeText(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestInstallPutsEverythingInPlaceAndMayRunAgain(t *testing.T) {
	root, release := t.TempDir(), unpacked(t, "first")
	install(t, release, root, "")
	want := []string{
		"-rw-r--r-- /etc/edge-eventer/config.yaml",
		"-rw-r--r-- /etc/systemd/system/edge-eventer.service",
		"-rw-r--r-- /usr/local/share/bash-completion/completions/edge-eventer",
		"-rw-r--r-- /usr/local/share/man/man1/edge-eventer.1",
		"-rwxr-xr-x /usr/local/bin/edge-eventer",
		"/etc/systemd/system/multi-user.target.wants/edge-eventer.service -> /etc/systemd/system/edge-eventer.service",
		"drwx------ /etc/edge-eventer/secrets",
	}
	if diff := cmp.Diff(want, tree(t, root)); diff != "" {
		t.Fatalf("installed (-want +got):\n%s", diff)
	}
	if text := readText(t, filepath.Join(root, "etc/systemd/system/edge-eventer.service")); !strings.Contains(text, "\nExecStart=/usr/local/bin/edge-eventer run ") {
		t.Error("the unit does not start the installed binary")
	}

	install(t, release, root, "")
	if diff := cmp.Diff(want, tree(t, root)); diff != "" {
		t.Errorf("after a second run (-want +got):\n%s", diff)
	}
}

func TestUpgradeKeepsConfigurationSecretsAndSpool(t *testing.T) {
	root := t.TempDir()
	install(t, unpacked(t, "first"), root, "")
	mine := map[string]string{
		"etc/edge-eventer/config.yaml":          "mine",
		"etc/edge-eventer/secrets/feishu-url":   "https://open.feishu.cn/x",
		"var/lib/private/edge-eventer/spool.db": "not delivered",
		"etc/systemd/system/other.service":      "another's",
		"usr/local/share/man/man1/other.1":      "another's",
	}
	for name, text := range mine {
		writeText(t, filepath.Join(root, name), text)
	}
	out := install(t, unpacked(t, "second"), root, "")
	if got := readText(t, filepath.Join(root, "usr/local/bin/edge-eventer")); got != "second" {
		t.Errorf("the binary is %q", got)
	}
	if !strings.Contains(out, "kept "+root+"/etc/edge-eventer/config.yaml") {
		t.Errorf("it does not say that it kept the configuration: %s", out)
	}
	for name, text := range mine {
		if readText(t, filepath.Join(root, name)) != text {
			t.Errorf("%s changed", name)
		}
	}
}

func TestUninstallAsksBeforeItDeletesTheSpool(t *testing.T) {
	for _, c := range []struct {
		answer string
		kept   bool
	}{{"", true}, {"\n", true}, {"n\n", true}, {"what?\n", true}, {"y\n", false}, {"yes\n", false}} {
		t.Run(fmt.Sprintf("%q", c.answer), func(t *testing.T) {
			root, release := t.TempDir(), unpacked(t, "first")
			install(t, release, root, "")
			spool := filepath.Join(root, "var/lib/private/edge-eventer/spool.db")
			writeText(t, spool, "not delivered")
			writeText(t, filepath.Join(root, "etc/edge-eventer/secrets/feishu-url"), "https://open.feishu.cn/x")
			out := install(t, release, root, c.answer, "--uninstall")
			if !strings.Contains(out, "delete the spool "+filepath.Dir(spool)) {
				t.Errorf("it did not ask: %s", out)
			}
			want := []string{
				"-rw------- /etc/edge-eventer/secrets/feishu-url", "-rw-r--r-- /etc/edge-eventer/config.yaml", "drwx------ /etc/edge-eventer/secrets",
			}
			if c.kept {
				want = append(want, "-rw------- /var/lib/private/edge-eventer/spool.db")
				slices.Sort(want)
			}
			if diff := cmp.Diff(want, tree(t, root)); diff != "" {
				t.Errorf("left (-want +got):\n%s", diff)
			}
			// A second time there is nothing to do, which is no error.
			install(t, release, root, "", "--uninstall")
		})
	}
}

func TestInstallRefusesWhatItCannotDo(t *testing.T) {
	for _, c := range []struct {
		name, want string
		change     func(release, root string) error
		args       []string
	}{
		{"incomplete release", "edge-eventer.1 is not beside it", func(release, _ string) error { return os.Remove(filepath.Join(release, "edge-eventer.1")) }, nil},
		{"unknown argument", "unknown argument --purge; allowed: --root DIR, --uninstall", nil, []string{"--purge"}},
		{"another's unit", "is not of this script", func(_, root string) error {
			unit := filepath.Join(root, "etc/systemd/system/edge-eventer.service")
			return errors.Join(os.MkdirAll(filepath.Dir(unit), 0o700), os.WriteFile(unit, []byte("[Service]\nExecStart=/opt/eventer\n"), 0o600))
		}, nil},
		{"Debian package", "the Debian package is installed", func(_, root string) error {
			return errors.Join(os.MkdirAll(filepath.Join(root, "var/lib/dpkg/info"), 0o700), os.MkdirAll(filepath.Join(root, "usr/bin"), 0o700),
				os.WriteFile(filepath.Join(root, "var/lib/dpkg/info/edge-eventer.list"), nil, 0o600),
				os.WriteFile(filepath.Join(root, "usr/bin/edge-eventer"), nil, 0o600))
		}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			root, release := t.TempDir(), unpacked(t, "first")
			if c.change != nil {
				if err := c.change(release, root); err != nil {
					t.Fatal(err)
				}
			}
			out, err := exec.CommandContext(t.Context(), filepath.Join(release, "install.sh"), append([]string{"--root", root}, c.args...)...).CombinedOutput()
			if err == nil || !strings.Contains(string(out), c.want) {
				t.Errorf("%v: %s, want %q", err, out, c.want)
			}
			if _, err := os.Stat(filepath.Join(root, "usr/local/bin/edge-eventer")); err == nil {
				t.Error("it installed all the same")
			}
		})
	}
}

// TestEqualInputsGiveTheSamePackages builds the Debian packages twice from texts in place of the binaries.
func TestEqualInputsGiveTheSamePackages(t *testing.T) {
	build := func() map[string][]byte {
		dist := t.TempDir()
		cmd := exec.CommandContext(t.Context(), "../scripts/deb")
		cmd.Env = append(os.Environ(), "BIN="+inputs(t), "DIST="+dist, "VERSION=v9.8.7-rc.1", "SOURCE_DATE_EPOCH=1700000000")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("scripts/deb: %v\n%s", err, out)
		}
		debs := map[string][]byte{}
		for _, arch := range []string{"amd64", "arm64", "armhf"} {
			name := "edge-eventer_9.8.7-rc.1_" + arch + ".deb"
			debs[name] = []byte(readText(t, filepath.Join(dist, name)))
			got, err := exec.CommandContext(t.Context(), "dpkg-deb", "--field", filepath.Join(dist, name), "Architecture", "Depends").Output()
			if want := "Architecture: " + arch + "\nDepends: ca-certificates, systemd (>= 251)\n"; err != nil || string(got) != want {
				t.Errorf("%s: %v %s", name, err, got)
			}
			files, err := exec.CommandContext(t.Context(), "dpkg-deb", "--contents", filepath.Join(dist, name)).Output()
			if err != nil || !strings.Contains(string(files), "-rw-r--r-- root/root") || !strings.Contains(string(files), " ./usr/share/doc/edge-eventer/licences.txt\n") {
				t.Errorf("%s: %v: the licences of what is linked are not in it:\n%s", name, err, files)
			}
		}
		return debs
	}
	first, second := build(), build()
	for name := range first {
		if !bytes.Equal(first[name], second[name]) {
			t.Errorf("%s: two builds differ", name)
		}
	}
}

// TestMain is also kubectl, when the script asks for it: as much of it as scripts/make-kubeconfig uses, on the real API server.
func TestMain(m *testing.M) {
	if os.Getenv("EDGE_EVENTER_TEST_KUBECTL") != "" {
		if err := kubectl(os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, "kubectl:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func kubectl(args []string) error {
	config, err := clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG"))
	if err != nil {
		return err
	}
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return err
	}
	do := func(method, path string, body []byte) ([]byte, error) {
		r, err := http.NewRequest(method, config.Host+path, bytes.NewReader(body))
		if err != nil {
			return nil, err
		}
		r.Header.Set("Content-Type", "application/apply-patch+yaml")
		response, err := client.Do(r)
		if err != nil {
			return nil, err
		}
		defer func() { _ = response.Body.Close() }()
		b, err := io.ReadAll(response.Body)
		if err == nil && response.StatusCode/100 != 2 && response.StatusCode != http.StatusNotFound {
			err = fmt.Errorf("%s %s: %s", method, path, b)
		}
		return b, err
	}
	const core, rbac = "/api/v1/namespaces/edge-eventer/", "/apis/rbac.authorization.k8s.io/v1/"
	account := os.Getenv("EDGE_EVENTER_TEST_KUBECTL")
	switch line := strings.Join(args, " "); {
	case line == "apply --server-side --field-manager edge-eventer-make-kubeconfig -f -":
		text, err := io.ReadAll(os.Stdin)
		if err != nil {
			return err
		}
		for document := range strings.SplitSeq(string(text), "---\n") {
			_, kind, _ := strings.Cut(document, "kind: ")
			kind, _, _ = strings.Cut(kind, "\n")
			path := map[string]string{
				"Namespace": "/api/v1/namespaces/edge-eventer", "ServiceAccount": core + "serviceaccounts/" + account,
				"Secret": core + "secrets/" + account, "ClusterRole": rbac + "clusterroles/" + account,
				"ClusterRoleBinding": rbac + "clusterrolebindings/" + account,
			}[kind]
			if _, err := do(http.MethodPatch, path+"?fieldManager=edge-eventer-make-kubeconfig&fieldValidation=Strict", []byte(document)); err != nil {
				return err
			}
		}
		return nil
	case strings.HasPrefix(line, "-n edge-eventer get secret "+account+" -o jsonpath={.data."):
		b, err := do(http.MethodGet, core+"secrets/"+account, nil)
		if err != nil {
			return err
		}
		var secret struct{ Data map[string]string }
		if err := json.Unmarshal(b, &secret); err != nil {
			return err
		}
		key := strings.TrimSuffix(strings.TrimPrefix(args[len(args)-1], "jsonpath={.data."), "}")
		fmt.Print(secret.Data[strings.ReplaceAll(key, `\.`, ".")])
		return nil
	case line == "config view --minify -o jsonpath={.clusters[0].cluster.server}":
		fmt.Print(config.Host)
		return nil
	case line == "config current-context":
		return nil
	case line == "-n edge-eventer delete --ignore-not-found secret/"+account+" serviceaccount/"+account:
		_, err := do(http.MethodDelete, core+"secrets/"+account, nil)
		_, err2 := do(http.MethodDelete, core+"serviceaccounts/"+account, nil)
		return errors.Join(err, err2)
	case line == "delete --ignore-not-found clusterrolebinding/"+account+" clusterrole/"+account:
		_, err := do(http.MethodDelete, rbac+"clusterrolebindings/"+account, nil)
		_, err2 := do(http.MethodDelete, rbac+"clusterroles/"+account, nil)
		return errors.Join(err, err2)
	}
	return fmt.Errorf("unexpected arguments %q", args)
}
