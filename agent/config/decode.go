package config

import (
	"fmt"
	"math"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/edge-eventer/edge-eventer/notify"
)

// maxDepth bounds the trees of receivers[].body and success.json.
const maxDepth = 32

// decoder walks a file's nodes along the Go types that they are for. It collects mistakes and goes on; what a mistake is about
// keeps its default, so that nothing is reported twice.
type decoder struct {
	mistakes []Mistake
	// notes are what is probably not meant and no mistake.
	notes []Mistake
	// more counts the mistakes beyond maxKept, and about holds the paths of all that are kept.
	more  int
	about map[string]bool
	// keys holds every key of the file by its path.
	keys        map[string]key
	environment func(name string) (string, bool)
	newReceiver func() reflect.Value
}

// key is a key as it stands in the file.
type key struct {
	line int
	// set is false for a key without a value, which is as if it was not there.
	set bool
}

// line returns the line of the path, or of what is around it where the file does not have it.
func (d *decoder) line(path string) int {
	for path != "" {
		if k, ok := d.keys[path]; ok {
			return k.line
		}
		path = path[:max(0, strings.LastIndexAny(path, ".["))]
	}
	return 1
}

// has reports whether the file gives path a value.
func (d *decoder) has(path string) bool { return d.keys[path].set }

func (d *decoder) addAt(line int, path, format string, args ...any) {
	if len(d.mistakes) == maxKept {
		d.more++
		return
	}
	d.mistakes = append(d.mistakes, Mistake{Line: line, Path: path, Text: fmt.Sprintf(format, args...)})
	d.about[path] = true
}

func (d *decoder) add(path, format string, args ...any) { d.addAt(d.line(path), path, format, args...) }

