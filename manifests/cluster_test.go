package manifests_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/edge-eventer/edge-eventer/agent/clustertest"
)

// api talks to an API server as its administrator.
type api struct {
	server string
	client *http.Client
}

func newAPI(t *testing.T, c *clustertest.Cluster) api {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", c.AdminKubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	config.QPS = -1
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	return api{c.Server, client}
}

// do sends a request and returns the status and the object of the answer.
func (a api) do(t *testing.T, method, path, contentType string, body []byte) (int, object) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, a.server+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", contentType)
	r.Header.Set("Accept", "application/json")
	response, err := a.client.Do(r)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	defer func() { _ = response.Body.Close() }()
	b, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	// Numbers stay text, as in the manifest: 1000000 and not 1e+06.
	var o object
	decoder := json.NewDecoder(bytes.NewReader(b))
	decoder.UseNumber()
	if err := decoder.Decode(&o); err != nil {
		t.Fatalf("%s %s: %d %s", method, path, response.StatusCode, b)
	}
	return response.StatusCode, o
}

// send sends an object and fails unless the answer is a success.
func (a api) send(t *testing.T, method, path, contentType string, o any) object {
	t.Helper()
	body, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	code, answer := a.do(t, method, path, contentType, body)
	if code/100 != 2 {
		t.Fatalf("%s %s: %d %v", method, path, code, answer["message"])
	}
	return answer
}

// path is where an object of the manifest lives.
func path(t *testing.T, o object) string {
	t.Helper()
	group := "/api/v1"
	if v := o["apiVersion"].(string); v != "v1" {
		group = "/apis/" + v
	}
	plural := strings.ToLower(o.kind()) + "s"
	if o.kind() == "PriorityClass" {
		plural = "priorityclasses"
	}
	if ns, ok := o.at("metadata", "namespace").(string); ok {
		return group + "/namespaces/" + ns + "/" + plural + "/" + o.name()
	}
	return group + "/" + plural + "/" + o.name()
}

// apply applies every object of the manifest as `kubectl apply --server-side` does. An unknown or duplicate field is an error. K3s
// patches on its own side: manifests/k3s.
func apply(t *testing.T, a api) []object {
	t.Helper()
	objects, texts := readManifest(t, manifestFile)
	for i, o := range objects {
		query := "?fieldManager=manifest-test&force=true&fieldValidation=Strict"
		code, answer := a.do(t, http.MethodPatch, path(t, o)+query, "application/apply-patch+yaml", []byte(texts[i]))
		if code/100 != 2 {
			t.Fatalf("%s: %d %v", o.kind(), code, answer["message"])
		}
	}
	return objects
}

// missing lists what is in want and not in got, which may have more. The API server leaves out a field that is false.
func missing(where string, want, got any) []string {
	var out []string
	switch want := want.(type) {
	case map[string]any:
		g, _ := got.(map[string]any)
		for key, v := range want {
			out = append(out, missing(where+"."+key, v, g[key])...)
		}
	case []any:
		g, _ := got.([]any)
		if len(g) != len(want) {
			return []string{fmt.Sprintf("%s: %d elements, want %d", where, len(g), len(want))}
		}
		for i, v := range want {
			out = append(out, missing(fmt.Sprintf("%s[%d]", where, i), v, g[i])...)
		}
	default:
		if fmt.Sprint(want) != fmt.Sprint(got) && (want != false || got != nil) {
			out = append(out, fmt.Sprintf("%s: %v, want %v", where, got, want))
		}
	}
	return out
}

func TestAPIServerTakesTheManifestAndKeepsEveryField(t *testing.T) {
	a := newAPI(t, clustertest.Shared(t))
	for range 2 { // K3s applies it again at each start.
		for _, o := range apply(t, a) {
			code, got := a.do(t, http.MethodGet, path(t, o), "", nil)
			if code != http.StatusOK {
				t.Errorf("%s: %d %v", o.kind(), code, got["message"])
				continue
			}
			for _, line := range missing(o.kind(), map[string]any(o), map[string]any(got)) {
				t.Error(line)
			}
		}
	}
	// What is offered beside it. The namespace is there by now.
	policies, texts := readManifest(t, "networkpolicy.yaml")
	where := "/apis/networking.k8s.io/v1/namespaces/edge-eventer/networkpolicies/" + policies[0].name()
	if code, answer := a.do(t, http.MethodPatch, where+"?fieldManager=manifest-test&dryRun=All&fieldValidation=Strict",
		"application/apply-patch+yaml", []byte(texts[0])); code/100 != 2 {
		t.Errorf("the network policy: %d %v", code, answer["message"])
	}
	pod := theOnly(t, apply(t, a), "Deployment").at("spec", "template", "metadata", "labels").(map[string]any)
	if diff := cmp.Diff(pod, policies[0].at("spec", "podSelector", "matchLabels")); diff != "" {
		t.Errorf("the network policy is for other pods (-the pod's labels +its own):\n%s", diff)
	}
	// The counter-proof: a field that does not exist is refused.
	bad := []byte("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: bad, namespace: default}\ndatta: {}\n")
	code, _ := a.do(t, http.MethodPatch, "/api/v1/namespaces/default/configmaps/bad?fieldManager=manifest-test&fieldValidation=Strict",
		"application/apply-patch+yaml", bad)
	if code/100 == 2 {
		t.Error("the API server does not look at fields strictly: this test shows nothing")
	}
}

