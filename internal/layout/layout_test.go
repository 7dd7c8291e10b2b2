// Package layout has no code: its tests hold the packages of this module to the direction of their
// imports, and the program to what it links. docs/design.md draws both, and says why nothing
// changes the environment of the process.
package layout

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/sa-exec-credential/sa-exec-credential/"

// order is from the command line down. A package imports only what comes after it.
var order = []string{
	"cmd/sa-exec-credential", "cmd/sa-exec-credential-get",
	"internal/lifecycle", "internal/doctor", "internal/advice", "internal/completion",
	"internal/manual", "internal/commandline",
	"internal/prepare",
	"internal/session",
	"internal/call", "internal/build", "internal/output",
	"internal/admin", "internal/device",
	"internal/host",
	"internal/rights", "internal/authority", "internal/invitation", "internal/oidc",
	"internal/bootstrap", "internal/cluster", "internal/kubeconfig", "internal/kuberc",
	"internal/cache", "internal/client", "internal/profile",
	"internal/mint", "internal/keyring", "internal/execcred", "internal/yamledit",
	"internal/eventlog", "internal/sealed",
	"internal/timer", "internal/connect", "internal/api", "internal/ui", "internal/parallel", "internal/files",
	"internal/secret",
	"kubeconfig-templates",
}

// quick is what the program for hits links of other modules. Each package is initialised in every
// call of every client, so one that is new here is a decision, and not an accident.
var quick = []string{
	"github.com/godbus/dbus", "github.com/gofrs/flock", "github.com/google/go-tpm",
	"github.com/kballard/go-shellquote", "github.com/zalando/go-keyring",
	"go.yaml.in/yaml", "golang.org/x/sys", "golang.org/x/term", "k8s.io/apimachinery/pkg",
}

// linked is what the whole program links. It does a miss, and a hit where it is alone.
var linked = []string{
	"github.com/alecthomas/kong", "github.com/davecgh/go-spew", "github.com/fxamacker/cbor",
	"github.com/go-logr/logr", "github.com/godbus/dbus", "github.com/gofrs/flock", "github.com/google/go-tpm",
	"github.com/json-iterator/go", "github.com/kballard/go-shellquote",
	"github.com/modern-go/concurrent", "github.com/modern-go/reflect2",
	"github.com/munnerz/goautoneg",
	"github.com/spf13/cobra", "github.com/spf13/pflag", "github.com/x448/float16",
	"github.com/zalando/go-keyring",
	"go.yaml.in/yaml", "golang.org/x/net", "golang.org/x/oauth2", "golang.org/x/sys",
	"golang.org/x/term",
	"golang.org/x/text", "golang.org/x/time", "gopkg.in/inf.v0",
	"k8s.io/apimachinery/pkg", "k8s.io/apimachinery/third_party",
	"k8s.io/client-go/features", "k8s.io/client-go/pkg", "k8s.io/client-go/plugin",
	"k8s.io/client-go/rest",
	"k8s.io/client-go/tools", "k8s.io/client-go/transport", "k8s.io/client-go/util",
	"k8s.io/klog/v2", "k8s.io/kube-openapi/pkg", "k8s.io/utils/clock", "k8s.io/utils/dump",
	"k8s.io/utils/internal", "k8s.io/utils/net", "k8s.io/utils/ptr",
	"sigs.k8s.io/json", "sigs.k8s.io/randfill", "sigs.k8s.io/structured-merge-diff",
	"sigs.k8s.io/yaml",
}

func list(t *testing.T, args ...string) []string {
	t.Helper()
	command := exec.Command("go", append([]string{"list"}, args...)...)
	command.Dir = filepath.Join("..", "..")
	command.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux")
	output, err := command.Output()
	if err != nil {
		t.Fatalf("go list %q: %v", args, err)
	}
	return strings.Split(strings.TrimSpace(string(output)), "\n")
}

// sources are the files of some packages that are no tests, for all platforms.
func sources(t *testing.T, packages ...string) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	for _, dir := range list(t, append([]string{"-f", "{{.Dir}}"}, packages...)...) {
		paths, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			if strings.HasSuffix(path, "_test.go") {
				continue
			}
			if files[path], err = os.ReadFile(path); err != nil {
				t.Fatal(err)
			}
		}
	}
	return files
}

func TestNoImportPointsUp(t *testing.T) {
	for _, line := range list(t, "-f", `{{.ImportPath}} {{join .Imports " "}}`, "./cmd/...",
		"./internal/...") {
		from, imports, _ := strings.Cut(strings.TrimPrefix(line, module), " ")
		if strings.HasPrefix(from, "internal/bench/") || from == "internal/layout" ||
			strings.HasSuffix(from, "test") {
			continue // programs to compare with, and what only tests import
		}
		rank := slices.Index(order, from)
		if rank < 0 {
			t.Errorf("%s has no place in the order", from)
		}
		for imported := range strings.FieldsSeq(imports) {
			if to, own := strings.CutPrefix(imported, module); own &&
				slices.Index(order, to) <= rank {
				t.Errorf("%s imports %s, which is not below it", from, to)
			}
		}
	}
}

func TestAGetLinksNoMoreThanIsNamed(t *testing.T) {
	for program, named := range map[string][]string{"./cmd/sa-exec-credential": linked,
		"./cmd/sa-exec-credential-get": quick} {
		found := modules(t, program)
		for _, name := range found {
			if !slices.Contains(named, name) {
				t.Errorf("%s links %s", program, name)
			}
		}
		for _, name := range named {
			if !slices.Contains(found, name) {
				t.Errorf("%s links %s no more: take it off the list", program, name)
			}
		}
	}
}

// modules are what a program links of other modules.
func modules(t *testing.T, program string) (found []string) {
	t.Helper()
	for _, path := range list(t, "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}",
		program) {
		if path == "" || strings.HasPrefix(path, module) {
			continue
		}
		parts := strings.Split(path, "/")
		depth := 2
		if slices.Contains([]string{"github.com", "golang.org", "k8s.io"}, parts[0]) {
			depth = 3
		}
		found = append(found, strings.Join(parts[:min(depth, len(parts))], "/"))
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// TestNoPackageHoldsTooMuch bounds a package to 15 % of the code, and the command line to 2,000
// lines.
func TestNoPackageHoldsTooMuch(t *testing.T) {
	lines, total := map[string]int{}, 0
	for source, data := range sources(t, "./cmd/...", "./internal/...") {
		count := bytes.Count(data, []byte("\n"))
		lines[filepath.Dir(source)] += count
		total += count
	}
	for dir, count := range lines {
		if count*100 > total*15 {
			t.Errorf("%s has %d of %d lines", filepath.Base(dir), count, total)
		}
		if filepath.Base(filepath.Dir(dir)) == "cmd" && count >= 2000 {
			t.Errorf("%s has %d lines", filepath.Base(dir), count)
		}
	}
}

// setters change the environment of the process, in os, syscall, x/sys/unix and x/sys/windows.
var setters = []string{"Setenv", "Unsetenv", "Clearenv", "SetEnvironmentVariable"}

// TestNothingChangesTheEnvironment looks for any use of those names: a child that is started
// meanwhile would inherit the change.
func TestNothingChangesTheEnvironment(t *testing.T) {
	for path, data := range sources(t, "./...") {
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, path, data, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(node ast.Node) bool {
			name, ok := node.(*ast.Ident)
			if ok && slices.Contains(setters, name.Name) {
				t.Errorf("%s: %s", set.Position(name.Pos()), name.Name)
			}
			return true
		})
	}
}
