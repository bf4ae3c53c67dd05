package main

import (
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	spdxjson "github.com/spdx/tools-golang/json"
	"github.com/spdx/tools-golang/spdx/v2/common"
	spdx "github.com/spdx/tools-golang/spdx/v2/v2_3"
)

// writeSBOM lists the modules that the linker put into each binary, Go's own library, and the certificates of the image.
// The licences are those that lie in the modules.
func writeSBOM(out io.Writer, o options) error {
	all, err := components()
	if err != nil {
		return err
	}
	b := bill{
		options: o, licences: make(map[string]string), expression: expressionOf(all),
		packages: make(map[common.ElementID]*spdx.Package), related: make(map[[3]string]*spdx.Relationship),
	}
	for _, c := range all {
		b.licences[c.Path] = c.expression()
	}
	for _, p := range platforms() {
		if err := b.addBinary(p); err != nil {
			return err
		}
	}
	if err := b.addCertificates(); err != nil {
		return err
	}
	return spdxjson.Write(b.document(), out, spdxjson.Indent("  "), spdxjson.EscapeHTML(false))
}

// documentID is the name that a list has within itself.
const documentID = "DOCUMENT"

// bill is a list in the making.
type bill struct {
	options
	// licences are the expressions of the components by their paths, expression that of all.
	licences   map[string]string
	expression string
	packages   map[common.ElementID]*spdx.Package
	related    map[[3]string]*spdx.Relationship
	// digests are those of all files, by which a list has a name of its own.
	digests strings.Builder
}

func (b *bill) add(p *spdx.Package) { b.packages[p.PackageSPDXIdentifier] = p }

func (b *bill) relate(from common.ElementID, kind string, to common.ElementID) {
	b.related[[3]string{string(from), kind, string(to)}] = &spdx.Relationship{
		RefA: common.MakeDocElementID("", string(from)), RefB: common.MakeDocElementID("", string(to)), Relationship: kind,
	}
}

// addBinary adds the binary of a platform and what it says that was linked into it.
func (b *bill) addBinary(p platform) error {
	file := "edge-eventer-" + p.file
	content, err := os.ReadFile(filepath.Join(b.bin, file))
	if err != nil {
		return err
	}
	info, err := buildinfo.ReadFile(filepath.Join(b.bin, file))
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	sum := digest(content)
	b.digests.WriteString(sum)
	binary := filePackage(common.ElementID(file), "edge-eventer", file, sum)
	binary.PackageVersion, binary.PackageDownloadLocation = b.version, "https://github.com/edge-eventer/edge-eventer"
	binary.PackageLicenseConcluded, binary.PackageLicenseDeclared = b.expression, "Apache-2.0"
	binary.PrimaryPackagePurpose = "APPLICATION"
	binary.PackageComment = "commit " + b.commit + ", linux/" + strings.TrimSuffix(p.Architecture+"/"+p.Variant, "/")
	b.add(binary)
	b.relate(documentID, "DESCRIBES", binary.PackageSPDXIdentifier)
	library := modulePackage("stdlib", strings.TrimPrefix(info.GoVersion, "go"))
	library.PackageLicenseDeclared, library.PackageDownloadLocation = b.licences["stdlib"], "https://go.dev/dl/"
	b.add(library)
	b.relate(binary.PackageSPDXIdentifier, "DEPENDS_ON", library.PackageSPDXIdentifier)
	for _, m := range info.Deps {
		if m.Replace != nil {
			return fmt.Errorf("%s: module %s is replaced, which the list cannot tell", file, m.Path)
		}
		module := modulePackage(m.Path, m.Version)
		if module.PackageLicenseDeclared = b.licences[m.Path]; module.PackageLicenseDeclared == "" {
			return fmt.Errorf("%s: module %s is linked, and go list does not name it", file, m.Path)
		}
		module.PackageComment = "go.sum: " + m.Sum
		b.add(module)
		b.relate(binary.PackageSPDXIdentifier, "DEPENDS_ON", module.PackageSPDXIdentifier)
	}
	return nil
}

// addCertificates adds the authorities that the image has.
func (b *bill) addCertificates() error {
	certs, err := os.ReadFile(b.certs)
	if err != nil {
		return fmt.Errorf("the certificates: %w", err)
	}
	sum := digest(certs)
	b.digests.WriteString(sum)
	bundle := filePackage("ca-certificates", "ca-certificates", "/etc/ssl/certs/ca-certificates.crt", sum)
	bundle.PackageLicenseConcluded, bundle.PackageLicenseDeclared, bundle.PrimaryPackagePurpose = "MPL-2.0", "MPL-2.0", "FILE"
	bundle.PackageComment = "Mozilla's authorities as the build machine's ca-certificates package has them; in the image only"
	b.add(bundle)
	b.relate(documentID, "DESCRIBES", bundle.PackageSPDXIdentifier)
	return nil
}

// document is the list, in the order of the names.
func (b *bill) document() *spdx.Document {
	doc := &spdx.Document{
		SPDXVersion: spdx.Version, DataLicense: spdx.DataLicense, SPDXIdentifier: documentID,
		DocumentName:      "edge-eventer-" + b.version,
		DocumentNamespace: "https://github.com/edge-eventer/edge-eventer/spdx/" + b.version + "-" + digest([]byte(b.digests.String())),
		CreationInfo: &spdx.CreationInfo{
			Created: b.created.Format(time.RFC3339), Creators: []common.Creator{{CreatorType: "Tool", Creator: "edge-eventer-pack"}},
		},
	}
	for _, id := range slices.Sorted(maps.Keys(b.packages)) {
		doc.Packages = append(doc.Packages, b.packages[id])
	}
	for _, key := range slices.SortedFunc(maps.Keys(b.related), func(a, b [3]string) int { return slices.Compare(a[:], b[:]) }) {
		doc.Relationships = append(doc.Relationships, b.related[key])
	}
	return doc
}

// digest is the SHA-256 of the bytes in hexadecimal.
func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// filePackage is a package of one file.
func filePackage(id common.ElementID, name, file, sum string) *spdx.Package {
	return &spdx.Package{
		PackageSPDXIdentifier: id, PackageName: name, PackageFileName: file, PackageDownloadLocation: "NOASSERTION",
		PackageChecksums: []common.Checksum{{Algorithm: common.SHA256, Value: sum}}, PackageCopyrightText: "NOASSERTION",
	}
}

func modulePackage(path, version string) *spdx.Package {
	return &spdx.Package{
		PackageSPDXIdentifier: common.ElementID("module-" + identifier(path+"-"+version)), PackageName: path, PackageVersion: version,
		PackageDownloadLocation: "NOASSERTION", PackageLicenseConcluded: "NOASSERTION", PackageLicenseDeclared: "NOASSERTION",
		PackageCopyrightText: "NOASSERTION", PrimaryPackagePurpose: "LIBRARY",
		PackageExternalReferences: []*spdx.PackageExternalReference{
			{Category: "PACKAGE-MANAGER", RefType: "purl", Locator: "pkg:golang/" + path + "@" + version},
		},
	}
}

// identifier replaces what an SPDX identifier does not allow: anything but letters, digits, dots and hyphens.
func identifier(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '-' {
			return r
		}
		return '-'
	}, s)
}
