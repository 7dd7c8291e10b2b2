//go:build linux

// Package rotate_test interrupts rotate and revoke wherever they can be, on machines with seven
// profiles that share one device, and looks at what is left: no profile may be dead, and the next
// rotate or revoke finishes what the last one began.
package rotate_test

import (
	"testing"

	"github.com/sa-exec-credential/sa-exec-credential/test/lab"
)

func TestMain(m *testing.M) { lab.Main(m, lab.Options{}) }
