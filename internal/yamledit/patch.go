package yamledit

import (
	"bytes"
	"encoding/json"
	"reflect"
	"slices"
	"strings"

	yaml "go.yaml.in/yaml/v3"
)

// field is one of the root's, as it was read: an edit changes the nodes in place.
type field struct {
	key, node *yaml.Node
	value     any
	items     []*yaml.Node // of a list
	values    []any        // of the items
}

func fieldsOf(root *yaml.Node) []field {
	var fields []field
	for i := 0; i+1 < len(root.Content); i += 2 {
		node := root.Content[i+1]
		copied := *node
		was := field{key: root.Content[i], node: &copied}
		was.value, _ = valueOf(node)
		if node.Kind == yaml.SequenceNode {
			was.items = slices.Clone(node.Content)
			for _, item := range node.Content {
				value, _ := valueOf(item)
				was.values = append(was.values, value)
			}
		}
		fields = append(fields, was)
	}
	return fields
}

// patch collects the splices that turn a file as it was read into what its nodes mean now. It fails
// where the file does not show which bytes belong to what has changed.
type patch struct {
	*File
	flow    bool // the root is in braces
	splices []splice
	added   int // fields of the root in braces
	failed  bool
}

// patched is the file with nothing changed but the items that differ.
func (f *File) patched() (data []byte, possible bool) {
	root := f.Root()
	if f.scrubbed || root.Line == 0 || len(f.documents) > 1 && f.chosen < len(f.documents)-1 {
		return nil, false
	}
	p := &patch{File: f, flow: root.Style&yaml.FlowStyle != 0}
	for _, was := range f.fields {
		p.field(was, Field(root, was.key.Value))
	}
	for i := 0; i+1 < len(root.Content); i += 2 {
		isNew := !slices.ContainsFunc(f.fields, func(was field) bool {
			return was.key.Value == root.Content[i].Value
		})
		if isNew {
			p.newField(root.Content[i], root.Content[i+1])
		}
	}
	if p.failed {
		return nil, false
	}
	data, possible = spliced(f.data, p.splices)
	return data, possible && (!f.layout.json || json.Valid(data))
}

// put notes a splice, or that it is not known.
func (p *patch) put(from, to int, text string, known bool) {
	if p.layout.crlf {
		text = strings.ReplaceAll(text, "\n", "\r\n")
	}
	p.splices = append(p.splices, splice{from, to, text})
	p.failed = p.failed || !known
}

func (p *patch) field(was field, now *yaml.Node) {
	if now == nil {
		p.failed = true
		return
	}
	value, err := valueOf(now)
	isEmpty := len(was.items) == 0 && (was.node.Kind == yaml.SequenceNode || IsNull(was.node))
	switch {
	case err != nil || was.node.Kind == yaml.AliasNode || was.node.Anchor != "":
		p.failed = err != nil || p.failed || !reflect.DeepEqual(value, was.value)
	case reflect.DeepEqual(value, was.value):
	case now.Kind == yaml.SequenceNode && isEmpty:
		p.fill(was, now)
	case now.Kind == yaml.SequenceNode && was.node.Kind == yaml.SequenceNode:
		p.list(was, now)
	case now.Kind == yaml.ScalarNode && was.node.Kind == yaml.ScalarNode:
		from, to, known := p.scalar(was.node)
		p.put(from, to, literal(now.Value), known && now.ShortTag() == "!!str")
	default:
		p.failed = true
	}
}

// scalar covers a text on one line, with its quotes.
func (p *patch) scalar(node *yaml.Node) (from, to int, known bool) {
	from, known = p.offset(node.Line, node.Column)
	for _, quote := range []string{"", `"`, "'"} {
		written := quote + node.Value + quote
		if known && written != "" && bytes.HasPrefix(p.data[from:], []byte(written)) {
			return from, from + len(written), true
		}
	}
	return from, from, false
}