// refused reports and refuses what this file has no use for: aliases, which can make a small file a giant tree, and tags.
func (d *decoder) refused(n *yaml.Node, path string) bool {
	switch {
	case n.Kind == yaml.AliasNode:
		d.addAt(n.Line, path, "aliases (*name) are not allowed; write the value out, or in quotes if it begins with *")
	case n.Style&yaml.TaggedStyle != 0:
		d.addAt(n.Line, path, "tags (!name) are not allowed; a value that begins with ! must stand in quotes")
	default:
		return false
	}
	return true
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

// decode sets v, which holds its default, to what n says.
func (d *decoder) decode(n *yaml.Node, path string, v reflect.Value, as string) {
	switch {
	case d.refused(n, path), isNull(n):
		return
	}
	switch v.Interface().(type) {
	case time.Duration:
		d.duration(n, path, v)
		return
	case map[string]notify.Secret:
		d.headers(n, path, v)
		return
	}
	switch v.Kind() {
	case reflect.String:
		if text, ok := d.text(n, path); ok {
			v.SetString(text)
		}
	case reflect.Bool:
		switch {
		case n.Kind != yaml.ScalarNode || n.ShortTag() != "!!bool":
			d.addAt(n.Line, path, "must be true or false, not %s", kindOf(n))
		default:
			v.SetBool(strings.EqualFold(n.Value, "true"))
		}
	case reflect.Int:
		d.integer(n, path, v)
	case reflect.Int64:
		if as != "size" {
			panic("config: int64 without as:\"size\" at " + path)
		}
		d.size(n, path, v)
	case reflect.Interface:
		if tree, ok := d.tree(n, path, 0); ok {
			v.Set(reflect.ValueOf(&tree).Elem())
		}
	case reflect.Pointer:
		target := reflect.New(v.Type().Elem())
		d.decode(n, path, target.Elem(), as)
		v.Set(target)
	case reflect.Slice:
		d.list(n, path, v)
	case reflect.Map:
		d.stringMap(n, path, v)
	case reflect.Struct:
		d.structure(n, path, v)
	default:
		panic("config: no decoder for " + v.Type().String())
	}
}

// field is a key that a struct takes.
type field struct {
	value reflect.Value
	as    string
}

// fields lists the keys of a struct in their order. An inlined struct's keys are those of the outer one, and so are those of
// a receiver's settings.
func fields(v reflect.Value, add func(key string, f field)) {
	receiver, isReceiver := reflect.TypeAssert[Receiver](v)
	for i := range v.NumField() {
		f := v.Type().Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		switch {
		case f.Type == reflect.TypeFor[notify.Settings]():
			if isReceiver && receiver.Settings != nil {
				fields(reflect.ValueOf(receiver.Settings).Elem(), add)
			}
		case options == "inline":
			fields(v.Field(i), add)
		case name != "":
			add(name, field{v.Field(i), f.Tag.Get("as")})
			if f.Type == reflect.TypeFor[notify.Secret]() {
				add(name+"File", field{})
			}
		}
	}
}

// structure decodes in the order of the struct's fields, so that receivers find their defaults in notify wherever the file has it.
func (d *decoder) structure(n *yaml.Node, path string, v reflect.Value) {
	if n.Kind != yaml.MappingNode {
		d.addAt(n.Line, path, "must be a mapping of keys, not %s", kindOf(n))
		return
	}
	var allowed []string
	known := make(map[string]field)
	fields(v, func(name string, f field) {
		allowed = append(allowed, name)
		known[name] = f
	})
	values := make(map[string]*yaml.Node)
	d.mapping(n, path, func(name string, keyNode, value *yaml.Node) {
		if _, ok := known[name]; !ok {
			d.unknownKey(keyNode, value, join(path, name), v, allowed)
			return
		}
		values[name] = value
	})
	secret := reflect.TypeFor[notify.Secret]()
	for _, name := range allowed {
		f := known[name]
		switch {
		case !f.value.IsValid():
			// A twin, decoded with what it is the twin of.
		case f.value.Type() == secret:
			if s, ok := d.secret(values[name], values[name+"File"], join(path, name)); ok {
				f.value.Set(reflect.ValueOf(s))
			}
		case values[name] != nil:
			d.decode(values[name], join(path, name), f.value, f.as)
		}
	}
}

// meant asks whether the nearest of the allowed words was meant, where there is one.
func meant(word string, allowed []string) string {
	if near := Nearest(word, allowed); near != "" {
		return " did you mean " + near + "?"
	}
	return ""
}

// unknownKey says what is allowed in place of a key. A receiver may name a key of other types as long as its value says nothing: a file that
// lists every key with its default is right for each type. Of a receiver whose type is unknown that is said, and nothing of its keys.
func (d *decoder) unknownKey(keyNode, value *yaml.Node, path string, v reflect.Value, allowed []string) {
	receiver, isReceiver := reflect.TypeAssert[Receiver](v)
	types := typesWith(keyNode.Value)
	switch {
	case !isReceiver || len(types) == 0:
		d.addAt(keyNode.Line, path, "unknown key;%s allowed: %s", meant(keyNode.Value, allowed), strings.Join(allowed, ", "))
	case receiver.Settings == nil || isNull(value) || slices.ContainsFunc(types, func(t string) bool { return d.saysNothing(t, keyNode.Value, value) }):
	default:
		d.keys[path] = key{line: keyNode.Line}
		d.note(path, "not used by type %s; only by type %s", receiver.Type, strings.Join(types, ", "))
	}
}

// saysNothing reports whether the value of a key is what the type takes without it.
func (d *decoder) saysNothing(receiverType, name string, value *yaml.Node) bool {
	if strings.HasSuffix(name, "File") {
		return value.Kind == yaml.ScalarNode && value.Value == ""
	}
	// Its mistakes are of no interest, and its keys are none of the file's.
	scratch := &decoder{about: make(map[string]bool), keys: make(map[string]key), environment: d.environment, newReceiver: d.newReceiver}
	plain, read := DefaultSettings(receiverType), DefaultSettings(receiverType)
	fields(reflect.ValueOf(read).Elem(), func(known string, f field) {
		switch {
		case known != name || !f.value.IsValid():
		case f.value.Type() == reflect.TypeFor[notify.Secret]():
			if s, ok := scratch.secret(value, nil, name); ok {
				f.value.Set(reflect.ValueOf(s))
			}
		default:
			scratch.decode(value, name, f.value, f.as)
		}
	})
	return len(scratch.mistakes) == 0 && reflect.DeepEqual(plain, read)
}

// mapping calls each for the keys of a mapping, of those that stand there twice only for the first.
func (d *decoder) mapping(n *yaml.Node, path string, each func(name string, keyNode, value *yaml.Node)) {
	seen := make(map[string]int)
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, value := n.Content[i], n.Content[i+1]
		if k.Kind != yaml.ScalarNode || k.Style&yaml.TaggedStyle != 0 || k.ShortTag() == "!!merge" {
			d.addAt(k.Line, path, "a key must be plain text; lists, mappings, aliases, tags and merges (<<) are not allowed as keys")
			continue
		}
		name := join(path, k.Value)
		if first, ok := seen[k.Value]; ok {
			d.addAt(k.Line, name, "duplicate key; first on line %d", first)
			continue
		}
		seen[k.Value] = k.Line
		d.keys[name] = key{line: k.Line, set: !isNull(value)}
		each(k.Value, k, value)
	}
}

