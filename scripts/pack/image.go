package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// platform is one of a release, with the end of its binary's name.
type platform struct {
	file string
	v1.Platform
}

// platforms are those of a release, in the order in which they are written.
func platforms() []platform {
	return []platform{
		{"amd64", v1.Platform{Architecture: "amd64", OS: "linux"}},
		{"arm64", v1.Platform{Architecture: "arm64", OS: "linux"}},
		{"armv7", v1.Platform{Architecture: "arm", Variant: "v7", OS: "linux"}},
	}
}

// user is nobody's number on the node: the pod's security context says the same.
const user = "65532:65532"

// imageOf is the image of one platform: layers of certificates and licences, which all platforms share, and a layer with the binary.
// Layers are compressed for a registry and left alone where the whole archive is compressed afterwards.
func imageOf(p platform, o options, compress bool) (v1.Image, error) {
	certs, err := os.ReadFile(o.certs)
	if err != nil {
		return nil, fmt.Errorf("the certificates: %w", err)
	}
	licences, err := os.ReadFile(o.licences)
	if err != nil {
		return nil, fmt.Errorf("the licences: %w", err)
	}
	_, expression, _ := strings.Cut(string(licences), "SPDX-License-Identifier: ")
	expression, _, _ = strings.Cut(expression, "\n")
	if expression == "" {
		return nil, fmt.Errorf("%s names no licence", o.licences)
	}
	binary, err := os.ReadFile(filepath.Join(o.bin, "edge-eventer-"+p.file))
	if err != nil {
		return nil, fmt.Errorf("the binary: %w", err)
	}
	im, err := mutate.ConfigFile(mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON), &v1.ConfigFile{
		Created: v1.Time{Time: o.created}, Architecture: p.Architecture, Variant: p.Variant, OS: p.OS, RootFS: v1.RootFS{Type: "layers"},
		Config: v1.Config{User: user, Entrypoint: []string{"/edge-eventer"}, Labels: map[string]string{
			"org.opencontainers.image.title":       "edge-eventer",
			"org.opencontainers.image.description": "Tells people about the Warning events of an edge cluster, over a link that comes and goes",
			"org.opencontainers.image.source":      "https://github.com/edge-eventer/edge-eventer",
			"org.opencontainers.image.licenses":    expression + " AND MPL-2.0",
			"org.opencontainers.image.version":     o.version,
			"org.opencontainers.image.revision":    o.commit,
		}},
	})
	if err != nil {
		return nil, err
	}
	for _, f := range []struct {
		path    string
		mode    int64
		content []byte
	}{
		{"etc/ssl/certs/ca-certificates.crt", 0o644, certs},
		{"usr/share/doc/edge-eventer/licences.txt", 0o644, licences},
		{"edge-eventer", 0o755, binary},
	} {
		layer, err := layerOf(f.path, f.mode, f.content, o.created, compress)
		if err != nil {
			return nil, err
		}
		history := v1.History{Created: v1.Time{Time: o.created}, CreatedBy: "pack: /" + f.path}
		if im, err = mutate.Append(im, mutate.Addendum{Layer: layer, History: history}); err != nil {
			return nil, err
		}
	}
	return im, nil
}

// layerOf is a layer with one file and the folders above it.
func layerOf(path string, mode int64, content []byte, created time.Time, compress bool) (v1.Layer, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for i, c := range path {
		if c != '/' {
			continue
		}
		dir := &tar.Header{Typeflag: tar.TypeDir, Name: path[:i+1], Mode: 0o755, ModTime: created}
		if err := w.WriteHeader(dir); err != nil {
			return nil, err
		}
	}
	if err := writeFile(w, path, mode, content, created); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	if !compress {
		return static.NewLayer(b.Bytes(), types.OCIUncompressedLayer), nil
	}
	open := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b.Bytes())), nil }
	return tarball.LayerFromOpener(open, tarball.WithCompressionLevel(gzip.BestCompression), tarball.WithMediaType(types.OCILayer))
}

func writeFile(w *tar.Writer, path string, mode int64, content []byte, created time.Time) error {
	h := &tar.Header{Typeflag: tar.TypeReg, Name: path, Mode: mode, Size: int64(len(content)), ModTime: created}
	if err := w.WriteHeader(h); err != nil {
		return err
	}
	_, err := w.Write(content)
	return err
}

// write writes an OCI layout with one image or index as a tar archive. dockerManifest may be empty.
func write(out io.Writer, top mutate.Appendable, dockerManifest []byte, o options) error {
	dir, err := os.MkdirTemp("", "pack.")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	// The annotations are those from which containerd and the tools of OCI layouts take the image's name.
	named := v1.Descriptor{Annotations: map[string]string{
		"io.containerd.image.name":          o.name + ":" + o.version,
		"org.opencontainers.image.ref.name": o.version,
	}}
	if _, err := layout.Write(dir, mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: top, Descriptor: named})); err != nil {
		return err
	}
	if len(dockerManifest) > 0 {
		if err := os.WriteFile(filepath.Join(dir, "manifest.json"), dockerManifest, 0o600); err != nil {
			return err
		}
	}
	w := tar.NewWriter(out)
	// The walk is in the order of the names.
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		name := filepath.ToSlash(strings.TrimPrefix(path, dir+string(filepath.Separator)))
		if d.IsDir() {
			return w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: 0o755, ModTime: o.created})
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if d.Name() == "oci-layout" {
			var compact bytes.Buffer
			if err := json.Compact(&compact, content); err != nil {
				return err
			}
			content = compact.Bytes()
		}
		return writeFile(w, name, 0o644, content, o.created)
	})
	if err != nil {
		return err
	}
	return w.Close()
}

// writeImage writes the image of all platforms: an index that a registry takes as it is.
func writeImage(out io.Writer, o options) error {
	var all v1.ImageIndex = empty.Index
	for _, p := range platforms() {
		im, err := imageOf(p, o, true)
		if err != nil {
			return err
		}
		all = mutate.AppendManifests(all, mutate.IndexAddendum{Add: im, Descriptor: v1.Descriptor{Platform: &p.Platform}})
	}
	return write(out, all, nil, o)
}

// writeAirgap writes the image of one platform, with the manifest.json of `docker save` beside the OCI index, so that
// containerd (K3s), docker and podman import it under the same name.
func writeAirgap(out io.Writer, o options) error {
	all := platforms()
	i := slices.IndexFunc(all, func(p platform) bool { return p.file == o.arch })
	if i < 0 {
		return fmt.Errorf("-arch %q: want amd64, arm64 or armv7", o.arch)
	}
	im, err := imageOf(all[i], o, false)
	if err != nil {
		return err
	}
	m, err := im.Manifest()
	if err != nil {
		return err
	}
	blob := func(h v1.Hash) string { return "blobs/" + h.Algorithm + "/" + h.Hex }
	saved := tarball.Descriptor{Config: blob(m.Config.Digest), RepoTags: []string{o.name + ":" + o.version}}
	for _, layer := range m.Layers {
		saved.Layers = append(saved.Layers, blob(layer.Digest))
	}
	dockerManifest, err := json.Marshal(tarball.Manifest{saved})
	if err != nil {
		return err
	}
	return write(out, im, dockerManifest, o)
}
