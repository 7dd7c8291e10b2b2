package yamledit

import (
	"fmt"
	"reflect"
	"slices"
)

// Touch says that the edit can change a field of the root, or only the items of its list that have
// these names.
func (f *File) Touch(field string, names ...string) {
	f.touched[field] = append(f.touched[field], names...)
}

// prove compares a file before and after: all documents, and what readers see. Anchors, for
// example, can let one edit change two places.
func (f *File) prove(after []any, data []byte) error {
	for i, before := range f.before {
		if i == f.chosen {
			before, after[i] = f.touched.others(before), f.touched.others(after[i])
		}
		if !reflect.DeepEqual(before, after[i]) {
			return f.unsupported()
		}
	}
	if f.kind.View == nil {
		return nil
	}
	before, errBefore := f.kind.View(f.data, f.touched)
	seen, errAfter := f.kind.View(data, f.touched)
	if errBefore != nil || errAfter != nil || !reflect.DeepEqual(before, seen) {
		return f.unsupported()
	}
	return nil
}

func (f *File) unsupported() error { return fmt.Errorf("%w: %q", ErrUnsupported, f.path) }

// others is a document without what was touched.
func (t Touched) others(document any) map[any]any {
	others := map[any]any{}
	for key, field := range asMap(document) {
		name, _ := key.(string)
		names, touched := t[name]
		if !touched {
			others[key] = field
			// none, null and [] are the same
		} else if items := otherItems(field, names); len(items) > 0 {
			others[key] = items
		}
	}
	return others
}

// asMap covers both types that the YAML library decodes mappings to.
func asMap(value any) map[any]any {
	switch mapping := value.(type) {
	case map[string]any:
		converted := map[any]any{}
		for key, value := range mapping {
			converted[key] = value
		}
		return converted
	case map[any]any:
		return mapping
	}
	return nil
}

// otherItems are those of a list that have none of the names; of a field that was touched as a
// whole there are none.
func otherItems(list any, names []string) []any {
	if len(names) == 0 {
		return nil
	}
	items, _ := list.([]any)
	return slices.DeleteFunc(slices.Clone(items), func(item any) bool {
		name, isText := asMap(item)["name"].(string)
		return isText && slices.Contains(names, name)
	})
}
