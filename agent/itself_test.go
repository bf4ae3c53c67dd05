package agent

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/config"
	"github.com/edge-eventer/edge-eventer/agent/config/configtest"
	"github.com/edge-eventer/edge-eventer/agent/event"
	"github.com/edge-eventer/edge-eventer/notify"
)

// probeFailed is what the kubelet writes about the agent's own pod.
func probeFailed(pod string, version int, message string) event.Event {
	e := warning("own", version, version, time.Now())
	e.InvolvedObject.Name, e.InvolvedObject.Namespace, e.Reason, e.Message = pod, "edge-eventer", "Unhealthy", message
	e.UID = pod + message
	return e
}

// TestStartOfTheAgentsOwnPodIsNoNews: the readiness probe that asks before the watch stands, and all those until somebody made the
// secret, are not what a new site's first alert is about.
func TestStartOfTheAgentsOwnPodIsNoNews(t *testing.T) {
	bubble(t, func(t *testing.T, h *house, r *scripted) {
		missing := true
		h.intake.itself = itself{"edge-eventer", "edge-eventer-5c9d7-abcde", time.Now(), func() bool { return missing }}
		const pod, own = "edge-eventer-5c9d7-abcde", "Readiness probe failed: HTTP probe failed with statuscode: 503"
		h.show(probeFailed(pod, 10, own), probeFailed("edge-eventer-other", 11, own), warning("web", 12, 1, time.Now()))
		pass(time.Minute)
		wantTold(t, r, map[string]int{"edge-eventer-other": 1, "web": 1})

		// Half an hour later the secret is still missing.
		pass(30 * time.Minute)
		h.show(probeFailed(pod, 20, own))
		pass(time.Minute)
		wantTold(t, r, map[string]int{"edge-eventer-other": 1, "web": 1})

		// What is wrong after that is news, and what a liveness probe finds always was.
		missing = false
		h.show(probeFailed(pod, 30, own))
		pass(time.Minute)
		wantTold(t, r, map[string]int{"edge-eventer-other": 1, "web": 1, "edge-eventer-5c9d7-abcde": 1})
	})
	bubble(t, func(t *testing.T, h *house, r *scripted) {
		h.intake.itself = itself{"edge-eventer", "edge-eventer-5c9d7-abcde", time.Now(), func() bool { return true }}
		h.show(probeFailed("edge-eventer-5c9d7-abcde", 10, "Liveness probe failed: context deadline exceeded"))
		pass(time.Minute)
		wantTold(t, r, map[string]int{"edge-eventer-5c9d7-abcde": 1})
	})
}

// TestAgentKnowsThatItWaitsForASecret with a receiver whose file is not there, until it is.
func TestAgentKnowsThatItWaitsForASecret(t *testing.T) {
	path := filepath.Join(t.TempDir(), "feishu-url")
	receiver, err := configtest.New(configtest.Keys{Name: "ops", Type: "feishu", URL: notify.SecretFile(path), Cluster: "shop-1"})
	if err != nil {
		t.Fatal(err)
	}
	h := newHouse(t, map[string]notify.Receiver{"ops": receiver})
	a, err := New(&config.Config{}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	a.parts = &parts{workers: []*worker{{delivery: h.deliveries["ops"]}}}
	d := h.deliveries["ops"]
	d.pause, d.probes = newBackoff(2*time.Second, d.maxBackoff), newBackoff(2*firstProbe, 2*lastProbe)
	fail := func() {
		t.Helper()
		request, err := receiver.Render(&notify.Message{Now: time.Now(), Incidents: []notify.Incident{{Event: warning("web", 1, 1, time.Now())}}}, notify.Full)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel() // Nothing is to be sent anywhere.
		failure, _ := errors.AsType[*notify.Error](receiver.Send(ctx, request))
		d.backOff(request, nil, failure)
	}
	if a.secretMissing() {
		t.Error("it waits for a secret before anything was sent")
	}
	fail()
	if !a.secretMissing() {
		t.Error("the file with the address is missing, and it does not wait for it")
	}
	if err := os.WriteFile(path, []byte("http://127.0.0.1:1/hook"), 0o600); err != nil {
		t.Fatal(err)
	}
	fail()
	if a.secretMissing() {
		t.Error("the file is there, and it still waits for it")
	}
	h.close()
}

// TestOutsideOfAClusterNothingIsExpected: no pod, no namespace.
func TestOutsideOfAClusterNothingIsExpected(t *testing.T) {
	never := func() bool { return true }
	outside := readItself(filepath.Join(t.TempDir(), "namespace"), time.Now(), never)
	e := probeFailed("", 1, "Readiness probe failed: x")
	if outside.expects(&e) {
		t.Error("an agent without a pod expects an event")
	}
	file := filepath.Join(t.TempDir(), "namespace")
	if err := os.WriteFile(file, []byte("edge-eventer\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	inside := readItself(file, time.Now(), never)
	if e := probeFailed(host, 1, "Readiness probe failed: x"); !inside.expects(&e) {
		t.Errorf("it takes itself for %s/%s", inside.namespace, inside.pod)
	}
}
