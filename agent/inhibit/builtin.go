package inhibit

import (
	"slices"
	"strings"

	"github.com/edge-eventer/edge-eventer/agent/matcher"
)

// The names of the built-in rules.
const (
	NodeRule   = "node"
	ImageRule  = "registry"
	VolumeRule = "volume"
	QuotaRule  = "quota"
)

// builtInRules hold back what an operator would call the same trouble. DESIGN.md has the texts of the events that they read.
func builtInRules() []rule {
	return []rule{
		{name: NodeRule, source: brokenNode, target: onNode, near: evictedByNode, spares: true},
		fold(ImageRule, registryOf),
		fold(VolumeRule, volumeOf),
		fold(QuotaRule, quotaOf),
	}
}

// fold is a rule under which the first of a group holds back the others.
func fold(name string, group func(*matcher.Subject) (string, bool)) rule {
	return rule{name: name, source: group, target: group, folds: true, spares: true}
}

// brokenNode reports whether the incident says that a node as a whole is away, and which.
func brokenNode(s *matcher.Subject) (string, bool) {
	e := &s.Incident.Event
	away := []string{"NodeNotReady", "Rebooted", "Shutdown", "NodeHasDiskPressure", "NodeHasInsufficientMemory", "NodeHasInsufficientPID"}
	return e.InvolvedObject.Name, e.InvolvedObject.Kind == "Node" && slices.Contains(away, e.Reason)
}

// onNode returns the node that an incident of something else was reported from.
func onNode(s *matcher.Subject) (string, bool) {
	e := &s.Incident.Event
	return e.Host(), e.InvolvedObject.Kind != "Node" && e.Host() != ""
}

// evictedByNode reports whether the incident is one that the node controller makes of a pod without naming its node.
func evictedByNode(s *matcher.Subject) bool {
	e := &s.Incident.Event
	return e.InvolvedObject.Kind == "Pod" && e.Host() == "" && (e.Reason == "NodeNotReady" || e.Reason == "TaintManagerEviction")
}

// registryOf returns the registry that an image cannot be pulled from. The text begins with: Failed to pull image "ghcr.io/shop/web:1".
func registryOf(s *matcher.Subject) (string, bool) {
	e := &s.Incident.Event
	if e.InvolvedObject.Kind != "Pod" || e.Reason != "Failed" && e.Reason != "BackOff" {
		return "", false
	}
	image, ok := quotedAfter(e.Message, "Failed to pull image ")
	if !ok {
		if image, ok = quotedAfter(e.Message, "Back-off pulling image "); !ok {
			return "", false
		}
	}
	// A first part without a dot, a colon or the name localhost is not a host, as Docker's reference grammar has it.
	host, _, hasPath := strings.Cut(image, "/")
	if !hasPath || !strings.ContainsAny(host, ".:") && host != "localhost" {
		host = "docker.io"
	}
	return host, true
}

// volumeOf returns the volume that cannot be mounted or attached, within the pod's namespace: what a pod calls config is another volume
// elsewhere.
func volumeOf(s *matcher.Subject) (string, bool) {
	e := &s.Incident.Event
	if e.InvolvedObject.Kind != "Pod" || e.Reason != "FailedMount" && e.Reason != "FailedAttachVolume" {
		return "", false
	}
	volume, ok := quotedAfter(e.Message, "for volume ")
	return e.InvolvedObject.Namespace + "/" + volume, ok
}

// quotedAfter returns what stands in quotes behind the words, of at most 512 bytes.
func quotedAfter(text, words string) (string, bool) {
	_, rest, ok := strings.Cut(text, words+`"`)
	end := strings.IndexByte(rest, '"')
	if !ok || end <= 0 || end > 512 {
		return "", false
	}
	return rest[:end], true
}

// quotaOf returns the namespace and the quota by which an object was refused. The text holds: is forbidden: exceeded quota: NAME, requested.
func quotaOf(s *matcher.Subject) (string, bool) {
	e := &s.Incident.Event
	if e.Reason != "FailedCreate" {
		return "", false
	}
	_, rest, ok := strings.Cut(e.Message, "is forbidden: exceeded quota: ")
	name, _, _ := strings.Cut(rest, ",")
	return e.InvolvedObject.Namespace + "/" + name, ok && len(name) <= 253
}
