package yamledit

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	yaml "go.yaml.in/yaml/v3"

	"github.com/sa-exec-credential/sa-exec-credential/internal/files/filestest"
)

// plain is a kind of file without anything of its own.
var plain = Kind{
	Fields: [][2]string{{"kind", "Plain"}},
	Choose: func(string, []byte, []*yaml.Node) (int, error) { return 0, nil },
}

const people = `# ours
kind: Plain
people:
- name: ann
  age: 1
- name: bob
  age: 2
shared: &x {a: b}
again: *x
---
other: 1
`

// set returns a change of one field of the item of people with this name.
func set(name, field, value string) func(*File) {
	return func(f *File) {
		people := At(f.Root(), "people")
		SetField(people.Content[Index(people, name)], field, NewText(value))
	}
}

func TestAnEditChangesNothingButWhatItTouched(t *testing.T) {
	tests := []struct {
		name    string
		change  func(*File)
		refused bool
	}{
		{"an item that was touched", func(f *File) {
			f.Touch("people", "ann")
			set("ann", "age", "x")(f)
		}, false},
		{"two items that were touched", func(f *File) {
			f.Touch("people", "ann")
			f.Touch("people", "bob")
			set("ann", "age", "x")(f)
			set("bob", "age", "x")(f)
		}, false},
		{"an item that was not", func(f *File) {
			f.Touch("people", "ann")
			set("bob", "age",
				"x")(f)
		},
			true},
		{"the name of one that was not", func(f *File) {
			f.Touch("people", "ann")
			set("bob", "name", "eve")(f)
		}, true},
		{"their order", func(f *File) {
			f.Touch("people", "eve")
			list := At(f.Root(), "people").Content
			list[0], list[1] = list[1], list[0]
		}, true},
		{"a new item", func(f *File) {
			f.Touch("people", "eve")
			item := NewMapping()
			SetField(item, "name", NewText("eve"))
			_ = f.Append("people", item)
		}, false},
		{"a new item that was not touched", func(f *File) {
			f.Touch("people", "ann")
			item := NewMapping()
			SetField(item, "name", NewText("eve"))
			_ = f.Append("people", item)
		}, true},
		{"a field that was touched", func(f *File) {
			f.Touch("kind")
			SetField(f.Root(), "kind",
				NewText("x"))
		}, false},
		{"a field that was not", func(f *File) {
			f.Touch("people", "kind")
			SetField(f.Root(), "kind",
				NewText("x"))
		}, true},
		{"a new field", func(f *File) {
			f.Touch("people", "ann")
			SetField(f.Root(), "new",
				NewText("x"))
		}, true},
		{"a field that goes", func(f *File) {
			f.Touch("people",
				"ann")
			RemoveField(f.Root(), "kind")
		},
			true},
		{"a field that shares its value with one that was touched", func(f *File) {
			f.Touch("shared")
			SetField(At(f.Root(), "shared"), "a", NewText("x"))
		}, true},
		{"another document", func(f *File) {
			f.Touch("other")
			SetField(f.documents[1].Content[0], "other", NewText("x"))
		}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "f")
			filestest.Write(t, path, people)
			changed, err := Edit([]string{path}, plain,
				func(all []*File) error { tt.change(all[0]); return nil })
			if changed == tt.refused || errors.Is(err, ErrUnsupported) != tt.refused {
				t.Errorf("changed %v, %v", changed, err)
			}
			if (filestest.Read(t, path) == people) != tt.refused {
				t.Errorf("the file is\n%s", filestest.Read(t, path))
			}
			filestest.Only(t, filepath.Dir(path), "f")
		})
	}
}

func TestNoFileIsWrittenUnlessAllCanBe(t *testing.T) {
	dir := t.TempDir()
	one, two := filepath.Join(dir, "one"), filepath.Join(dir, "two")
	filestest.Write(t, one, people)
	filestest.Write(t, two, people)
	changed, err := Edit([]string{one, two}, plain, func(all []*File) error {
		all[0].Touch("people", "ann")
		for _, f := range all {
			set("ann", "age", "x")(f)
		}
		return nil
	})
	if changed || !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), two) {
		t.Errorf("changed %v, %v", changed, err)
	}
	if filestest.Read(t, one) != people || filestest.Read(t, two) != people {
		t.Error("a file has changed")
	}
}

