// Package alertmanager pushes incidents as alerts to Prometheus' Alertmanager. Labels are an alert's identity and hold what an incident is;
// what changes is an annotation, so that repeating a request is harmless.
package alertmanager
