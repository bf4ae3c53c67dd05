// Package manifests holds what is installed and the tests of it; no code imports it.
//
// It promises that each file here is held against the thing that takes it: the K3s manifest against a real control plane, the
// configurations against the agent's own decoder, the unit and the packages against the binary they start.
package manifests
