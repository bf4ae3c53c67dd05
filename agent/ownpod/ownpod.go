// Package ownpod is the pod that the agent runs in. It promises that the first alert of a new site is not about the messenger.
package ownpod

import (
	"os"
	"strings"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/event"
)

const (
	// NamespaceFile is where the kubelet tells a pod's container its namespace; a container's host name is that of its pod.
	NamespaceFile = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"
	// startTime is how long a start may take on a Raspberry Pi: the manifest's startup probe gives up after it.
	startTime = 5 * time.Minute
)

// Pod is the agent's own. The zero value is an agent outside of a cluster.
type Pod struct {
	namespace, pod string
	started        time.Time
	secretMissing  func() bool
}

// Read asks the container who it is: file is NamespaceFile but in tests, started is when the agent did, and secretMissing tells whether a
// receiver waits for a file with its address or its secret.
func Read(file string, started time.Time, secretMissing func() bool) Pod {
	namespace, err := os.ReadFile(file)
	if err != nil {
		return Pod{}
	}
	pod, err := os.Hostname()
	if err != nil {
		return Pod{}
	}
	return Pod{strings.TrimSpace(string(namespace)), pod, started, secretMissing}
}

// Expects tells whether an event says of the agent's own pod that it is not ready, while it starts or waits for a secret: its log, its
// status and /readyz say that themselves, and the first alert of a new site is not to be about the messenger. What a liveness
// probe finds is news at any time.
func (p Pod) Expects(e *event.Event) bool {
	if p.pod == "" || e.Reason != "Unhealthy" || e.InvolvedObject.Kind != "Pod" ||
		e.InvolvedObject.Name != p.pod || e.InvolvedObject.Namespace != p.namespace || strings.HasPrefix(e.Message, "Liveness") {
		return false
	}
	return time.Since(p.started) < startTime || p.secretMissing()
}
