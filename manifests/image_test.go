package manifests_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	imageName = "ghcr.io/edge-eventer/edge-eventer"
	imageUser = 65532
	// licencesText stands in for what pack licences writes.
	licencesText = "What is linked.\n\nSPDX-License-Identifier: Apache-2.0 AND BSD-3-Clause AND ISC AND MIT\n"
)

// buildPack builds scripts/pack into a folder of the test.
func buildPack(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "pack")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, "../scripts/pack").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return program
}

// inputs makes a folder with what is packed: a text in place of each binary, and of the certificates.
func inputs(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"edge-eventer-amd64", "edge-eventer-arm64", "edge-eventer-armv7", "ca-certificates.crt"} {
		// 0600 and no execute bit: what the image has must not come from the build machine's files.
		if err := os.WriteFile(filepath.Join(dir, name), []byte("the content of "+name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "licences.txt"), []byte(licencesText), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// pack runs scripts/pack over the inputs and returns its output.
func pack(t *testing.T, program, dir, command string, args ...string) []byte {
	t.Helper()
	out := filepath.Join(t.TempDir(), "out")
	all := slices.Concat([]string{command, "-version", "9.8.7", "-commit", "0123456789ab", "-epoch", "1700000000", "-bin", dir,
		"-certs", filepath.Join(dir, "ca-certificates.crt"), "-licences", filepath.Join(dir, "licences.txt")}, args, []string{out})
	if text, err := exec.CommandContext(t.Context(), program, all...).CombinedOutput(); err != nil {
		t.Fatalf("pack %v: %v\n%s", all, err, text)
	}
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// untar returns the files of an archive by name and their headers.
func untar(t *testing.T, b []byte) (map[string][]byte, []*tar.Header) {
	t.Helper()
	files := map[string][]byte{}
	var headers []*tar.Header
	for r := tar.NewReader(bytes.NewReader(b)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files, headers
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		headers = append(headers, h)
		if h.Typeflag == tar.TypeReg {
			files[h.Name] = content
		}
	}
}

func decode[T any](t *testing.T, b []byte) T {
	t.Helper()
	var v T
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatalf("%v in %s", err, b)
	}
	return v
}

// The parts of the OCI image format that the tests read.
type (
	ociDescriptor struct {
		MediaType, Digest string
		Size              int
		Annotations       map[string]string
		Platform          struct{ Architecture, OS, Variant string }
	}
	ociIndex    struct{ Manifests []ociDescriptor }
	ociManifest struct {
		Config ociDescriptor
		Layers []ociDescriptor
	}
	ociConfig struct {
		Architecture, OS, Variant string
		Config                    struct {
			User       string
			Entrypoint []string
			Labels     map[string]string
		}
		RootFS struct {
			DiffIDs []string `json:"diff_ids"`
		} `json:"rootfs"`
	}
)

// blob returns the content that a descriptor points to and checks it against the descriptor.
func blob(t *testing.T, files map[string][]byte, d ociDescriptor) []byte {
	t.Helper()
	algorithm, digest, _ := strings.Cut(d.Digest, ":")
	b, ok := files["blobs/"+algorithm+"/"+digest]
	if !ok {
		t.Fatalf("%s is not in the archive", d.Digest)
	}
	if sum := sha256.Sum256(b); hex.EncodeToString(sum[:]) != digest || len(b) != d.Size {
		t.Fatalf("%s: %d bytes with another digest, want %d", d.Digest, len(b), d.Size)
	}
	return b
}

// checkImage checks the image of one architecture and returns its configuration.
func checkImage(t *testing.T, files map[string][]byte, d ociDescriptor, file string) ociConfig {
	t.Helper()
	m := decode[ociManifest](t, blob(t, files, d))
	c := decode[ociConfig](t, blob(t, files, m.Config))
	if len(m.Layers) != len(c.RootFS.DiffIDs) {
		t.Fatalf("%d layers, %d diff ids", len(m.Layers), len(c.RootFS.DiffIDs))
	}
	got := map[string]string{}
	for i, l := range m.Layers {
		layer := blob(t, files, l)
		if strings.HasSuffix(l.MediaType, "+gzip") {
			r, err := gzip.NewReader(bytes.NewReader(layer))
			if err != nil {
				t.Fatal(err)
			}
			if layer, err = io.ReadAll(r); err != nil {
				t.Fatal(err)
			}
		}
		if sum := sha256.Sum256(layer); "sha256:"+hex.EncodeToString(sum[:]) != c.RootFS.DiffIDs[i] {
			t.Errorf("layer %d is not its diff id", i)
		}
		content, headers := untar(t, layer)
		for _, h := range headers {
			got[h.Name] = h.FileInfo().Mode().String()
			if h.Uid != 0 || h.Gid != 0 || h.ModTime.Unix() != 1_700_000_000 || h.Uname+h.Gname != "" {
				t.Errorf("%s: owner %d:%d %q, time %v", h.Name, h.Uid, h.Gid, h.Uname, h.ModTime)
			}
		}
		for name, b := range content {
			want := map[string]string{
				"edge-eventer": "the content of edge-eventer-" + file, "etc/ssl/certs/ca-certificates.crt": "the content of ca-certificates.crt",
				"usr/share/doc/edge-eventer/licences.txt": licencesText,
			}[name]
			if string(b) != want {
				t.Errorf("%s is %q, want %q", name, b, want)
			}
		}
	}
	want := map[string]string{
		"edge-eventer": "-rwxr-xr-x", "etc/": "drwxr-xr-x", "etc/ssl/": "drwxr-xr-x", "etc/ssl/certs/": "drwxr-xr-x",
		"etc/ssl/certs/ca-certificates.crt": "-rw-r--r--", "usr/": "drwxr-xr-x", "usr/share/": "drwxr-xr-x", "usr/share/doc/": "drwxr-xr-x",
		"usr/share/doc/edge-eventer/": "drwxr-xr-x", "usr/share/doc/edge-eventer/licences.txt": "-rw-r--r--",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("files of the image (-want +got):\n%s", diff)
	}
	if c.Config.User != "65532:65532" || !slices.Equal(c.Config.Entrypoint, []string{"/edge-eventer"}) {
		t.Errorf("user %q, entry point %v", c.Config.User, c.Config.Entrypoint)
	}
	return c
}

func TestImageHoldsTheBinaryAndCertificatesForEachArchitecture(t *testing.T) {
	archive := pack(t, buildPack(t), inputs(t), "image")
	files, _ := untar(t, archive)
	if got := string(files["oci-layout"]); got != `{"imageLayoutVersion":"1.0.0"}` {
		t.Errorf("oci-layout is %q", got)
	}
	top := decode[ociIndex](t, files["index.json"])
	if len(top.Manifests) != 1 {
		t.Fatalf("index.json has %d entries, want the one index", len(top.Manifests))
	}
	all := decode[ociIndex](t, blob(t, files, top.Manifests[0]))
	var got []string
	for i, file := range []string{"amd64", "arm64", "armv7"} {
		c := checkImage(t, files, all.Manifests[i], file)
		p := all.Manifests[i].Platform
		got = append(got, p.OS+"/"+p.Architecture+"/"+p.Variant)
		if c.OS != p.OS || c.Architecture != p.Architecture || c.Variant != p.Variant {
			t.Errorf("the index says %v, the image %s/%s/%s", p, c.OS, c.Architecture, c.Variant)
		}
	}
	if want := []string{"linux/amd64/", "linux/arm64/", "linux/arm/v7"}; !slices.Equal(got, want) {
		t.Errorf("platforms %v, want %v", got, want)
	}
}

func TestEqualInputsGiveTheSameImage(t *testing.T) {
	program := buildPack(t)
	for _, command := range []string{"image", "airgap"} {
		// Another folder, other files' times, another run.
		first := pack(t, program, inputs(t), command, "-arch", "arm64")
		second := pack(t, program, inputs(t), command, "-arch", "arm64")
		if !bytes.Equal(first, second) {
			t.Errorf("pack %s: two runs give different bytes", command)
		}
	}
}

// TestAirgapArchiveHasTheManifestsName: K3s imports the archive, and the pod finds the image under the manifest's name.
// containerd takes the name from the OCI index, docker and podman from manifest.json.
func TestAirgapArchiveHasTheManifestsName(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "../scripts/manifest", "9.8.7").Output()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "edge-eventer.yaml")
	if err := os.WriteFile(path, out, 0o600); err != nil {
		t.Fatal(err)
	}
	objects, _ := readManifest(t, path)
	want := theOnly(t, objects, "Deployment").at("spec", "template", "spec", "containers", 0, "image")

	program, dir := buildPack(t), inputs(t)
	for _, arch := range []string{"amd64", "arm64", "armv7"} {
		files, _ := untar(t, pack(t, program, dir, "airgap", "-arch", arch))
		top := decode[ociIndex](t, files["index.json"])
		if len(top.Manifests) != 1 || top.Manifests[0].Annotations["io.containerd.image.name"] != want {
			t.Errorf("%s: containerd would name it %v, the manifest asks for %v", arch, top.Manifests, want)
		}
		checkImage(t, files, top.Manifests[0], arch)
		saved := decode[[]struct {
			Config           string
			RepoTags, Layers []string
		}](t, files["manifest.json"])
		if len(saved) != 1 || !slices.Equal(saved[0].RepoTags, []string{want.(string)}) {
			t.Errorf("%s: docker would name it %v", arch, saved)
		}
		for _, name := range append(saved[0].Layers, saved[0].Config) {
			if files[name] == nil {
				t.Errorf("%s: manifest.json names %s, which is missing", arch, name)
			}
		}
	}
}

