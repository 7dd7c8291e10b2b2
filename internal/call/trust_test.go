package call

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/sa-exec-credential/sa-exec-credential/internal/host"
)

func TestForgedRootsAreDroppedByStartingAgain(t *testing.T) {
	const file, dir = "SSL_CERT_FILE=", "SSL_CERT_DIR="
	for _, test := range []struct {
		name         string
		client, here []string
		want         []string // nil: it goes on
	}{
		{"none", nil, nil, nil},
		{"the client's own", []string{file + "/own"}, []string{file + "/own"}, nil},
		{"a file that the client does not have", []string{}, []string{file + "/forged"},
			[]string{}},
		{"another file than the client's", []string{file + "/own"}, []string{file +
			"/forged"}, []string{file + "/own"}},
		{"both", []string{}, []string{file + "/forged", dir + "/forged"}, []string{}},
		{"an empty one", []string{dir + "/own"}, []string{dir}, []string{dir + "/own"}},
		{"any, when the client is not known", nil, []string{file + "/perhaps"}, []string{}},
	} {
		t.Run(test.name, func(t *testing.T) {
			here := host.Snapshot(test.here)
			for _, name := range []string{"SSL_CERT_FILE", "SSL_CERT_DIR"} {
				value, present := here(name)
				t.Setenv(name, value)
				if !present {
					os.Unsetenv(name) // until the test ends
				}
			}
			var got []string
			h := host.System().With(here)
			h.ClientVariables = func() host.Variables {
				if test.client == nil {
					return nil
				}
				return host.Snapshot(test.client)
			}
			h.Restart = func(environment []string) error {
				got = slices.DeleteFunc(environment, func(setting string) bool {
					return !strings.HasPrefix(setting, "SSL_CERT_")
				})
				return nil
			}
			if err := (&Call{Host: h}).DropForgedRoots(); err != nil {
				t.Fatal(err)
			}
			if (got == nil) != (test.want == nil) || !slices.Equal(got, test.want) {
				t.Errorf("started again with %q, want %q", got, test.want)
			}
		})
	}
}
