package main

import (
	"cmp"
	"debug/buildinfo"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// The JSON of SPDX 2.3: spdx.github.io/spdx-spec/v2.3.
type (
	document struct {
		SPDXVersion       string         `json:"spdxVersion"`
		DataLicense       string         `json:"dataLicense"`
		SPDXID            string         `json:"SPDXID"`
		Name              string         `json:"name"`
		DocumentNamespace string         `json:"documentNamespace"`
		CreationInfo      creation       `json:"creationInfo"`
		Packages          []pkg          `json:"packages"`
		Relationships     []relationship `json:"relationships"`
	}
	creation struct {
		Created  string   `json:"created"`
		Creators []string `json:"creators"`
	}
	pkg struct {
		SPDXID           string        `json:"SPDXID"`
		Name             string        `json:"name"`
		Version          string        `json:"versionInfo,omitempty"`
		FileName         string        `json:"packageFileName,omitempty"`
		DownloadLocation string        `json:"downloadLocation"`
		FilesAnalyzed    bool          `json:"filesAnalyzed"`
		Checksums        []checksum    `json:"checksums,omitempty"`
		LicenseConcluded string        `json:"licenseConcluded"`
		LicenseDeclared  string        `json:"licenseDeclared"`
		Copyright        string        `json:"copyrightText"`
		Comment          string        `json:"comment,omitempty"`
		Purpose          string        `json:"primaryPackagePurpose,omitempty"`
		External         []externalRef `json:"externalRefs,omitempty"`
	}
	checksum struct {
		Algorithm string `json:"algorithm"`
		Value     string `json:"checksumValue"`
	}
	externalRef struct {
		Category string `json:"referenceCategory"`
		Type     string `json:"referenceType"`
		Locator  string `json:"referenceLocator"`
	}
	relationship struct {
		Element string `json:"spdxElementId"`
		Type    string `json:"relationshipType"`
		Related string `json:"relatedSpdxElement"`
	}
)

// writeSBOM lists the modules that the linker put into each binary, Go's own library, and the certificates of the image.
// The licences are those that lie in the modules.
func writeSBOM(out io.Writer, o options) error {
	doc := document{
		SPDXVersion: "SPDX-2.3", DataLicense: "CC0-1.0", SPDXID: "SPDXRef-DOCUMENT",
		Name:         "edge-eventer-" + o.version,
		CreationInfo: creation{o.created.Format(time.RFC3339), []string{"Tool: edge-eventer-pack"}},
	}
	packages := map[string]pkg{}
	all, err := components()
	if err != nil {
		return err
	}
	licences := map[string]string{}
	for _, c := range all {
		licences[c.Path] = c.expression()
	}
	related := map[relationship]bool{}
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
		binary := pkg{
			SPDXID: "SPDXRef-" + file, Name: "edge-eventer", Version: o.version, FileName: file,
			DownloadLocation: "https://github.com/edge-eventer/edge-eventer", Checksums: []checksum{{"SHA256", sum}},
			LicenseConcluded: expressionOf(all), LicenseDeclared: "Apache-2.0", Copyright: "NOASSERTION", Purpose: "APPLICATION",
			Comment: "commit " + o.commit + ", linux/" + strings.TrimSuffix(p.Architecture+"/"+p.Variant, "/"),
		}
		packages[binary.SPDXID] = binary
		related[relationship{doc.SPDXID, "DESCRIBES", binary.SPDXID}] = true
		library := modulePackage("stdlib", strings.TrimPrefix(info.GoVersion, "go"))
		library.LicenseDeclared, library.DownloadLocation = licences["stdlib"], "https://go.dev/dl/"
		packages[library.SPDXID] = library
		related[relationship{binary.SPDXID, "DEPENDS_ON", library.SPDXID}] = true
		for _, m := range info.Deps {
			if m.Replace != nil {
				return fmt.Errorf("%s: module %s is replaced, which the list cannot tell", file, m.Path)
			}
			module := modulePackage(m.Path, m.Version)
			if module.LicenseDeclared = licences[m.Path]; module.LicenseDeclared == "" {
				return fmt.Errorf("%s: module %s is linked, and go list does not name it", file, m.Path)
			}
			module.Comment = "go.sum: " + m.Sum
			packages[module.SPDXID] = module
			related[relationship{binary.SPDXID, "DEPENDS_ON", module.SPDXID}] = true
		}
	}
	certs, err := os.ReadFile(o.certs)
	if err != nil {
		return fmt.Errorf("the certificates: %w", err)
	}
	sum := digest(certs)
	digests.WriteString(sum)
	packages["SPDXRef-ca-certificates"] = pkg{
		SPDXID: "SPDXRef-ca-certificates", Name: "ca-certificates", FileName: "/etc/ssl/certs/ca-certificates.crt",
		DownloadLocation: "NOASSERTION", Checksums: []checksum{{"SHA256", sum}}, LicenseConcluded: "MPL-2.0",
		LicenseDeclared: "MPL-2.0", Copyright: "NOASSERTION", Purpose: "FILE",
		Comment: "Mozilla's authorities as the build machine's ca-certificates package has them; in the image only",
	}
	related[relationship{doc.SPDXID, "DESCRIBES", "SPDXRef-ca-certificates"}] = true

	doc.DocumentNamespace = "https://github.com/edge-eventer/edge-eventer/spdx/" + o.version + "-" + digest([]byte(digests.String()))
	for _, p := range packages {
		doc.Packages = append(doc.Packages, p)
	}
	slices.SortFunc(doc.Packages, func(a, b pkg) int { return cmp.Compare(a.SPDXID, b.SPDXID) })
	for r := range related {
		doc.Relationships = append(doc.Relationships, r)
	}
	slices.SortFunc(doc.Relationships, func(a, b relationship) int {
		return cmp.Or(cmp.Compare(a.Element, b.Element), cmp.Compare(a.Type, b.Type), cmp.Compare(a.Related, b.Related))
	})
	enc := json.NewEncoder(out)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(doc)
}

func modulePackage(path, version string) pkg {
	return pkg{
		SPDXID: "SPDXRef-module-" + identifier(path+"-"+version), Name: path, Version: version,
		DownloadLocation: "NOASSERTION", LicenseConcluded: "NOASSERTION", LicenseDeclared: "NOASSERTION",
		Copyright: "NOASSERTION", Purpose: "LIBRARY",
		External: []externalRef{{"PACKAGE-MANAGER", "purl", "pkg:golang/" + path + "@" + version}},
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