// TestDockerfileDescribesTheSameImage: the image is put together by scripts/pack, and built from Dockerfile.multiarch by those
// who have docker or buildah. Both must say the same.
func TestDockerfileDescribesTheSameImage(t *testing.T) {
	text, err := os.ReadFile("../Dockerfile.multiarch")
	if err != nil {
		t.Fatal(err)
	}
	files, _ := untar(t, pack(t, buildPack(t), inputs(t), "airgap", "-arch", "amd64"))
	c := checkImage(t, files, decode[ociIndex](t, files["index.json"]).Manifests[0], "amd64")

	dockerfile := strings.ReplaceAll(string(text), "\\\n", " ")
	labels, instructions := map[string]string{}, []string{}
	for line := range strings.Lines(dockerfile) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		name, rest, _ := strings.Cut(line, " ")
		if name != "LABEL" {
			instructions = append(instructions, line)
			continue
		}
		for rest = strings.TrimSpace(rest); rest != ""; {
			key, after, ok := strings.Cut(rest, `="`)
			value, next, ok2 := strings.Cut(after, `"`)
			if !ok || !ok2 {
				t.Fatalf("LABEL %s: want KEY=\"VALUE\"", rest)
			}
			labels[key] = strings.NewReplacer("${VERSION}", "9.8.7", "${COMMIT}", "0123456789ab").Replace(value)
			rest = strings.TrimSpace(next)
		}
	}
	if diff := cmp.Diff(c.Config.Labels, labels); diff != "" {
		t.Errorf("labels (-pack +Dockerfile):\n%s", diff)
	}
	want := []string{
		"FROM scratch", "ARG TARGETARCH", "ARG TARGETVARIANT", "ARG VERSION=devel", "ARG COMMIT=unknown",
		"COPY bin/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt",
		"COPY bin/licences.txt /usr/share/doc/edge-eventer/licences.txt",
		"COPY --chmod=755 bin/edge-eventer-${TARGETARCH}${TARGETVARIANT} /edge-eventer",
		"USER " + c.Config.User, `ENTRYPOINT ["/edge-eventer"]`,
	}
	if diff := cmp.Diff(want, instructions); diff != "" {
		t.Errorf("instructions (-want +Dockerfile):\n%s", diff)
	}
}

