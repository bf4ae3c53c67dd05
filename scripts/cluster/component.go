package main

import (
	"fmt"
	"os"
	_ "time/tzdata" // The time zones of CronJobs.

	"github.com/spf13/cobra"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
)

// runComponent is what this program does when it was started by itself as one of the components.
func runComponent(name string, args []string) int {
	var command *cobra.Command
	switch name {
	case nameKine:
		if err := runKine(args); err != nil {
			fmt.Fprintf(os.Stderr, "kine: %v\n", err)
			return 1
		}
		return 0
	case nameAPIServer:
		command = apiserver.NewAPIServerCommand()
	case nameControllerManager:
		command = controllermanager.NewControllerManagerCommand()
	case nameScheduler:
		command = scheduler.NewSchedulerCommand()
	default:
		fmt.Fprintf(os.Stderr, "cluster: no component %q\n", name)
		return 2
	}
	command.SetArgs(args)
	return cli.Run(command)
}
