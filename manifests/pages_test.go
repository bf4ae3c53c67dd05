package manifests_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"github.com/edge-eventer/edge-eventer/agent/config"
)

// page is a Markdown file taken apart: its headings, its code blocks, and the rest.
type page struct {
	headings, blocks []string // The marks of each heading; the language of each block with its text.
	words            string   // Everything that is no code block.
	anchors          []string
}

func readPage(t *testing.T, path string) page {
	t.Helper()
	var p page
	var block *strings.Builder
	var words strings.Builder
	for line := range strings.Lines(readText(t, path)) {
		text := strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(text, "```") && block == nil:
			block = &strings.Builder{}
			block.WriteString(strings.TrimPrefix(text, "```") + "\n")
		case strings.HasPrefix(text, "```"):
			// A block without a language is a picture: what is written in it is translated.
			if text := block.String(); !strings.HasPrefix(text, "\n") {
				p.blocks = append(p.blocks, text)
			} else {
				p.blocks = append(p.blocks, "picture")
			}
			block = nil
		case block != nil:
			block.WriteString(line)
		default:
			if marks, title, ok := strings.Cut(text, " "); ok && strings.Trim(marks, "#") == "" && marks != "" {
				p.headings = append(p.headings, marks)
				p.anchors = append(p.anchors, anchor(title))
			}
			words.WriteString(line)
		}
	}
	if block != nil {
		t.Fatalf("%s: a code block does not end", path)
	}
	p.words = words.String()
	return p
}

// anchor is what GitHub makes of a heading.
func anchor(title string) string {
	kept := regexp.MustCompile(`[^\p{L}\p{N} _-]`).ReplaceAllString(strings.ToLower(title), "")
	return strings.ReplaceAll(kept, " ", "-")
}

