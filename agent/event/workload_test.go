package event

import "testing"

func TestGeneratedNamesFoldToTheirWorkload(t *testing.T) {
	long := "a-deployment-with-a-name-that-is-much-longer-than-it-needs" // 58 characters
	for _, c := range []struct{ kind, name, want string }{
		// Deployments, their ReplicaSets and pods, over rollouts.
		{"Pod", "web-7d9f8c6b5d-x2x4z", "web"},
		{"Pod", "checkout-5fb96f444c-8ghdz", "checkout"},
		{"Pod", "spread-6d6f4c45bd-5wzlj", "spread"},
		{"Pod", "local-path-provisioner-774c6665dc-5k7vd", "local-path-provisioner"},
		{"Pod", "coredns-64fd4b4794-q2q4x", "coredns"},
		{"Pod", "web-v2-9f4dd7b5c-cjxzp", "web-v2"},
		{"Pod", "shop-1-7d9f8c6b5d-x2x4z", "shop-1"},
		{"Pod", "shop-2-7d9f8c6b5d-x2x4z", "shop-2"},
		{"ReplicaSet", "web-7d9f8c6b5d", "web"},
		{"ReplicaSet", "no-account-5d5d48cfff", "no-account"},
		{"ReplicaSet", "over-quota-67bb686cd9", "over-quota"},
		{"ReplicaSet", "privileged", "privileged"},
		{"ReplicaSet", "web-5", "web-5"},
		{"ReplicaSet", "web-9999999999", "web-9999999999"}, // 5,555,555,555 is no 32-bit hash.
		{"ReplicaSet", "web-4d9f8c6b", "web-4d9f8c6b"},     // A number has no leading zero.
		{"ReplicaSet", "web-20250101", "web-20250101"},
		{"Deployment", "web-7d9f8c6b5d", "web-7d9f8c6b5d"},
		// The name before the random characters is cut to 58 characters.
		{"Pod", long + "x2x4z", long},
		{"Pod", long[:47] + "-7d9f8c6b5dx2x4z", long[:47]},
		{"Pod", long[:51] + "-7d9f8cx2x4z", long[:51]},
		{"Pod", long[:57] + "-x2x4z", long[:57]},
		// DaemonSets.
		{"Pod", "exporter-2z76r", "exporter"},
		{"Pod", "svclb-traefik-d86f9d6a-x8kq2", "svclb-traefik-d86f9d6a"},
		{"Pod", "node-agent-24567", "node-agent"},
		// StatefulSets and their claims.
		{"Pod", "cache-0", "cache"},
		{"Pod", "cache-12", "cache"},
		{"StatefulSet", "db", "db"},
		{"StatefulSet", "db-1", "db-1"},
		{"PersistentVolumeClaim", "data-web-0", "data-web"},
		{"PersistentVolumeClaim", "wants-more", "wants-more"},
		{"PersistentVolumeClaim", "web-7d9f8c6b5d-x2x4z-scratch", "web-scratch"},
		{"ResourceClaim", "web-7d9f8c6b5d-x2x4z-gpu-8ghdz", "web-gpu"},
		{"ResourceClaim", "no-claim-template-gpu-8ghdz", "no-claim-template-gpu"},
		{"PersistentVolume", "pvc-88b76e05-c344-4f91-977f-e72f9b3e9209", "pvc-88b76e05-c344-4f91-977f-e72f9b3e9209"},
		// CronJobs, their Jobs and pods, indexed too.
		{"Job", "report-29920620", "report"},
		{"Pod", "report-29920620-q584w", "report"},
		{"Pod", "report-29920620-3-q584w", "report"},
		{"CronJob", "report", "report"},
		{"Job", "backup-20261121", "backup-20261121"}, // A date.
		{"Pod", "backup-20261121-q584w", "backup-20261121"},
		{"Job", "migrate-3", "migrate-3"},
		{"Job", "report-manual-8ghdz", "report-manual-8ghdz"},
		{"Pod", "import-8ghdz", "import"},
		{"Pod", "indexed-0-8ghdz", "indexed"},
		{"Pod", "indexed-117-8ghdz", "indexed"},
		{"Pod", "proxy-8080-8ghdz", "proxy-8080"},
		{"Pod", "proxy-9090-8ghdz", "proxy-9090"},
		// Names that people gave.
		{"Pod", "bad-workdir", "bad-workdir"},
		{"Pod", "ingress-a", "ingress-a"},
		{"Pod", "post-start", "post-start"},
		{"Pod", "edge-https", "edge-https"},
		{"Pod", "lan-dhcpd", "lan-dhcpd"},
		{"Pod", "etcd-pi-4b-01", "etcd-pi-4b-01"},
		{"Pod", "web", "web"},
		{"Pod", "x2x4z", "x2x4z"},
		{"Pod", "-x2x4z", "-x2x4z"},
		{"Pod", "web-", "web-"},
		{"Pod", "", ""},
		{"Pod", "shop-00", "shop-00"},
		{"Pod", "api-1.2.3", "api-1.2.3"},
		// Nodes and all other kinds.
		{"Node", "pi-4b-01", "pi-4b-01"},
		{"Node", "pi-1", "pi-1"},
		{"Node", "ip-10-0-0-7", "ip-10-0-0-7"},
		{"Service", "web-7d9f8c6b5d", "web-7d9f8c6b5d"},
		{"EndpointSlice", "transcoder-x2x4z", "transcoder"},
		{"HorizontalPodAutoscaler", "spread-a", "spread-a"},
		{"", "web-7d9f8c6b5d-x2x4z", "web-7d9f8c6b5d-x2x4z"},
	} {
		if got := Workload(c.kind, c.name); got != c.want {
			t.Errorf("Workload(%q, %q) = %q, want %q", c.kind, c.name, got, c.want)
		}
	}
	if len(long) != 58 {
		t.Errorf("the long name has %d characters", len(long))
	}
}

func FuzzWorkload(f *testing.F) {
	f.Add("Pod", "web-7d9f8c6b5d-x2x4z")
	f.Add("PersistentVolumeClaim", "web-7d9f8c6b5d-x2x4z-scratch")
	f.Add("ResourceClaim", "a--b-")
	f.Fuzz(func(t *testing.T, kind, name string) {
		got := Workload(kind, name)
		if len(got) > len(name) || (got == "") != (name == "") {
			t.Errorf("Workload(%q, %q) = %q", kind, name, got)
		}
	})
}
