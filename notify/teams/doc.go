// Package teams posts Adaptive Cards to a workflow of Microsoft Teams that begins with a webhook request, and takes the workflow's acceptance
// for delivery: Teams gives no better proof.
package teams
