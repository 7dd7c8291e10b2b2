package kubeconfig

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sa-exec-credential/sa-exec-credential/internal/yamledit"
)

// withOurs is a kubeconfig as people have it. What the lines between <<< and >>> say goes with
// the profile p.
const withOurs = `# mine, by hand

apiVersion: v1
kind: Config


preferences: {}   # none
clusters:
# the office
- name: office    # old
  cluster: {server: "https://office.example.com",   insecure-skip-tls-verify: true}

# made by setup
<<<
- name: p-1
  cluster:
    server: https://127.0.0.1:1
    certificate-authority-data: |
      YQ==
    # of the entry
    extensions:
    - name: client.authentication.k8s.io/exec
      extension: {apiVersion: sa-exec-credential/v1, profile: p}
>>>
# below

- name: other-1
  cluster:
    server: https://127.0.0.1:2
    extensions:
    - name: client.authentication.k8s.io/exec
      extension: {apiVersion: sa-exec-credential/v1, profile: other}
users:
  - name:   jane
    user: { username: jane,   password: none }
<<<
  - name: p-1
    user:
      exec:
        apiVersion: client.authentication.k8s.io/v1
        command: /usr/local/bin/sa-exec-credential
        args:
        - get
        - --profile
        - p
>>>
  - name: other-1
    user: {exec: {command: sa-exec-credential, args: [get, --profile, other]}}
contexts:
- context: {cluster: office, user: jane}
  name: office
<<<
- {name: p, context: {cluster: p-1, user: p-1}}
- context:
    cluster: office
    user: p-1
  name: p at the office
>>>
- context: {cluster: other-1, user: other-1}
  name: other

# the end
`

// without is the text with or without what is marked.
func marked(text string, keep bool) string {
	var b strings.Builder
	inside := false
	for line := range strings.Lines(text) {
		switch strings.TrimSpace(line) {
		case "<<<", ">>>":
			inside = !inside
		default:
			if keep || !inside {
				b.WriteString(line)
			}
		}
	}
	return b.String()
}

func writeText(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(path, []byte(text), 0o640); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestForgetKeepsEveryOtherByte(t *testing.T) {
	crlf := func(text string) string { return strings.ReplaceAll(text, "\n", "\r\n") }
	for _, c := range []struct{ name, before, after string }{
		{"a file as people have it", marked(withOurs, true), marked(withOurs, false)},
		{"with a current context", marked(withOurs, true) + "current-context:  p # mine\n",
			marked(withOurs, false) + "current-context:  \"\" # mine\n"},
		{"with another current context", marked(withOurs, true) +
			"current-context: office\n",
			marked(withOurs, false) + "current-context: office\n"},
		{"with the line ends of Windows", crlf(marked(withOurs, true)),
			crlf(marked(withOurs, false))},
		{"nothing but ours", `# top
contexts: # all
- {name: p, context: {cluster: p-1, user: p-1}}
# middle
users:
  - {name: p-1, user: {exec: {command: sa-exec-credential, args: [get, --profile=p]}}}
`, "# top\ncontexts: [] # all\n# middle\nusers: []\n"},
		{"JSON", `{"contexts":[{"name":"a","context":{"cluster":"c","user":"u"}}, {"name":"p","context":{"cluster":"c","user":"p}"}}],
   "users" : [ {"name":"p}","user":{"exec":{"command":"sa-exec-credential","args":["get","--profile","p"]}}} ], "big": 1e3}`,
			`{"contexts":[{"name":"a","context":{"cluster":"c","user":"u"}}],
   "users" : [  ], "big": 1e3}`},
		{"KYAML", `---
{
  users: [{
    name: "p",
    user: {exec: {command: "sa-exec-credential", args: ["get", "--profile", "p"]}},
  }],
  contexts: [
    # first
    {name: "p", context: {cluster: "c", user: "p"}},
    {name: "a", context: {cluster: "c", user: "a"}},  # mine
  ],
  "current-context": "p",
}
`, `---
{
  users: [],
  contexts: [
    # first
    {name: "a", context: {cluster: "c", user: "a"}},  # mine
  ],
  "current-context": "",
}
`},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := writeText(t, c.before)
			planned := CanForget([]string{path}, "p")
			if data, _ := os.ReadFile(path); string(data) != c.before {
				t.Fatal("a look at the file has changed it")
			}
			done := Forget([]string{path}, "p")
			if len(done) != 1 || done[0].Err != nil || len(planned) != 1 ||
				!slices.Equal(planned[0].Contexts, done[0].Contexts) {
				t.Errorf("got %+v, planned was %+v", done, planned)
			}
			if data, _ := os.ReadFile(path); string(data) != c.after {
				t.Errorf("got\n%s\nwant\n%s", data, c.after)
			}
			if info, _ := os.Stat(path); info.Mode().Perm() != 0o640 {
				t.Errorf("mode %v", info.Mode())
			}
			if done := Forget([]string{path}, "p"); len(done) > 0 {
				t.Errorf("a second time: %+v", done)
			}
		})
	}
}

