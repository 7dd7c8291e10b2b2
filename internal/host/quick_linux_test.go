package host

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const clientPathVariable = "HOST_TEST_HITS"

// TestClientPathOfThisProgram is a part of the test below, which runs it under the program's name.
func TestClientPathOfThisProgram(t *testing.T) {
	path, err := ClientPath(os.Getenv(clientPathVariable) == "yes")
	fmt.Printf("path=%s %v\n", path, err)
}

func TestKubeconfigsNameTheProgramForHitsWhereItLiesBesideThisOne(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name   string
		hits   string
		beside func(program string) error
		quick  bool
	}{
		{"none", "yes", func(string) error { return nil }, false},
		{"one", "yes", func(program string) error {
			return os.WriteFile(program+"-get", nil, 0o700)
		}, true},
		{"one, and nothing is kept", "no", func(program string) error {
			return os.WriteFile(program+"-get", nil, 0o700)
		}, false},
		{"one that cannot be run", "yes", func(program string) error {
			return os.WriteFile(program+"-get", nil, 0o600)
		}, false},
		{"a link to one that lies beside another program", "yes", func(program string) error {
			other := filepath.Join(filepath.Dir(program), "other")
			if err := os.Mkdir(other, 0o700); err != nil {
				return err
			}
			for _, name := range []string{"sa-exec-credential", QuickProgram} {
				if err := os.WriteFile(filepath.Join(other, name), nil, 0o700); err != nil {
					return err
				}
			}
			return os.Symlink(filepath.Join(other, QuickProgram), program+"-get")
		}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			program := filepath.Join(t.TempDir(), "sa-exec-credential")
			data, err := os.ReadFile(self)
			if err == nil {
				err = os.WriteFile(program, data, 0o700)
			}
			if err == nil {
				err = test.beside(program)
			}
			if err != nil {
				t.Fatal(err)
			}
			command := exec.Command(program, "-test.run=^TestClientPathOfThisProgram$")
			command.Env = append(os.Environ(), clientPathVariable+"="+test.hits)
			output, err := command.Output()
			want := program
			if test.quick {
				want += "-get"
			}
			if err != nil || !strings.Contains(string(output), "path="+want+" <nil>\n") {
				t.Errorf("%v: %s", err, output)
			}
		})
	}
}