func (d *decoder) list(n *yaml.Node, path string, v reflect.Value) {
	if n.Kind != yaml.SequenceNode {
		d.addAt(n.Line, path, "must be a list, not %s", kindOf(n))
		return
	}
	all := reflect.MakeSlice(v.Type(), 0, len(n.Content))
	for i, item := range n.Content {
		at := fmt.Sprintf("%s[%d]", path, i)
		d.keys[at] = key{line: item.Line, set: !isNull(item)}
		element := reflect.New(v.Type().Elem()).Elem()
		if element.Type() == reflect.TypeFor[Receiver]() {
			element.Set(d.newReceiver())
			if settings := DefaultSettings(typeOf(item)); settings != nil {
				element.FieldByName("Type").SetString(typeOf(item))
				element.FieldByName("Settings").Set(reflect.ValueOf(settings))
			}
		}
		if isNull(item) {
			d.addAt(item.Line, at, "must not be empty")
		}
		d.decode(item, at, element, "")
		all = reflect.Append(all, element)
	}
	if len(n.Content) > 0 {
		v.Set(all)
	}
}

// stringMap decodes map[string]string and map[string]any.
func (d *decoder) stringMap(n *yaml.Node, path string, v reflect.Value) {
	if n.Kind != yaml.MappingNode {
		d.addAt(n.Line, path, "must be a mapping, not %s", kindOf(n))
		return
	}
	all := reflect.MakeMap(v.Type())
	d.mapping(n, path, func(name string, _, value *yaml.Node) {
		at := join(path, name)
		element := reflect.New(v.Type().Elem()).Elem()
		if isNull(value) && element.Kind() == reflect.String {
			d.addAt(value.Line, at, "must be a string, not empty; write \"\" for an empty one")
			return
		}
		d.decode(value, at, element, "")
		all.SetMapIndex(reflect.ValueOf(name), element)
	})
	if all.Len() > 0 {
		v.Set(all)
	}
}

func (d *decoder) text(n *yaml.Node, path string) (string, bool) {
	switch {
	case n.Kind != yaml.ScalarNode:
		d.addAt(n.Line, path, "must be a string, not %s", kindOf(n))
	case n.ShortTag() == "!!bool":
		d.addAt(n.Line, path, "must be a string; put it in quotes, or it means true or false")
	default:
		// A number is taken as it is written: chatId: -100123.
		return n.Value, true
	}
	return "", false
}

func (d *decoder) duration(n *yaml.Node, path string, v reflect.Value) {
	duration, err := time.ParseDuration(n.Value)
	if n.Kind != yaml.ScalarNode || err != nil {
		d.addAt(n.Line, path, "%s is no duration; write a number with its unit: 90s, 5m or 72h", shown(n))
		return
	}
	v.SetInt(int64(duration))
}

func (d *decoder) integer(n *yaml.Node, path string, v reflect.Value) {
	if kind := kindOf(n); kind != "a number" {
		d.addAt(n.Line, path, "must be a whole number, not %s", kind)
		return
	}
	i, err := strconv.ParseInt(n.Value, 10, 32)
	if err != nil {
		d.addAt(n.Line, path, "%s is no whole number of decimal digits up to %d", shown(n), math.MaxInt32)
		return
	}
	v.SetInt(i)
}

