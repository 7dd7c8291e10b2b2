//go:build linux

// The tests type every command that README.md and docs/*.md show, in the order and in the
// directory that a reader is in, on a machine of the page's own, and compare what is shown with
// what is printed. A command that cannot be typed here stands in notRun, with the reason.
package docs_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/yaml"

	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/test/docs"
	"github.com/sa-exec-credential/sa-exec-credential/test/lab"
)

// The names of namespaces are those of the pages, so the control plane is this package's own.
func TestMain(m *testing.M) { lab.Main(m, lab.Options{OwnPlane: true}) }

// elsewhere are whose blocks are typed in test/join, where there are servers, and in test/ci. Those of
// "release" install what is published, or publish it: test/dist installs what would be.
var elsewhere = []string{"server", "afternoon", "ci", "release"}

// ofCI are the pages that test/ci types, where an API server takes the ID tokens of jobs.
const ofCI = "docs/ci/"

// notRun are the commands that are not typed, and why.
var notRun = map[string]string{
	"CGO_ENABLED=0 go install github.com/sa-exec-credential/sa-exec-credential/" +
		"cmd/...@latest": "installs what is published, not what is tested",
	"make demo": "TestMakeTargetsExist; make test runs this very test",
	"make test": "TestMakeTargetsExist; make test runs this very test",
}

// comment is what explains a command on its own line.
var comment = regexp.MustCompile(`\s{2,}# .*$`)

// page is one of them, with its path from the repository's root.
type page struct{ name, text string }

func pages(t *testing.T) (list []page) {
	t.Helper()
	root := filepath.Join("..", "..")
	names, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	more, problem := filepath.Glob(filepath.Join(root, ofCI, "*.md"))
	if names = append(names, more...); len(names) < 10 {
		t.Fatalf("the pages are %q (%v)", names, errors.Join(err, problem))
	}
	for _, name := range append([]string{filepath.Join(root, "README.md")}, names...) {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, page{strings.TrimPrefix(name, root+"/"), string(text)})
	}
	return list
}

// TestEveryCommandThatThePagesShow runs them.
func TestEveryCommandThatThePagesShow(t *testing.T) {
	listed := maps.Clone(notRun)
	for _, page := range pages(t) {
		if strings.HasPrefix(page.name, ofCI) {
			continue
		}
		t.Run(page.name, func(t *testing.T) {
			r := newReader(t)
			for _, block := range docs.Blocks(page.text) {
				if !slices.Contains([]string{"sh", "console"}, block.Language) {
					continue
				}
				for _, command := range block.Commands() {
					plain := comment.ReplaceAllString(command.Text, "")
					delete(listed, plain)
					if as, _ := kindOf(block); !slices.Contains(elsewhere, as) &&
						notRun[plain] == "" {
						r.types(page.name, block, command)
					}
				}
			}
		})
	}
	for command := range listed {
		t.Errorf("no page shows %q any more", command)
	}
}

// reader is who reads a page: a person with a cluster named prod and an administrator's context,
// and a keyring.
type reader struct {
	*lab.Machine
	pods map[string]*lab.Pod
}

func newReader(t *testing.T) *reader {
	t.Helper()
	m := lab.NewMachine(t, keyring.Keyring)
	m.CallCluster("prod")
	// a user who is known by single sign-on, and a namespace with pods
	sso, err := clientcmd.LoadFromFile(lab.User(t, "jane@example.com"))
	if err != nil {
		t.Fatal(err)
	}
	m.Replace(m.Kubeconfig(), "users:\n", fmt.Sprintf("users:\n- name: sso\n  user:\n"+
		"    client-certificate-data: %s\n    client-key-data: %s\n",
		base64.StdEncoding.EncodeToString(sso.AuthInfos["jane@example.com"].ClientCertificateData),
		base64.StdEncoding.EncodeToString(sso.AuthInfos["jane@example.com"].ClientKeyData)))
	if lab.AsAdmin(t, "", "get", "namespace", "ci").Code != 0 {
		m.AsAdmin("create", "namespace", "ci")
	}
	bin := m.Path("bin")
	// a cloud's command that a page asks for the account
	lab.WriteFile(t, filepath.Join(bin, "gcloud"), "#!/bin/sh\necho me@example.com\n", 0o700)
	// the reader's system trusts the cluster's authority, and curl fails where it should
	m.Write(m.Path(".curlrc"), "fail\nsilent\nshow-error\ncacert = "+lab.Plane.CAFile+"\n")
	m.Variables = []string{"PATH=" + strings.Join([]string{filepath.Dir(lab.Plugin),
		filepath.Dir(lab.Plane.Kubectl), bin, "/usr/bin:/bin"}, ":")}
	return &reader{Machine: m, pods: map[string]*lab.Pod{}}
}

