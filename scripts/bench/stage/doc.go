// Package stage sets up for the bench programs what tests have from the testing package and agent/clustertest: the real
// control plane, the real agent, and an end that leaves nothing behind.
package stage
