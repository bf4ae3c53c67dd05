// Package k3s holds the manifests against the apply engine of K3s itself, on a real control plane.
//
// It is a module of its own, so that the engine's modules stay out of the agent's. What K3s does around the engine, the folder that it
// looks into and the Addon that it keeps for each file, is written here from K3s's documentation (docs.k3s.io/installation/packaged-components).
package k3s
