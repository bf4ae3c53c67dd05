package k3s_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/edge-eventer/edge-eventer/agent/clustertest"
)

const namespace = "edge-eventer"

// kinds are the objects of the manifest besides the namespace, which all have its name.
func kinds() map[string]schema.GroupVersionResource {
	const rbac = "rbac.authorization.k8s.io"
	return map[string]schema.GroupVersionResource{
		"ServiceAccount": {Version: "v1", Resource: "serviceaccounts"}, "ConfigMap": {Version: "v1", Resource: "configmaps"},
		"PersistentVolumeClaim": {Version: "v1", Resource: "persistentvolumeclaims"}, "Deployment": {Group: "apps", Version: "v1", Resource: "deployments"},
		"ClusterRole": {Group: rbac, Version: "v1", Resource: "clusterroles"}, "ClusterRoleBinding": {Group: rbac, Version: "v1", Resource: "clusterrolebindings"},
		"PriorityClass": {Group: "scheduling.k8s.io", Version: "v1", Resource: "priorityclasses"}, "Namespace": {Version: "v1", Resource: "namespaces"},
	}
}

func clusterScoped(kind string) bool {
	return kind == "Namespace" || kind == "PriorityClass" || strings.HasPrefix(kind, "ClusterRole")
}

// server is a K3s server: the folder that it looks into, and its control plane.
type server struct {
	*deployer
	t       *testing.T
	cluster *clustertest.Cluster
}

func start(t *testing.T) server {
	t.Helper()
	cluster := clustertest.Start(t, clustertest.Options{})
	config, err := clientcmd.BuildConfigFromFlags("", cluster.AdminKubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	config.QPS = -1
	d, err := newDeployer(t.TempDir(), config)
	if err != nil {
		t.Fatal(err)
	}
	s := server{d, t, cluster}
	crd := `{"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "addons.k3s.cattle.io"},
"spec": {"group": "k3s.cattle.io", "names": {"kind": "Addon", "plural": "addons", "singular": "addon"}, "scope": "Namespaced",
"versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}]}}`
	s.create(crds, "", crd)
	s.eventually("the kind Addon", func() bool {
		_, err := d.client.Resource(addons).List(t.Context(), metav1.ListOptions{})
		return err == nil
	})
	return s
}

func (s server) create(resource schema.GroupVersionResource, namespace, text string) {
	s.t.Helper()
	var o map[string]any
	if err := yaml.Unmarshal([]byte(text), &o); err != nil {
		s.t.Fatal(err)
	}
	if _, err := s.client.Resource(resource).Namespace(namespace).Create(s.t.Context(), &unstructured.Unstructured{Object: o}, metav1.CreateOptions{}); err != nil {
		s.t.Fatal(err)
	}
}

// get returns an object of the manifest, or nil.
func (s server) get(kind string) *unstructured.Unstructured {
	s.t.Helper()
	in := namespace
	if clusterScoped(kind) {
		in = ""
	}
	o, err := s.client.Resource(kinds()[kind]).Namespace(in).Get(s.t.Context(), "edge-eventer", metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return o
}

// put copies a text into the folder and lets K3s look.
func (s server) put(name, text string) {
	s.t.Helper()
	s.write(name, text)
	if err := s.poll(s.t.Context(), false); err != nil {
		s.t.Fatal(err)
	}
}

func (s server) write(name, text string) {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
	// Two copies within one tick of the file system's clock are two changes.
	changed := s.read[path].Add(time.Second)
	if now := time.Now(); now.After(changed) {
		changed = now
	}
	if err := os.Chtimes(path, changed, changed); err != nil {
		s.t.Fatal(err)
	}
}

// eventually polls another process's state, at most two minutes.
func (s server) eventually(what string, ok func() bool) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 2*time.Minute)
	defer cancel()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			s.t.Fatalf("waited two minutes for %s", what)
		}
	}
}

func (s server) image() string {
	s.t.Helper()
	containers, _, err := unstructured.NestedSlice(s.get("Deployment").Object, "spec", "template", "spec", "containers")
	if err != nil {
		s.t.Fatal(err)
	}
	return containers[0].(map[string]any)["image"].(string)
}

