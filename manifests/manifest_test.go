package manifests_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"github.com/edge-eventer/edge-eventer/agent/config"
	"github.com/edge-eventer/edge-eventer/cmd/edge-eventer/cli"
)

const manifestFile = "edge-eventer.yaml"

// object is a Kubernetes object as a manifest has it.
type object map[string]any

func (o object) kind() string { return o["kind"].(string) }
func (o object) name() string { return o.at("metadata", "name").(string) }

// at follows keys (string) and indices (int), and is nil where the way ends.
func (o object) at(path ...any) any {
	var v any = map[string]any(o)
	for _, step := range path {
		switch step := step.(type) {
		case string:
			m, _ := v.(map[string]any)
			v = m[step]
		case int:
			l, _ := v.([]any)
			if step >= len(l) {
				return nil
			}
			v = l[step]
		}
	}
	return v
}

// readManifest returns the objects of a manifest in their order, each with the text of its document.
func readManifest(t *testing.T, path string) (objects []object, texts []string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for text := range strings.SplitSeq(string(data), "\n---\n") {
		decoder := yaml.NewDecoder(bytes.NewBufferString(text))
		var o map[string]any
		switch err := decoder.Decode(&o); {
		case errors.Is(err, io.EOF):
			continue
		case err != nil:
			t.Fatalf("%s: %v", path, err)
		}
		objects, texts = append(objects, o), append(texts, text)
	}
	return objects, texts
}

// theOnly returns the one object of a kind.
func theOnly(t *testing.T, objects []object, kind string) object {
	t.Helper()
	var found object
	for _, o := range objects {
		if o.kind() != kind {
			continue
		}
		if found != nil {
			t.Fatalf("there are two objects of kind %s", kind)
		}
		found = o
	}
	if found == nil {
		t.Fatalf("there is no object of kind %s", kind)
	}
	return found
}