// types a command, and sees that it does what is shown.
func (r *reader) types(page string, block docs.Block, command docs.Command) {
	r.Helper()
	where, text := page, strings.NewReplacer(
		"https://prod.example.com:6443", lab.Plane.Server,
		"/etc/kubernetes/ca.crt", lab.Plane.CAFile).Replace(command.Text)
	var result lab.Result
	switch as, of := kindOf(block); as {
	case "":
		result = r.shell(text)
	case "each": // the lines are alternatives: each is for somebody who is set up
		r.shell("sa-exec-credential setup ci -n build --cluster-role view " +
			"--context admin@prod").Succeeds()
		result = r.shell(text)
	case "pod":
		result = r.inPod(of, text)
	default:
		r.Fatalf("%s:%d: nobody knows who %q is", where, block.Line, as)
	}
	r.NoteEntries()
	if result.Code != 0 {
		r.Errorf("%s:%d: exit code %d\n$ %s\n%s", where, command.Line, result.Code,
			command.Text, result.Shown())
	}
	if command.Shown != "" && !docs.Matches(strings.ReplaceAll(command.Shown, "/home/me",
		r.Home), result.Stdout) {
		r.Errorf("%s:%d: shown is\n%s\nprinted is\n%s", where, command.Line,
			docs.Hidden(command.Shown), docs.Hidden(result.Stdout))
	}
}

// kindOf is who types a block, and of what: "pod=build/worker".
func kindOf(block docs.Block) (as, of string) {
	if len(block.Words) > 0 {
		as, of, _ = strings.Cut(block.Words[0], "=")
	}
	return as, of
}

// typed is what a terminal shows of a command: both of its outputs.
const typed = `exec 2>&1; eval "$1"`

func (r *reader) shell(text string) lab.Result {
	r.Helper()
	c := r.Command("bash", "-c", typed, "bash", text)
	c.PrintsToken = strings.Contains(text, "sa-exec-credential token") ||
		strings.Contains(text, "create token")
	return c.Run(r.T)
}

// inPod types it in a pod of an account.
func (r *reader) inPod(of, text string) lab.Result {
	r.Helper()
	namespace, account, _ := strings.Cut(of, "/")
	if r.pods[of] == nil {
		r.pods[of] = lab.NewPod(r.Machine, namespace, account)
		r.AsAdmin("create", "rolebinding", account, "-n", namespace, "--clusterrole=view",
			"--serviceaccount="+namespace+":"+account)
	}
	mounted, err := filepath.Glob(r.Path("*.invitation"))
	if err != nil {
		r.Fatal(err)
	}
	for _, file := range mounted { // as a ConfigMap
		r.Write(filepath.Join(r.pods[of].Writable, filepath.Base(file)), r.Read(file))
	}
	text = strings.NewReplacer("/tmp/", "$HOME/", "/etc/deployer/", "$HOME/").Replace(text)
	return r.pods[of].Inside([]string{"HOME=" + r.pods[of].Writable}, "/bin/bash", "-c",
		typed, "bash", text)
}

// TestEveryBlockIsOfAKindThatIsTested keeps commands out of blocks that are not run, and has files
// be what they are said to be.
func TestEveryBlockIsOfAKindThatIsTested(t *testing.T) {
	for _, page := range pages(t) {
		for _, block := range docs.Blocks(page.text) {
			if err := checkBlock(block); err != "" {
				t.Errorf("%s:%d: %s", page.name, block.Line, err)
			}
		}
	}
}

