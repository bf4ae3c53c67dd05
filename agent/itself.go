package agent

import (
	"os"
	"strings"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/event"
)

const (
	// namespaceFile is where the kubelet tells a pod's container its namespace; a container's host name is that of its pod.
	namespaceFile = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"
	// startTime is how long a start may take on a Raspberry Pi: the manifest's startup probe gives up after it.
	startTime = 5 * time.Minute
)

// itself is the pod that the agent runs in. The zero value is an agent outside of a cluster.
type itself struct {
	namespace, pod string
	started        time.Time
	// secretMissing tells whether a receiver waits for a file with its address or its secret.
	secretMissing func() bool
}

// readItself asks the container who it is.
func readItself(file string, started time.Time, secretMissing func() bool) itself {
	namespace, err := os.ReadFile(file)
	if err != nil {
		return itself{}
	}
	pod, err := os.Hostname()
	if err != nil {
		return itself{}
	}
	return itself{strings.TrimSpace(string(namespace)), pod, started, secretMissing}
}

// expects tells whether an event says of the agent's own pod that it is not ready, while it starts or waits for a secret: its log, its
// status and /readyz say that themselves, and the first alert of a new site is not to be about the messenger. What a liveness
// probe finds is news at any time.
func (s *itself) expects(e *event.Event) bool {
	if s.pod == "" || e.Reason != "Unhealthy" || e.InvolvedObject.Kind != "Pod" ||
		e.InvolvedObject.Name != s.pod || e.InvolvedObject.Namespace != s.namespace || strings.HasPrefix(e.Message, "Liveness") {
		return false
	}
	return time.Since(s.started) < startTime || s.secretMissing()
}

// secretMissing tells whether a receiver refuses everything because a file with its address or its secret is not there.
func (a *Agent) secretMissing() bool {
	a.mu.Lock()
	deliveries := a.deliveries()
	a.mu.Unlock()
	for _, d := range deliveries {
		if s := d.Status(); !s.RefusedSince.IsZero() && s.FileMissing {
			return true
		}
	}
	return false
}
