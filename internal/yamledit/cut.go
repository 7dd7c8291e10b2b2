package yamledit

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	yaml "go.yaml.in/yaml/v3"
)

// splice is other text in the place of some bytes of a file as it was read.
type splice struct {
	from, to int
	text     string
}

// RemoveItem removes an item from one of the root's lists: its own bytes and no others, where the
// file shows which these are. Comments above and below it stay then.
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
	if items.Style&yaml.FlowStyle != 0 {
		f.cut(f.flowItem(item))
	} else {
		f.cut(f.blockItem(item))
	}
	items.Content = slices.Delete(items.Content, i, i+1)
	if len(items.Content) == 0 && items.Style&yaml.FlowStyle == 0 {
		f.cut(f.afterKey(list)) // or readers would find no list at all
	}
	return nil
}

// SetExisting gives a field of the root that has a text another one.
func (f *File) SetExisting(field, text string) {
	node := Field(f.Root(), field)
	from, known := f.offset(node.Line, node.Column)
	plain := splice{}
	for _, quote := range []string{"", `"`, "'"} {
		if written := quote + node.Value + quote; known && bytes.HasPrefix(f.data[from:],
			[]byte(written)) {
			plain = splice{from, from + len(written), literal(text)}
			break
		}
	}
	f.cut(plain, plain.to > 0)
	SetText(node, text)
}

// literal is a text as YAML and JSON write it on one line.
func literal(text string) string {
	encoded, err := json.Marshal(text)
	if err != nil {
		panic(err) // strings always encode
	}
	return string(encoded)
}

// cut notes a splice, or that one is not known: then the file is written anew as a whole.
func (f *File) cut(s splice, known bool) {
	f.splices = append(f.splices, s)
	f.uncut = f.uncut || !known
}

// spliced is the file with nothing but its splices done.
func (f *File) spliced() (data []byte, possible bool) {
	if f.uncut || len(f.splices) == 0 {
		return nil, false
	}
	slices.SortStableFunc(f.splices, func(a, b splice) int {
		return cmp.Compare(a.from,
			b.from)
	})
	end := 0
	for _, s := range f.splices {
		if s.from < end {
			return nil, false
		}
		data = append(append(data, f.data[end:s.from]...), s.text...)
		end = s.to
	}
	data = append(data, f.data[end:]...)
	return data, !f.layout.json || json.Valid(data)
}

// offset is where a line and column of the YAML library, which counts characters, begin.
func (f *File) offset(line, column int) (offset int, known bool) {
	for range line - 1 {
		end := bytes.IndexByte(f.data[offset:], '\n')
		if end < 0 {
			return 0, false
		}
		offset += end + 1
	}
	for i := range string(f.data[offset:]) {
		if column--; column == 0 {
			return offset + i, line > 0
		}
	}
	return 0, false
}

// blockItem covers the lines of an item that begins with a dash, up to the last one that is further
// to the right and neither empty nor a comment.
func (f *File) blockItem(item *yaml.Node) (s splice, known bool) {
	s.from, known = f.offset(item.Line, 1)
	if !known {
		return s, false
	}
	margin := -1
	end := s.from
	for line := range bytes.Lines(f.data[s.from:]) {
		text := strings.TrimLeft(string(line), " ")
		indent := len(line) - len(text)
		text = strings.TrimSpace(text)
		end += len(line)
		switch {
		case margin < 0 && !strings.HasPrefix(text, "-"):
			return s, false
		case margin < 0:
			margin, s.to = indent, end
		case text == "" || strings.HasPrefix(text, "#"):
		case indent <= margin:
			return s, true
		default:
			s.to = end
		}
	}
	return s, true
}

// afterKey puts an empty list behind the key of one that has no items any more.
func (f *File) afterKey(list string) (s splice, known bool) {
	i := fieldIndex(f.Root(), list)
	key := f.Root().Content[i]
	from, known := f.offset(key.Line, key.Column)
	if !known || !bytes.HasPrefix(f.data[from:], []byte(list+":")) {
		return s, false
	}
	from += len(list) + 1
	return splice{from, from, " []"}, true
}

// flowItem covers an item in braces, and the comma behind it or, where there is none, before it.
func (f *File) flowItem(item *yaml.Node) (s splice, known bool) {
	s.from, known = f.offset(item.Line, item.Column)
	if !known || f.data[s.from] != '{' {
		return s, false
	}
	s.to, known = closing(f.data, s.from)
	if !known {
		return s, false
	}
	behind := f.data[s.to:]
	rest := bytes.TrimLeft(behind, " \t\r\n")
	before := bytes.TrimRight(f.data[:s.from], " \t\r\n")
	switch {
	case bytes.HasPrefix(rest, []byte(",")):
		s.to += len(behind) - len(rest) + 1
		s.to += len(f.data[s.to:]) - len(bytes.TrimLeft(f.data[s.to:], " \t"))
		indent := bytes.TrimRight(f.data[:s.from], " \t")
		alone := bytes.HasSuffix(indent, []byte("\n"))
		if next := bytes.TrimPrefix(f.data[s.to:], []byte("\r")); alone &&
			bytes.HasPrefix(next, []byte("\n")) {
			s.from, s.to = len(indent), len(f.data)-len(next)+1
		}
	case bytes.HasSuffix(before, []byte(",")):
		s.from = len(before) - 1
	}
	return s, true
}

// closing is the place behind the bracket that closes the one at from.
func closing(data []byte, from int) (end int, found bool) {
	depth, quote := 0, byte(0)
	for i := from; i < len(data); i++ {
		c := data[i]
		switch {
		case quote == '"' && c == '\\':
			i++
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '"' || c == '\'':
			quote = c
		case c == '#' && (data[i-1] == ' ' || data[i-1] == '\n'):
			line := bytes.IndexByte(data[i:], '\n')
			if line < 0 {
				return 0, false
			}
			i += line
		case c == '{' || c == '[':
			depth++
		case c == '}' || c == ']':
			if depth--; depth == 0 {
				return i + 1, true
			}
		}
	}
	return 0, false
}
