package yamledit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	yaml "go.yaml.in/yaml/v3"
)

// maxSize of a file in bytes. A kubeconfig of a thousand contexts with CA bundles has about 3 MB.
const maxSize = 32 << 20

// layout is how a file was written, so that what is written back looks alike.
type layout struct {
	json    bool
	indent  int    // YAML: spaces
	compact bool   // YAML: list items start in their key's column
	prefix  string // JSON: one level of indentation; empty for all in one line
	newline bool   // JSON: it ends in one
	flow    bool   // braces over several lines that are no JSON, such as KYAML (KEP-5295)
	start   string // of a flow file: the line that begins its document
	tail    string // documents at the end that are empty
	crlf    bool   // lines end as on Windows
	marked  bool   // it begins with a byte order mark
}

// newLayout is kubectl's.
var newLayout = layout{indent: 2, compact: true}

// Parse reads the YAML or JSON documents of a file. The errors wrap ErrMalformed and name the line
// where the parser does, never what stands there.
func Parse(path string, data []byte) ([]*yaml.Node, error) {
	var documents []*yaml.Node
	for decoder := yaml.NewDecoder(bytes.NewReader(data)); ; {
		var document yaml.Node
		err := decoder.Decode(&document)
		if errors.Is(err, io.EOF) {
			return withoutEmpty(documents), nil
		}
		if err != nil {
			return nil, Malformed(path, err, "not valid YAML")
		}
		if _, err := valueOf(&document); err != nil {
			return nil, Malformed(path, err, "a field that stands twice, or a value "+
				"that is not valid")
		}
		documents = append(documents, &document)
	}
}

// withoutEmpty drops documents at the end that hold nothing, as a final "---" makes one.
func withoutEmpty(documents []*yaml.Node) []*yaml.Node {
	last := len(documents) - 1
	for last > 0 && IsNull(documents[last].Content[0]) {
		last--
	}
	return documents[:last+1]
}

// Malformed is an ErrMalformed for a file, with the line that the YAML library's error names.
func Malformed(path string, cause error, problem string) error {
	if line := lineOf(cause); line > 0 {
		return fmt.Errorf("%w: %q, line %d: %s", ErrMalformed, path, line, problem)
	}
	return fmt.Errorf("%w: %q: %s", ErrMalformed, path, problem)
}

// lineOf takes the line number out of the YAML library's message; the rest of it can quote the
// file.
func lineOf(err error) int {
	if err == nil {
		return 0
	}
	_, after, found := strings.Cut(err.Error(), "line ")
	if !found {
		return 0
	}
	digits, _, _ := strings.Cut(after, ":")
	line, err := strconv.Atoi(digits)
	if err != nil {
		return 0
	}
	return line
}

// layoutOf looks at how a file with one document is written.
func layoutOf(data []byte, document *yaml.Node) layout {
	crlf := bytes.Contains(data, []byte("\r\n"))
	if trimmed := bytes.TrimSpace(data); len(trimmed) > 0 && trimmed[0] == '{' &&
		json.Valid(data) {
		return layout{json: true, prefix: jsonPrefix(data), newline: bytes.HasSuffix(data,
			[]byte("\n")), crlf: crlf}
	}
	found := newLayout
	found.crlf, found.tail = crlf, emptyTail(data)
	if len(document.Content) == 0 || document.Content[0].Kind != yaml.MappingNode {
		return found
	}
	root := document.Content[0]
	if root.Style&yaml.FlowStyle != 0 {
		found.flow = bytes.Contains(bytes.TrimSpace(data), []byte("\n"))
		if bytes.HasPrefix(data, []byte("---")) {
			found.start = "---\n"
		}
		return found
	}
	for i := 0; i+1 < len(root.Content); i += 2 {
		list := root.Content[i+1]
		if list.Kind != yaml.SequenceNode || list.Style&yaml.FlowStyle != 0 ||
			len(list.Content) == 0 {
			continue
		}
		found.compact = list.Column == root.Content[i].Column
		if !found.compact {
			found.indent = min(max(list.Column-root.Content[i].Column, 2), 8)
		}
		return found
	}
	return found
}

// emptyTail is the end of a file from a "---" on behind which there is nothing but comments.
func emptyTail(data []byte) string {
	tail := ""
	for i := bytes.LastIndex(data, []byte("\n---")); i > 0; i = bytes.LastIndex(data[:i],
		[]byte("\n---")) {
		for line := range strings.Lines(string(data[i+1 : len(data)-len(tail)])) {
			line = strings.TrimSpace(strings.TrimPrefix(line, "---"))
			if line != "" && line != "..." && line[0] != '#' {
				return tail
			}
		}
		tail = string(data[i+1:])
	}
	return tail
}

