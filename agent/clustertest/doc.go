// Package clustertest gives tests a real control plane and the events in it. Only tests import it.
//
// [Start] runs the program of scripts/cluster: kube-apiserver, kube-controller-manager, kube-scheduler, and kine with
// sqlite, on loopback, without a kubelet. It promises that each component can be killed, paused and restarted on the
// address it had, that the agent's kubeconfig is a ServiceAccount that may read events and nothing else, and that neither a
// process nor a file is left at the end, also when the test is killed.
//
// The faults that it does not show on demand come from package faultproxy.
package clustertest
