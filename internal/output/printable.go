package output

import (
	"encoding"
	"encoding/json"
	"reflect"

	"github.com/sa-exec-credential/sa-exec-credential/internal/ui"
)

// printableValue is a copy of a value that is about to be encoded, with every text in it Printable:
// in fields, elements, keys, and behind pointers. What encodes itself stays as it is, and so do
// fields that are not encoded.
func printableValue(v reflect.Value) reflect.Value {
	if encodesItself(v) {
		return v
	}
	clean := reflect.New(v.Type()).Elem()
	clean.Set(v)
	switch v.Kind() {
	case reflect.String:
		clean.SetString(ui.Printable(v.String()))
	case reflect.Struct:
		for i := range v.NumField() {
			if field := v.Type().Field(i); field.IsExported() &&
				field.Tag.Get("json") != "-" {
				clean.Field(i).Set(printableValue(v.Field(i)))
			}
		}
	case reflect.Pointer:
		if !v.IsNil() {
			clean.Set(reflect.New(v.Type().Elem()))
			clean.Elem().Set(printableValue(v.Elem()))
		}
	case reflect.Interface:
		if !v.IsNil() {
			clean.Set(printableValue(v.Elem()))
		}
	case reflect.Slice, reflect.Array:
		printableElements(v, clean)
	case reflect.Map:
		printableEntries(v, clean)
	}
	return clean
}

func encodesItself(v reflect.Value) bool {
	if !v.CanInterface() {
		return true
	}
	switch v.Interface().(type) {
	case json.Marshaler, encoding.TextMarshaler:
		return true
	}
	return false
}

func printableElements(v, clean reflect.Value) {
	if v.Kind() == reflect.Slice && !v.IsNil() {
		clean.Set(reflect.MakeSlice(v.Type(), v.Len(), v.Len()))
	}
	for i := range v.Len() {
		clean.Index(i).Set(printableValue(v.Index(i)))
	}
}

func printableEntries(v, clean reflect.Value) {
	if v.IsNil() {
		return
	}
	clean.Set(reflect.MakeMap(v.Type()))
	for entries := v.MapRange(); entries.Next(); {
		clean.SetMapIndex(printableValue(entries.Key()), printableValue(entries.Value()))
	}
}