// TestBillOfMaterialsNamesEveryModule runs over the real agent, built for this machine, in each binary's place.
func TestBillOfMaterialsNamesEveryModule(t *testing.T) {
	dir := inputs(t)
	agent := filepath.Join(dir, "edge-eventer-arm64")
	for _, arch := range []string{"amd64", "arm64", "armv7"} {
		if err := os.Remove(filepath.Join(dir, "edge-eventer-"+arch)); err != nil {
			t.Fatal(err)
		}
	}
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-buildvcs=false", "-o", agent, "../cmd/edge-eventer")
	if text, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, text)
	}
	for _, arch := range []string{"amd64", "armv7"} {
		if err := os.Link(agent, filepath.Join(dir, "edge-eventer-"+arch)); err != nil {
			t.Fatal(err)
		}
	}
	modules, err := exec.CommandContext(t.Context(), "go", "version", "-m", agent).Output()
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]bool{"edge-eventer": true, "stdlib": true, "ca-certificates": true}
	for line := range strings.Lines(string(modules)) {
		if f := strings.Fields(line); len(f) > 2 && f[0] == "dep" {
			want[f[1]] = true
		}
	}
	type document struct {
		SPDXVersion, DataLicense, SPDXID, DocumentNamespace string
		Packages                                            []struct{ SPDXID, Name, DownloadLocation, LicenseDeclared string }
		Relationships                                       []struct{ SPDXElementID, RelatedSPDXElement string }
	}
	text := pack(t, buildPack(t), dir, "sbom")
	doc := decode[document](t, text)
	got, ids := map[string]bool{}, map[string]bool{"SPDXRef-DOCUMENT": true}
	for _, p := range doc.Packages {
		got[p.Name] = true
		if ids[p.SPDXID] || p.DownloadLocation == "" {
			t.Errorf("package %v: a second of that id, or without its download location", p)
		}
		ids[p.SPDXID] = true
		if p.LicenseDeclared == "" || p.LicenseDeclared == "NOASSERTION" {
			t.Errorf("%s: its licence is not named", p.Name)
		}
	}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(want)), slices.Sorted(maps.Keys(got))); diff != "" {
		t.Errorf("packages (-linked +listed):\n%s", diff)
	}
	for _, r := range doc.Relationships {
		if !ids[r.SPDXElementID] || !ids[r.RelatedSPDXElement] {
			t.Errorf("relationship %v names a package that is not listed", r)
		}
	}
	if doc.SPDXVersion != "SPDX-2.3" || doc.DataLicense != "CC0-1.0" || doc.DocumentNamespace == "" || len(want) < 10 {
		t.Errorf("document %s %s %q, %d packages", doc.SPDXVersion, doc.DataLicense, doc.DocumentNamespace, len(want))
	}
	// What is shipped of licences names the same.
	licences := string(pack(t, buildPack(t), dir, "licences"))
	for name := range want {
		if name != "ca-certificates" && name != "edge-eventer" && !strings.Contains(licences, "\n  "+name+" ") {
			t.Errorf("the licences say nothing of %s", name)
		}
	}
	dockerfile := readText(t, "../Dockerfile.multiarch")
	_, expression, _ := strings.Cut(licences, "SPDX-License-Identifier: ")
	expression, _, _ = strings.Cut(expression, "\n")
	if !strings.Contains(dockerfile, `licenses="`+expression+` AND MPL-2.0"`) {
		t.Errorf("the label of Dockerfile.multiarch is another than %s AND MPL-2.0", expression)
	}
	if !bytes.Equal(text, pack(t, buildPack(t), dir, "sbom")) {
		t.Error("two runs give different bytes")
	}
}
