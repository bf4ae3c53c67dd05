package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// agentPackage is what is linked into each binary.
const agentPackage = "github.com/edge-eventer/edge-eventer/cmd/edge-eventer"

// component is a module that is linked, or Go's own library.
type component struct {
	Path, Version string
	ids           []string // of its licences, as SPDX names them, sorted
	texts         []licenceText
}

// licenceText is a licence or a notice as its authors wrote it.
type licenceText struct{ name, text string }

// expression is the SPDX expression of a component.
func (c component) expression() string { return strings.Join(c.ids, " AND ") }

// components lists what the linker takes into the agent on any platform of a release: Go's library first, then the modules, this
// one among them. A module without a text, or with one that is not known here, is an error: nothing is shipped without its licence.
func components() ([]component, error) {
	found := map[string]*component{}
	for _, p := range platforms() {
		if err := linked(p, found); err != nil {
			return nil, err
		}
	}
	if err := library(found); err != nil {
		return nil, err
	}
	var all []component
	for _, c := range found {
		for _, t := range c.texts {
			ids, err := identify(t)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", c.Path, err)
			}
			c.ids = append(c.ids, ids...)
		}
		if len(c.ids) == 0 {
			return nil, fmt.Errorf("%s %s has no licence", c.Path, c.Version)
		}
		slices.Sort(c.ids)
		c.ids = slices.Compact(c.ids)
		all = append(all, *c)
	}
	slices.SortFunc(all, func(a, b component) int { return cmp.Compare(order(a), order(b)) })
	return all, nil
}

func order(c component) string {
	if c.Path == "stdlib" {
		return ""
	}
	return c.Path
}

// linked adds the modules of one platform, with the texts that lie at the module's root and in the folders down to each package that
// is linked.
func linked(p platform, found map[string]*component) error {
	cmd := exec.CommandContext(context.Background(), "go", "list", "-deps", "-json=Dir,Standard,Module", agentPackage)
	cmd.Env = append(os.Environ(), "GOOS="+p.OS, "GOARCH="+p.Architecture, "GOARM="+strings.TrimPrefix(p.Variant, "v"), "CGO_ENABLED=0", "GOFLAGS=-mod=readonly")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("go list: %w: %s", err, stderr.Bytes())
	}
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var pkg struct {
			Dir      string
			Standard bool
			Module   *struct{ Path, Version, Dir string }
		}
		switch err := decoder.Decode(&pkg); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("go list: %w", err)
		case pkg.Standard || pkg.Module == nil:
			continue
		}
		c := found[pkg.Module.Path]
		if c == nil {
			c = &component{Path: pkg.Module.Path, Version: pkg.Module.Version}
			found[c.Path] = c
		}
		for dir := pkg.Dir; ; dir = filepath.Dir(dir) {
			if err := c.addTexts(pkg.Module.Dir, dir); err != nil {
				return err
			}
			if dir == pkg.Module.Dir || len(dir) <= len(pkg.Module.Dir) {
				break
			}
		}
	}
}

// library adds Go's own library.
func library(found map[string]*component) error {
	out, err := exec.CommandContext(context.Background(), "go", "env", "GOROOT", "GOVERSION").Output()
	if err != nil {
		return fmt.Errorf("go env: %w", err)
	}
	root, version, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	c := &component{Path: "stdlib", Version: strings.TrimPrefix(version, "go")}
	found[c.Path] = c
	return c.addTexts(root, root)
}

// addTexts adds the texts of one folder that are not there yet.
func (c *component) addTexts(root, dir string) error {
	files, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, f := range files {
		if !isText(f.Name()) || !f.Type().IsRegular() {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, filepath.Join(dir, f.Name()))
		if err != nil {
			return err
		}
		t := licenceText{filepath.ToSlash(name), strings.ReplaceAll(string(text), "\r\n", "\n")}
		if !slices.Contains(c.texts, t) {
			c.texts = append(c.texts, t)
		}
	}
	slices.SortFunc(c.texts, func(a, b licenceText) int { return cmp.Compare(a.name, b.name) })
	return nil
}

