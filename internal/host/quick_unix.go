//go:build unix

package host

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"github.com/sa-exec-credential/sa-exec-credential/internal/ui"
)

// errItself keeps a program from becoming itself without end.
var errItself = errors.New("it is this program itself")

// BecomeProgram runs the whole program in the place of this process, with the same arguments and
// variables: the one that lies beside this one's own file, whatever PATH says. It returns only when
// it fails.
func BecomeProgram() error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("finding this program's own path: %w", err)
	}
	program := filepath.Join(filepath.Dir(self), ui.Program)
	if SameFile(program, self) {
		err = errItself
	} else {
		err = syscall.Exec(program, os.Args, os.Environ())
	}
	return fmt.Errorf("running %q: %w", program, err)
}
