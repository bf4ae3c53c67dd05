// Command edge-eventer tells people about the Warning events of an edge cluster, over a link that comes and goes.
//
// It promises an exit code that says what happened: 0 done, 1 failed while running, 2 wrong use or configuration.
package main

import "os"

func main() {
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
