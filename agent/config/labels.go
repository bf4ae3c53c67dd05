package config

import (
	"maps"
	"regexp"
	"slices"
	"strings"
)

const (
	maxLabels     = 16
	maxLabelValue = 128
)

// labelPattern is what every engine takes as the name of a tag, an attribute, a header or a label: InfluxDB wants no leading line,
// Prometheus no leading digit.
const labelPattern = `^[A-Za-z][A-Za-z0-9_.-]{0,62}$`

// ownLabels are names that an engine gets from the agent itself.
func ownLabels() []string {
	return []string{
		"alertname", "cause", "cluster", "component", "content-type", "count", "edge-eventer-id", "host", "id", "kind", "lost", "message", "name",
		"namespace", "occurrences", "reason", "severity", "time", "uid", "workload",
	}
}

// checkLabels finds names and values that some receiver could not tell.
func (d *decoder) checkLabels(labels map[string]string) {
	if len(labels) > maxLabels {
		d.add("labels", "must be at most %d", maxLabels)
	}
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		path, value := "labels."+oneLine(name), labels[name]
		switch {
		case d.reported(path):
		case !regexp.MustCompile(labelPattern).MatchString(name):
			d.add(path, "is no name of a label; it begins with a letter and has at most 63 letters, digits and _.-")
		case slices.Contains(ownLabels(), strings.ToLower(name)) || strings.HasPrefix(name, "k8s.") || strings.HasPrefix(name, "edge_eventer.") ||
			strings.HasPrefix(name, "service.") || strings.HasPrefix(name, "ce_"):
			d.add(path, "is a name that the agent itself gives to something else")
		case value == "" || len(value) > maxLabelValue || strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r >= 0x7f && r < 0xA0 }):
			d.add(path, "must be a text of 1 to %d bytes on one line", maxLabelValue)
		}
	}
}
