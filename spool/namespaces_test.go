package spool

import (
	"bytes"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestNamespacesAreBoundedAndTheLongestUnchangedGoes(t *testing.T) {
	h := newHouse(t, Options{})
	for i := range 2 * maxNamespaces {
		h.update(func(tx *Tx) error {
			n := Namespace{Position: fmt.Sprint(i), Seen: epoch.Add(time.Duration(i) * time.Second), Listed: true, Note: []byte("note")}
			// One of the first stays because it changes.
			kept := tx.Namespace("kept")
			kept.Position = fmt.Sprint(i)
			kept.Seen = n.Seen
			if err := tx.SetNamespace("kept", kept); err != nil {
				return err
			}
			return tx.SetNamespace(fmt.Sprintf("ns%d", i), n)
		})
	}
	h.reopen()
	h.view(func(tx *Tx) {
		if n := len(tx.Namespaces()); n != maxNamespaces {
			t.Errorf("%d namespaces", n)
		}
		if n := tx.Namespace("kept"); n.Position != fmt.Sprint(2*maxNamespaces-1) {
			t.Errorf("kept: %+v", n)
		}
		if diff := cmp.Diff(Namespace{}, tx.Namespace("ns0")); diff != "" {
			t.Error(diff)
		}
		want := Namespace{Position: "2000", Seen: epoch.Add(2000 * time.Second), Listed: true, Note: []byte("note")}
		if diff := cmp.Diff(want, tx.Namespace("ns2000")); diff != "" {
			t.Error(diff)
		}
	})
	// The table of values is untouched.
	h.update(func(tx *Tx) error { return tx.SetValue("v", []byte{1}) })
}

func TestNamespaceOfAnOlderFileIsReadAndWrittenForIt(t *testing.T) {
	h := newHouse(t, Options{})
	h.update(func(tx *Tx) error {
		_, err := tx.put([]byte("\x03default"), seal([]byte("\x03default"), []byte("4711")))
		return err
	})
	h.update(func(tx *Tx) error {
		n := tx.Namespace("default")
		if n.Position != "4711" || n.Listed || !n.Seen.IsZero() {
			t.Errorf("%+v", n)
		}
		n.Position, n.Listed = "4712", true
		return tx.SetNamespace("default", n)
	})
	h.view(func(tx *Tx) {
		if payload, ok := tx.payload([]byte("\x03default")); string(payload) != "4712" || !ok {
			t.Errorf("an older release reads %q", payload)
		}
		if diff := cmp.Diff([]string{"default"}, tx.Namespaces()); diff != "" {
			t.Error(diff)
		}
	})
	// A position alone is changed and forgotten without the rest.
	h.update(func(tx *Tx) error { return tx.SetPosition("default", "4713") })
	h.update(func(tx *Tx) error { return tx.ForgetPosition("default") })
	h.view(func(tx *Tx) {
		if n := tx.Namespace("default"); n.Position != "" || !n.Listed {
			t.Errorf("%+v", n)
		}
	})
	h.update(func(tx *Tx) error { return tx.ForgetNamespace("default") })
	h.view(func(tx *Tx) {
		if names := tx.Namespaces(); len(names) != 0 {
			t.Errorf("%q", names)
		}
	})
}

func TestRescueKeepsWhenANamespaceWasSeenAndNotItsPosition(t *testing.T) {
	h := newHouse(t, Options{})
	h.put("ops", "a", "b")
	want := Namespace{Position: "7", Seen: epoch, Listed: true}
	h.update(func(tx *Tx) error { return tx.SetNamespace("default", want) })
	h.close()
	data, err := os.ReadFile(h.options.Path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(h.options.Path, bytes.ReplaceAll(data, []byte("body of a"), []byte("body of ?")), 0o600); err != nil {
		t.Fatal(err)
	}
	h.open()
	if h.Rescued() == nil {
		t.Fatal("not rescued")
	}
	h.view(func(tx *Tx) {
		want.Position = ""
		if diff := cmp.Diff(want, tx.Namespace("default")); diff != "" {
			t.Error(diff)
		}
	})
}
