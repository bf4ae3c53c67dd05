package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const usage = `pack makes container images and the bill of materials of a release.

  pack image  [flags] OUT.tar              an OCI archive for all architectures
  pack airgap [flags] -arch ARCH OUT.tar   an archive for one architecture that containerd, docker and podman import
  pack sbom   [flags] OUT.json             SPDX 2.3, from what the linker wrote into the binaries
  pack licences [flags] OUT.txt            the licences and notices of what is linked
`

func main() {
	os.Exit(run(os.Args[1:], os.Stderr))
}

// options are the flags of every command.
type options struct {
	version, commit string
	name            string // of the image, without its tag
	bin             string // folder of edge-eventer-ARCH
	certs           string // PEM file
	licences        string // what "pack licences" wrote
	arch            string // as in the file's name: amd64, arm64 or armv7
	created         time.Time
}

// run runs the command that args name and returns its exit code: 0 done, 1 failed, 2 wrong use.
func run(args []string, stderr io.Writer) int {
	if len(args) == 0 {
		_, _ = fmt.Fprint(stderr, usage)
		return 2
	}
	var o options
	var epoch int64
	flags := flag.NewFlagSet(args[0], flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&o.version, "version", "devel", "version, and the image's tag")
	flags.StringVar(&o.commit, "commit", "unknown", "commit")
	flags.StringVar(&o.name, "name", "ghcr.io/edge-eventer/edge-eventer", "name of the image")
	flags.StringVar(&o.bin, "bin", "bin", "folder of the binaries edge-eventer-ARCH")
	flags.StringVar(&o.certs, "certs", "bin/ca-certificates.crt", "certificates of the authorities, PEM")
	flags.StringVar(&o.licences, "licences", "bin/licences.txt", "licences of what is linked, made by pack licences")
	flags.StringVar(&o.arch, "arch", "", "amd64, arm64 or armv7")
	flags.Int64Var(&epoch, "epoch", 0, "time of everything, in seconds since 1970")
	if err := flags.Parse(args[1:]); err != nil {
		return 2
	}
	o.created = time.Unix(epoch, 0).UTC()
	if flags.NArg() != 1 {
		_, _ = fmt.Fprint(stderr, usage)
		return 2
	}
	// The tag of an image allows no plus sign, which a version may have.
	if o.version == "" || strings.ContainsAny(o.version, "+ /:") {
		_, _ = fmt.Fprintf(stderr, "pack: %q cannot be an image's tag\n", o.version)
		return 2
	}

	var write func(io.Writer, options) error
	switch args[0] {
	case "image":
		write = writeImage
	case "airgap":
		write = writeAirgap
	case "sbom":
		write = writeSBOM
	case "licences":
		write = writeLicences
	default:
		_, _ = fmt.Fprintf(stderr, "pack: there is no command %q\n\n%s", args[0], usage)
		return 2
	}
	if err := create(flags.Arg(0), func(w io.Writer) error { return write(w, o) }); err != nil {
		_, _ = fmt.Fprintf(stderr, "pack %s: %v\n", args[0], err)
		return 1
	}
	return 0
}

// create writes a file completely or not at all.
func create(path string, write func(io.Writer) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".pack-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }() // After the rename there is nothing left to remove.
	if err := write(f); err != nil {
		_ = f.Close()
		return err
	}
	if err := f.Chmod(0o644); err != nil {
		_ = f.Close()
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