// TestServiceAccountMayReadEventsAndNothingElse asks the API server, for each resource that it has and each verb, whether the
// agent may.
func TestServiceAccountMayReadEventsAndNothingElse(t *testing.T) {
	a := newAPI(t, clustertest.Shared(t))
	apply(t, a)
	mayReadEventsOnly(t, a, "edge-eventer")
}

// mayReadEventsOnly checks the rights of a ServiceAccount in the namespace edge-eventer.
func mayReadEventsOnly(t *testing.T, a api, account string) {
	t.Helper()
	ask := func(spec map[string]any) bool {
		spec["user"] = "system:serviceaccount:edge-eventer:" + account
		spec["groups"] = []string{"system:serviceaccounts", "system:serviceaccounts:edge-eventer", "system:authenticated"}
		answer := a.send(t, http.MethodPost, "/apis/authorization.k8s.io/v1/subjectaccessreviews", "application/json",
			map[string]any{"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec})
		return answer.at("status", "allowed") == true
	}
	// What Kubernetes grants to everybody who has signed in: to ask about himself.
	everybody := []string{
		"create selfsubjectreviews.authentication.k8s.io", "create selfsubjectaccessreviews.authorization.k8s.io",
		"create selfsubjectrulesreviews.authorization.k8s.io",
	}
	verbs := []string{"get", "list", "watch", "create", "update", "patch", "delete", "deletecollection", "impersonate", "bind", "escalate"}
	var allowed []string
	asked := 0
	for _, r := range resources(t, a) {
		name, sub, _ := strings.Cut(r.name, "/")
		for _, verb := range verbs {
			if verb == "get" || slices.Contains(r.verbs, verb) || verb == "impersonate" || verb == "bind" || verb == "escalate" {
				asked++
				if ask(map[string]any{"resourceAttributes": map[string]any{
					"group": r.group, "resource": name, "subresource": sub, "verb": verb,
				}}) {
					allowed = append(allowed, strings.TrimSuffix(verb+" "+r.name+"."+r.group, "."))
				}
			}
		}
	}
	want := slices.Concat([]string{"get events", "list events", "watch events"}, everybody)
	slices.Sort(want)
	slices.Sort(allowed)
	if !slices.Equal(allowed, want) {
		t.Errorf("allowed: %q\nwant: %q", allowed, want)
	}
	t.Logf("%s: asked %d questions, %d were answered with yes", account, asked, len(allowed))
	for _, p := range []string{"/metrics", "/logs", "/debug/pprof/profile", "/configz"} {
		if ask(map[string]any{"nonResourceAttributes": map[string]any{"path": p, "verb": "get"}}) {
			t.Errorf("may get %s", p)
		}
	}
	for _, verb := range []string{"create", "patch", "delete"} {
		if ask(map[string]any{"resourceAttributes": map[string]any{"resource": "events", "verb": verb, "namespace": "default"}}) {
			t.Errorf("may %s events", verb)
		}
	}
}

type resource struct {
	group, name string
	verbs       []string
}

// resources lists everything that the API server has, subresources too.
func resources(t *testing.T, a api) []resource {
	t.Helper()
	paths := map[string]string{"/api/v1": ""}
	_, groups := a.do(t, http.MethodGet, "/apis", "", nil)
	list, _ := groups["groups"].([]any)
	for _, g := range list {
		g := object(g.(map[string]any))
		paths["/apis/"+g.at("preferredVersion", "groupVersion").(string)] = g["name"].(string)
	}
	var all []resource
	for p, group := range paths {
		code, o := a.do(t, http.MethodGet, p, "", nil)
		if code != http.StatusOK {
			t.Fatalf("%s: %d", p, code)
		}
		for _, r := range o["resources"].([]any) {
			r := r.(map[string]any)
			item := resource{group: group, name: r["name"].(string)}
			for _, v := range r["verbs"].([]any) {
				item.verbs = append(item.verbs, v.(string))
			}
			all = append(all, item)
		}
	}
	if len(all) < 50 {
		t.Fatalf("the API server has only %d resources: the test sees nothing", len(all))
	}
	return all
}

// TestPodIsAdmittedAtTheLevelRestricted: the Namespace enforces it, the ReplicaSet's pod is made, and a pod that asks for more
// is refused.
func TestPodIsAdmittedAtTheLevelRestricted(t *testing.T) {
	a := newAPI(t, clustertest.Shared(t))
	objects := apply(t, a)
	if got := theOnly(t, objects, "Namespace").at("metadata", "labels", "pod-security.kubernetes.io/enforce"); got != "restricted" {
		t.Fatalf("the namespace enforces %v", got)
	}
	pod := func(change func(spec object)) (int, object) {
		t.Helper()
		// A copy, through text.
		text, err := yaml.Marshal(theOnly(t, objects, "Deployment").at("spec", "template"))
		if err != nil {
			t.Fatal(err)
		}
		var template map[string]any
		if err := yaml.Unmarshal(text, &template); err != nil {
			t.Fatal(err)
		}
		template["apiVersion"], template["kind"] = "v1", "Pod"
		template["metadata"].(map[string]any)["name"] = "try"
		change(template["spec"].(map[string]any))
		body, err := json.Marshal(template)
		if err != nil {
			t.Fatal(err)
		}
		return a.do(t, http.MethodPost, "/api/v1/namespaces/edge-eventer/pods?dryRun=All&fieldValidation=Strict", "application/json", body)
	}
	if code, answer := pod(func(object) {}); code != http.StatusCreated {
		t.Errorf("the pod is refused: %d %v", code, answer["message"])
	}
	code, answer := pod(func(spec object) {
		spec["volumes"] = append(spec["volumes"].([]any), map[string]any{"name": "h", "hostPath": map[string]any{"path": "/var/lib"}})
	})
	if message, _ := answer["message"].(string); code != http.StatusForbidden || !strings.Contains(message, "restricted") {
		t.Errorf("a pod with a hostPath: %d %s, want 403", code, message)
	}
	eventually(t, "the Deployment's pod", func() bool {
		_, list := a.do(t, http.MethodGet, "/api/v1/namespaces/edge-eventer/pods?labelSelector=app.kubernetes.io/name%3Dedge-eventer", "", nil)
		items, _ := list["items"].([]any)
		return len(items) == 1
	})
}

// TestPodPrefersTheServerAndToleratesItsTaints runs last, since it makes nodes. The scheduler's choice shows on the claim, which
// waits for its first consumer as those of K3s's local-path storage do.
func TestPodPrefersTheServerAndToleratesItsTaints(t *testing.T) {
	t.Parallel()
	c := clustertest.Start(t, clustertest.Options{})
	a := newAPI(t, c)
	a.send(t, http.MethodPost, "/apis/storage.k8s.io/v1/storageclasses", "application/json", map[string]any{
		"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "provisioner": "rancher.io/local-path",
		"metadata": map[string]any{
			"name": "local-path", "annotations": map[string]string{"storageclass.kubernetes.io/is-default-class": "true"},
		},
		"volumeBindingMode": "WaitForFirstConsumer",
	})
	label := map[string]string{"node-role.kubernetes.io/control-plane": "true", "node-role.kubernetes.io/master": "true"}
	taints := []map[string]string{
		{"key": "node-role.kubernetes.io/control-plane", "value": "true", "effect": "NoSchedule"},
		{"key": "CriticalAddonsOnly", "value": "true", "effect": "NoExecute"},
	}
	// The server first: whoever sees that the workers take pods then has seen it too.
	node(t, a, "server-1", label, taints)
	node(t, a, "worker-1", map[string]string{"kubernetes.io/hostname": "worker-1"}, nil)
	node(t, a, "worker-2", map[string]string{"kubernetes.io/hostname": "worker-2"}, nil)
	apply(t, a)
	var chosen any
	eventually(t, "the scheduler's choice", func() bool {
		_, claim := a.do(t, http.MethodGet, "/api/v1/namespaces/edge-eventer/persistentvolumeclaims/edge-eventer", "", nil)
		chosen = claim.at("metadata", "annotations", "volume.kubernetes.io/selected-node")
		return chosen != nil
	})
	if chosen != "server-1" {
		t.Errorf("the pod goes to %v, want server-1", chosen)
	}
}

// node makes a node that is ready, as its kubelet would, and waits until it takes pods: the API server taints it at first.
func node(t *testing.T, a api, name string, labels map[string]string, taints []map[string]string) {
	t.Helper()
	a.send(t, http.MethodPost, "/api/v1/nodes", "application/json", map[string]any{
		"apiVersion": "v1", "kind": "Node", "metadata": map[string]any{"name": name, "labels": labels},
		"spec": map[string]any{"taints": taints},
	})
	now := time.Now().UTC().Format(time.RFC3339)
	capacity := map[string]string{"cpu": "4", "memory": "2Gi", "pods": "110"}
	a.send(t, http.MethodPatch, "/api/v1/nodes/"+name+"/status", "application/strategic-merge-patch+json", map[string]any{
		"status": map[string]any{
			"capacity": capacity, "allocatable": capacity,
			"conditions": []any{map[string]any{
				"type": "Ready", "status": "True", "reason": "KubeletReady", "lastHeartbeatTime": now, "lastTransitionTime": now,
			}},
		},
	})
	eventually(t, "pods allowed on "+name, func() bool {
		_, got := a.do(t, http.MethodGet, "/api/v1/nodes/"+name, "", nil)
		left, _ := got.at("spec", "taints").([]any)
		return len(left) == len(taints)
	})
}

// eventually polls another process's state until it is as wanted, at most two minutes.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(2 * time.Minute)
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waited two minutes for %s", what)
		}
	}
}