func checkBlock(block docs.Block) (problem string) {
	switch block.Language {
	case "sh", "console":
		if len(block.Commands()) == 0 {
			return "it has no command"
		}
	case "":
		for line := range strings.Lines(block.Text) {
			line = strings.TrimPrefix(strings.TrimSpace(line), "$ ")
			word, _, _ := strings.Cut(line, " ")
			if slices.Contains([]string{"sa-exec-credential", "kubectl", "curl", "helm",
				"make", "docker"}, word) {
				return "a command in a block that is not run: " + line
			}
		}
	case "yaml":
		for _, document := range strings.Split(block.Text, "\n---\n") {
			var any any
			if err := yaml.UnmarshalStrict([]byte(document), &any); err != nil {
				return err.Error()
			}
		}
	case "groovy": // test/ci runs what is in them
	case "mermaid":
		for line := range strings.Lines(block.Text) {
			if !diagram.MatchString(line) {
				return "not a line of a sequence diagram: " + line
			}
		}
	case "hcl":
		_, problems := hclsyntax.ParseConfig([]byte(block.Text), "", hcl.InitialPos)
		if problems.HasErrors() {
			return problems.Error()
		}
	case "json":
		decoder := json.NewDecoder(bytes.NewReader([]byte(block.Text)))
		var any any
		if err := decoder.Decode(&any); err != nil {
			return err.Error()
		}
		if _, err := decoder.Token(); err != io.EOF {
			return "more than one value"
		}
	default:
		return "nothing tests a block of " + block.Language
	}
	return ""
}

// diagram is a line of one, of the few kinds that the pages have: a message is from one
// participant to another.
var diagram = regexp.MustCompile(`^(sequenceDiagram|    participant \w as [^;#]+|` +
	`    [CPKA]-?->>[CPKA]: [^;#]+|    Note over \w,\w: [^;#]+)\n$`)

// TestEveryCommandWithinTheTextExists asks for the help of each, with the flags that it is shown
// with: one that does not exist is an error.
func TestEveryCommandWithinTheTextExists(t *testing.T) {
	m := lab.NewMachine(t, keyring.Kernel)
	commands := regexp.MustCompile(`(?m)^  ([a-z]+) `).FindAllStringSubmatch(
		m.Plugin("--help").Succeeds().Stdout, -1)
	if len(commands) < 10 {
		t.Fatalf("its commands are %q", commands)
	}
	names := map[string]bool{}
	for _, match := range commands {
		names[match[1]] = true
	}
	for _, page := range pages(t) {
		for _, span := range docs.Inline(page.text) {
			text := strings.TrimPrefix(span.Text, "sa-exec-credential ")
			words := strings.Fields(text)
			words = slices.DeleteFunc(words, func(word string) bool {
				return word == "…" || word == "|"
			})
			if len(words) < 2 || !names[words[0]] || strings.ContainsAny(text, "/<|") {
				continue
			}
			if strings.HasPrefix(words[len(words)-1], "--") &&
				m.Plugin(append(words, "--help")...).Code != 0 {
				words = append(words, "VALUE")
			}
			if r := m.Plugin(append(words, "--help")...); r.Code != 0 {
				t.Errorf("%s:%d: %s\n%s", page.name, span.Line, span.Text, r.Stderr)
			}
		}
	}
}

var target = regexp.MustCompile("(?m)(?:^|`)make ([a-z-]+)")

// TestMakeTargetsExist is about the commands within the text and in blocks.
func TestMakeTargetsExist(t *testing.T) {
	for _, page := range pages(t) {
		for _, match := range target.FindAllStringSubmatch(page.text, -1) {
			make := exec.Command("make", "-C", "../..", "-n", match[1])
			if said, err := make.CombinedOutput(); err != nil {
				t.Errorf("%s: make %s: %v\n%s", page.name, match[1], err, said)
			}
		}
	}
}

// TestEveryLinkLeadsSomewhere is about the pages themselves, and the headings in them.
func TestEveryLinkLeadsSomewhere(t *testing.T) {
	for _, page := range pages(t) {
		for _, match := range link.FindAllStringSubmatch(page.text, -1) {
			path, anchor, _ := strings.Cut(match[1], "#")
			if strings.Contains(path, ":") {
				continue // elsewhere
			}
			text := page.text
			if path != "" {
				data, err := os.ReadFile(filepath.Join("../..",
					filepath.Dir(page.name), path))
				if err != nil {
					t.Errorf("%s: %v", page.name, err)
					continue
				}
				text = string(data)
			}
			if anchor != "" && !slices.Contains(anchors(text), anchor) {
				t.Errorf("%s: %q leads to no heading", page.name, match[1])
			}
		}
	}
}

var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ (.+)$`)
)

// anchors are the headings of a page as GitHub names them.
func anchors(page string) (names []string) {
	for _, match := range heading.FindAllStringSubmatch(page, -1) {
		names = append(names, strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case unicode.IsLetter(r), unicode.IsDigit(r), r == '-', r == '_':
				return unicode.ToLower(r)
			}
			return -1
		}, match[1]))
	}
	return names
}
