package yamledit

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	yaml "go.yaml.in/yaml/v3"

	"github.com/sa-exec-credential/sa-exec-credential/internal/files"
)

// File is one file that is being edited.
type File struct {
	path      string // what is replaced: links are resolved
	kind      Kind
	data      []byte // as it was read
	documents []*yaml.Node
	chosen    int // the document that is edited
	layout    layout
	before    []any // what the documents meant when they were read
	touched   Touched
	scrubbed  bool    // comments were removed, which does not change what it means
	fields    []field // of the root, as they were read
}

// Root returns the mapping that is edited.
func (f *File) Root() *yaml.Node { return f.documents[f.chosen].Content[0] }

// Path returns the file's resolved path, for messages.
func (f *File) Path() string { return f.path }

// Is reports whether path leads to the file.
func (f *File) Is(path string) bool {
	resolved, err := resolve(path)
	return err == nil && isSame(f.path, resolved)
}

// byteOrderMark begins some files that Windows programs have written (RFC 3629, section 6).
const byteOrderMark = "\ufeff"

// ReadFile returns a bounded file's content without a byte order mark, nil and no error when there
// is none.
func ReadFile(path string) ([]byte, error) {
	data, err := readAll(path)
	return bytes.TrimPrefix(data, []byte(byteOrderMark)), err
}

func readAll(path string) ([]byte, error) {
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
		return nil, fmt.Errorf("%w: %q is longer than %d bytes", ErrMalformed, path,
			maxSize)
	}
	if data == nil {
		data = []byte{}
	}
	return data, nil
}

// Quoted puts the path of an operating system's error in quotes: a file can have named it, and it
// can hold anything.
func Quoted(err error) error {
	if plain, isPath := err.(*fs.PathError); isPath {
		return fmt.Errorf("%s %q: %w", plain.Op, plain.Path, plain.Err)
	}
	return err
}

// Open reads a file for editing. An empty or missing one gets a document with the fields of its
// kind.
func Open(path string, kind Kind) (*File, error) {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%q is not a regular file: %w", path, ErrReadOnly)
	}
	read, err := readAll(path)
	if err != nil {
		return nil, err
	}
	data := bytes.TrimPrefix(read, []byte(byteOrderMark))
	f := &File{path: path, kind: kind, data: data, touched: Touched{}}
	if f.documents, err = Parse(path, data); err != nil {
		return nil, err
	}
	if isEmpty(f.documents) {
		f.documents = []*yaml.Node{newDocument(data, kind.Fields)}
	}
	if f.chosen, err = kind.Choose(path, data, f.documents); err != nil {
		return nil, err
	}
	f.layout = layoutOf(data, f.documents[f.chosen])
	f.layout.marked = len(data) < len(read)
	if f.before, err = f.values(); err != nil {
		return nil, err
	}
	f.fields = fieldsOf(f.Root())
	return f, nil
}

func isEmpty(documents []*yaml.Node) bool {
	return len(documents) == 0 || len(documents) == 1 && IsNull(documents[0].Content[0])
}

// newDocument keeps what the file held, which can only be comments.
func newDocument(data []byte, fields [][2]string) *yaml.Node {
	root := NewMapping()
	for _, f := range fields {
		root.Content = append(root.Content, newKey(f[0]), newKey(f[1]))
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

// values are what the documents mean.
func (f *File) values() ([]any, error) {
	values := make([]any, len(f.documents))
	for i, document := range f.documents {
		var err error
		if values[i], err = valueOf(document); err != nil {
			return nil, f.unsupported()
		}
	}
	return values, nil
}

// changed reports whether the file has to be written. Style alone is no reason.
func (f *File) changed() bool {
	after, err := f.values()
	return err != nil || f.scrubbed || !reflect.DeepEqual(f.before, after)
}

// encode returns the edited file after it was proven to mean what the documents mean, and that to
// be what the edit can change. All bytes stay but those of the items that differ, where the file
// shows which these are. Elsewhere it is written anew, and comments are given up when the library
// cannot write the file with them, which happens inside of flow collections.
func (f *File) encode() ([]byte, error) {
	want, err := f.values()
	if err != nil {
		return nil, err
	}
	// A patch that does not do all of the edit means something else than the edit.
	if data, possible := f.patched(); possible && f.means(data, want) {
		return data, f.prove(want, data)
	}
	for range 2 {
		data, err := encode(f.documents, f.layout)
		if err == nil && f.means(data, want) {
			return data, f.prove(want, data)
		}
		for _, document := range f.documents {
			StripComments(document)
		}
	}
	return nil, f.unsupported()
}

func (f *File) means(data []byte, want []any) bool {
	documents, err := Parse(f.path, data)
	if err != nil {
		return false
	}
	got, err := (&File{documents: documents}).values()
	return err == nil && reflect.DeepEqual(got, want)
}

// write replaces the file, keeping its mode, and removes what a killed predecessor left beside it.
func (f *File) write(data []byte) error {
	removeLeftovers(f.path)
	if f.layout.marked {
		data = append([]byte(byteOrderMark), data...)
	}
	return files.Rewrite(f.path, data)
}

// Append adds an item to one of the root's lists.
func (f *File) Append(list string, item *yaml.Node) error {
	items := Field(f.Root(), list)
	switch {
	case IsNull(items):
		items = newSequence()
		SetField(f.Root(), list, items)
	case items.Kind != yaml.SequenceNode || items.Anchor != "":
		return fmt.Errorf("%w: %q: %s is shared through an anchor", ErrUnsupported, f.path,
			list)
	case len(items.Content) == 0:
		items.Style = 0 // "[]" would put all of it on one line
	}
	items.Content = append(items.Content, item)
	return nil
}

// RemoveItem removes an item from one of the root's lists.
func (f *File) RemoveItem(list string, item *yaml.Node) error {
	items := Field(f.Root(), list)
	i := -1
	if items != nil && items.Kind == yaml.SequenceNode && items.Anchor == "" {
		i = slices.Index(items.Content, item)
	}
	if i < 0 {
		return fmt.Errorf("%w: %q: %s is shared through an anchor", ErrUnsupported, f.path,
			list)
	}
	items.Content = slices.Delete(items.Content, i, i+1)
	return nil
}

// Scrub removes the lines of comments that hold text, which is not empty.
func (f *File) Scrub(text string) {
	for _, document := range f.documents {
		f.scrubbed = scrub(document, text) || f.scrubbed
	}
}

// removeLeftovers deletes the temporary files of writers that were killed: they hold whatever
// secrets the file holds. Under the lock none of them is in use.
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

// MakeDir creates the directory in which path would be created, and its parents.
func MakeDir(path string) error {
	path, err := resolve(path)
	if err != nil {
		return err
	}
	return os.MkdirAll(filepath.Dir(path), files.PrivateDir)
}
