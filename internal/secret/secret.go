// Package secret holds the one type that carries a token through the program. Whatever prints, logs
// or marshals a value of it shows REDACTED; only Reveal gives the text, so a search for Reveal
// finds every way out.
//
// It imports nothing of this module.
package secret

import (
	"fmt"
	"io"
	"log/slog"
	"strings"
)

const redacted = "REDACTED"

// String is a token, or any other text that must not be shown. The zero value is an empty secret.
type String struct{ text string }

// New wraps text.
func New(text string) String { return String{text} }

// MaxToken bounds a token in bytes; larger ones do not fit into the header that an API server
// reads.
const MaxToken = 64 << 10

// IsToken holds for what a header line can carry as a bearer token (RFC 6750, and no stricter than
// it has to be).
func IsToken(text string) bool {
	return text != "" && len(text) <= MaxToken &&
		!strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' })
}

// Reveal returns the text. Call it only where the secret leaves for its one rightful destination:
// an Authorization header, the store, or the result on standard output.
func (s String) Reveal() string { return s.text }

// Empty reports whether there is no text.
func (s String) Empty() bool { return s.text == "" }

// String implements fmt.Stringer.
func (s String) String() string { return redacted }

// GoString implements fmt.GoStringer.
func (s String) GoString() string { return redacted }

// Format implements fmt.Formatter, because %x and %d would otherwise reach the field.
func (s String) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// LogValue implements slog.LogValuer.
func (s String) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText implements encoding.TextMarshaler, and so covers JSON and YAML.
func (s String) MarshalText() ([]byte, error) { return []byte(redacted), nil }