func TestWhatReadersSeeIsProvenAsWell(t *testing.T) {
	for _, differs := range []bool{false, true} {
		t.Run(fmt.Sprint(differs), func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "f")
			filestest.Write(t, path, people)
			kind := plain
			kind.View = func(data []byte, touched Touched) (any, error) {
				if !reflect.DeepEqual(touched, Touched{"people": {"ann"}}) {
					t.Errorf("touched %v", touched)
				}
				return differs && string(data) != people, nil
			}
			changed, err := Edit([]string{path}, kind, func(all []*File) error {
				all[0].Touch("people", "ann")
				set("ann", "age", "x")(all[0])
				return nil
			})
			if changed == differs || errors.Is(err, ErrUnsupported) != differs {
				t.Errorf("changed %v, %v", changed, err)
			}
		})
	}
}

func TestReadersThatCannotReadTheResultRefuseIt(t *testing.T) {
	for _, after := range []bool{false, true} {
		path := filepath.Join(t.TempDir(), "f")
		filestest.Write(t, path, people)
		kind := plain
		kind.View = func(data []byte, _ Touched) (any, error) {
			if (string(data) != people) == after {
				return nil, errors.New("not readable")
			}
			return nil, nil
		}
		changed, err := Edit([]string{path}, kind, func(all []*File) error {
			all[0].Touch("people", "ann")
			set("ann", "age", "x")(all[0])
			return nil
		})
		if changed || !errors.Is(err, ErrUnsupported) || filestest.Read(t, path) != people {
			t.Errorf("after %v: changed %v, %v", after, changed, err)
		}
	}
}

func TestScrubTakesTheLinesOfCommentsThatHoldAText(t *testing.T) {
	const text = `# head s3cr3t
# head

kind: Plain # s3cr3t
# above
# above s3cr3t
people:
# item s3cr3t
- name: ann # stays
  # key s3cr3t
  age: 1
# foot s3cr3t
# foot
`
	path := filepath.Join(t.TempDir(), "f")
	filestest.Write(t, path, text)
	changed, err := Edit([]string{path}, plain,
		func(all []*File) error { all[0].Scrub("s3cr3t"); return nil })
	if err != nil || !changed {
		t.Fatal(changed, err)
	}
	got := filestest.Read(t, path)
	if strings.Contains(got, "s3cr3t") {
		t.Errorf("it is still there:\n%s", got)
	}
	for _, comment := range []string{"# head\n", "# above\n", "# stays\n", "# foot\n"} {
		if !strings.Contains(got, comment) {
			t.Errorf("%q is gone:\n%s", comment, got)
		}
	}
	changed, err = Edit([]string{path}, plain,
		func(all []*File) error { all[0].Scrub("s3cr3t"); return nil })
	if err != nil || changed {
		t.Errorf("again: changed %v, %v", changed, err)
	}
}

func TestANewFileIsPrivateAndOnlyWhatIsRegularIsEdited(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a", "b", "f")
	if err := MakeDir(path); err != nil {
		t.Fatal(err)
	}
	if changed, err := Edit([]string{path}, plain, rename); err != nil || !changed {
		t.Fatal(changed, err)
	}
	if got := filestest.Read(t, path); got != "kind: \"x\"\n" {
		t.Errorf("the file is %q", got)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	for _, refused := range []string{os.DevNull, filepath.Dir(path)} {
		if changed, err := Edit([]string{refused}, plain, rename); changed ||
			!errors.Is(err, ErrReadOnly) {
			t.Errorf("%q: changed %v, %v", refused, changed, err)
		}
	}
}

func TestAFileOfMoreThanTheLimitIsNotRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	filestest.Write(t, path, "kind: Plain\n")
	const limit = 32 << 20 // ten times a kubeconfig of a thousand contexts
	for _, size := range []int64{limit, limit + 1} {
		if err := os.Truncate(path, size); err != nil {
			t.Fatal(err)
		}
		data, err := ReadFile(path)
		if size > limit && !errors.Is(err, ErrMalformed) || size == limit && (err != nil ||
			int64(len(data)) != size) {
			t.Errorf("%d bytes: read %d, %v", size, len(data), err)
		}
	}
}