// list is for one that had items. Those that it has still are in their order, before new ones.
func (p *patch) list(was field, now *yaml.Node) {
	left, last := now.Content, -1
	inFlow := was.node.Style&yaml.FlowStyle != 0
	item := func(i int) (splice, bool) {
		if inFlow {
			return p.flowItem(was.items[i])
		}
		return p.blockItem(was.items[i])
	}
	var removed []int
	for i, old := range was.items {
		if len(left) == 0 || left[0] != old {
			removed = append(removed, i)
			continue
		}
		left, last = left[1:], i
		value, err := valueOf(old)
		if err != nil || !reflect.DeepEqual(value, was.values[i]) {
			p.replace(was, i, inFlow)
		}
	}
	if inFlow && last < 0 && len(left) > 0 { // commas stay what they are
		from, to, known := p.braces(was.items[0])
		p.put(from, to, p.flowItems(was.items[0], left), known)
		removed, left = removed[1:], nil
	}
	for _, i := range removed {
		s, known := item(i)
		p.put(s.from, s.to, "", known)
	}
	switch {
	case len(left) > 0 && inFlow:
		_, end, known := p.braces(was.items[last])
		p.put(end, end, p.separator(was)+p.flowItems(was.items[last], left), known)
	case len(left) > 0:
		s, known := item(max(last, 0))
		at := s.to
		if last < 0 {
			at = s.from
		}
		p.insertLines(at, p.blockItems(was.items[0], left), known)
	case len(now.Content) == 0 && !inFlow:
		from, known := p.afterKey(was.key)
		p.put(from, from, " []", known) // or readers would find no list at all
	}
}

// replace writes an item anew that has changed.
func (p *patch) replace(was field, i int, inFlow bool) {
	old := was.items[i]
	if inFlow {
		from, to, known := p.braces(old)
		p.put(from, to, p.flowItems(old, []*yaml.Node{old}), known)
		return
	}
	s, known := p.blockItem(old)
	// its bytes are not the file's last ones where a comment comes behind it
	p.put(s.from, s.to, p.blockItems(old, []*yaml.Node{old}), known)
}

// insertLines puts whole lines at the beginning of one, or at the end of a file whose last line
// may lack its end.
func (p *patch) insertLines(at int, text string, known bool) {
	if known && at > 0 && p.data[at-1] != '\n' {
		text = "\n" + text
	}
	p.put(at, at, text, known)
}

// blockItems are items with dashes, in the column of another item's.
func (p *patch) blockItems(like *yaml.Node, items []*yaml.Node) string {
	from, known := p.offset(like.Line, 1)
	if !known {
		p.failed = true
		return ""
	}
	line := p.data[from:]
	return p.blockList(items, string(line[:len(line)-len(bytes.TrimLeft(line, " "))]))
}

// blockList encodes each item by itself: the YAML library keeps, and copies, all of what it has to
// write at once.
func (p *patch) blockList(items []*yaml.Node, margin string) string {
	var text strings.Builder
	for i := range items {
		text.WriteString(p.block(newList(items[i:i+1]), margin))
	}
	return text.String()
}

func newList(items []*yaml.Node) *yaml.Node {
	list := newSequence()
	for _, item := range items {
		// what is above or below an item in the file is there still
		alone := *item
		alone.HeadComment, alone.FootComment = "", ""
		withoutLastFoot(&alone)
		list.Content = append(list.Content, &alone)
	}
	return list
}

// withoutLastFoot drops comments that the YAML library found behind the last field of a node.
func withoutLastFoot(node *yaml.Node) {
	n := len(node.Content)
	if n == 0 {
		return
	}
	node.Content = slices.Clone(node.Content)
	for i := max(0, n-2); i < n; i++ {
		last := *node.Content[i]
		last.FootComment = ""
		node.Content[i] = &last
	}
	withoutLastFoot(node.Content[n-1])
}

