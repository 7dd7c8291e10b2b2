// Package output encodes lists as -o json and -o yaml print them. It imports of this module
// internal/ui alone; it is no part of that because no hit encodes a list, and every one would pay
// for what that links.
package output

import (
	"encoding/json"
	"reflect"

	"sigs.k8s.io/yaml"
)

// Version names the shape of what -o json and -o yaml print. It changes when a field changes its
// meaning or goes.
const Version = "sa-exec-credential/v1"

// Encode writes a list as -o json or -o yaml prints it. Texts in it come from files and servers,
// and are made printable: the encoders leave in what a terminal obeys, or whoever decodes it gets
// it.
func Encode(format string, list any) ([]byte, error) {
	list = printableValue(reflect.ValueOf(list)).Interface()
	if format == "yaml" {
		return yaml.Marshal(list)
	}
	encoded, err := json.MarshalIndent(list, "", "  ")
	return append(encoded, '\n'), err
}
