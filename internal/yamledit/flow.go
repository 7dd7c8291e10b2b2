package yamledit

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	yaml "go.yaml.in/yaml/v3"
)

// writeInline writes a node in braces on one line, with the keys and texts of writeFlow.
func writeInline(out *bytes.Buffer, node *yaml.Node) error {
	brackets, step := "[]", 1
	switch {
	case node.Kind == yaml.MappingNode:
		brackets, step = "{}", 2
	case node.Kind != yaml.SequenceNode:
		return writeFlow(out, node, "")
	}
	out.WriteByte(brackets[0])
	for i := 0; i+step <= len(node.Content); i += step {
		if i > 0 {
			out.WriteString(", ")
		}
		if step == 2 {
			out.WriteString(flowKey(node.Content[i]) + ": ")
		}
		if err := writeInline(out, node.Content[i+step-1]); err != nil {
			return err
		}
	}
	out.WriteByte(brackets[1])
	return nil
}

// writeFlow writes a node as KYAML (KEP-5295): braces and brackets over several lines, keys as
// they are where no reader can take them for anything else, all text in double quotes, a comma
// behind everything. indent is that of the line in which the node begins.
func writeFlow(out *bytes.Buffer, node *yaml.Node, indent string) error {
	switch {
	case node.Kind == yaml.MappingNode && len(node.Content) == 0:
		out.WriteString("{}")
	case node.Kind == yaml.SequenceNode && len(node.Content) == 0:
		out.WriteString("[]")
	case node.Kind == yaml.MappingNode:
		out.WriteString("{\n")
		for i := 0; i+1 < len(node.Content); i += 2 {
			out.WriteString(indent + "  " + flowKey(node.Content[i]) + ": ")
			if err := writeFlow(out, node.Content[i+1], indent+"  "); err != nil {
				return err
			}
			out.WriteString(",\n")
		}
		out.WriteString(indent + "}")
	case node.Kind == yaml.SequenceNode:
		return writeFlowList(out, node.Content, indent)
	case node.Kind == yaml.ScalarNode && node.ShortTag() == "!!str":
		out.WriteString(literal(node.Value))
	case node.Kind == yaml.ScalarNode:
		out.WriteString(node.Value)
	default:
		return fmt.Errorf("%w: it has an anchor", ErrUnsupported)
	}
	return nil
}

// writeFlowList puts the brackets of a list of mappings on the lines of their braces.
func writeFlowList(out *bytes.Buffer, items []*yaml.Node, indent string) error {
	cuddled := !slices.ContainsFunc(items, func(item *yaml.Node) bool {
		return item.Kind != yaml.MappingNode || len(item.Content) == 0
	})
	out.WriteString("[")
	for i, item := range items {
		inner := indent
		switch {
		case !cuddled:
			inner += "  "
			out.WriteString("\n" + inner)
		case i > 0:
			out.WriteString(", ")
		}
		if err := writeFlow(out, item, inner); err != nil {
			return err
		}
		if !cuddled {
			out.WriteString(",")
		}
	}
	if !cuddled {
		out.WriteString("\n" + indent)
	}
	out.WriteString("]")
	return nil
}

// flowKey is a key, quoted where it could be something else than text.
func flowKey(key *yaml.Node) string {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	ambiguous := []string{"y", "yes", "n", "no", "on", "off", "true", "false", "null"}
	plain := strings.Trim(key.Value, letters+"0123456789_./-") == "" &&
		strings.IndexAny(key.Value, letters) == 0
	if plain && !slices.Contains(ambiguous, strings.ToLower(key.Value)) {
		return key.Value
	}
	return literal(key.Value)
}

// literal is a text as YAML and JSON write it on one line.
func literal(text string) string {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(text); err != nil {
		panic(err) // strings always encode
	}
	return strings.TrimSuffix(out.String(), "\n")
}