// TestManifestNameIsOneThatK3sTakes: K3s names its Addon after the file up to the first dot.
func TestManifestNameIsOneThatK3sTakes(t *testing.T) {
	name, rest, _ := strings.Cut(manifestFile, ".")
	if !regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`).MatchString(name) || rest != "yaml" {
		t.Errorf("%s: want a lower case name without underscores and a single suffix", manifestFile)
	}
}

func TestManifestHoldsEveryObjectThatItNeeds(t *testing.T) {
	objects, _ := readManifest(t, manifestFile)
	want := []string{
		"Namespace", "ServiceAccount", "ClusterRole", "ClusterRoleBinding", "PriorityClass", "ConfigMap",
		"PersistentVolumeClaim", "Deployment",
	}
	var got []string
	for _, o := range objects {
		got = append(got, o.kind())
		if o.name() != "edge-eventer" {
			t.Errorf("%s: name %q", o.kind(), o.name())
		}
	}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("kinds %v, want %v", got, want)
	}
	pod := theOnly(t, objects, "Deployment").at("spec", "template", "spec").(map[string]any)
	for _, v := range pod["volumes"].([]any) {
		if secret, ok := v.(map[string]any)["secret"].(map[string]any); ok && secret["optional"] != true {
			t.Errorf("secret %v: the pod does not start until somebody made it", secret["secretName"])
		}
	}
}

func TestManifestConfigurationIsTakenByTheAgent(t *testing.T) {
	objects, _ := readManifest(t, manifestFile)
	text, _ := theOnly(t, objects, "ConfigMap").at("data", "config.yaml").(string)
	c, err := config.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	deployment := theOnly(t, objects, "Deployment")
	if !strings.HasSuffix(c.Server.Listen, ":8080") || deployment.at("spec", "template", "spec", "containers", 0, "ports", 0, "containerPort") != 8080 {
		t.Errorf("the agent listens on %q, the probes ask port 8080", c.Server.Listen)
	}
	if c.Server.Page != "loopback" || len(c.Server.Hosts) > 0 {
		t.Errorf("every pod may read the texts of events: page %s, hosts %q", c.Server.Page, c.Server.Hosts)
	}
	mounts := map[string]string{}
	for _, m := range deployment.at("spec", "template", "spec", "containers", 0, "volumeMounts").([]any) {
		m := m.(map[string]any)
		mounts[m["mountPath"].(string)] = m["name"].(string)
	}
	if got := mounts[filepath.Dir(c.Spool.Path)]; got != "spool" {
		t.Errorf("the spool's folder %s is on volume %q", filepath.Dir(c.Spool.Path), got)
	}
	// No command that is run in the pod needs --config.
	args := deployment.at("spec", "template", "spec", "containers", 0, "args").([]any)
	if len(args) != 1 || args[0] != "run" || mounts["/etc/edge-eventer"] != "config" ||
		cli.DefaultConfig != "/etc/edge-eventer/config.yaml" {
		t.Errorf("arguments %v, mounts %v: the configuration is not where every command looks", args, mounts)
	}
	if !strings.Contains(text, "urlFile: /run/secrets/edge-eventer/") || mounts["/run/secrets/edge-eventer"] != "receivers" {
		t.Error("the receiver's URL does not come from the secret")
	}
}

func TestConfigurationOfABareNodeIsTakenByTheAgent(t *testing.T) {
	text, err := os.ReadFile("systemd/config.yaml")
	if err != nil {
		t.Fatal(err)
	}
	c, err := config.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	unit := readUnit(t)
	if got, want := filepath.Dir(c.Spool.Path), "/var/lib/"+unit.get("StateDirectory"); got != want {
		t.Errorf("the spool is in %s, the unit makes %s", got, want)
	}
	// The unit's LoadCredential=ID:FOLDER makes ID_FILE of each file.
	id, folder, _ := strings.Cut(unit.get("LoadCredential"), ":")
	prefix := "/run/credentials/edge-eventer.service/" + id + "_"
	if folder != "/etc/edge-eventer/secrets" || !strings.HasPrefix(c.Kubernetes.Kubeconfig, prefix) ||
		!strings.Contains(string(text), "urlFile: "+prefix) {
		t.Errorf("the unit hands on %s as %s*, the configuration asks for %s", folder, prefix, c.Kubernetes.Kubeconfig)
	}
}

// TestReleasedManifestDiffersInTheTagOnly: the tag is that of the image which the same release holds.
func TestReleasedManifestDiffersInTheTagOnly(t *testing.T) {
	for _, file := range []string{manifestFile, "edge-eventer-several-servers.yaml"} {
		t.Run(file, func(t *testing.T) { releasedDiffersInTheTagOnly(t, file) })
	}
}

func releasedDiffersInTheTagOnly(t *testing.T, file string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "../scripts/manifest", "9.8.7-rc.1", file).Output()
	if err != nil {
		t.Fatalf("scripts/manifest: %v", err)
	}
	source, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	was, is := strings.Split(string(source), "\n"), strings.Split(string(out), "\n")
	if len(was) != len(is) {
		t.Fatalf("%d lines became %d", len(was), len(is))
	}
	changed := 0
	for i := range was {
		if was[i] == is[i] {
			continue
		}
		changed++
		if want := "          image: " + imageName + ":9.8.7-rc.1"; is[i] != want {
			t.Errorf("line %d: %q, want %q", i+1, is[i], want)
		}
	}
	if changed != 1 {
		t.Errorf("%d lines changed, want 1", changed)
	}
}

func TestPodIsNobodyAndSmall(t *testing.T) {
	objects, _ := readManifest(t, manifestFile)
	deployment := theOnly(t, objects, "Deployment")
	pod := object(deployment.at("spec", "template", "spec").(map[string]any))
	for _, c := range []struct {
		want any
		path []any
	}{
		{1, []any{"spec", "replicas"}},
		{"Recreate", []any{"spec", "strategy", "type"}},
	} {
		if got := deployment.at(c.path...); got != c.want {
			t.Errorf("%v is %v, want %v", c.path, got, c.want)
		}
	}
	for _, c := range []struct {
		want any
		path []any
	}{
		{true, []any{"securityContext", "runAsNonRoot"}},
		{imageUser, []any{"securityContext", "runAsUser"}},
		{imageUser, []any{"securityContext", "runAsGroup"}},
		{imageUser, []any{"securityContext", "fsGroup"}},
		{"RuntimeDefault", []any{"securityContext", "seccompProfile", "type"}},
		{false, []any{"enableServiceLinks"}},
		{"edge-eventer", []any{"priorityClassName"}},
		{"edge-eventer", []any{"serviceAccountName"}},
		{true, []any{"containers", 0, "securityContext", "readOnlyRootFilesystem"}},
		{false, []any{"containers", 0, "securityContext", "allowPrivilegeEscalation"}},
		{"ALL", []any{"containers", 0, "securityContext", "capabilities", "drop", 0}},
		{"10m", []any{"containers", 0, "resources", "requests", "cpu"}},
		{"16Mi", []any{"containers", 0, "resources", "requests", "memory"}},
		{"32Mi", []any{"containers", 0, "resources", "limits", "memory"}},
		{nil, []any{"containers", 0, "resources", "limits", "cpu"}},
		{"IfNotPresent", []any{"containers", 0, "imagePullPolicy"}},
		{"/healthz", []any{"containers", 0, "livenessProbe", "httpGet", "path"}},
		{"/readyz", []any{"containers", 0, "readinessProbe", "httpGet", "path"}},
		{15, []any{"terminationGracePeriodSeconds"}},
	} {
		if got := pod.at(c.path...); got != c.want {
			t.Errorf("%v is %v, want %v", c.path, got, c.want)
		}
	}
	// A volume inside another, read-only one keeps the container from starting.
	paths := map[string]bool{}
	for _, m := range pod.at("containers", 0, "volumeMounts").([]any) {
		paths[m.(map[string]any)["mountPath"].(string)] = true
	}
	for p := range paths {
		for above := filepath.Dir(p); above != "/"; above = filepath.Dir(above) {
			if paths[above] {
				t.Errorf("%s is mounted below %s", p, above)
			}
		}
	}
	if got := theOnly(t, objects, "ServiceAccount")["automountServiceAccountToken"]; got != false {
		t.Errorf("the ServiceAccount mounts its token in any pod: %v", got)
	}
}

// TestProbesLeaveASlowMachineTimeToStart: each failed probe is a Warning event, and the first thing that the agent would tell is
// its own slow start.
func TestProbesLeaveASlowMachineTimeToStart(t *testing.T) {
	objects, _ := readManifest(t, manifestFile)
	container := object(theOnly(t, objects, "Deployment").at("spec", "template", "spec", "containers", 0).(map[string]any))
	number := func(probe, key string) int {
		n, _ := container.at(probe, key).(int)
		return n
	}
	if container.at("startupProbe", "httpGet", "path") != "/healthz" || number("startupProbe", "initialDelaySeconds") < 10 {
		t.Errorf("startup probe %v: want /healthz, not in the first 10 s", container["startupProbe"])
	}
	if until := number("startupProbe", "periodSeconds") * number("startupProbe", "failureThreshold"); until < 300 {
		t.Errorf("an agent that rescues its spool is killed after %d s, want 300", until)
	}
	if first := number("readinessProbe", "initialDelaySeconds"); first < 30 {
		t.Errorf("the readiness probe asks after %d s, want 30: the list of events may not be read by then", first)
	}
}

// TestManifestForSeveralServersDiffersInWhatLetsThePodMove: everything else is that of the manifest.
func TestManifestForSeveralServersDiffersInWhatLetsThePodMove(t *testing.T) {
	want, _ := readManifest(t, manifestFile)
	want = slices.DeleteFunc(want, func(o object) bool { return o.kind() == "PersistentVolumeClaim" })
	pod := theOnly(t, want, "Deployment").at("spec", "template", "spec").(map[string]any)
	for _, v := range pod["volumes"].([]any) {
		if v := v.(map[string]any); v["name"] == "spool" {
			delete(v, "persistentVolumeClaim")
			v["emptyDir"] = map[string]any{"sizeLimit": "64Mi"}
		}
	}
	for _, v := range pod["tolerations"].([]any) {
		if v := v.(map[string]any); v["effect"] == "NoExecute" {
			v["tolerationSeconds"] = 60
		}
	}
	got, _ := readManifest(t, "edge-eventer-several-servers.yaml")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("edge-eventer-several-servers.yaml (-want +got):\n%s", diff)
	}
}
