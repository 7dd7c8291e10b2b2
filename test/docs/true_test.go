//go:build linux

package docs_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/test/docs"
	"github.com/sa-exec-credential/sa-exec-credential/test/lab"
)

// readmeLines is how long a README is read to its end.
const readmeLines = 200

// TestTheIndexListsEveryPage, and the README stays short.
func TestTheIndexListsEveryPage(t *testing.T) {
	all := pages(t)
	index := slices.IndexFunc(all, func(p page) bool { return p.name == "docs/README.md" })
	for _, page := range all {
		if lines := strings.Count(page.text, "\n"); page.name == "README.md" &&
			lines > readmeLines {
			t.Errorf("README.md has %d lines", lines)
		}
		path := strings.TrimPrefix(page.name, "docs/")
		if path != page.name && path != "README.md" &&
			!strings.Contains(all[index].text, "]("+path+")") {
			t.Errorf("docs/README.md does not list %s", page.name)
		}
	}
}

// image is a picture in a page.
var image = regexp.MustCompile(`(?:src|srcset)="([^"]+)"|!\[[^]]*\]\(([^)]+)\)`)

// TestEveryPictureIsShown, and is there.
func TestEveryPictureIsShown(t *testing.T) {
	shown := map[string]bool{}
	for _, page := range pages(t) {
		for _, match := range image.FindAllStringSubmatch(page.text, -1) {
			path := filepath.Join("../..", filepath.Dir(page.name), match[1]+match[2])
			if _, err := os.Stat(path); err != nil {
				t.Errorf("%s: %v", page.name, err)
			}
			shown[path] = true
		}
	}
	there, err := filepath.Glob("../../docs/pictures/*.svg")
	if err != nil || len(there) == 0 {
		t.Fatalf("%q, %v", there, err)
	}
	for _, path := range there {
		if !shown[path] {
			t.Errorf("no page shows %s", path)
		}
	}
}

// TestLinksToOtherSitesAreWellFormed asks none of them: tests need no network.
func TestLinksToOtherSitesAreWellFormed(t *testing.T) {
	for _, page := range pages(t) {
		for _, match := range link.FindAllStringSubmatch(page.text, -1) {
			if !strings.Contains(match[1], ":") {
				continue
			}
			u, err := url.Parse(match[1])
			if err != nil || u.Scheme != "https" || !strings.Contains(u.Host, ".") ||
				u.User != nil {
				t.Errorf("%s: %q is no address", page.name, match[1])
			}
		}
	}
}

// row is a line of a table that begins with an error's text.
var row = regexp.MustCompile("(?m)^\\| `([^`]+)` \\|")

// TestTheTextsOfErrorsAreThePrograms looks for each text of the tables of errors in what the program
// can say.
func TestTheTextsOfErrorsAreThePrograms(t *testing.T) {
	said := literals(t)
	for _, page := range pages(t) {
		found := 0
		for _, section := range strings.Split(page.text, "\n\n") {
			if !strings.HasPrefix(section, "| it says |") {
				continue
			}
			for _, match := range row.FindAllStringSubmatch(section, -1) {
				found++
				for part := range strings.SplitSeq(match[1], ": ") { // of errors that wrap others
					if !isSaid(part, said) {
						t.Errorf("%s: nothing says %q", page.name, part)
					}
				}
			}
		}
		if strings.HasSuffix(page.name, "troubleshooting.md") && found < 30 {
			t.Errorf("%s has %d texts", page.name, found)
		}
	}
}

// verb is what a format leaves open.
var verb = regexp.MustCompile(`%[a-z]`)

// isSaid reports whether a literal holds the text, or makes it with something in the place of its
// verbs.
func isSaid(text string, literals []string) bool {
	return slices.ContainsFunc(literals, func(literal string) bool {
		if strings.Contains(literal, text) {
			return true
		}
		fixed := verb.Split(literal, -1)
		if len(fixed) < 2 || len(strings.Join(fixed, "")) < len(text)/4 {
			return false
		}
		for i := range fixed {
			fixed[i] = regexp.QuoteMeta(fixed[i])
		}
		return regexp.MustCompile("^" + strings.Join(fixed, ".+") + "$").MatchString(text)
	})
}

// literals are the texts in the program's source, in one piece where they are put together there,
// and without what wraps them.
func literals(t *testing.T) (list []string) {
	t.Helper()
	for _, dir := range []string{"../../cmd", "../../internal"} {
		err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") ||
				strings.HasSuffix(path, "_test.go") {
				return err
			}
			file, err := parser.ParseFile(
				token.NewFileSet(),
				path,
				nil,
				parser.SkipObjectResolution,
			)
			if err != nil {
				return err
			}
			ast.Inspect(file, func(node ast.Node) bool {
				expression, is := node.(ast.Expr)
				if !is {
					return true
				}
				text, isText := textOf(expression)
				if isText {
					list = append(list, strings.Split(text, ": ")...)
				}
				return !isText
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return list
}

// textOf is what a literal holds, or several with + between them.
func textOf(node ast.Expr) (text string, is bool) {
	switch node := node.(type) {
	case *ast.BasicLit:
		text, err := strconv.Unquote(node.Value)
		return text, node.Kind == token.STRING && err == nil
	case *ast.BinaryExpr:
		left, isLeft := textOf(node.X)
		right, isRight := textOf(node.Y)
		return left + right, isLeft && isRight && node.Op == token.ADD
	}
	return "", false
}

// flag is one of a command line, without its value.
var flag = regexp.MustCompile(`(?:^|\s)(--[a-z][a-z-]*|-[a-zA-Z])\b`)

// others are the flags in the text that are those of other programs.
var others = []string{
	"--authentication-config", "--oidc-issuer-url", "--oidc-required-claim", // kube-apiserver
	"--insecure-kubeconfig-exec",     // Flux
	"--clusterprofile-provider-file", // controllers that read ClusterProfiles
	"--user-data-file",               // cloud-init's clouds
}

// TestEveryFlagWithinTheTextExists is about those that stand alone: what follows a command is the
// help's to know.
func TestEveryFlagWithinTheTextExists(t *testing.T) {
	m := lab.NewMachine(t, keyring.Kernel)
	names := regexp.MustCompile(`(?m)^  ([a-z-]+)  `).FindAllStringSubmatch(
		m.Plugin("--help").Succeeds().Stdout, -1)
	known := map[string]bool{}
	for _, name := range names {
		help := m.Plugin(name[1], "--help").Succeeds().Stdout
		help = strings.ReplaceAll(help, ",", " ")
		for _, text := range []string{strings.ReplaceAll(help, "[no-]", ""),
			strings.ReplaceAll(help, "[no-]", "no-")} {
			for _, match := range flag.FindAllStringSubmatch(text, -1) {
				known[match[1]] = true
			}
		}
	}
	if len(known) < 40 {
		t.Fatalf("its flags are %v", known)
	}
	for _, page := range pages(t) {
		for _, span := range docs.Inline(page.text) {
			if !strings.HasPrefix(span.Text, "-") || span.Text == "-" ||
				strings.Contains(span.Text, "…") {
				continue
			}
			name, _, _ := strings.Cut(strings.Fields(span.Text)[0], "=")
			if !known[name] && !slices.Contains(others, name) {
				t.Errorf("%s:%d: %s is no flag", page.name, span.Line, name)
			}
		}
	}
}
