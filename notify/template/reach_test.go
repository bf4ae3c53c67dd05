package template

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/event"
)

// TestTemplatesReachAllThatTheySee goes from the data of a template over fields and results to every type that it can reach: methods of
// times and durations can be called, and what is a method of an event is a field of the data.
func TestTemplatesReachAllThatTheySee(t *testing.T) {
	seen := make(map[reflect.Type]bool)
	called, given := 0, 0
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
			// Encoders and what takes bytes are of no use in a template, and what returns several values can be called in none.
			if encoder(m.Name) || m.Type.NumOut() != 1 {
				continue
			}
			for result := range m.Type.Outs() {
				visit(result)
			}
			if typ.PkgPath() != "time" {
				if _, ok := reflect.TypeFor[Data]().FieldByName(m.Name); !ok {
					t.Errorf("%s.%s is not in Data, and templates call no methods but those of package time", typ, m.Name)
				}
				given++
				continue
			}
			called++
			parsed, err := Parse("test", "{{ .Value."+m.Name+" 1 2 3 4 5 6 7 8 9 }}", Options{})
			if err != nil {
				t.Fatal(err)
			}
			// So many arguments are wrong for all; the error tells whether the method was found.
			_, err = parsed.Execute(NewBudget(), struct{ Value any }{reflect.New(typ).Interface()})
			if err == nil || !strings.Contains(err.Error(), "wrong number of args for "+m.Name) {
				t.Errorf("%s.%s is not in notify/template/methods.go: %v", typ, m.Name, err)
			}
		}
	}
	visit(reflect.TypeFor[*Data]())
	if called < 40 || given < 5 || !seen[reflect.TypeFor[time.Time]()] || !seen[reflect.TypeFor[time.Duration]()] {
		t.Fatalf("only %d and %d methods of %v: the test sees nothing", called, given, seen)
	}
}

// TestNoFieldOfAnEventHasTheNameOfAMethod holds what notify/template asks for: there a name is a method everywhere, or nowhere.
func TestNoFieldOfAnEventHasTheNameOfAMethod(t *testing.T) {
	fields := 0
	for _, typ := range []reflect.Type{
		reflect.TypeFor[Data](), reflect.TypeFor[event.Event](), reflect.TypeFor[event.ObjectMeta](), reflect.TypeFor[event.Reference](),
		reflect.TypeFor[event.Source](), reflect.TypeFor[event.Series](),
	} {
		value := reflect.New(typ)
		for _, f := range reflect.VisibleFields(typ) {
			fields++
			parsed, err := Parse("test", "{{ ."+f.Name+" }}", Options{})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := parsed.Execute(NewBudget(), value.Interface()); err != nil {
				t.Errorf("%s.%s: %v", typ, f.Name, err)
			}
		}
	}
	if fields < 60 {
		t.Fatalf("only %d fields: the test sees nothing", fields)
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
