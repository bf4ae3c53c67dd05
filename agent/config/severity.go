package config

import (
	"slices"

	"github.com/edge-eventer/edge-eventer/notify"
)

// CriticalReasons returns the reasons that make an incident critical unless severity.critical lists others: a node, its disk,
// its memory or the agent's own sight is failing. What one workload does to itself (BackOff, Unhealthy, FailedMount) is a
// warning however often it happens, or nobody would be woken by the rest.
func CriticalReasons() []string {
	return []string{
		// The node. The node controller writes NodeNotReady as a Warning about each pod of a node that went silent; for a
		// cluster of few nodes that is the worst there is.
		"NodeNotReady",
		// The node came up with another boot id: it lost power, panicked or was reset by its watchdog. The kubelet writes it
		// only for a reboot it did not know of before.
		"Rebooted",
		// The kubelet could not set itself up, so nothing runs on the node.
		"KubeletSetupFailed",
		// A kernel oops or a task that hangs in the kernel (node-problem-detector, kernel monitor): on a Pi the usual cause is
		// the power supply or the card, and the node follows soon.
		"KernelOops", "TaskHung", "KernelDeadlock",

		// The disk. The kubelet could not free space on the image filesystem, or could not collect garbage at all: the next
		// stop is eviction of everything.
		"FreeDiskSpaceFailed", "ImageGCFailed", "ContainerGCFailed",
		// InvalidDiskCapacity is not among them: it appears at each start of K3s, before the first measurement.
		// The kernel's own words about a dying card (node-problem-detector): I/O errors, ext4 errors, and the read-only
		// remount that follows. The last two names are that of its condition and of the condition's reason.
		"IOError", "Ext4Error", "ReadonlyFilesystem", "FilesystemIsReadOnly",

		// Memory, and disk again. The kubelet crossed an eviction threshold of the node and kills pods that did nothing wrong.
		"EvictionThresholdMet", "Evicted",
		// The kernel killed a process because the whole machine is out of memory, not a container at its own limit
		// (kubelet, node-problem-detector).
		"SystemOOM", "OOMKilling",
		// The kubelet reports these conditions as Normal, which is not asked for; whoever sends them as a Warning means the same.
		"NodeHasDiskPressure", "NodeHasInsufficientMemory", "NodeHasInsufficientPID",

		// The agent's own sight: nothing is seen while the API server is away, and events may be lost with a damaged spool.
		"APIServerUnreachable", "NamespaceUnreachable", "SpoolDamaged",
	}
}

// SeverityOf returns the severity of incidents with the given reason.
func (c *Config) SeverityOf(reason string) notify.Severity {
	critical := false
	if len(c.critical) > 0 {
		for _, p := range c.critical {
			critical = critical || p.Match(reason)
		}
	} else {
		critical = slices.Contains(CriticalReasons(), reason)
	}
	if critical {
		return notify.Critical
	}
	return notify.Warning
}
