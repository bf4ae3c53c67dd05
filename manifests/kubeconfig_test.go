package manifests_test

import (
	"bytes"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/edge-eventer/edge-eventer/agent/clustertest"
)

// user is what a kubeconfig lets its owner do.
type user struct{ config *rest.Config }

func userOf(t *testing.T, kubeconfig []byte) user {
	t.Helper()
	config, err := clientcmd.RESTConfigFromKubeConfig(kubeconfig)
	if err != nil {
		t.Fatalf("%v\n%s", err, kubeconfig)
	}
	if config.Insecure || len(config.CAData) == 0 {
		t.Error("the kubeconfig does not check the API server")
	}
	return user{config}
}

func (u user) status(t *testing.T, path string) int {
	t.Helper()
	client, err := rest.HTTPClientFor(u.config)
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, u.config.Host+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	return response.StatusCode
}

// TestKubeconfigOfABareNodeMayReadEventsAndNothingElse makes them for two nodes, uses them, and revokes one.
func TestKubeconfigOfABareNodeMayReadEventsAndNothingElse(t *testing.T) {
	t.Parallel()
	c := clustertest.Shared(t)
	a := newAPI(t, c)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Symlink(self, filepath.Join(dir, "kubectl")); err != nil {
		t.Fatal(err)
	}
	run := func(node string, args ...string) []byte {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "../scripts/make-kubeconfig", args...)
		cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"), "KUBECONFIG="+c.AdminKubeconfig, "EDGE_EVENTER_TEST_KUBECTL=edge-eventer-node-"+node)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("make-kubeconfig %v: %v\n%s", args, err, stderr.String())
		}
		return out
	}
	first := run("pi-1", "--node", "pi-1")
	if !bytes.Equal(first, run("pi-1", "--node", "pi-1")) {
		t.Error("a second run gives another kubeconfig")
	}
	if other := run("pi-1", "--node", "pi-1", "--server", "https://192.0.2.7:6443"); !bytes.Contains(other, []byte("server: \"https://192.0.2.7:6443\"\n")) {
		t.Errorf("--server is not in the kubeconfig:\n%s", other)
	}
	mayReadEventsOnly(t, a, "edge-eventer-node-pi-1")
	file := filepath.Join(dir, "kubeconfig")
	writeText(t, file, "the one before")
	if out := run("pi-2.shop", "--node", "pi-2.shop", "--output", file); len(out) != 0 {
		t.Errorf("--output prints the kubeconfig too:\n%s", out)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the kubeconfig has mode %v, %v", info.Mode(), err)
	}

	one, two := userOf(t, first), userOf(t, []byte(readText(t, file)))
	for _, u := range []user{one, two} {
		if events, secrets := u.status(t, "/api/v1/events?limit=1"), u.status(t, "/api/v1/secrets"); events != 200 || secrets != 403 {
			t.Errorf("events %d, secrets %d; want 200, 403", events, secrets)
		}
	}
	run("pi-1", "--revoke", "pi-1")
	eventually(t, "the refusal of the revoked token", func() bool { return one.status(t, "/api/v1/events?limit=1") == http.StatusUnauthorized })
	if got := two.status(t, "/api/v1/events?limit=1"); got != http.StatusOK {
		t.Errorf("the other node is answered with %d too", got)
	}
	for _, kind := range []string{"clusterroles", "clusterrolebindings"} {
		if code, _ := a.do(t, http.MethodGet, "/apis/rbac.authorization.k8s.io/v1/"+kind+"/edge-eventer-node-pi-1", "", nil); code != http.StatusNotFound {
			t.Errorf("of the revoked account is left: %s", kind)
		}
	}
	run("pi-1", "--revoke", "pi-1")
}

// kubectls puts a kubectl and a k3s into the machine that write into /tmp/asked who was asked; the answer of the first, "no" for
// none, is whether kubectl knows a cluster. What they say of the token is in /tmp/token.
const kubectls = `cat >/fake/kubectl <<'SH'
#!/bin/sh
echo "${ASKED:-kubectl}" >>/tmp/asked
case "$*" in
*current-context*) [ "${ASKED:-}" ] || [ -e /tmp/context ] ;;
*apply*) cat >/tmp/objects ;;
*data.token*) cat /tmp/token ;;
*data.ca*) echo Y2E= ;;
*server*) cat /tmp/server ;;
esac
SH
printf '#!/bin/sh\n[ "$1" = kubectl ] || exit 2\nshift\nASKED=k3s exec /fake/kubectl "$@"\n' >/fake/k3s
chmod 755 /fake/kubectl /fake/k3s
echo dG9rZW4= >/tmp/token
echo https://127.0.0.1:6443 >/tmp/server
mkdir -p /etc/rancher/k3s
`

