// Package matcher has Alertmanager's matchers over incidents: namespace="shop", reason!=BackOff, message=~".*timeout.*". Silences and
// inhibition rules are made of them.
//
// All matchers of a list must match. Regular expressions are RE2 and anchored at both ends. A label that an incident does not have is the
// empty text, so that host!="pi-1" matches incidents without a host, and host="" only these. The names are those of filter rules, the
// workload, the severity, the node and alertname, which is the reason, as the receiver of type alertmanager has it; any other name is a
// mistake, since it would match nothing, or everything.
//
// Source: prometheus/alertmanager 0.25.0, pkg/labels (ParseMatcher, ParseMatchers).
package matcher