// pages lists the Markdown files that the project has, those of nested copies and of tests left out.
func pages(t *testing.T) []string {
	t.Helper()
	var list []string
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == ".git" || d.Name() == "testdata" || d.Name() == "dist" || d.Name() == "bin") {
			return filepath.SkipDir
		}
		if strings.HasSuffix(path, ".md") {
			list = append(list, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// TestBothLanguagesSayTheSame: as many headings of each level in the same order, the same code blocks, the same numbers in each
// section.
func TestBothLanguagesSayTheSame(t *testing.T) {
	pairs := 0
	for _, chinese := range pages(t) {
		english, ok := strings.CutSuffix(chinese, ".zh-CN.md")
		if !ok {
			continue
		}
		pairs++
		en, zh := readPage(t, english+".md"), readPage(t, chinese)
		if diff := cmp.Diff(en.headings, zh.headings); diff != "" {
			t.Errorf("%s: headings (-English +Chinese):\n%s", chinese, diff)
		}
		if diff := cmp.Diff(en.blocks, zh.blocks); diff != "" {
			t.Errorf("%s: code blocks (-English +Chinese):\n%s", chinese, diff)
		}
		if diff := cmp.Diff(numbers(en.words), numbers(zh.words)); diff != "" {
			t.Errorf("%s: numbers (-English +Chinese):\n%s", chinese, diff)
		}
	}
	if pairs < 3 {
		t.Errorf("%d pages in both languages: the test sees nothing", pairs)
	}
}

// numbers lists the numbers of a text by section, sorted: the languages have another order within a sentence.
func numbers(words string) [][]string {
	var sections [][]string
	for section := range strings.SplitSeq(words, "\n#") {
		found := regexp.MustCompile(`[0-9]+(?:[.,][0-9]+)*`).FindAllString(section, -1)
		slices.Sort(found)
		sections = append(sections, found)
	}
	return sections
}

// TestLinksOfPagesLeadSomewhere: to a file that is there, and to a heading that it has.
func TestLinksOfPagesLeadSomewhere(t *testing.T) {
	for _, path := range pages(t) {
		for _, link := range regexp.MustCompile(`\]\(([^)\s]+)\)`).FindAllStringSubmatch(readPage(t, path).words, -1) {
			if strings.Contains(link[1], "://") {
				continue
			}
			file, heading, _ := strings.Cut(link[1], "#")
			target := filepath.Join(filepath.Dir(path), file)
			if file == "" {
				target = path
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s: %s: %v", path, link[1], err)
				continue
			}
			if heading != "" && strings.HasSuffix(target, ".md") && !slices.Contains(readPage(t, target).anchors, heading) {
				t.Errorf("%s: %s has no heading #%s", path, target, heading)
			}
		}
	}
}

// TestConfigurationsInPagesAreTakenByTheAgent: each block of YAML that has receivers is a whole configuration.
func TestConfigurationsInPagesAreTakenByTheAgent(t *testing.T) {
	seen := 0
	for _, path := range pages(t) {
		if strings.Contains(path, "MIGRATING") || strings.Contains(path, "DESIGN") {
			continue // Beside those of other tools.
		}
		for _, block := range readPage(t, path).blocks {
			language, text, _ := strings.Cut(block, "\n")
			var top map[string]any
			if language != "yaml" || yaml.Unmarshal([]byte(text), &top) != nil || top["receivers"] == nil {
				continue
			}
			seen++
			if _, err := config.Parse([]byte(text)); err != nil {
				t.Errorf("%s: %v\n%s", path, err, text)
			}
		}
	}
	if seen < 10 {
		t.Errorf("%d configurations: the test sees nothing", seen)
	}
}

// TestRefusalsInTheGuideAreWhatTheAgentSays: a person searches the page for what he reads on the terminal.
func TestRefusalsInTheGuideAreWhatTheAgentSays(t *testing.T) {
	var source strings.Builder
	err := filepath.WalkDir("../notify", func(path string, d fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, "_test.go") {
			source.WriteString(readText(t, path))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	engines, err := filepath.Glob("../notify/*/README*.md")
	if err != nil || len(engines) < 8 {
		t.Fatalf("pages of engines: %q, %v", engines, err)
	}
	said := 0
	for _, path := range append(engines, "../notify/RECEIVERS.md", "../notify/RECEIVERS.zh-CN.md") {
		words := readPage(t, path).words
		if slices.Contains(engines, path) {
			// Above the refusals are tables of other things.
			words = words[strings.LastIndex(words, "\n## "):]
		}
		for _, row := range regexp.MustCompile("(?m)^\\| `([^`]+)`[^|]* \\|").FindAllStringSubmatch(words, -1) {
			// An ellipsis stands for what differs, and the client of Kafka has names of its own.
			for part := range strings.SplitSeq(row[1], "...") {
				part = regexp.MustCompile("[A-Z]+(_[A-Z]+)+").ReplaceAllString(strings.TrimSpace(part), "")
				said++
				if !strings.Contains(source.String(), strings.TrimSuffix(strings.TrimSpace(part), ":")) {
					t.Errorf("%s: nothing in notify says %q", path, part)
				}
			}
		}
	}
	if said < 80 {
		t.Errorf("%d refusals: the test sees nothing", said)
	}
}

// TestReadmeIsShort: everything else has a page of its own.
func TestReadmeIsShort(t *testing.T) {
	if n := len(strings.Fields(readText(t, "../README.md"))); n >= 900 {
		t.Errorf("README.md has %d words, want fewer than 900", n)
	}
}

// TestPictureShowsARealAlert: its texts are those of the card that the agent makes for Feishu.
func TestPictureShowsARealAlert(t *testing.T) {
	var golden []string
	err := filepath.WalkDir("../notify", func(path string, _ fs.DirEntry, err error) error {
		if strings.Contains(path, "feishu") && strings.HasSuffix(path, "/critical.golden.json") {
			golden = append(golden, path)
		}
		return err
	})
	if err != nil || len(golden) != 1 {
		t.Fatalf("the card of a critical alert: %q, %v", golden, err)
	}
	card := readText(t, golden[0])
	shown := 0
	for _, text := range regexp.MustCompile(`<t(?:ext|span)[^>]*>([^<]+)<`).FindAllStringSubmatch(readText(t, "../notify/alert.svg"), -1) {
		if shown++; text[1] != "@oncall" && !strings.Contains(card, strings.TrimSpace(text[1])) {
			t.Errorf("the picture shows %q, the card does not", text[1])
		}
	}
	if shown < 9 {
		t.Errorf("%d texts: the test sees nothing", shown)
	}
}
