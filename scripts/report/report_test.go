package main

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const run = `{"Action":"start","Package":"example.com/a"}
{"Action":"run","Package":"example.com/a","Test":"TestGood"}
{"Action":"output","Package":"example.com/a","Test":"TestGood","Output":"    a_test.go:5: of no interest\n"}
{"Action":"pass","Package":"example.com/a","Test":"TestGood"}
{"Action":"run","Package":"example.com/a","Test":"TestBad"}
{"Action":"output","Package":"example.com/a","Test":"TestBad/part","Output":"    a_test.go:9: seed 17\n"}
{"Action":"fail","Package":"example.com/a","Test":"TestBad/part"}
{"Action":"fail","Package":"example.com/a","Test":"TestBad"}
{"Action":"skip","Package":"example.com/a","Test":"TestLong"}
{"Action":"output","Package":"example.com/a","Test":"TestDying","Output":"panic: dead\n"}
{"Action":"output","Package":"example.com/a","Output":"FAIL\texample.com/a\t0.1s\n"}
{"Action":"fail","Package":"example.com/a"}
{"ImportPath":"example.com/b","Action":"build-output","Output":"b.go:3: undefined: x\n"}
`

func TestWhatFailedIsToldInFullAndNothingElse(t *testing.T) {
	var out, ends strings.Builder
	if err := follow(strings.NewReader(run), &out, &ends); err != nil {
		t.Fatal(err)
	}
	if want := "    a_test.go:9: seed 17\nFAIL\texample.com/a\t0.1s\npanic: dead\nb.go:3: undefined: x\n"; out.String() != want {
		t.Errorf("it says\n%s\nwant\n%s", out.String(), want)
	}
	if want := "example.com/a TestGood pass\nexample.com/a TestBad fail\nexample.com/a TestLong skip\n"; ends.String() != want {
		t.Errorf("the ends are\n%s\nwant\n%s", ends.String(), want)
	}
}

func TestEachPromiseSaysWhichOfItsTestsRan(t *testing.T) {
	const list = "# a list\nIt is good\n  x/a TestGood TestLong\nIt is there\n  a TestGood\n"
	// The good one stands in a package below the one that the list names.
	const ends = "example.com/x/a TestLong skip\nexample.com/x/a/b TestGood skip\nexample.com/x/a/b TestGood pass\n"
	var out strings.Builder
	if err := account(list, ends, &out); err != nil {
		t.Fatal(err)
	}
	if want := "It is good: 1 tests ran\n  left out: a.TestLong\nIt is there: 1 tests ran\n"; out.String() != want {
		t.Errorf("it says\n%s\nwant\n%s", out.String(), want)
	}
	if err := account(list+"  a TestGone\n", ends, &out); err == nil || !strings.Contains(err.Error(), "a.TestGone") {
		t.Errorf("a test that is not there: %v", err)
	}
}

// The list names only tests that there are, also before all of them have run.
func TestPromisesNameTestsThatThereAre(t *testing.T) {
	list, err := os.ReadFile("../promises.txt")
	if err != nil {
		t.Fatal(err)
	}
	root, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(list)) {
		if line[0] != ' ' {
			continue
		}
		words := strings.Fields(line)
		var source strings.Builder
		err := filepath.WalkDir(filepath.Join(strings.TrimSpace(string(root)), words[0]), func(path string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, "_test.go") {
				return err
			}
			text, err := os.ReadFile(path)
			source.Write(text)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, test := range words[1:] {
			if !regexp.MustCompile(`(?m)^func ` + test + `\(`).MatchString(source.String()) {
				t.Errorf("%s has no %s", words[0], test)
			}
		}
	}
}