func manifest(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", file))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestK3sInstallsUpgradesAndUninstalls goes through README's commands in their order, on one server.
func TestK3sInstallsUpgradesAndUninstalls(t *testing.T) {
	s := start(t)
	const file = "edge-eventer.yaml"
	first := manifest(t, file)

	// The guide's first two commands: the namespace is there before K3s sees the file, and the secret is in it.
	makeNamespace := func() {
		t.Helper()
		if s.get("Namespace") == nil { // At first the control plane has it, for the tests of the agent.
			s.create(kinds()["Namespace"], "", `{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "edge-eventer"}}`)
		}
		label := []byte(`{"metadata": {"labels": {"site": "shop-17"}}}`)
		if _, err := s.client.Resource(kinds()["Namespace"]).Patch(t.Context(), namespace, types.MergePatchType, label, metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
		s.create(schema.GroupVersionResource{Version: "v1", Resource: "secrets"}, namespace,
			`{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "edge-eventer-receivers"}, "stringData": {"feishu-url": "https://open.feishu.cn/x"}}`)
	}
	secret := func() bool {
		_, err := s.client.Resource(schema.GroupVersionResource{Version: "v1", Resource: "secrets"}).Namespace(namespace).Get(t.Context(), "edge-eventer-receivers", metav1.GetOptions{})
		return err == nil
	}
	makeNamespace()
	s.put(file, first)
	for kind := range kinds() {
		o := s.get(kind)
		if o == nil {
			t.Fatalf("installed, and %s is missing", kind)
		}
		if o.GetAnnotations()["objectset.rio.cattle.io/owner-name"] != "edge-eventer" {
			t.Errorf("%s is not K3s's: %v", kind, o.GetAnnotations())
		}
	}
	labels := s.get("Namespace").GetLabels()
	if labels["pod-security.kubernetes.io/enforce"] != "restricted" || labels["site"] != "shop-17" || !secret() {
		t.Errorf("the namespace that was there before has labels %v, its secret is there: %v", labels, secret())
	}

	// Editing the ConfigMap in the file is how the configuration is changed; a restart of K3s applies everything again.
	claim := s.get("PersistentVolumeClaim").GetUID()
	s.put(file, strings.Replace(first, "cluster: k3s", "cluster: shop-17", 1))
	if err := s.poll(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	if text, _, _ := unstructured.NestedString(s.get("ConfigMap").Object, "data", "config.yaml"); !strings.Contains(text, "cluster: shop-17") {
		t.Errorf("the edit did not arrive:\n%s", text)
	}

	for _, version := range []string{"0.2.0", "0.1.0"} { // Upgrade, and roll back.
		s.put(file, strings.Replace(first, "edge-eventer:0.1.0", "edge-eventer:"+version, 1))
		if got := s.image(); !strings.HasSuffix(got, ":"+version) {
			t.Errorf("the image is %s, want %s", got, version)
		}
	}
	if s.get("PersistentVolumeClaim").GetUID() != claim {
		t.Error("an upgrade made another claim, and lost the spool")
	}

	// The other manifest under the same name takes the claim away, and nothing else. Its protection waits for the pod.
	s.put(file, manifest(t, "edge-eventer-several-servers.yaml"))
	s.eventually("the claim to go", func() bool { o := s.get("PersistentVolumeClaim"); return o == nil || o.GetDeletionTimestamp() != nil })
	for kind := range kinds() {
		if s.get(kind) == nil && kind != "PersistentVolumeClaim" {
			t.Errorf("%s went with the claim", kind)
		}
	}

	// Uninstall: removing the file alone removes nothing.
	if err := os.Remove(filepath.Join(s.dir, file)); err != nil {
		t.Fatal(err)
	}
	delete(s.read, filepath.Join(s.dir, file))
	if err := s.poll(t.Context(), false); err != nil || s.get("Deployment") == nil {
		t.Fatalf("removing the file removed the Deployment: %v", err)
	}
	uninstall := func() {
		t.Helper()
		for _, kind := range []string{"Namespace", "ClusterRoleBinding", "ClusterRole", "PriorityClass"} {
			if err := s.client.Resource(kinds()[kind]).Delete(t.Context(), "edge-eventer", metav1.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		s.eventually("the namespace to go", func() bool { return s.get("Namespace") == nil })
	}
	uninstall()
	// With the Addon left, the file copied back installs nothing: the reason for the guide's second command.
	s.put(file, manifest(t, "edge-eventer-several-servers.yaml"))
	if s.get("Deployment") != nil {
		t.Error("the Addon that is left keeps nothing from being installed: the guide says so")
	}
	if err := s.client.Resource(addons).Namespace(metav1.NamespaceSystem).Delete(t.Context(), "edge-eventer", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	makeNamespace()
	s.put(file, first)
	for kind := range kinds() {
		if s.get(kind) == nil {
			t.Errorf("installed again, and %s is missing", kind)
		}
	}
}

// TestBadManifestBesideOursIsAlerted runs the real agent on the control plane.
func TestBadManifestBesideOursIsAlerted(t *testing.T) {
	s := start(t)
	told := make(chan string, 100)
	archive := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var batch any
		_ = json.NewDecoder(r.Body).Decode(&batch)
		told <- fmt.Sprint(batch)
		w.WriteHeader(http.StatusOK)
	}))
	defer archive.Close()
	dir := t.TempDir()
	binary, config := filepath.Join(dir, "edge-eventer"), filepath.Join(dir, "config.yaml")
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", binary, "./cmd/edge-eventer")
	build.Dir = "../.."
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	text := fmt.Sprintf("kubernetes: {kubeconfig: %q}\nspool: {path: %q}\nserver: {listen: \"\"}\nnotify: {groupWait: 0s}\nreceivers:\n  - {name: archive, type: webhook, gzip: false, url: %q}\n",
		s.cluster.AgentKubeconfig, filepath.Join(dir, "spool", "spool.db"), archive.URL)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	agent := exec.CommandContext(ctx, binary, "run", "--config", config)
	agent.Stderr = os.Stderr
	if err := agent.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { cancel(); _ = agent.Wait() }()

	s.write("edge-eventer.yaml", manifest(t, "edge-eventer.yaml"))
	s.write("refused.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: Refused, namespace: default}\n")
	s.write("broken.yaml", "apiVersion: v1\nkind: [\n")
	if err := s.poll(t.Context(), false); err == nil {
		t.Error("K3s applied the bad files")
	}
	if s.get("Deployment") == nil {
		t.Error("a bad file beside ours kept ours from being applied")
	}
	missing := map[string]string{"ApplyManifestFailed": "refused", "ParseManifestFailed": "broken"}
	deadline := time.After(2 * time.Minute)
	for len(missing) > 0 {
		select {
		case batch := <-told:
			for reason, name := range missing {
				if strings.Contains(batch, reason) && strings.Contains(batch, name) {
					delete(missing, reason)
				}
			}
		case <-deadline:
			t.Fatalf("not told within two minutes: %v", missing)
		}
	}
}
