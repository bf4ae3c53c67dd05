package spool

import (
	"bytes"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/edge-eventer/edge-eventer/spool/format"
	"github.com/edge-eventer/edge-eventer/spool/table"
)

func TestNamespacesAreBoundedAndTheLongestUnchangedGoes(t *testing.T) {
	h := newHouse(t, Options{})
	for i := range 2 * table.MaxScopes {
		h.update(func(tx *Tx) error {
			n := Scope{Position: fmt.Sprint(i), Seen: epoch.Add(time.Duration(i) * time.Second), Listed: true, Note: []byte("note")}
			// One of the first stays because it changes.
			kept := tx.Scope("kept")
			kept.Position = fmt.Sprint(i)
			kept.Seen = n.Seen
			if err := tx.SetScope("kept", kept); err != nil {
				return err
			}
			return tx.SetScope(fmt.Sprintf("ns%d", i), n)
		})
	}
	h.reopen()
	h.view(func(tx *Tx) {
		if n := len(tx.Scopes()); n != table.MaxScopes {
			t.Errorf("%d namespaces", n)
		}
		if n := tx.Scope("kept"); n.Position != fmt.Sprint(2*table.MaxScopes-1) {
			t.Errorf("kept: %+v", n)
		}
		if diff := cmp.Diff(Scope{}, tx.Scope("ns0")); diff != "" {
			t.Error(diff)
		}
		want := Scope{Position: "2000", Seen: epoch.Add(2000 * time.Second), Listed: true, Note: []byte("note")}
		if diff := cmp.Diff(want, tx.Scope("ns2000")); diff != "" {
			t.Error(diff)
		}
	})
	// The table of values is untouched.
	h.update(func(tx *Tx) error { return tx.SetValue("v", []byte{1}) })
}

func TestNamespaceOfAnOlderFileIsReadAndWrittenForIt(t *testing.T) {
	h := newHouse(t, Options{})
	h.update(func(tx *Tx) error {
		_, err := tx.txn.Put([]byte("\x03default"), format.Seal([]byte("\x03default"), []byte("4711")))
		return err
	})
	h.update(func(tx *Tx) error {
		n := tx.Scope("default")
		if n.Position != "4711" || n.Listed || !n.Seen.IsZero() {
			t.Errorf("%+v", n)
		}
		n.Position, n.Listed = "4712", true
		return tx.SetScope("default", n)
	})
	h.view(func(tx *Tx) {
		if payload, ok := tx.txn.Payload([]byte("\x03default")); string(payload) != "4712" || !ok {
			t.Errorf("an older release reads %q", payload)
		}
		if diff := cmp.Diff([]string{"default"}, tx.Scopes()); diff != "" {
			t.Error(diff)
		}
	})
	// A position alone is changed and forgotten without the rest.
	h.update(func(tx *Tx) error { return tx.SetPosition("default", "4713") })
	h.update(func(tx *Tx) error { return forgetPosition(tx, "default") })
	h.view(func(tx *Tx) {
		if n := tx.Scope("default"); n.Position != "" || !n.Listed {
			t.Errorf("%+v", n)
		}
	})
	h.update(func(tx *Tx) error { return tx.ForgetScope("default") })
	h.view(func(tx *Tx) {
		if names := tx.Scopes(); len(names) != 0 {
			t.Errorf("%q", names)
		}
	})
}

func TestRescueKeepsWhenANamespaceWasSeenAndNotItsPosition(t *testing.T) {
	h := newHouse(t, Options{})
	h.put("ops", "a", "b")
	want := Scope{Position: "7", Seen: epoch, Listed: true}
	h.update(func(tx *Tx) error { return tx.SetScope("default", want) })
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
		if diff := cmp.Diff(want, tx.Scope("default")); diff != "" {
			t.Error(diff)
		}
	})
}
