//go:build linux

package get_test

import (
	"fmt"
	"testing"

	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/test/lab"
)

// Limits of open files. Between the first and the last, the program and what it is built with
// lack a file for each of their purposes.
const (
	fewest = 3  // the standard streams
	most   = 16 // enough to mint
)

func TestWithoutFileDescriptorsThereIsTheAnswerOrOneError(t *testing.T) {
	t.Parallel()
	bothStores(t, func(t *testing.T, kind keyring.Kind) {
		m := newMachine(t, kind, nil)
		m.Prepare()
		for limit := fewest; limit <= most; limit++ {
			for name, prepare := range map[string]func(*machine){"a hit": (*machine).remember, "a miss": func(m *machine) { m.Forget() }} {
				t.Run(fmt.Sprintf("%s with %d", name, limit), func(t *testing.T) {
					m := m.in(t)
					prepare(m)
					m.checkWithin(limit)
					m.get().Silent().Token()
				})
			}
		}
	})
}

// remember makes sure that there is a token to find.
func (m *machine) remember() { m.get().Silent().Token() }

// getWithin runs a get that cannot have more files open than limit, its standard streams among
// them.
func (m *machine) getWithin(limit int) lab.Result {
	m.Helper()
	return m.getFromClient(fmt.Sprintf("ulimit -n %d || exit 99", limit)).Run(m.T)
}

// checkWithin wants a token and nothing else, or a failure as all others are. It is no usage
// error: that is the exit code of a crash of Go's, too.
func (m *machine) checkWithin(limit int) {
	m.Helper()
	r := m.getWithin(limit)
	switch {
	case r.Code == 0:
		r.Silent().Token()
	case limit == most, r.Code < 0, r.Code == exitUsage, r.Code > exitForbidden:
		m.Errorf("%s: exit code %d\n%s", r, r.Code, r.Stderr)
	default:
		r.OneError(r.Code)
	}
}
