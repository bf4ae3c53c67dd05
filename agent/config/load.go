package config

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/edge-eventer/edge-eventer/notify"
)

// MaxFile bounds the text of a file: 32 receivers with templates have 40 KiB, and the YAML nodes of 1 MiB would not fit into the
// memory of the agent, which reads the file again while it runs.
const MaxFile = 128 << 10

// Load reads the file at path and parses it. What is wrong inside the file is an *Errors; a file that cannot be read is another error.
func Load(path string) (*Config, error) {
	c, err := LoadAnyway(path)
	if err != nil {
		return nil, err
	}
	return c, nil
}

// LoadAnyway is Load for a command that asks the agent which runs with an older text of the file: beside the error it returns what
// could be read, with defaults for what is wrong. It returns no configuration only where the file cannot be read.
func LoadAnyway(path string) (*Config, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	// Nothing was written that closing could lose.
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, MaxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	return parse(data)
}

// Parse returns the configuration that data holds, with defaults for what it leaves out. ${NAME} in a url, secret, token or
// header is taken from the environment. Its error is an *Errors with every mistake.
func Parse(data []byte) (*Config, error) {
	c, err := parse(data)
	if err != nil {
		return nil, err
	}
	return c, nil
}

// Examine is Parse for a person who checks a text: it also returns notes, in the order of their lines, about what is probably not meant, or not
// there yet, and no mistake. It looks for the files of secrets.
func Examine(data []byte) (c *Config, notes []Mistake, err error) {
	c, d := decodeText(data)
	for i := range c.Receivers {
		r, path := &c.Receivers[i], fmt.Sprintf("receivers[%d].", i)
		for key, file := range r.SecretFiles() {
			// Whoever checks may be another user than the agent's.
			switch _, err := notify.SecretFile(file).Read(); {
			case err == nil, errors.Is(err, fs.ErrPermission):
			case errors.Is(err, fs.ErrNotExist):
				d.note(path+key, "%s does not exist yet; until it does, nothing is delivered to this receiver", quoted(file))
			default:
				d.note(path+key, "%v; until that is mended, nothing is delivered to this receiver", err)
			}
		}
	}
	slices.SortFunc(d.notes, func(a, b Mistake) int { return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Path, b.Path)) })
	return c, d.notes, d.result()
}

// parse also returns what it could read of a text with mistakes.
func parse(data []byte) (*Config, error) {
	c, d := decodeText(data)
	return c, d.result()
}

// decodeText returns what could be read, and what there is to say about it.
func decodeText(data []byte) (*Config, *decoder) {
	c := Default()
	d := &decoder{keys: make(map[string]key), about: make(map[string]bool), environment: os.LookupEnv}
	d.newReceiver = func() reflect.Value { return reflect.ValueOf(c.DefaultReceiver()) }
	root, ok := d.document(data)
	if !ok {
		return c, d
	}
	if root != nil {
		d.decode(root, "", reflect.ValueOf(c).Elem(), "")
	}
	d.check(c)
	return c, d
}

// document returns the top node of the file, nil if the file says nothing. It reports false where nothing can be read at all.
func (d *decoder) document(data []byte) (root *yaml.Node, ok bool) {
	if len(data) > MaxFile {
		d.addAt(1, "", "the file is larger than 128 KiB")
		return nil, false
	}
	parser := yaml.NewDecoder(bytes.NewReader(data))
	var first, second yaml.Node
	switch err := parser.Decode(&first); {
	case errors.Is(err, io.EOF):
		return nil, true
	case err != nil:
		d.addSyntax(err, data)
		return nil, false
	}
	switch err := parser.Decode(&second); {
	case errors.Is(err, io.EOF):
	case err != nil:
		d.addSyntax(err, data)
		return nil, false
	default:
		d.addAt(second.Line, "", "a second document begins here; the file must hold one")
	}
	root = first.Content[0]
	if d.refused(root, "") {
		return nil, false
	}
	if isNull(root) {
		return nil, true
	}
	return root, true
}

// addSyntax turns an error of the YAML parser into a mistake. The parser quotes the file only where it names an anchor, without
// a line, and that may be a secret that begins with an asterisk.
func (d *decoder) addSyntax(err error, data []byte) {
	line := 1
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	if found := regexp.MustCompile(`^line ([0-9]+): `).FindStringSubmatch(text); found != nil {
		text = text[len(found[0]):]
		if n, err := strconv.Atoi(found[1]); err == nil {
			line = n
		}
		if countsFromZero(text) {
			line++
		}
	}
	if name, ok := strings.CutPrefix(text, "unknown anchor '"); ok {
		name = strings.TrimSuffix(name, "' referenced")
		before, _, _ := bytes.Cut(data, []byte("*"+name))
		line = 1 + bytes.Count(before, []byte("\n"))
		text = "an alias without an anchor; a value that begins with * must stand in quotes"
	}
	// The parser's own words quote single characters only.
	if regexp.MustCompile("'[^']{2,}'|[`\"\n]").MatchString(text) && !strings.HasPrefix(text, "did not find expected") {
		text = "it cannot be parsed"
	}
	last := 1 + bytes.Count(bytes.TrimRight(data, " \t\r\n"), []byte("\n"))
	d.addAt(min(max(line, 1), last), "", "not YAML: %s", text)
}

// countsFromZero reports whether the parser's message comes from its grammar (parserc.go), whose lines count from 0, and not
// from its scanner, whose lines it corrects (decode.go, fail).
func countsFromZero(text string) bool {
	return slices.ContainsFunc([]string{
		"did not find expected key", "did not find expected node content", "did not find expected '-'", "did not find expected ','",
		"did not find expected <", "found undefined tag handle", "found duplicate %", "found incompatible YAML",
	}, func(message string) bool { return strings.HasPrefix(text, message) })
}
