package config_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/edge-eventer/edge-eventer/agent/config"
)

// FuzzParse proves that no file makes Parse panic, and that each mistake is one line about a line of the file.
func FuzzParse(f *testing.F) {
	for _, pattern := range []string{"testdata/bad/*.yaml", "testdata/good/*.yaml", reference} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := config.Parse(data)
		if err == nil {
			if len(c.Receivers) == 0 || c.Cluster == "" {
				t.Errorf("accepted without a receiver or a cluster's name: %+v", c)
			}
			return
		}
		all, ok := errors.AsType[*config.Errors](err)
		if !ok || len(all.Mistakes) == 0 {
			t.Fatalf("error is %T: %v", err, err)
		}
		for _, m := range all.Mistakes {
			text := m.String()
			if m.Line < 1 || m.Line > lines(data) {
				t.Errorf("line %d of %d: %s", m.Line, lines(data), text)
			}
			if !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl) {
				t.Errorf("not one line of text: %q", text)
			}
		}
	})
}

// lines counts the lines as YAML does, for which a carriage return, NEL and the two Unicode separators end a line too.
func lines(data []byte) int {
	text := string(data)
	n := 2
	for _, end := range []string{"\n", "\r", "\u0085", "\u2028", "\u2029"} {
		n += strings.Count(text, end)
	}
	return n
}

// FuzzSecretsStaySecret proves that no error shows what stands where a secret is due, whatever is in front of it and behind it.
func FuzzSecretsStaySecret(f *testing.F) {
	for _, around := range [][2]string{
		{"", ""}, {"*", ""}, {"&", " x"}, {"!", " x"}, {"!!int ", ""}, {"{", "}"}, {"{", ": 1}"}, {"[", "]"}, {"'", "'"}, {"\"", ""}, {"| ", ""},
		{"${", "}"}, {"${", ""}, {"", ": x"}, {"? ", ""}, {"%", ""}, {"@", ""}, {"http://", ":x"}, {"<<: ", ""}, {"{file: {", "}}"}, {"{{ ", " }}"},
	} {
		for place := range byte(8) {
			f.Add(around[0], around[1], place)
		}
	}
	const shape = "Zq7mark9Xw"
	f.Fuzz(func(t *testing.T, before, after string, place byte) {
		// The value ends where its line ends, and a comment hides nothing.
		if strings.ContainsAny(before+after, "\n\r\u0085\u2028\u2029") || strings.Contains(before, "${") {
			return
		}
		// What stands between {{ and }} is a template and not a secret.
		value := before + shape + after
		if strings.Contains(value, "{{") {
			place = 2 + place%2
		}
		text := "receivers:\n  - name: hook\n    type: webhook\n    typo: 1\n"
		switch place % 8 {
		case 0:
			text += "    url: " + value + "\n"
		case 1:
			text += "    url: https://example.org/" + value + "\n"
		case 2:
			text += "    secret: " + value + "\n"
		case 3:
			text += "    token: " + value + "\n"
		case 4:
			text += "    headers:\n      X-Key: " + value + "\n"
		case 5:
			text += "    headers:\n      X-Key: {file: " + value + "}\n"
		case 6:
			text += "    proxy: " + value + "\n"
		case 7:
			text += "    url: [" + value + "]\n    urlFile: /x\n"
		}
		_, err := config.Parse([]byte(text))
		if err == nil {
			t.Fatalf("accepted:\n%s", text)
		}
		if strings.Contains(err.Error(), shape) {
			t.Errorf("the secret is shown:\n%s\nof:\n%s", err, text)
		}
	})
}
