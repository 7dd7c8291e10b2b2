package yamledit

import (
	"bytes"
	"cmp"
	"slices"
	"strings"

	yaml "go.yaml.in/yaml/v3"
)

// splice is other text in the place of some bytes of a file as it was read.
type splice struct {
	from, to int
	text     string
}

// spliced is data with nothing but its splices done; not possible where they overlap.
func spliced(data []byte, splices []splice) (result []byte, possible bool) {
	slices.SortStableFunc(splices, func(a, b splice) int { return cmp.Compare(a.from, b.from) })
	end := 0
	for _, s := range splices {
		if s.from < end {
			return nil, false
		}
		result = append(append(result, data[end:s.from]...), s.text...)
		end = s.to
	}
	return append(result, data[end:]...), true
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
