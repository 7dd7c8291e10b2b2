package yamledit

import (
	"reflect"

	yaml "go.yaml.in/yaml/v3"
)

// setText makes node a string whatever it looks like. It is quoted, because the YAML versions that clients read differ
// in what an unquoted word is.
func SetText(node *yaml.Node, text string) {
	node.Kind, node.Tag, node.Style, node.Value = yaml.ScalarNode, "!!str", yaml.DoubleQuotedStyle, text
	node.Content, node.Alias, node.Anchor = nil, nil, ""
}

func NewText(text string) *yaml.Node {
	node := &yaml.Node{}
	SetText(node, text)
	return node
}

// keyNode is a field name of ours: a plain word.
func NewKey(name string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: name}
}

func NewMapping() *yaml.Node { return &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"} }

func NewSequence() *yaml.Node { return &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"} }

// pointed follows aliases.
func Deref(node *yaml.Node) *yaml.Node {
	for node != nil && node.Kind == yaml.AliasNode {
		node = node.Alias
	}
	return node
}

// field returns the value of a mapping's own field, nil when there is none; merge keys are not looked through.
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

func SetField(mapping *yaml.Node, name string, value *yaml.Node) {
	if i := fieldIndex(mapping, name); i >= 0 {
		mapping.Content[i+1] = value
		return
	}
	mapping.Content = append(mapping.Content, NewKey(name), value)
}

func RemoveField(mapping *yaml.Node, name string) {
	if i := fieldIndex(mapping, name); i >= 0 {
		mapping.Content = append(mapping.Content[:i:i], mapping.Content[i+2:]...)
	}
}

// named returns the index of the item of a list that has this name, or -1.
func Index(list *yaml.Node, name string) int {
	if list == nil || list.Kind != yaml.SequenceNode {
		return -1
	}
	for i, item := range list.Content {
		value := Deref(Field(Deref(item), "name"))
		if value != nil && value.Kind == yaml.ScalarNode && value.Value == name {
			return i
		}
	}
	return -1
}

// isNull holds for a field without a value, which kubeconfigs have where others have an empty list.
func IsNull(node *yaml.Node) bool {
	return node == nil || node.Kind == yaml.ScalarNode && node.ShortTag() == "!!null"
}

// overlay sets everything of source in target and leaves what only target has. Lists of named items are overlaid by
// name; other lists are values.
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
	left, errLeft := ValueOf(a)
	right, errRight := ValueOf(b)
	return errLeft == nil && errRight == nil && reflect.DeepEqual(left, right)
}

// valueOf is what a node means, whatever its style: aliases and merge keys resolved, comments gone.
func ValueOf(node *yaml.Node) (value any, err error) {
	err = node.Decode(&value)
	return value, err
}

// stripComments takes the comments off a tree.
func StripComments(node *yaml.Node) {
	node.HeadComment, node.LineComment, node.FootComment = "", "", ""
	for _, child := range node.Content {
		StripComments(child)
	}
}
