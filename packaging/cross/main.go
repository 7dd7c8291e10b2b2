// Command cross sees that the program would compile for some platforms, such as linux/arm, at a small
// part of what compiling costs: types are checked, of other modules without the bodies of functions.
package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/tools/go/packages"
)

const module = "github.com/sa-exec-credential/sa-exec-credential/"

func main() {
	failed := false
	for _, platform := range os.Args[1:] {
		problems, err := check(platform)
		if err != nil {
			problems = append(problems, err.Error())
		}
		for _, problem := range problems {
			fmt.Fprintf(os.Stderr, "cross: %s: %s\n", platform, problem)
			failed = true
		}
	}
	if failed {
		os.Exit(1)
	}
}

// check lists what the compiler would say of this module's packages.
func check(platform string) (problems []string, err error) {
	os, arch, found := strings.Cut(platform, "/")
	if !found {
		return nil, fmt.Errorf("not a GOOS/GOARCH")
	}
	root, err := filepath.Abs("..")
	if err != nil {
		return nil, err
	}
	loaded, err := packages.Load(&packages.Config{
		Mode: packages.NeedName | packages.NeedFiles | packages.NeedCompiledGoFiles |
			packages.NeedImports | packages.NeedDeps | packages.NeedTypes |
			packages.NeedSyntax | packages.NeedTypesSizes | packages.NeedModule,
		Dir: root, Env: environment(os, arch), ParseFile: parserFor(root),
	}, "./cmd/...")
	if err != nil {
		return nil, err
	}
	checked := 0
	packages.Visit(loaded, nil, func(p *packages.Package) {
		if !strings.HasPrefix(p.PkgPath, module) {
			return
		}
		checked++
		for _, e := range p.Errors {
			problems = append(problems, e.Error())
		}
	})
	if checked == 0 {
		return nil, fmt.Errorf("there is no package in %s", root)
	}
	return problems, nil
}

func environment(system, arch string) []string {
	return append(os.Environ(), "GOOS="+system, "GOARCH="+arch, "CGO_ENABLED=0", "GOWORK=off")
}

// parserFor leaves the bodies of functions away where the root's are not.
func parserFor(root string) func(*token.FileSet, string, []byte) (*ast.File, error) {
	return func(set *token.FileSet, name string, source []byte) (*ast.File, error) {
		file, err := parser.ParseFile(set, name, source, parser.SkipObjectResolution)
		if err != nil || strings.HasPrefix(name, root+string(filepath.Separator)) {
			return file, err
		}
		for _, declaration := range file.Decls {
			if function, ok := declaration.(*ast.FuncDecl); ok {
				function.Body = nil
			}
		}
		return file, nil
	}
}