func (d *decoder) size(n *yaml.Node, path string, v reflect.Value) {
	size, ok := parseSize(n.Value)
	if n.Kind != yaml.ScalarNode || !ok {
		d.addAt(n.Line, path, "%s is no size; write 256Ki, 16Mi, 1Gi, or a number of bytes", shown(n))
		return
	}
	v.SetInt(size)
}

// parseSize reads a Kubernetes quantity of bytes, such as 16Mi. A fraction of a byte is rounded up, as Kubernetes does. Signs, exponents,
// thousandths and a point without a digit on each side are likelier a slip than a size.
func parseSize(text string) (int64, bool) {
	number := strings.TrimRight(text, "KMGTPEki")
	if strings.Trim(number, "0123456789.") != "" || strings.Trim(number, ".") != number {
		return 0, false
	}
	q, err := resource.ParseQuantity(text)
	// What 63 bits cannot hold becomes the largest number.
	return q.Value(), err == nil && q.Value() < math.MaxInt64
}

// secret decodes a secret and its twin. An empty text is no secret.
func (d *decoder) secret(value, file *yaml.Node, path string) (notify.Secret, bool) {
	var s notify.Secret
	if value != nil && !isNull(value) {
		var ok bool
		if s, ok = d.secretText(value, path); !ok {
			return s, false
		}
	}
	if file == nil || isNull(file) || d.refused(file, path+"File") {
		return s, true
	}
	name, ok := d.text(file, path+"File")
	switch {
	case !ok:
		return s, false
	case name == "":
		return s, true
	case !s.IsZero():
		d.add(path+"File", "must not be set together with %s", path[strings.LastIndexByte(path, '.')+1:])
		return s, true
	}
	return notify.SecretFile(name), true
}

// secretText decodes a text that may hold ${NAME}. Nothing of it is ever shown.
func (d *decoder) secretText(n *yaml.Node, path string) (notify.Secret, bool) {
	if d.refused(n, path) {
		return notify.Secret{}, false
	}
	text, ok := d.text(n, path)
	if !ok || text == "" {
		return notify.Secret{}, ok
	}
	variable := regexp.MustCompile(`\$\{[A-Za-z_][A-Za-z0-9_]*\}`)
	if strings.Contains(variable.ReplaceAllLiteralString(text, ""), "${") {
		d.addAt(n.Line, path, "${ begins the name of an environment variable, ${NAME} of letters, digits and _; a value that holds ${ itself must come from a file")
		return notify.Secret{}, false
	}
	text = variable.ReplaceAllStringFunc(text, func(found string) string {
		name := found[2 : len(found)-1]
		value, _ := d.environment(name)
		// A file that was loaded into a variable often leaves its line break.
		value = strings.TrimSpace(value)
		if value == "" {
			ok = false
			d.addAt(n.Line, path, "the environment variable %s is not set, or empty", name)
		}
		return value
	})
	return notify.SecretValue(text), ok
}

// headers decodes header values, each a text or {file: PATH}, the twin of a value whose key is not the file's to choose.
func (d *decoder) headers(n *yaml.Node, path string, v reflect.Value) {
	if n.Kind != yaml.MappingNode {
		d.addAt(n.Line, path, "must be a mapping of names to values, not %s", kindOf(n))
		return
	}
	all := make(map[string]notify.Secret)
	canonical := make(map[string]int)
	d.mapping(n, path, func(name string, keyNode, value *yaml.Node) {
		at := join(path, name)
		if !isHeaderName(name) {
			d.addAt(keyNode.Line, at, "is not the name of an HTTP header")
			return
		}
		lower := strings.ToLower(name)
		if first, ok := canonical[lower]; ok {
			d.addAt(keyNode.Line, at, "duplicate header; first on line %d, upper and lower case are the same", first)
			return
		}
		canonical[lower] = keyNode.Line
		switch {
		case d.refused(value, at):
		case isNull(value):
			d.addAt(value.Line, at, "must be a string, or {file: PATH}")
		case value.Kind == yaml.ScalarNode:
			if s, ok := d.secretText(value, at); ok {
				all[name] = s
			}
		default:
			if file, ok := headerFile(value); ok {
				all[name] = notify.SecretFile(file)
				return
			}
			d.addAt(value.Line, at, "must be a string, or {file: PATH}")
		}
	})
	if len(all) > 0 {
		v.Set(reflect.ValueOf(all))
	}
}

