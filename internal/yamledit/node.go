package yamledit

import (
	"reflect"
	"slices"
	"strings"

	yaml "go.yaml.in/yaml/v3"
)

// SetText makes node a string whatever it looks like. It is quoted, because the YAML versions that
// clients read differ in what an unquoted word is.
func SetText(node *yaml.Node, text string) {
	node.Kind, node.Tag, node.Style = yaml.ScalarNode, "!!str", yaml.DoubleQuotedStyle
	node.Value, node.Content, node.Alias, node.Anchor = text, nil, nil, ""
}

// NewText returns a string, as SetText sets it.
func NewText(text string) *yaml.Node {
	node := &yaml.Node{}
	SetText(node, text)
	return node
}

// newKey is a field name of ours: a plain word.
func newKey(name string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: name}
}

// NewMapping returns a mapping without fields.
func NewMapping() *yaml.Node { return &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"} }

func newSequence() *yaml.Node { return &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"} }

// Deref follows aliases.
func Deref(node *yaml.Node) *yaml.Node {
	for node != nil && node.Kind == yaml.AliasNode {
		node = node.Alias
	}
	return node
}

// Field returns the value of a mapping's own field, nil when there is none. It does not look
// through merge keys.
func Field(mapping *yaml.Node, name string) *yaml.Node {
	if i := fieldIndex(mapping, name); i >= 0 {
		return mapping.Content[i+1]
	}
	return nil
}

func fieldIndex(mapping *yaml.Node, name string) int {
	if mapping == nil || mapping.Kind != yaml.MappingNode {
		return -1
	}
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		if key := mapping.Content[i]; key.Kind == yaml.ScalarNode && key.Value == name {
			return i
		}
	}
	return -1
}

// SetField sets a field's value, at the end of the mapping when it is new.
func SetField(mapping *yaml.Node, name string, value *yaml.Node) {
	if i := fieldIndex(mapping, name); i >= 0 {
		mapping.Content[i+1] = value
		return
	}
	mapping.Content = append(mapping.Content, newKey(name), value)
}

// RemoveField removes a field with its comments; one that does not exist is no error.
func RemoveField(mapping *yaml.Node, name string) {
	if i := fieldIndex(mapping, name); i >= 0 {
		mapping.Content = append(mapping.Content[:i:i], mapping.Content[i+2:]...)
	}
}

// Index returns the index of the item of a list that has this name, or -1.
func Index(list *yaml.Node, name string) int {
	if list == nil || list.Kind != yaml.SequenceNode {
		return -1
	}
	for i, item := range list.Content {
		if value := At(item, "name"); value != nil && Text(value) == name {
			return i
		}
	}
	return -1
}

// At follows fields, and aliases on the way and at the end; it is nil where a field is missing.
func At(node *yaml.Node, fields ...string) *yaml.Node {
	node = Deref(node)
	for _, field := range fields {
		node = Deref(Field(node, field))
	}
	return node
}

// Items returns the items of the list At the fields, none for other nodes.
func Items(node *yaml.Node, fields ...string) []*yaml.Node {
	if node = At(node, fields...); node == nil || node.Kind != yaml.SequenceNode {
		return nil
	}
	return node.Content
}

// Text returns the text of the scalar At the fields, none for other nodes.
func Text(node *yaml.Node, fields ...string) string {
	if node = At(node, fields...); node != nil && node.Kind == yaml.ScalarNode {
		return node.Value
	}
	return ""
}

// IsNull reports whether a field has no value, which some files have where others have an empty
// list.
func IsNull(node *yaml.Node) bool {
	return node == nil || node.Kind == yaml.ScalarNode && node.ShortTag() == "!!null"
}

// Overlay sets everything of source in target and leaves what only target has. Lists of named items
// are overlaid by name; other lists are values.
func Overlay(target, source *yaml.Node) {
	for i := 0; i+1 < len(source.Content); i += 2 {
		name, value := source.Content[i].Value, source.Content[i+1]
		old := Field(target, name)
		switch {
		case old == nil || old.Kind != value.Kind:
			SetField(target, name, value)
		case value.Kind == yaml.MappingNode:
			Overlay(old, value)
		case value.Kind == yaml.SequenceNode && areNamed(value):
			overlayList(old, value)
		case !sameValue(old, value):
			SetField(target, name, value)
		}
	}
}

func overlayList(target, source *yaml.Node) {
	for _, item := range source.Content {
		i := Index(target, Field(item, "name").Value)
		if i >= 0 && target.Content[i].Kind == yaml.MappingNode {
			Overlay(target.Content[i], item)
			continue
		}
		target.Content = append(target.Content, item)
	}
}

func areNamed(list *yaml.Node) bool {
	for _, item := range list.Content {
		if Field(item, "name") == nil {
			return false
		}
	}
	return true
}

func sameValue(a, b *yaml.Node) bool {
	left, errLeft := valueOf(a)
	right, errRight := valueOf(b)
	return errLeft == nil && errRight == nil && reflect.DeepEqual(left, right)
}

// valueOf is what a node means, whatever its style: aliases and merge keys resolved, comments gone.
func valueOf(node *yaml.Node) (value any, err error) {
	err = node.Decode(&value)
	return value, err
}

// StripComments takes the comments off a tree.
func StripComments(node *yaml.Node) {
	node.HeadComment, node.LineComment, node.FootComment = "", "", ""
	for _, child := range node.Content {
		StripComments(child)
	}
}

// Comment puts lines above a field, in the place of what is there.
func Comment(mapping *yaml.Node, field string, lines ...string) {
	if i := fieldIndex(mapping, field); i >= 0 {
		mapping.Content[i].HeadComment = "# " + strings.Join(lines, "\n# ")
	}
}

// scrub removes the lines of comments that hold text, and reports whether there were any.
func scrub(node *yaml.Node, text string) (found bool) {
	for _, comment := range []*string{&node.HeadComment, &node.LineComment, &node.FootComment} {
		if strings.Contains(*comment, text) {
			*comment, found = withoutLines(*comment, text), true
		}
	}
	for _, child := range node.Content {
		found = scrub(child, text) || found
	}
	return found
}

func withoutLines(comment, text string) string {
	lines := slices.DeleteFunc(strings.Split(comment, "\n"), func(line string) bool {
		return strings.Contains(line, text)
	})
	return strings.Join(lines, "\n")
}
