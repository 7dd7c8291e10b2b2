package yamledit

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"

	yaml "go.yaml.in/yaml/v3"

	"github.com/sa-exec-credential/sa-exec-credential/internal/files"
)

// File is one file that is being edited.
type File struct {
	Path      string // what is replaced: links are resolved
	Documents []*yaml.Node
	chosen    int // the document that is edited
	layout    Layout
	Before    any  // what the documents meant when they were read
	missing   bool // there is no file yet
}

// root is the mapping that is edited.
func (f *File) Root() *yaml.Node { return f.Documents[f.chosen].Content[0] }

// readFile returns a bounded file's content, nil and no error when there is none.
func ReadFile(path string) ([]byte, error) {
	opened, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, Quoted(err)
	}
	defer opened.Close()
	data, err := io.ReadAll(io.LimitReader(opened, maxSize+1))
	if err != nil {
		return nil, Quoted(err)
	}
	if len(data) > maxSize {
		return nil, fmt.Errorf("%w: %q is longer than %d bytes", ErrMalformed, path, maxSize)
	}
	if data == nil {
		data = []byte{}
	}
	return data, nil
}

// quoted puts the path of an operating system's error in quotes: it may be one that a kubeconfig names, and hold
// anything.
func Quoted(err error) error {
	if plain, isPath := err.(*fs.PathError); isPath {
		return fmt.Errorf("%s %q: %w", plain.Op, plain.Path, plain.Err)
	}
	return err
}

// chooser says which of a file's documents is edited.
type chooser func(path string, data []byte, documents []*yaml.Node) (int, error)

// openFile reads a file for editing. An empty or missing one gets a document with these fields.
func Open(path string, fields [][2]string, choose chooser) (*File, error) {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%w: %q is not a regular file", files.ErrUntrusted, path)
	}
	data, err := ReadFile(path)
	if err != nil {
		return nil, err
	}
	f := &File{Path: path, missing: data == nil}
	if f.Documents, err = Parse(path, data); err != nil {
		return nil, err
	}
	if isEmpty(f.Documents) {
		f.Documents = []*yaml.Node{newDocument(data, fields)}
	}
	if f.chosen, err = choose(path, data, f.Documents); err != nil {
		return nil, err
	}
	f.layout = layoutOf(data, f.Documents[f.chosen])
	f.Before, err = f.value()
	return f, err
}

func isEmpty(documents []*yaml.Node) bool {
	return len(documents) == 0 || len(documents) == 1 && IsNull(documents[0].Content[0])
}

// newDocument keeps what the file held, which can only be comments.
func newDocument(data []byte, fields [][2]string) *yaml.Node {
	root := NewMapping()
	for _, f := range fields {
		root.Content = append(root.Content, NewKey(f[0]), NewKey(f[1]))
	}
	document := &yaml.Node{Kind: yaml.DocumentNode, Content: []*yaml.Node{root}}
	var comments []string
	for line := range strings.Lines(string(data)) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "#") {
			comments = append(comments, line)
		}
	}
	document.HeadComment = strings.Join(comments, "\n")
	return document
}

// value is what all documents mean.
func (f *File) value() (any, error) {
	var values []any
	for _, document := range f.Documents {
		value, err := ValueOf(document)
		if err != nil {
			return nil, fmt.Errorf("%w: %q", ErrUnsupported, f.Path)
		}
		values = append(values, value)
	}
	return values, nil
}

// changed reports whether the documents mean something else than the file. Style alone is no reason to write.
func (f *File) Changed() bool {
	after, err := f.value()
	return err != nil || !reflect.DeepEqual(f.Before, after)
}

// encode returns the edited file after it was proven to mean what the documents mean. Comments are given up when the
// library cannot write the file with them, which happens inside of flow collections.
func (f *File) Encode() ([]byte, error) {
	want, err := f.value()
	if err != nil {
		return nil, err
	}
	for range 2 {
		data, err := encode(f.Documents, f.layout)
		if err == nil && f.means(data, want) {
			return data, nil
		}
		for _, document := range f.Documents {
			StripComments(document)
		}
	}
	return nil, fmt.Errorf("%w: %q", ErrUnsupported, f.Path)
}

func (f *File) means(data []byte, want any) bool {
	documents, err := Parse(f.Path, data)
	if err != nil {
		return false
	}
	got, err := (&File{Documents: documents}).value()
	return err == nil && reflect.DeepEqual(got, want)
}

// write replaces the file, keeping its mode, and removes what a killed predecessor left beside it.
func (f *File) Write(data []byte) error {
	removeLeftovers(f.Path)
	return files.Replace(f.Path, data, 0)
}

// removeLeftovers deletes the temporary files of writers that were killed: they hold whatever secrets the kubeconfig
// holds. Under the lock none of them is in use.
func removeLeftovers(path string) {
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		return
	}
	for _, entry := range entries {
		middle, found := strings.CutPrefix(entry.Name(), "."+filepath.Base(path)+".")
		middle, isTemp := strings.CutSuffix(middle, ".tmp")
		if found && isTemp && isDigits(middle) && entry.Type().IsRegular() {
			_ = os.Remove(filepath.Join(filepath.Dir(path), entry.Name()))
		}
	}
}

func isDigits(text string) bool {
	return text != "" && strings.Trim(text, "0123456789") == ""
}

func AppendNew(list []string, text string) []string {
	for _, known := range list {
		if known == text {
			return list
		}
	}
	return append(list, text)
}

func MakeFolder(path string) error { return os.MkdirAll(filepath.Dir(path), files.PrivateFolder) }

// add appends an item to one of the file's lists.
func (f *File) Add(list string, item *yaml.Node) error {
	items := Field(f.Root(), list)
	switch {
	case IsNull(items):
		items = NewSequence()
		SetField(f.Root(), list, items)
	case items.Kind != yaml.SequenceNode || items.Anchor != "":
		return fmt.Errorf("%w: %q: %s is shared through an anchor", ErrUnsupported, f.Path, list)
	case len(items.Content) == 0:
		items.Style = 0 // "[]" would make all of it one line
	}
	items.Content = append(items.Content, item)
	return nil
}

func Text(node *yaml.Node) string {
	if node = Deref(node); node != nil && node.Kind == yaml.ScalarNode {
		return node.Value
	}
	return ""
}

func Items(node *yaml.Node) []*yaml.Node {
	if node = Deref(node); node == nil || node.Kind != yaml.SequenceNode {
		return nil
	}
	return node.Content
}