func TestMakeKubeconfigAsksK3sFirstAndNeverAKubectlWithoutACluster(t *testing.T) {
	release := unpacked(t, program)
	for name, c := range map[string]struct{ before, asked, fails string }{
		"a K3s server with a foreign kubectl":    {": >/etc/rancher/k3s/k3s.yaml; : >/tmp/context", "k3s", ""},
		"a K3s server":                           {": >/etc/rancher/k3s/k3s.yaml; rm /fake/k3s; mv /fake/kubectl /usr/local/kubectl; printf '#!/bin/sh\\nshift\\nASKED=k3s exec /usr/local/kubectl \"$@\"\\n' >/fake/k3s; chmod 755 /fake/k3s", "k3s", ""},
		"a K3s agent":                            {"", "", "this is not a K3s server"},
		"a K3s agent with a kubectl of a server": {": >/tmp/context", "kubectl", ""},
		"a kubectl without a cluster":            {"rm /fake/k3s", "", "neither a K3s server nor a kubectl with a cluster"},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := machine(t, release, kubectls+c.before+`
/release/make-kubeconfig --node pi >/tmp/out || echo failed
sort -u /tmp/asked | sed 's/^/asked: /'
if [ -s /tmp/objects ]; then echo applied; fi
cat /tmp/out`)
			if c.fails != "" {
				if !strings.Contains(out, c.fails) || strings.Contains(out, "applied") {
					t.Errorf("%v: %s", err, out)
				}
				return
			}
			if err != nil || strings.Contains(out, "failed") || !strings.Contains(out, "token: \"token\"") ||
				!strings.Contains(out, "asked: "+c.asked+"\n") || c.asked == "k3s" && strings.Contains(out, "asked: kubectl") {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
}

func TestMakeKubeconfigLeavesAGoodFileWhenItFails(t *testing.T) {
	release := unpacked(t, program)
	for name, before := range map[string]string{
		"no cluster":                  "rm /fake/k3s /fake/kubectl",
		"no authority":                "sed -i '/data.ca/d' /fake/kubectl",
		"the API server is away":      `printf '#!/bin/sh\necho refused >&2; exit 1\n' >/fake/kubectl`,
		"an address that is no HTTPS": "echo http://localhost:8080 >/tmp/server",
	} {
		t.Run(name, func(t *testing.T) {
			out, err := machine(t, release, kubectls+`: >/etc/rancher/k3s/k3s.yaml
echo good >/tmp/kubeconfig
`+before+`
/release/make-kubeconfig --node pi --output /tmp/kubeconfig && exit 9
ls /tmp | grep kubeconfig
cat /tmp/kubeconfig`)
			if err != nil || !strings.HasSuffix(out, "\nkubeconfig\ngood\n") {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
}

func TestMakeKubeconfigRefusesWhatIsNoAddressAndNoName(t *testing.T) {
	release := unpacked(t, program)
	for _, args := range []string{
		`--server 192.0.2.7`, `--server http://192.0.2.7:6443`, `--server 'https://a b'`, `--server 'https://a/#: x'`, `--server 'https://user@host'`,
		"--server 'https://a:6443\n    insecure-skip-tls-verify: true'", "--server \"https://a\n\"'x'", `--node 'Pi'`, `--node 'pi/../x'`, "--node 'pi\nkind: x'", `--node -pi`,
		`--revoke 'a b'`, `--node`, `--nodes x`,
	} {
		out, err := machine(t, release, kubectls+`: >/etc/rancher/k3s/k3s.yaml
/release/make-kubeconfig `+args+` && exit 9
[ ! -e /tmp/asked ]`)
		if err != nil || !strings.Contains(out, "make-kubeconfig: ") {
			t.Errorf("%s: %v: %s", args, err, out)
		}
	}
	for _, server := range []string{"https://192.0.2.7:6443", "https://k3s.example", "https://[2001:db8::1]:6443", "https://k3s.example:6443/"} {
		out, err := machine(t, release, kubectls+`: >/etc/rancher/k3s/k3s.yaml
/release/make-kubeconfig --server '`+server+`'`)
		if err != nil || !strings.Contains(out, `server: "`+server+`"`) {
			t.Errorf("%s: %v: %s", server, err, out)
		}
	}
}
