// Command cluster is a real Kubernetes control plane for tests and for make run: kube-apiserver, kube-controller-manager,
// kube-scheduler, and kine with sqlite, the datastore of K3s. There is no kubelet, so no container ever runs.
//
//	cluster run [--dir DIR] [--workload FILE] [--stdin] [--keep] [--event-ttl 1h] [--etcd-compaction-interval 5m]
//
// It listens on loopback only, with free ports chosen at start, and keeps every file it makes (database, keys, kubeconfigs,
// logs) in one folder, which is new, or empty, at the start and gone at the end. It promises that
//
//   - RBAC and ServiceAccount admission are on, and the agent's identity is a ServiceAccount that may get, list and watch
//     events and nothing else;
//   - each component is a process of its own that can be killed, paused and restarted, on the same address;
//   - nothing survives the program: a clean stop (SIGINT, SIGTERM, with --stdin also the end of standard input) leaves no
//     process and no file, and even after SIGKILL the kernel ends the components.
//
// When all is ready it prints one line of JSON, see [ready]. With --stdin it then takes commands, see [controlPlane.command],
// and answers each with "ok" or "error: ...".
package main