// block is a node in the file's layout, moved to the right.
func (p *patch) block(node *yaml.Node, margin string) string {
	encoded, err := encodeYAML([]*yaml.Node{{Kind: yaml.DocumentNode,
		Content: []*yaml.Node{node}}}, p.layout)
	if err != nil {
		p.failed = true
		return ""
	}
	var text strings.Builder
	for line := range strings.Lines(string(encoded)) {
		if strings.TrimSpace(line) != "" {
			text.WriteString(margin)
		}
		text.WriteString(line)
	}
	return text.String()
}

// fill puts items into a list that had none: [], null, or nothing at all.
func (p *patch) fill(was field, now *yaml.Node) {
	from, to, known := p.empty(was)
	if p.flow {
		text, err := p.flowText(now, p.indentAt(from))
		p.put(from, to, text, known && err == nil && to > from)
		return
	}
	after, isPlain := p.afterKey(was.key)
	known = known && isPlain && len(bytes.Trim(p.data[after:from], " ")) == 0
	p.put(after, to, "", known)
	end := bytes.IndexByte(p.data[to:], '\n')
	if end += to + 1; end == to {
		end = len(p.data)
	}
	margin := strings.Repeat(" ", was.key.Column-1)
	if !p.layout.compact {
		margin += strings.Repeat(" ", p.layout.indent)
	}
	p.insertLines(end, p.blockList(now.Content, margin), known)
}

// empty covers a value that is nothing.
func (p *patch) empty(was field) (from, to int, known bool) {
	if was.node.Kind == yaml.ScalarNode && was.node.Value == "" {
		from, known = p.afterKey(was.key)
		return from, from, known
	}
	from, known = p.offset(was.node.Line, was.node.Column)
	if was.node.Kind == yaml.ScalarNode {
		return p.scalar(was.node)
	}
	to, closed := closing(p.data, from)
	return from, to, known && closed && len(bytes.TrimSpace(p.data[from+1:to-1])) == 0
}

// afterKey is the place behind the colon of a plain key.
func (p *patch) afterKey(key *yaml.Node) (offset int, known bool) {
	offset, known = p.offset(key.Line, key.Column)
	for _, name := range []string{key.Value + ":", literal(key.Value) + ":"} {
		if known && bytes.HasPrefix(p.data[offset:], []byte(name)) {
			return offset + len(name), true
		}
	}
	return 0, false
}

// newField adds a field to the root, behind the others.
func (p *patch) newField(key, value *yaml.Node) {
	if p.flow {
		p.newFlowField(key, value)
		return
	}
	mapping := NewMapping()
	mapping.Content = []*yaml.Node{key, value}
	p.insertLines(p.contentEnd(), p.block(mapping, strings.Repeat(" ", p.Root().Column-1)), true)
}

// contentEnd is behind the last line that is neither empty, a comment nor the end of the document.
func (p *patch) contentEnd() int {
	end := len(p.data) - len(p.layout.tail)
	for end > 0 {
		begin := bytes.LastIndexByte(p.data[:end-1], '\n') + 1
		line := strings.TrimSpace(string(p.data[begin:end]))
		if line != "" && line[0] != '#' && line != "..." {
			break
		}
		end = begin
	}
	return end
}

func (p *patch) newFlowField(key, value *yaml.Node) {
	root := p.Root()
	from, known := p.offset(root.Line, root.Column)
	if !known || p.data[from] != '{' {
		p.failed = true
		return
	}
	last, end, known := lastInBraces(p.data, from)
	indent := p.indentAt(end)
	text, err := p.flowText(value, indent+p.step())
	name := flowKey(key)
	if p.layout.json {
		name = literal(key.Value)
	}
	p.failed = p.failed || !known || err != nil
	multiline, comma := p.isMultiline(from, end), ""
	c := p.data[last]
	if isFirst := p.added == 0; isFirst && c != ',' && c != '{' || !isFirst && !multiline {
		comma = ","
	}
	p.added++
	text = name + ":" + p.space() + text
	if !multiline {
		p.put(last+1, last+1, comma+p.space()+text, true)
		return
	}
	if !p.layout.json {
		text += ","
	} else if p.added > 1 {
		p.failed = true // whose commas stand between
	}
	// a comment behind the last field stays there
	p.put(last+1, last+1, comma, true)
	line := bytes.LastIndexByte(p.data[:end], '\n') + 1
	p.insertLines(line, indent+p.step()+text+"\n", true)
}

