// Command pack makes what cannot be made by tools that every build machine has: container images, the bill of materials, and the
// licences of what is linked.
//
// The formats are those of pinned modules: go-containerregistry writes images and layouts, tools-golang the SPDX list. What goes in, and in
// which order, is decided here.
//
// It promises that equal inputs give equal bytes: times come from -epoch, names are sorted, and nothing of the machine, its
// user or its clock is in an output. It asks nothing of the network; for the licences it runs the go command, which knows what is
// linked and where the modules lie.
package main
