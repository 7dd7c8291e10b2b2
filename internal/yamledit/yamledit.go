// Package yamledit edits YAML and JSON files in place: under the locks that client-go's programs
// take, in the layout that a file has, and with a proof that nothing else in it changed. What it
// does not mean to change survives: unknown fields, order, and comments where the YAML library
// keeps them.
//
// It knows nothing of kubeconfigs: of this module it imports internal/files.
package yamledit

import (
	"errors"

	yaml "go.yaml.in/yaml/v3"
)

// What can be wrong. The errors of this package wrap one of them, files.ErrUntrusted or what the
// operating system says. None holds anything of a file.
var (
	ErrMalformed   = errors.New("malformed file")
	ErrLocked      = errors.New("file is locked")
	ErrUnsupported = errors.New("file cannot be edited without changing something else in it")
)

// Kind is a kind of file: how a new one starts, and how its readers see it.
type Kind struct {
	Fields [][2]string // of a new file, in order

	// Choose returns the index of the document that is edited; readers take no other.
	Choose func(path string, data []byte, documents []*yaml.Node) (int, error)

	// View returns what readers make of a file, less what an edit touched. It has to be the
	// same before and after. Readers that use another YAML library can see more than this
	// one. Nil: nothing more than this package.
	View func(data []byte, touched Touched) (any, error)
}

// Touched is what an edit can change: fields of the root by name, each with the names of the items
// in its list that it can change, or with none for the whole field.
type Touched map[string][]string

// Edit locks the files, reads them, calls change on them and writes those that mean something else
// afterwards. Two names of one file are one File; missing ones count as empty. No file is written
// unless all of them can be, and unless nothing differs but what change touched.
func Edit(paths []string, kind Kind, change func([]*File) error) (changed bool, err error) {
	defer func() { err = refused(err) }()
	resolved, err := resolveAll(paths)
	if err != nil {
		return false, err
	}
	release, err := lockAll(paths, resolved)
	if err != nil {
		return false, err
	}
	defer release()
	all, err := openAll(resolved, kind)
	if err != nil {
		return false, err
	}
	if err := change(all); err != nil {
		return false, err
	}
	return writeAll(all)
}

func writeAll(all []*File) (changed bool, err error) {
	encoded, err := encodeAll(all)
	if err != nil {
		return false, err
	}
	for _, f := range all {
		if data, found := encoded[f]; found {
			if err := f.write(data); err != nil {
				return false, err
			}
		}
	}
	return len(encoded) > 0, nil
}
