package main

import (
	"archive/tar"
	"bytes"
	"cmp"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// platforms are those of a release, in the order in which they are written.
func platforms() []platform {
	return []platform{
		{file: "amd64", Architecture: "amd64", OS: "linux"},
		{file: "arm64", Architecture: "arm64", OS: "linux"},
		{file: "armv7", Architecture: "arm", Variant: "v7", OS: "linux"},
	}
}

// The JSON of the OCI image format 1.1: github.com/opencontainers/image-spec.
type (
	platform struct {
		file         string
		Architecture string `json:"architecture"`
		OS           string `json:"os"`
		Variant      string `json:"variant,omitempty"`
	}
	descriptor struct {
		MediaType   string            `json:"mediaType"`
		Digest      string            `json:"digest"`
		Size        int               `json:"size"`
		Annotations map[string]string `json:"annotations,omitempty"`
		Platform    *platform         `json:"platform,omitempty"`
	}
	index struct {
		SchemaVersion int          `json:"schemaVersion"`
		MediaType     string       `json:"mediaType"`
		Manifests     []descriptor `json:"manifests"`
	}
	manifest struct {
		SchemaVersion int          `json:"schemaVersion"`
		MediaType     string       `json:"mediaType"`
		Config        descriptor   `json:"config"`
		Layers        []descriptor `json:"layers"`
	}
	image struct {
		Created      time.Time   `json:"created"`
		Architecture string      `json:"architecture"`
		Variant      string      `json:"variant,omitempty"`
		OS           string      `json:"os"`
		Config       imageConfig `json:"config"`
		RootFS       rootFS      `json:"rootfs"`
		History      []history   `json:"history"`
	}
	imageConfig struct {
		User       string
		Entrypoint []string
		Labels     map[string]string
	}
	rootFS struct {
		Type    string   `json:"type"`
		DiffIDs []string `json:"diff_ids"`
	}
	history struct {
		Created   time.Time `json:"created"`
		CreatedBy string    `json:"created_by"`
	}
)

const (
	typeIndex    = "application/vnd.oci.image.index.v1+json"
	typeManifest = "application/vnd.oci.image.manifest.v1+json"
	typeConfig   = "application/vnd.oci.image.config.v1+json"
	typeLayer    = "application/vnd.oci.image.layer.v1.tar"
)

// user is nobody's number on the node: the pod's security context says the same.
const user = "65532:65532"

// layout is an OCI image layout in the making: its blobs by digest.
type layout map[string][]byte

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func (l layout) add(mediaType string, b []byte) descriptor {
	d := digest(b)
	l[d] = b
	return descriptor{MediaType: mediaType, Digest: "sha256:" + d, Size: len(b)}
}

func (l layout) addJSON(mediaType string, v any) (descriptor, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return descriptor{}, err
	}
	return l.add(mediaType, b), nil
}

// addImage adds the image of one platform: layers of certificates and licences, which all platforms share, and a layer with the
// binary.
// Layers are compressed for a registry and left alone where the whole archive is compressed afterwards.
func (l layout) addImage(p platform, o options, compress bool) (descriptor, manifest, error) {
	certs, err := os.ReadFile(o.certs)
	if err != nil {
		return descriptor{}, manifest{}, fmt.Errorf("the certificates: %w", err)
	}
	licences, err := os.ReadFile(o.licences)
	if err != nil {
		return descriptor{}, manifest{}, fmt.Errorf("the licences: %w", err)
	}
	_, expression, _ := strings.Cut(string(licences), "SPDX-License-Identifier: ")
	expression, _, _ = strings.Cut(expression, "\n")
	if expression == "" {
		return descriptor{}, manifest{}, fmt.Errorf("%s names no licence", o.licences)
	}
	binary, err := os.ReadFile(filepath.Join(o.bin, "edge-eventer-"+p.file))
	if err != nil {
		return descriptor{}, manifest{}, fmt.Errorf("the binary: %w", err)
	}
	files := []struct {
		path    string
		mode    int64
		content []byte
	}{
		{"etc/ssl/certs/ca-certificates.crt", 0o644, certs},
		{"usr/share/doc/edge-eventer/licences.txt", 0o644, licences},
		{"edge-eventer", 0o755, binary},
	}
	im := image{
		Created: o.created, Architecture: p.Architecture, Variant: p.Variant, OS: p.OS,
		Config: imageConfig{User: user, Entrypoint: []string{"/edge-eventer"}, Labels: map[string]string{
			"org.opencontainers.image.title":       "edge-eventer",
			"org.opencontainers.image.description": "Tells people about the Warning events of an edge cluster, over a link that comes and goes",
			"org.opencontainers.image.source":      "https://github.com/edge-eventer/edge-eventer",
			"org.opencontainers.image.licenses":    expression + " AND MPL-2.0",
			"org.opencontainers.image.version":     o.version,
			"org.opencontainers.image.revision":    o.commit,
		}},
		RootFS: rootFS{Type: "layers"},
	}
	m := manifest{SchemaVersion: 2, MediaType: typeManifest}
	for _, f := range files {
		layer, err := layerOf(f.path, f.mode, f.content, o.created)
		if err != nil {
			return descriptor{}, manifest{}, err
		}
		im.RootFS.DiffIDs = append(im.RootFS.DiffIDs, "sha256:"+digest(layer))
		im.History = append(im.History, history{o.created, "pack: /" + f.path})
		mediaType := typeLayer
		if compress {
			if layer, err = gzipped(layer); err != nil {
				return descriptor{}, manifest{}, err
			}
			mediaType += "+gzip"
		}
		m.Layers = append(m.Layers, l.add(mediaType, layer))
	}
	if m.Config, err = l.addJSON(typeConfig, im); err != nil {
		return descriptor{}, manifest{}, err
	}
	d, err := l.addJSON(typeManifest, m)
	d.Platform = &p
	return d, m, err
}