// lastInBraces is the last character in a pair of braces that is neither space nor comment, and the
// brace that closes them.
func lastInBraces(data []byte, from int) (last, end int, known bool) {
	behind, known := closing(data, from)
	if !known {
		return from, from, false
	}
	end, last = behind-1, from
	quote := byte(0)
	for i := from + 1; i < end; i++ {
		c := data[i]
		isSpace := c == ' ' || c == '\t' || c == '\r' || c == '\n'
		switch {
		case quote == 0 && c == '#' && (data[i-1] == ' ' || data[i-1] == '\n'):
			i += max(0, bytes.IndexByte(data[i:], '\n'))
			continue
		case quote == '"' && c == '\\':
			i++
		case quote != 0 && c == quote:
			quote = 0
		case quote == 0 && (c == '"' || c == '\''):
			quote = c
		}
		if !isSpace {
			last = i
		}
	}
	return last, end, true
}

// braces covers a mapping in braces.
func (p *patch) braces(node *yaml.Node) (from, to int, known bool) {
	from, known = p.offset(node.Line, node.Column)
	if !known || p.data[from] != '{' {
		return 0, 0, false
	}
	to, known = closing(p.data, from)
	return from, to, known
}

// flowItems are items in braces, as another one is written.
func (p *patch) flowItems(like *yaml.Node, items []*yaml.Node) string {
	from, to, known := p.braces(like)
	if !known {
		p.failed = true
		return ""
	}
	var texts []string
	for _, item := range items {
		text, err := p.flowTextLike(item, p.indentAt(to-1), p.isMultiline(from, to))
		p.failed = p.failed || err != nil
		texts = append(texts, text)
	}
	return strings.Join(texts, ","+p.space())
}

// separator is what stands between two items.
func (p *patch) separator(was field) string {
	first, known := p.offset(was.items[0].Line, was.items[0].Column)
	open, knownToo := p.offset(was.node.Line, was.node.Column)
	if known && knownToo && p.isMultiline(open, first) {
		return ",\n" + p.indentAt(first)
	}
	return "," + p.space()
}

// space is what follows a comma or a colon.
func (p *patch) space() string {
	if p.layout.json && p.layout.prefix == "" {
		return ""
	}
	return " "
}

// step is one level of indentation in braces.
func (p *patch) step() string {
	if p.layout.json {
		return p.layout.prefix
	}
	return "  "
}

func (p *patch) isMultiline(from, to int) bool {
	return bytes.IndexByte(p.data[from:to], '\n') >= 0
}

// indentAt is the indentation of the line in which a byte is.
func (p *patch) indentAt(offset int) string {
	line := p.data[bytes.LastIndexByte(p.data[:offset], '\n')+1:]
	return string(line[:len(line)-len(bytes.TrimLeft(line, " \t"))])
}

func (p *patch) flowText(node *yaml.Node, indent string) (string, error) {
	return p.flowTextLike(node, indent, p.layout.flow || p.layout.prefix != "")
}

func (p *patch) flowTextLike(node *yaml.Node, indent string, multiline bool) (string, error) {
	var out bytes.Buffer
	switch {
	case p.layout.json && multiline:
		if err := writeJSON(&out, node); err != nil {
			return "", err
		}
		var indented bytes.Buffer
		err := json.Indent(&indented, out.Bytes(), indent, p.layout.prefix)
		return indented.String(), err
	case p.layout.json:
		err := writeJSON(&out, node)
		return out.String(), err
	case multiline:
		err := writeFlow(&out, node, indent)
		return out.String(), err
	}
	err := writeInline(&out, node)
	return out.String(), err
}