func jsonPrefix(data []byte) string {
	_, rest, found := bytes.Cut(bytes.TrimSpace(data), []byte("\n"))
	if !found {
		return ""
	}
	return string(rest[:len(rest)-len(bytes.TrimLeft(rest, " \t"))])
}

// Encode writes one document as a new file is written.
func Encode(document *yaml.Node) ([]byte, error) {
	return encodeYAML([]*yaml.Node{document}, newLayout)
}

// encode writes documents in a layout, with their comments.
func encode(documents []*yaml.Node, as layout) ([]byte, error) {
	data, err := encodeIn(documents, as)
	if as.crlf {
		data = bytes.ReplaceAll(data, []byte("\n"), []byte("\r\n"))
	}
	for line := range strings.Lines(as.tail) {
		if strings.HasPrefix(line, "---") { // its comments are those of the last document
			data = append(data, line...)
		}
	}
	return data, err
}

func encodeIn(documents []*yaml.Node, as layout) ([]byte, error) {
	switch {
	case as.json:
		return encodeJSON(documents[0], as)
	case as.flow && len(documents) == 1:
		out := bytes.NewBufferString(as.start)
		if writeFlow(out, documents[0].Content[0], "") == nil {
			return append(out.Bytes(), '\n'), nil
		}
	}
	return encodeYAML(documents, as)
}

func encodeYAML(documents []*yaml.Node, as layout) ([]byte, error) {
	var buffer bytes.Buffer
	encoder := yaml.NewEncoder(&buffer)
	encoder.SetIndent(as.indent)
	if as.compact {
		encoder.CompactSeqIndent()
	}
	for _, document := range documents {
		plainMergeKeys(document)
		if err := encoder.Encode(document); err != nil {
			return nil, fmt.Errorf("%w: the YAML library cannot write it",
				ErrUnsupported)
		}
	}
	if err := encoder.Close(); err != nil {
		return nil, fmt.Errorf("%w: the YAML library cannot write it", ErrUnsupported)
	}
	return buffer.Bytes(), nil
}

// plainMergeKeys keeps the YAML library from writing "!!merge <<" for "<<".
func plainMergeKeys(node *yaml.Node) {
	if node.Kind == yaml.ScalarNode && node.Tag == "!!merge" {
		node.Tag = ""
	}
	for _, child := range node.Content {
		plainMergeKeys(child)
	}
}

// encodeJSON keeps order and the spelling of numbers, which encoding/json's maps and floats would
// not.
func encodeJSON(document *yaml.Node, as layout) ([]byte, error) {
	var compact bytes.Buffer
	if err := writeJSON(&compact, document.Content[0]); err != nil {
		return nil, err
	}
	encoded := compact
	if as.prefix != "" {
		encoded = bytes.Buffer{}
		if err := json.Indent(&encoded, compact.Bytes(), "", as.prefix); err != nil {
			return nil, fmt.Errorf("%w: it is not plain JSON", ErrUnsupported)
		}
	}
	if as.newline {
		encoded.WriteByte('\n')
	}
	return encoded.Bytes(), nil
}

func writeJSON(out *bytes.Buffer, node *yaml.Node) error {
	switch node.Kind {
	case yaml.MappingNode:
		return writeJSONList(out, node.Content, "{}", func(i int) byte { return ":,"[i%2] })
	case yaml.SequenceNode:
		return writeJSONList(out, node.Content, "[]", func(int) byte { return ',' })
	case yaml.ScalarNode:
		return writeJSONScalar(out, node)
	}
	return fmt.Errorf("%w: it is not plain JSON", ErrUnsupported)
}

func writeJSONList(
	out *bytes.Buffer, nodes []*yaml.Node, brackets string, separator func(int) byte,
) error {
	out.WriteByte(brackets[0])
	for i, node := range nodes {
		if err := writeJSON(out, node); err != nil {
			return err
		}
		if i+1 < len(nodes) {
			out.WriteByte(separator(i))
		}
	}
	out.WriteByte(brackets[1])
	return nil
}

func writeJSONScalar(out *bytes.Buffer, node *yaml.Node) error {
	if node.ShortTag() != "!!str" && json.Valid([]byte(node.Value)) {
		out.WriteString(node.Value)
		return nil
	}
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(node.Value); err != nil {
		return err
	}
	out.Truncate(out.Len() - 1) // Encode's newline
	return nil
}
