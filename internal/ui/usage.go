package ui

import (
	"errors"
	"fmt"
)

// ErrUsage is what the user asked for and cannot be: a command line that contradicts itself, a
// value that is out of range. Its text is in no message.
var ErrUsage = errors.New("usage")

type usageError struct{ error }

// Usagef makes an ErrUsage that reads as the format says, and wraps what that wraps.
func Usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// Unwrap makes it an ErrUsage, too.
func (e usageError) Unwrap() []error { return []error{ErrUsage, e.error} }
