package kubeconfig

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
)

// forms are kubeconfigs as several programs and people write them, each with a context of its own.
var forms = map[string]string{
	"as kubectl": `apiVersion: v1
clusters:
- cluster:
    server: https://a
  name: a
contexts:
- context:
    cluster: a
    user: u
  name: a
current-context: a
kind: Config
users:
- name: u
  user:
    token: t
`,
	"blank lines and aligned comments": `# mine

apiVersion: v1
kind: Config

clusters:      # where
  - name: a    # one
    cluster:
      server:  https://a    # aligned
      # below

  # between

users:         # who
  - name: u    # two
    user: {token: t}

# the last

contexts:
  - name: a
    context: {cluster: a,  user: u}   # aligned as well

current-context:   a    # of now

# the end
`,
	"JSON of several lines": `{
    "apiVersion": "v1",
    "kind": "Config",
    "clusters": [
        {
            "name": "a",
            "cluster": {"server": "https://a"}
        }
    ],
    "users": [{"name": "u", "user": {}}],
    "contexts": [
        {
            "name": "a",
            "context": {
                "cluster": "a",
                "user": "u"
            }
        }
    ],
    "current-context": "a"
}
`,
	"JSON in a line": `{"apiVersion":"v1","kind":"Config","clusters":[{"name":"a",` +
		`"cluster":{"server":"https://a"}}],"users":[{"name":"u","user":{}}],"contexts":` +
		`[{"name":"a","context":{"cluster":"a","user":"u"}}],"current-context":"a"}`,
	"KYAML": `---
{
  # mine
  apiVersion: "v1",
  kind: "Config",

  clusters: [{
    name: "a", # one
    cluster: {
      server: "https://a",   # aligned, "with" 'quotes' and {
    },
  }], # behind

  users: [{
    name: "u",
    user: {
      token: "t # no comment }",
    },
  }, {
    # another
    name: "v",
    user: {},
  }],
  contexts: [{
    name: "a",
    context: {
      cluster: "a",
      user: "u",
    },
  }],
  current-context: "a", # of now
  # the end
}
`,
	"flow in a line": `{apiVersion: v1, kind: Config, clusters: [{name: a, cluster: ` +
		`{server: "https://a"}}], users: [{name: u, user: {}}], contexts: [{name: a, ` +
		`context: {cluster: a, user: u}}], current-context: a} # end` + "\n",
	"lists in braces": `apiVersion: v1
kind: Config
clusters: [{name: a, cluster: {server: "https://a"}}]   # one

users: [{name: u, user: {}}]
contexts: [   # two
  {name: a, context: {cluster: a, user: u}},
]
current-context: a
`,
	"a final document that is empty": "apiVersion: v1\nkind: Config\nclusters:\n- name: a\n" +
		"  cluster: {server: https://a}\nusers:\n- name: u\ncontexts:\n- name: a\n" +
		"  context: {cluster: a, user: u}\ncurrent-context: a\n---\n",
	"a document's end": "---\napiVersion: v1\nkind: Config\nclusters:\n- name: a\n" +
		"  cluster: {server: https://a}\nusers:\n- name: u\ncontexts:\n- name: a\n" +
		"  context: {cluster: a, user: u}\ncurrent-context: a\n...\n",
	"no end of the last line": "apiVersion: v1\nkind: Config\nclusters:\n- name: a\n" +
		"  cluster: {server: https://a}\ncurrent-context: a\nusers:\n- name: u\ncontexts:\n" +
		"- name: a\n  context: {cluster: a, user: u}",
}

// TestEveryFormIsWrittenBackAsItWas merges into each form, as it is, with the ends of lines of
// Windows, and with a byte order mark. What is forgotten then leaves the file as it was, byte by
// byte.
func TestEveryFormIsWrittenBackAsItWas(t *testing.T) {
	variants := map[string]func(string) string{
		"":      func(text string) string { return text },
		" CRLF": func(text string) string { return strings.ReplaceAll(text, "\n", "\r\n") },
		" BOM":  func(text string) string { return "\ufeff" + text },
		" BOM,CRLF": func(text string) string {
			return "\ufeff" + strings.ReplaceAll(text, "\n", "\r\n")
		},
	}
	for name, plain := range forms {
		for suffix, variant := range variants {
			t.Run(name+suffix, func(t *testing.T) { wantForm(t, variant(plain)) })
		}
	}
}

func wantForm(t *testing.T, text string) {
	path, e := filepath.Join(t.TempDir(), "config"), testEntry()
	write(t, path, text)
	if changed, err := Merge([]string{path}, e, false); !changed || err != nil {
		t.Fatal(changed, err)
	}
	merged := read(t, path)
	checkEntry(t, mustLoad(t, []byte(strings.TrimPrefix(merged, "\ufeff"))), e)
	if !isWithin(text, merged) {
		t.Errorf("some of the file is gone, or elsewhere:\n%s", merged)
	}
	isJSON := json.Valid([]byte(strings.TrimPrefix(text, "\ufeff")))
	if json.Valid([]byte(strings.TrimPrefix(merged, "\ufeff"))) != isJSON {
		t.Errorf("JSON before: %v, and not after, or the other way round:\n%s", isJSON, merged)
	}
	if crlf := strings.Count(merged, "\r\n"); strings.Contains(text, "\r\n") !=
		(crlf > 0) || crlf > 0 && crlf != strings.Count(merged, "\n") {
		t.Errorf("%d of %d lines end as on Windows", crlf, strings.Count(merged, "\n"))
	}
	if changed, err := Merge([]string{path}, e, false); changed || err != nil {
		t.Errorf("again: %v, %v", changed, err)
	}
	if done := Forget([]string{path}, e.Profile); len(done) != 1 || done[0].Err != nil {
		t.Fatalf("%+v", done)
	}
	left := strings.TrimSuffix(read(t, path), "\r\n")
	if strings.TrimSuffix(left, "\n") != strings.TrimSuffix(strings.TrimSuffix(text, "\n"), "\r") {
		t.Errorf("what is left is\n%s\nnot\n%s\nafter\n%s", left, text, merged)
	}
}

// isWithin reports whether text is what is left of another one when some of that is taken out.
func isWithin(text, other string) bool {
	for _, r := range text {
		i := strings.IndexRune(other, r)
		if i < 0 {
			return false
		}
		other = other[i+len(string(r)):]
	}
	return true
}

func TestAnEmptyListKeepsTheCommentBehindIt(t *testing.T) {
	for text, want := range map[string]string{
		"clusters: []   # none\nkind: Config\n":               "clusters:   # none\n- name: ",
		"{\n  clusters: [], # none\n  kind: \"Config\",\n}\n": "clusters: [{\n    name: ",
		"{\n  kind: \"Config\" # last\n  # end\n}\n":          "kind: \"Config\", # last\n  # end\n  ",
		"kind: Config\n\n# end\n":                             "kind: Config\nclusters:\n- name: ",
		"clusters: ~ # none\nusers:\nkind: Config\n---\n":     "users:\n- name: ",
	} {
		path, e := filepath.Join(t.TempDir(), "config"), testEntry()
		write(t, path, text)
		if changed, err := Merge([]string{path}, e, false); !changed || err != nil {
			t.Fatal(changed, err)
		}
		got := read(t, path)
		if !strings.Contains(got, want) || strings.Count(got, "#") != strings.Count(text, "#") {
			t.Errorf("%q became\n%s", text, got)
		}
		checkEntry(t, mustLoad(t, []byte(got)), e)
	}
}
