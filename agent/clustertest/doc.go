// Package clustertest gives tests a real control plane and the faults that it does not show on demand. Only tests import it.
//
// [Start] runs the program of scripts/cluster: kube-apiserver, kube-controller-manager, kube-scheduler, and kine with
// sqlite, on loopback, without a kubelet. It promises that each component can be killed, paused and restarted on the
// address it had, that the agent's kubeconfig is a ServiceAccount that may read events and nothing else, and that neither a
// process nor a file is left at the end, also when the test is killed.
//
// [Proxy] stands in front of an API server and answers chosen requests wrongly, late, in part or not at all.
package clustertest
