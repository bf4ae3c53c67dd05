package notify

import (
	"reflect"
	"strings"
	"testing"
	"time"

	template "github.com/edge-eventer/edge-eventer/notify/texttemplate"
)

// TestTemplatesCallEveryMethodOfWhatTheySee goes from the data of a template over fields and results to every type that it can reach.
func TestTemplatesCallEveryMethodOfWhatTheySee(t *testing.T) {
	seen := make(map[reflect.Type]bool)
	methods := 0
	var visit func(reflect.Type)
	visit = func(typ reflect.Type) {
		for typ.Kind() == reflect.Pointer || typ.Kind() == reflect.Slice {
			typ = typ.Elem()
		}
		if seen[typ] || typ.Kind() == reflect.Interface {
			return
		}
		seen[typ] = true
		if typ.Kind() == reflect.Struct {
			for f := range typ.Fields() {
				if f.IsExported() {
					visit(f.Type)
				}
			}
		}
		for m := range reflect.PointerTo(typ).Methods() {
			// Encoders and what takes bytes are of no use in a template.
			if encoder(m.Name) {
				continue
			}
			methods++
			parsed, err := template.New("").Parse("{{ ." + m.Name + " 1 2 3 4 5 6 7 8 9 }}")
			if err != nil {
				t.Fatal(err)
			}
			// So many arguments are wrong for all; the error tells whether the method was found.
			err = parsed.Execute(new(strings.Builder), reflect.New(typ).Interface())
			if err == nil || strings.Contains(err.Error(), "can't evaluate field") || strings.Contains(err.Error(), "cannot be invoked as function") {
				t.Errorf("%s.%s is not in texttemplate/methods.go: %v", typ, m.Name, err)
			}
			for result := range m.Type.Outs() {
				visit(result)
			}
		}
	}
	visit(reflect.TypeFor[*templateData]())
	if methods < 50 || !seen[reflect.TypeFor[time.Time]()] || !seen[reflect.TypeFor[time.Duration]()] {
		t.Fatalf("only %d methods of %v: the test sees nothing", methods, seen)
	}
}

func encoder(name string) bool {
	for _, prefix := range []string{"Marshal", "Unmarshal", "Gob", "Append"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}
