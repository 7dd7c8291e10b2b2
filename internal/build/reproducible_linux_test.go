package build

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// TestTheSameSourceGivesTheSameProgram builds with the flags of a release in two folders. make
// reproducible does it with everything that a release is made of, and with nothing in a cache.
func TestTheSameSourceGivesTheSameProgram(t *testing.T) {
	flags := releaseFlags(t)
	var programs [][]byte
	for _, folder := range []string{"a", "another/folder"} {
		dir := filepath.Join(t.TempDir(), folder)
		for _, part := range []string{"go.mod", "go.sum", "cmd", "internal",
			"kubeconfig-templates"} {
			copyTo(t, filepath.Join("..", "..", part), filepath.Join(dir, part))
		}
		command := exec.Command("go", append(append([]string{"build", "-o", "program"},
			flags...), "./cmd/sa-exec-credential")...)
		command.Dir = dir
		command.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=")
		if said, err := command.CombinedOutput(); err != nil {
			t.Fatalf("%q: %v\n%s", command.Args, err, said)
		}
		program, err := os.ReadFile(filepath.Join(dir, "program"))
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(program, []byte(dir)) {
			t.Errorf("the program tells that it was built in %s", dir)
		}
		programs = append(programs, program)
	}
	if !bytes.Equal(programs[0], programs[1]) {
		t.Error("the programs differ")
	}
}

// releaseFlags are those of .goreleaser.yaml, with something in the place of its templates.
func releaseFlags(t *testing.T) []string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "..", ".goreleaser.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var config struct {
		Builds []struct {
			Flags   []string `json:"flags"`
			LDFlags []string `json:"ldflags"`
		} `json:"builds"`
	}
	if err := yaml.Unmarshal(data, &config); err != nil || len(config.Builds) == 0 {
		t.Fatalf("%v in %s", err, data)
	}
	linker := regexp.MustCompile(`\{\{[^}]*\}\}`).ReplaceAllString(
		strings.Join(config.Builds[0].LDFlags, " "), "x")
	return append(config.Builds[0].Flags, "-ldflags", linker)
}

func copyTo(t *testing.T, from, to string) {
	t.Helper()
	info, err := os.Stat(from)
	if err != nil {
		t.Fatal(err)
	}
	if info.IsDir() {
		err = os.CopyFS(to, os.DirFS(from))
	} else {
		var data []byte
		if data, err = os.ReadFile(from); err == nil {
			err = os.MkdirAll(filepath.Dir(to), 0o755)
		}
		if err == nil {
			err = os.WriteFile(to, data, 0o644)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
}