// isHeaderName reports whether name is a token of RFC 9110, section 5.6.2.
func isHeaderName(name string) bool {
	return name != "" && !strings.ContainsFunc(name, func(r rune) bool {
		return r <= ' ' || r >= 0x7f || strings.ContainsRune("\"(),/:;<=>?@[\\]{}", r)
	})
}

func headerFile(n *yaml.Node) (string, bool) {
	if n.Kind != yaml.MappingNode || len(n.Content) != 2 || n.Content[0].Value != "file" {
		return "", false
	}
	file := n.Content[1]
	return file.Value, file.Kind == yaml.ScalarNode && file.Style&yaml.TaggedStyle == 0 && file.Value != ""
}

// tree decodes a value of any type into what encoding/json can marshal.
func (d *decoder) tree(n *yaml.Node, path string, depth int) (any, bool) {
	switch {
	case d.refused(n, path):
		return nil, false
	case depth == maxDepth:
		d.addAt(n.Line, path, "must be at most %d levels deep", maxDepth)
		return nil, false
	}
	switch n.Kind {
	case yaml.MappingNode:
		object, ok := make(map[string]any), true
		d.mapping(n, path, func(name string, _, value *yaml.Node) {
			element, good := d.tree(value, join(path, name), depth+1)
			object[name] = element
			ok = ok && good
		})
		return object, ok
	case yaml.SequenceNode:
		list, ok := make([]any, 0, len(n.Content)), true
		for i, item := range n.Content {
			at := fmt.Sprintf("%s[%d]", path, i)
			d.keys[at] = key{line: item.Line, set: true}
			element, good := d.tree(item, at, depth+1)
			list = append(list, element)
			ok = ok && good
		}
		return list, ok
	}
	switch n.ShortTag() {
	case "!!null":
		return nil, true
	case "!!bool":
		return strings.EqualFold(n.Value, "true"), true
	case "!!int":
		return integerOf(n.Value), true
	case "!!float":
		f, err := strconv.ParseFloat(strings.ReplaceAll(n.Value, "_", ""), 64)
		if err != nil || math.IsInf(f, 0) || math.IsNaN(f) {
			d.addAt(n.Line, path, "is a number that JSON does not have; put it in quotes to send it as text")
			return nil, false
		}
		return f, true
	}
	// Dates are text, as they stand there.
	return n.Value, true
}

// integerOf reads an integer as YAML does, which has already found that it fits into 64 bits: larger ones are floats to it.
func integerOf(text string) any {
	text = strings.ReplaceAll(text, "_", "")
	if i, err := strconv.ParseInt(text, 0, 64); err == nil {
		return i
	}
	if u, err := strconv.ParseUint(text, 0, 64); err == nil {
		return u
	}
	return text
}

// kindOf names what a node is, without its text.
func kindOf(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	}
	switch n.ShortTag() {
	case "!!int", "!!float":
		return "a number"
	case "!!bool":
		return "true or false"
	}
	return "a string"
}

// shown is a scalar as a mistake quotes it; anything else by its kind.
func shown(n *yaml.Node) string {
	if n.Kind != yaml.ScalarNode {
		return kindOf(n)
	}
	return quoted(n.Value)
}

// quoted puts a text into quotes, at most 60 bytes of it.
func quoted(text string) string {
	const most = 60
	if len(text) <= most {
		return strconv.Quote(text)
	}
	text = text[:most]
	for text != "" && !utf8.ValidString(text) {
		text = text[:len(text)-1]
	}
	return strconv.Quote(text + "…")
}

// join appends a key to a path. A key that could be taken for something else stands in quotes.
func join(path, name string) string {
	strange := func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !slices.Contains([]rune("_-/"), r)
	}
	if name == "" || len(name) > 60 || strings.ContainsFunc(name, strange) || !utf8.ValidString(name) {
		name = quoted(name)
	}
	if path == "" {
		return name
	}
	return path + "." + name
}