// layerOf is a tar archive with one file and the folders above it.
func layerOf(path string, mode int64, content []byte, created time.Time) ([]byte, error) {
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
	return b.Bytes(), nil
}

func writeFile(w *tar.Writer, path string, mode int64, content []byte, created time.Time) error {
	h := &tar.Header{Typeflag: tar.TypeReg, Name: path, Mode: mode, Size: int64(len(content)), ModTime: created}
	if err := w.WriteHeader(h); err != nil {
		return err
	}
	_, err := w.Write(content)
	return err
}

func gzipped(b []byte) ([]byte, error) {
	var out bytes.Buffer
	w, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(b); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// named adds the annotations from which containerd and the tools of OCI layouts take the image's name.
func named(d descriptor, o options) descriptor {
	d.Annotations = map[string]string{
		"io.containerd.image.name":          o.name + ":" + o.version,
		"org.opencontainers.image.ref.name": o.version,
	}
	return d
}

// write writes the layout as a tar archive. dockerManifest may be empty.
func (l layout) write(out io.Writer, top descriptor, dockerManifest []byte, created time.Time) error {
	indexJSON, err := json.Marshal(index{SchemaVersion: 2, MediaType: typeIndex, Manifests: []descriptor{top}})
	if err != nil {
		return err
	}
	w := tar.NewWriter(out)
	for _, dir := range []string{"blobs/", "blobs/sha256/"} {
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: dir, Mode: 0o755, ModTime: created}); err != nil {
			return err
		}
	}
	for _, d := range slices.SortedFunc(maps.Keys(l), cmp.Compare) {
		if err := writeFile(w, "blobs/sha256/"+d, 0o644, l[d], created); err != nil {
			return err
		}
	}
	if err := writeFile(w, "index.json", 0o644, indexJSON, created); err != nil {
		return err
	}
	if len(dockerManifest) > 0 {
		if err := writeFile(w, "manifest.json", 0o644, dockerManifest, created); err != nil {
			return err
		}
	}
	if err := writeFile(w, "oci-layout", 0o644, []byte(`{"imageLayoutVersion":"1.0.0"}`), created); err != nil {
		return err
	}
	return w.Close()
}

// writeImage writes the image of all platforms: an index that a registry takes as it is.
func writeImage(out io.Writer, o options) error {
	l := layout{}
	all := index{SchemaVersion: 2, MediaType: typeIndex}
	for _, p := range platforms() {
		d, _, err := l.addImage(p, o, true)
		if err != nil {
			return err
		}
		all.Manifests = append(all.Manifests, d)
	}
	top, err := l.addJSON(typeIndex, all)
	if err != nil {
		return err
	}
	return l.write(out, named(top, o), nil, o.created)
}

// writeAirgap writes the image of one platform, with the manifest.json of `docker save` beside the OCI index, so that
// containerd (K3s), docker and podman import it under the same name.
func writeAirgap(out io.Writer, o options) error {
	all := platforms()
	i := slices.IndexFunc(all, func(p platform) bool { return p.file == o.arch })
	if i < 0 {
		return fmt.Errorf("-arch %q: want amd64, arm64 or armv7", o.arch)
	}
	l := layout{}
	top, m, err := l.addImage(all[i], o, false)
	if err != nil {
		return err
	}
	blob := func(d descriptor) string { return "blobs/sha256/" + d.Digest[len("sha256:"):] }
	type saved struct {
		Config   string
		RepoTags []string
		Layers   []string
	}
	s := saved{Config: blob(m.Config), RepoTags: []string{o.name + ":" + o.version}}
	for _, layer := range m.Layers {
		s.Layers = append(s.Layers, blob(layer))
	}
	dockerManifest, err := json.Marshal([]saved{s})
	if err != nil {
		return err
	}
	return l.write(out, named(top, o), dockerManifest, o.created)
}
