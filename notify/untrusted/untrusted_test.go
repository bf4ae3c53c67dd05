package untrusted

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestTextIsCleaned(t *testing.T) {
	for in, want := range map[string]string{
		"plain":                     "plain",
		"无法拉取镜像":                    "无法拉取镜像",
		"a\r\nb\rc\td":              "a\nb\nc d",
		"\x1b[31mred\x1b[0m\x00":    "\uFFFD[31mred\uFFFD[0m\uFFFD",
		"c1\u0085\u009b":            "c1\uFFFD\uFFFD",
		"bad\xff\xc3(":              "bad\uFFFD\uFFFD(",
		"user\u202Etxt\u200B":       "usertxt",
		"l\u2028p\u2029":            "l\np\n",
		"tag\U000E0041\uFE0F\u3164": "tag",
		"<\u200Bat id=all>":         "<at id=all>",
	} {
		if got := Clean(in); got != want {
			t.Errorf("clean(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestCutEndsOnARuneAndSaysHowMuchIsMissing(t *testing.T) {
	long := strings.Repeat("节", 40<<10)
	for _, c := range []struct {
		text  string
		limit int
		width func(rune) int
		want  string
	}{
		{"short", 5, Bytes, "short"},
		{long, 100, Bytes, strings.Repeat("节", 27) + " … [cut 119 KiB]"},
		{long, 30, Runes, strings.Repeat("节", 11) + " … [cut 119 KiB]"},
		{strings.Repeat("😀", 100), 40, UTF16, strings.Repeat("😀", 10) + " … [cut 360 bytes]"},
		{strings.Repeat("x", 2<<20), 60, Bytes, strings.Repeat("x", 41) + " … [cut 1 MiB]"},
		{"0123456789", 5, Bytes, "01234"},
		{"节点压力", 5, Bytes, "节"},
		{"节", 2, Bytes, ""},
		{"x", 0, Bytes, ""},
	} {
		got := Cut(c.text, c.limit, c.width)
		if got != c.want {
			t.Errorf("cut(%.20q…, %d) = %q, want %q", c.text, c.limit, got, c.want)
		}
	}
}

func TestMentionsAreDefused(t *testing.T) {
	for in, want := range map[string]string{
		`<at id=all></at>`:        `＜at id=all>＜/at>`,
		`<AT user_id="all">`:      `＜AT user_id="all">`,
		`<!channel> <@U1>`:        `＜!channel> ＜@U1>`,
		`@all @Everyone @所有人 @x`:  `＠all ＠Everyone ＠所有人 @x`,
		`nginx@sha256:0a`:         `nginx@sha256:0a`,
		`a < b, mail@example.com`: `a < b, mail@example.com`,
		"<\xffat":                 "<\uFFFDat",
	} {
		if got := Defuse(in); got != want {
			t.Errorf("defuse(%q) = %q, want %q", in, got, want)
		}
	}
}

func FuzzText(f *testing.F) {
	f.Add("plain", 20)
	f.Add("bad\xff\u202E节<at id=all>😀", 33)
	f.Fuzz(func(t *testing.T, text string, limit int) {
		limit = max(0, limit%5000)
		cleaned := Clean(text)
		if !utf8.ValidString(cleaned) || Clean(cleaned) != cleaned {
			t.Errorf("clean(%q) = %q is not clean", text, cleaned)
		}
		for _, r := range cleaned {
			if r != '\n' && isHidden(r) {
				t.Errorf("clean(%q) = %q has %U", text, cleaned, r)
			}
		}
		for _, width := range []func(rune) int{Bytes, Runes, UTF16} {
			got := Cut(cleaned, limit, width)
			if Width(got, width) > limit || !utf8.ValidString(got) {
				t.Errorf("cut(%q, %d) = %q has width %d", cleaned, limit, got, Width(got, width))
			}
			if Width(cleaned, width) <= limit && got != cleaned {
				t.Errorf("cut(%q, %d) = %q, but it fits", cleaned, limit, got)
			}
		}
		if got := Message(text, limit); len(got) > limit || !utf8.ValidString(got) {
			t.Errorf("messageText(%q, %d) = %q", text, limit, got)
		}
		if defused := Defuse(cleaned); strings.Contains(strings.ToLower(defused), "<at") || !utf8.ValidString(defused) {
			t.Errorf("defuse(%q) = %q", cleaned, defused)
		}
	})
}