func TestForgetLeavesAClusterThatOthersUse(t *testing.T) {
	path := writeText(t, marked(withOurs, true)+"- {name: mine, context: {cluster: p-1, "+
		"user: jane}}\n")
	if done := Forget([]string{path}, "p"); len(done) != 1 || len(done[0].Clusters) > 0 ||
		len(done[0].Contexts) != 2 {
		t.Errorf("got %+v", done)
	}
	if data, _ := os.ReadFile(path); !strings.Contains(string(data),
		"- name: p-1\n  cluster:") {
		t.Errorf("the cluster is gone:\n%s", data)
	}
}

func TestForgetLooksThroughAllFiles(t *testing.T) {
	user := writeText(t, "users: [{name: u, user: {exec: {command: sa-exec-credential, args: "+
		"[get, --profile, p]}}}]\n")
	context := writeText(t, "contexts: [{name: x, context: {cluster: c, user: "+
		"u}}]\ncurrent-context: x\n")
	broken := writeText(t, "users: [")
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(context, link); err != nil {
		t.Fatal(err)
	}
	none := filepath.Join(t.TempDir(), "none")
	done := Forget([]string{none, broken, user, link, context}, "p")
	if len(done) != 3 || done[0].File != broken || !errors.Is(done[0].Err,
		yamledit.ErrMalformed) || !done[2].Current {
		t.Errorf("got %+v", done)
	}
	if data, _ := os.ReadFile(context); string(data) != "contexts: []\ncurrent-context: "+
		"\"\"\n" {
		t.Errorf("got %s", data)
	}
	if info, err := os.Lstat(link); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Error("the link is gone")
	}
	if _, err := os.Stat(none); err == nil {
		t.Error("a file was created")
	}
}

func TestForgetSaysWhatItCannotTakeOut(t *testing.T) {
	shared := writeText(t, `x: &all
- {name: x, context: {cluster: c, user: u}}
contexts: *all
users: [{name: u, user: {exec: {command: sa-exec-credential, args: [get, --profile, p]}}}]
`)
	own := writeText(t, "users: [{name: v, user: {exec: {command: sa-exec-credential, args: "+
		"[get, --profile, p]}}}]\n")
	before, _ := os.ReadFile(shared)
	done := Forget([]string{shared, own}, "p")
	if len(done) != 2 || !errors.Is(done[0].Err, yamledit.ErrUnsupported) ||
		!slices.Equal(done[0].Contexts, []string{"x"}) ||
		done[1].Err != nil || len(done[1].Users) != 1 {
		t.Errorf("got %+v", done)
	}
	if after, _ := os.ReadFile(shared); string(after) != string(before) {
		t.Errorf("got %s", after)
	}
}