// rename changes the field kind alone.
func rename(all []*File) error {
	all[0].Touch("kind")
	SetField(all[0].Root(), "kind", NewText("x"))
	return nil
}

func TestWhatTheYAMLLibraryWouldChangeStays(t *testing.T) {
	for name, rest := range map[string]string{
		"a folded text with an indented line": "note: >\n  a\n   b\n  c\n",
		"a missing key":                       "note:\n  ? \n",
		"a comment behind a text":             "note: |+\n  a\n\n# comment\n",
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "f")
			filestest.Write(t, path, "kind: Plain # aligned\n\n"+rest)
			changed, err := Edit([]string{path}, plain, rename)
			want := "kind: \"x\" # aligned\n\n" + rest
			if got := filestest.Read(t, path); !changed || err != nil || got != want {
				t.Errorf("changed %v, %v\n%s", changed, err, got)
			}
		})
	}
}

// anew is rename in a file that shows no place for it, and so is written anew.
func anew(files []*File) error {
	files[0].Root().Line = 0
	return rename(files)
}

func TestWhatTheYAMLLibraryWouldChangeIsLeftAlone(t *testing.T) {
	for name, text := range map[string]string{
		"a folded text with an indented line": "kind: Plain\nnote: >\n  a\n   b\n  c\n",
		"a missing key":                       "kind: Plain\nnote:\n  ? \n",
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "f")
			filestest.Write(t, path, text)
			changed, err := Edit([]string{path}, plain, anew)
			if changed || !errors.Is(err, ErrUnsupported) || filestest.Read(t,
				path) != text {
				t.Errorf("changed %v, %v\n%s", changed, err, filestest.Read(t,
					path))
			}
		})
	}
}

func TestCommentsAreGivenUpWhereTheyWouldChangeAValue(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	filestest.Write(t, path, "kind: Plain\nnote: |+\n  a\n\n# comment\n")
	if changed, err := Edit([]string{path}, plain, anew); err != nil || !changed {
		t.Fatal(changed, err)
	}
	if got := filestest.Read(t, path); got != "kind: \"x\"\nnote: |+\n  a\n\n" {
		t.Errorf("the file is %q", got)
	}
}

func TestAFileThatIsWrittenAnewKeepsItsForm(t *testing.T) {
	for name, text := range map[string][2]string{
		"lines that end as on Windows": {"kind: Plain\r\n\r\nnote: a\r\n",
			"kind: \"x\"\r\nnote: a\r\n"},
		"a byte order mark": {"\ufeffkind: Plain\n", "\ufeffkind: \"x\"\n"},
		"an end of the document": {"kind: Plain\n---\n# end\n",
			"kind: \"x\"\n\n# end\n---\n"},
		"two of them": {"kind: Plain\n---\n---\n", "kind: \"x\"\n---\n---\n"},
		"KYAML": {"---\n{\n  kind: \"Plain\", # note\n  \"no\": [1, \"a\"], l: [{a: b}]\n}\n",
			"---\n{\n  kind: \"x\",\n  \"no\": [\n    1,\n    \"a\",\n  ],\n" +
				"  l: [{\n    a: \"b\",\n  }],\n}\n"},
		"JSON with a mark": {"\ufeff{\r\n  \"kind\": \"Plain\"\r\n}\r\n",
			"\ufeff{\r\n  \"kind\": \"x\"\r\n}\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "f")
			filestest.Write(t, path, text[0])
			changed, err := Edit([]string{path}, plain, anew)
			if got := filestest.Read(t, path); !changed || err != nil || got != text[1] {
				t.Errorf("changed %v, %v\n%q\nwant\n%q", changed, err, got, text[1])
			}
		})
	}
}
