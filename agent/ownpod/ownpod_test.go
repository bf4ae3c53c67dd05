package ownpod_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/agenttest"
	"github.com/edge-eventer/edge-eventer/agent/event"
	"github.com/edge-eventer/edge-eventer/agent/ownpod"
)

// pod is the agent's own in the tests: the machine's name stands for that of a container.
var pod, _ = os.Hostname()

// inPod has the intake of a pipeline expect what it does in a pod.
func inPod(t *testing.T, secretMissing func() bool) func(*agenttest.Pipeline) {
	file := filepath.Join(t.TempDir(), "namespace")
	if err := os.WriteFile(file, []byte("edge-eventer\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return func(h *agenttest.Pipeline) {
		h.IntakeOptions.Ignores = ownpod.Read(file, time.Now(), secretMissing).Expects
	}
}

// probeFailed is what the kubelet writes about the agent's own pod.
func probeFailed(pod string, version int, message string) event.Event {
	e := agenttest.Warning("own", version, version, time.Now())
	e.InvolvedObject.Name, e.InvolvedObject.Namespace, e.Reason, e.Message = pod, "edge-eventer", "Unhealthy", message
	e.UID = pod + message
	return e
}

// TestStartOfTheAgentsOwnPodIsNoNews: the readiness probe that asks before the watch stands, and all those until somebody made the
// secret, are not what a new site's first alert is about.
func TestStartOfTheAgentsOwnPodIsNoNews(t *testing.T) {
	missing := true
	agenttest.BubbleWith(t, inPod(t, func() bool { return missing }), func(t *testing.T, h *agenttest.Pipeline, r *agenttest.Receiver) {
		const own = "Readiness probe failed: HTTP probe failed with statuscode: 503"
		h.Show(probeFailed(pod, 10, own), probeFailed("edge-eventer-other", 11, own), agenttest.Warning("web", 12, 1, time.Now()))
		agenttest.Pass(time.Minute)
		agenttest.WantTold(t, r, map[string]int{"edge-eventer-other": 1, "web": 1})

		// Half an hour later the secret is still missing.
		agenttest.Pass(30 * time.Minute)
		h.Show(probeFailed(pod, 20, own))
		agenttest.Pass(time.Minute)
		agenttest.WantTold(t, r, map[string]int{"edge-eventer-other": 1, "web": 1})

		// What is wrong after that is news, and what a liveness probe finds always was.
		missing = false
		h.Show(probeFailed(pod, 30, own))
		agenttest.Pass(time.Minute)
		agenttest.WantTold(t, r, map[string]int{"edge-eventer-other": 1, "web": 1, pod: 1})
	})
	agenttest.BubbleWith(t, inPod(t, func() bool { return true }), func(t *testing.T, h *agenttest.Pipeline, r *agenttest.Receiver) {
		h.Show(probeFailed(pod, 10, "Liveness probe failed: context deadline exceeded"))
		agenttest.Pass(time.Minute)
		agenttest.WantTold(t, r, map[string]int{pod: 1})
	})
}

// TestOutsideOfAClusterNothingIsExpected: no pod, no namespace.
func TestOutsideOfAClusterNothingIsExpected(t *testing.T) {
	never := func() bool { return true }
	outside := ownpod.Read(filepath.Join(t.TempDir(), "namespace"), time.Now(), never)
	e := probeFailed("", 1, "Readiness probe failed: x")
	if outside.Expects(&e) {
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
	inside := ownpod.Read(file, time.Now(), never)
	if e := probeFailed(host, 1, "Readiness probe failed: x"); !inside.Expects(&e) {
		t.Errorf("it does not take itself for %s/%s", "edge-eventer", host)
	}
}
