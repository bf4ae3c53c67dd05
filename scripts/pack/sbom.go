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
	doc := spdx.Document{
		SPDXVersion: spdx.Version, DataLicense: spdx.DataLicense, SPDXIdentifier: "DOCUMENT",
		DocumentName: "edge-eventer-" + o.version,
		CreationInfo: &spdx.CreationInfo{
			Created: o.created.Format(time.RFC3339), Creators: []common.Creator{{CreatorType: "Tool", Creator: "edge-eventer-pack"}},
		},
	}
	packages := map[common.ElementID]*spdx.Package{}
	all, err := components()
	if err != nil {
		return err
	}
	licences := map[string]string{}
	for _, c := range all {
		licences[c.Path] = c.expression()
	}
	related := map[[3]string]*spdx.Relationship{}
	relate := func(a common.ElementID, kind string, b common.ElementID) {
		related[[3]string{string(a), kind, string(b)}] = &spdx.Relationship{
			RefA: common.MakeDocElementID("", string(a)), RefB: common.MakeDocElementID("", string(b)), Relationship: kind,
		}
	}
	var digests strings.Builder
	for _, p := range platforms() {
		file := "edge-eventer-" + p.file
		content, err := os.ReadFile(filepath.Join(o.bin, file))
		if err != nil {
			return err
		}
		info, err := buildinfo.ReadFile(filepath.Join(o.bin, file))
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		sum := digest(content)
		digests.WriteString(sum)
		binary := filePackage(common.ElementID(file), "edge-eventer", file, sum)
		binary.PackageVersion, binary.PackageDownloadLocation = o.version, "https://github.com/edge-eventer/edge-eventer"
		binary.PackageLicenseConcluded, binary.PackageLicenseDeclared = expressionOf(all), "Apache-2.0"
		binary.PrimaryPackagePurpose = "APPLICATION"
		binary.PackageComment = "commit " + o.commit + ", linux/" + strings.TrimSuffix(p.Architecture+"/"+p.Variant, "/")
		packages[binary.PackageSPDXIdentifier] = binary
		relate(doc.SPDXIdentifier, "DESCRIBES", binary.PackageSPDXIdentifier)
		library := modulePackage("stdlib", strings.TrimPrefix(info.GoVersion, "go"))
		library.PackageLicenseDeclared, library.PackageDownloadLocation = licences["stdlib"], "https://go.dev/dl/"
		packages[library.PackageSPDXIdentifier] = library
		relate(binary.PackageSPDXIdentifier, "DEPENDS_ON", library.PackageSPDXIdentifier)
		for _, m := range info.Deps {
			if m.Replace != nil {
				return fmt.Errorf("%s: module %s is replaced, which the list cannot tell", file, m.Path)
			}
			module := modulePackage(m.Path, m.Version)
			if module.PackageLicenseDeclared = licences[m.Path]; module.PackageLicenseDeclared == "" {
				return fmt.Errorf("%s: module %s is linked, and go list does not name it", file, m.Path)
			}
			module.PackageComment = "go.sum: " + m.Sum
			packages[module.PackageSPDXIdentifier] = module
			relate(binary.PackageSPDXIdentifier, "DEPENDS_ON", module.PackageSPDXIdentifier)
		}
	}
	certs, err := os.ReadFile(o.certs)
	if err != nil {
		return fmt.Errorf("the certificates: %w", err)
	}
	sum := digest(certs)
	digests.WriteString(sum)
	bundle := filePackage("ca-certificates", "ca-certificates", "/etc/ssl/certs/ca-certificates.crt", sum)
	bundle.PackageLicenseConcluded, bundle.PackageLicenseDeclared, bundle.PrimaryPackagePurpose = "MPL-2.0", "MPL-2.0", "FILE"
	bundle.PackageComment = "Mozilla's authorities as the build machine's ca-certificates package has them; in the image only"
	packages[bundle.PackageSPDXIdentifier] = bundle
	relate(doc.SPDXIdentifier, "DESCRIBES", bundle.PackageSPDXIdentifier)

	doc.DocumentNamespace = "https://github.com/edge-eventer/edge-eventer/spdx/" + o.version + "-" + digest([]byte(digests.String()))
	for _, id := range slices.Sorted(maps.Keys(packages)) {
		doc.Packages = append(doc.Packages, packages[id])
	}
	for _, key := range slices.SortedFunc(maps.Keys(related), func(a, b [3]string) int { return slices.Compare(a[:], b[:]) }) {
		doc.Relationships = append(doc.Relationships, related[key])
	}
	return spdxjson.Write(doc, out, spdxjson.Indent("  "), spdxjson.EscapeHTML(false))
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
