package kubeconfig

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

// file is one file that is being edited.
type file struct {
	path      string // what is replaced: links are resolved
	documents []*yaml.Node
	chosen    int // the document that is edited
	layout    layout
	before    any  // what the documents meant when they were read
	missing   bool // there is no file yet
}

// root is the mapping that is edited.
func (f *file) root() *yaml.Node { return f.documents[f.chosen].Content[0] }

// readFile returns a bounded file's content, nil and no error when there is none.
func readFile(path string) ([]byte, error) {
	opened, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, quoted(err)
	}
	defer opened.Close()
	data, err := io.ReadAll(io.LimitReader(opened, maxSize+1))
	if err != nil {
		return nil, quoted(err)
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
func quoted(err error) error {
	if plain, isPath := err.(*fs.PathError); isPath {
		return fmt.Errorf("%s %q: %w", plain.Op, plain.Path, plain.Err)
	}
	return err
}

// chooser says which of a file's documents is edited.
type chooser func(path string, data []byte, documents []*yaml.Node) (int, error)

// openFile reads a file for editing. An empty or missing one gets a document with these fields.
func openFile(path string, fields [][2]string, choose chooser) (*file, error) {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%w: %q is not a regular file", files.ErrUntrusted, path)
	}
	data, err := readFile(path)
	if err != nil {
		return nil, err
	}
	f := &file{path: path, missing: data == nil}
	if f.documents, err = parse(path, data); err != nil {
		return nil, err
	}
	if isEmpty(f.documents) {
		f.documents = []*yaml.Node{newDocument(data, fields)}
	}
	if f.chosen, err = choose(path, data, f.documents); err != nil {
		return nil, err
	}
	f.layout = layoutOf(data, f.documents[f.chosen])
	f.before, err = f.value()
	return f, err
}

func isEmpty(documents []*yaml.Node) bool {
	return len(documents) == 0 || len(documents) == 1 && isNull(documents[0].Content[0])
}

// newDocument keeps what the file held, which can only be comments.
func newDocument(data []byte, fields [][2]string) *yaml.Node {
	root := mappingNode()
	for _, f := range fields {
		root.Content = append(root.Content, keyNode(f[0]), keyNode(f[1]))
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
func (f *file) value() (any, error) {
	var values []any
	for _, document := range f.documents {
		value, err := valueOf(document)
		if err != nil {
			return nil, fmt.Errorf("%w: %q", ErrUnsupported, f.path)
		}
		values = append(values, value)
	}
	return values, nil
}

// changed reports whether the documents mean something else than the file. Style alone is no reason to write.
func (f *file) changed() bool {
	after, err := f.value()
	return err != nil || !reflect.DeepEqual(f.before, after)
}

// encode returns the edited file after it was proven to mean what the documents mean. Comments are given up when the
// library cannot write the file with them, which happens inside of flow collections.
func (f *file) encode() ([]byte, error) {
	want, err := f.value()
	if err != nil {
		return nil, err
	}
	for range 2 {
		data, err := encode(f.documents, f.layout)
		if err == nil && f.means(data, want) {
			return data, nil
		}
		for _, document := range f.documents {
			stripComments(document)
		}
	}
	return nil, fmt.Errorf("%w: %q", ErrUnsupported, f.path)
}

func (f *file) means(data []byte, want any) bool {
	documents, err := parse(f.path, data)
	if err != nil {
		return false
	}
	got, err := (&file{documents: documents}).value()
	return err == nil && reflect.DeepEqual(got, want)
}

// write replaces the file, keeping its mode, and removes what a killed predecessor left beside it.
func (f *file) write(data []byte) error {
	removeLeftovers(f.path)
	return files.Replace(f.path, data, 0)
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

func appendNew(list []string, text string) []string {
	for _, known := range list {
		if known == text {
			return list
		}
	}
	return append(list, text)
}

func makeFolder(path string) error { return os.MkdirAll(filepath.Dir(path), files.PrivateFolder) }