// isText tells whether a file is a licence or what Apache-2.0 calls a NOTICE, and no source that is called so. edl-v10 is that of Eclipse.
func isText(name string) bool {
	return regexp.MustCompile(`^(LICEN[CS]E|COPYING|NOTICE|PATENTS|EDL)([-_.].*)?$`).MatchString(strings.ToUpper(name)) && filepath.Ext(name) != ".go"
}

// identify names the licences in a text by the words that only they have; some modules put several into one file. A notice and a
// grant of patents are none.
func identify(t licenceText) ([]string, error) {
	base := strings.ToUpper(filepath.Base(t.name))
	if strings.HasPrefix(base, "NOTICE") || strings.HasPrefix(base, "PATENTS") {
		return nil, nil
	}
	text := strings.Join(strings.Fields(t.text), " ")
	has := func(words string) bool { return strings.Contains(text, words) }
	if has("Eclipse Public License") && has("Eclipse Distribution License") {
		// One may choose. It is taken under the latter, the BSD licence with three clauses, whose text is a file of its own.
		return nil, nil
	}
	bsd := has("Redistribution and use in source and binary forms")
	names := has("Neither the name") || has("The names of its contributors")
	var ids []string
	for id, found := range map[string]bool{
		"Apache-2.0":   has("Apache License") && has("Version 2.0"),
		"BSD-2-Clause": bsd && !names,
		"BSD-3-Clause": bsd && names,
		"ISC":          has("Permission to use, copy, modify, and/or distribute this software for any purpose") || has("Permission to use, copy, modify, and distribute this software for any purpose"),
		"MIT":          has("Permission is hereby granted, free of charge"),
		"MPL-2.0":      has("Mozilla Public License"),
	} {
		if found {
			ids = append(ids, id)
		}
	}
	if len(ids) == 0 {
		return nil, fmt.Errorf("the licence in %s is not known here", t.name)
	}
	return ids, nil
}

// expressionOf is what an image or a package says of its licences as a whole: those of everything linked.
func expressionOf(all []component) string {
	ids := map[string]bool{}
	for _, c := range all {
		for _, id := range c.ids {
			ids[id] = true
		}
	}
	return strings.Join(slices.Sorted(maps.Keys(ids)), " AND ")
}

// writeLicences writes who is linked under which licence, and each text once with those whom it belongs to.
func writeLicences(out io.Writer, _ options) error {
	all, err := components()
	if err != nil {
		return err
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "What is linked into edge-eventer, and the licences under which its authors give it.\n\nSPDX-License-Identifier: %s\n\n", expressionOf(all))
	fmt.Fprint(&b, "The image also holds Mozilla's list of authorities, /etc/ssl/certs/ca-certificates.crt, under MPL-2.0\n"+
		"(https://www.mozilla.org/MPL/2.0/); its source is https://hg.mozilla.org/projects/nss.\n\n")
	owners := map[string][]string{}
	var texts []string
	for _, c := range all {
		name := strings.TrimSpace(c.Path + " " + c.Version)
		fmt.Fprintf(&b, "  %s: %s\n", name, c.expression())
		for _, t := range c.texts {
			if owners[t.text] == nil {
				texts = append(texts, t.text)
			}
			owners[t.text] = append(owners[t.text], name+": "+t.name)
		}
	}
	for _, text := range texts {
		fmt.Fprintf(&b, "\n%s\n", strings.Repeat("=", 80))
		for _, owner := range owners[text] {
			fmt.Fprintln(&b, owner)
		}
		fmt.Fprintf(&b, "%s\n\n%s\n", strings.Repeat("-", 80), strings.Trim(text, "\n"))
	}
	_, err = out.Write(b.Bytes())
	return err
}
