// Command pack makes what cannot be made by tools that every build machine has: container images and the bill of materials.
//
// It promises that equal inputs give equal bytes: times come from -epoch, names are sorted, and nothing of the machine, its
// user or its clock is in an output. It runs nothing and asks nothing of the network.
package main
