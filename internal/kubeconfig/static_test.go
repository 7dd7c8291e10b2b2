package kubeconfig

import (
	"encoding/base64"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	yaml "go.yaml.in/yaml/v3"

	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
	"github.com/sa-exec-credential/sa-exec-credential/internal/yamledit"
)

const staticUsers = `# mine
clusters:
- {name: prod, cluster: {server: "https://api.example.com:6443"}}
- {name: same, cluster: {server: "https://API.example.com:6443/"}}
- {name: other, cluster: {server: "https://other.example.com"}}
contexts:
- {name: token, context: {cluster: prod, user: token, namespace: ns}}
- {name: token-too, context: {cluster: same, user: token}}
- {name: shared, context: {cluster: prod, user: shared}}
- {name: shared-too, context: {cluster: other, user: shared}}
- {name: elsewhere, context: {cluster: other, user: lonely}}
- {name: file, context: {cluster: prod, user: file}}
- {name: empty, context: {cluster: prod, user: empty}}
- {name: cert, context: {cluster: prod, user: cert}}
- {name: exec, context: {cluster: prod, user: exec}}
- {name: ours, context: {cluster: prod, user: ours}}
- {name: basic, context: {cluster: prod, user: basic}}
- {name: provider, context: {cluster: prod, user: provider}}
- {name: nothing, context: {cluster: prod, user: nothing}}
- {name: escape, context: {cluster: prod, user: escape}}
- {name: nouser, context: {cluster: prod, user: nouser}}
users:
- name: token
  user:
    # token: s3cr3t.s3cr3t.s3cr3t, the old one
    token: s3cr3t.s3cr3t.s3cr3t # keep s3cr3t.s3cr3t.s3cr3t
    as: me
    unknown: [1]
- {name: copy, user: {token: s3cr3t.s3cr3t.s3cr3t}}
- {name: shared, user: {token: s3cr3t.shared}}
- {name: lonely, user: {token: s3cr3t.lonely}}
- {name: file, user: {token: s3cr3t.old, tokenFile: tokens/one}}
- {name: empty, user: {tokenFile: tokens/empty}}
- {name: cert, user: {token: s3cr3t, client-certificate: x, client-key: k}}
- {name: exec, user: {token: s3cr3t, exec: {command: aws}}}
- {name: ours, user: {exec: {command: sa-exec-credential, args: [get, --profile, p]}}}
- {name: basic, user: {token: s3cr3t, username: me, password: s3cr3t}}
- {name: provider, user: {token: s3cr3t, auth-provider: {name: gcp}}}
- {name: nothing, user: {}}
- {name: escape, user: {tokenFile: "/none/\e[31m\n"}}
`

func staticFile(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config")
	write(t, path, staticUsers)
	tokens := filepath.Join(filepath.Dir(path), "tokens", "one")
	if err := os.Mkdir(filepath.Dir(tokens), 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, tokens, "s3cr3t.file\n")
	write(t, filepath.Join(filepath.Dir(tokens), "empty"), "\n")
	return path
}

func staticEntry() Entry {
	e := testEntry()
	e.TLSServerName, e.CA, e.ProxyURL = "", nil, ""
	return e
}

func TestStaticToken(t *testing.T) {
	path := staticFile(t)
	tests := []struct {
		context, token, file string
		err                  error
	}{
		{context: "token", token: "s3cr3t.s3cr3t.s3cr3t"},
		{context: "file", token: "s3cr3t.file", file: filepath.Join(filepath.Dir(path),
			"tokens", "one")},
		{context: "empty", err: ErrNotStatic},
		{context: "cert", err: ErrNotStatic},
		{context: "exec", err: ErrNotStatic},
		{context: "ours", err: ErrOurs},
		{context: "basic", err: ErrNotStatic},
		{context: "provider", err: ErrNotStatic},
		{context: "nothing", err: ErrNotStatic},
		{context: "nouser", err: ErrReference},
		{context: "none", err: ErrNoContext},
		{context: "escape", err: fs.ErrNotExist},
	}
	for _, tt := range tests {
		t.Run(tt.context, func(t *testing.T) {
			got, err := StaticToken([]string{path}, tt.context)
			if !errors.Is(err, tt.err) || got.Token.Reveal() != tt.token ||
				got.TokenFile != tt.file {
				t.Fatalf("%+v, %v", got, err)
			}
			if err == nil && (got.User != tt.context || got.File != path) {
				t.Errorf("%+v", got)
			}
			if err != nil && (strings.Contains(err.Error(), "s3cr3t") ||
				strings.ContainsAny(err.Error(), "\x1b\n")) {
				t.Errorf("the error holds the token or an escape: %v", err)
			}
			if err == nil {
				return
			}
			if _, err := ReplaceUser([]string{path}, tt.context,
				staticEntry()); !errors.Is(err, tt.err) ||
				read(t, path) != staticUsers {
				t.Errorf("replacing: %v", err)
			}
		})
	}
}

func TestReplaceUser(t *testing.T) {
	path := staticFile(t)
	before := mustLoadFile(t, path)
	done, err := ReplaceUser([]string{path}, "token", staticEntry())
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(done, Replaced{User: "token", File: path,
		Holders: []string{"copy"}, Clusters: []string{"prod", "same"}}) {
		t.Errorf("%+v", done)
	}
	after := mustLoadFile(t, path)
	user := after.AuthInfos["token"]
	if user.Token != "" || user.Impersonate != "me" || user.Exec == nil ||
		user.Exec.Command != command ||
		!reflect.DeepEqual(user.Exec.Args, []string{"get", "--profile",
			staticEntry().Profile}) {
		t.Errorf("user %+v", user)
	}
	text := read(t, path)
	if strings.Count(text, "s3cr3t.s3cr3t.s3cr3t") != 1 || !strings.Contains(text,
		"unknown: [1]") ||
		!strings.Contains(text, "# mine") {
		t.Errorf("the file is\n%s", text)
	}
	delete(before.AuthInfos, "token")
	delete(after.AuthInfos, "token")
	for _, name := range []string{"prod", "same"} {
		if after.Clusters[name].Extensions[execExtension] == nil {
			t.Errorf("cluster %q: %+v", name, after.Clusters[name])
		}
		after.Clusters[name].Extensions = before.Clusters[name].Extensions
	}
	mustEqual(t, before, after)
	onlyFiles(t, filepath.Dir(path), "config", "tokens")
	if _, err := StaticToken([]string{path}, "token"); !errors.Is(err, ErrOurs) {
		t.Errorf("again: %v", err)
	}
}

// TestReplaceUserLetsPythonSayWhereTheTokenGoes reads the clusters as Python's client does, from
// the text: kubernetes-client/python, kubernetes/base/config/exec_provider.py, hands its plugin
// the cluster as it stands, and iterates over cluster["extensions"] whether there are any or not.
func TestReplaceUserLetsPythonSayWhereTheTokenGoes(t *testing.T) {
	const foreign = "{name: client.authentication.k8s.io/exec, extension: {a: b}}"
	ours := map[string]any{"apiVersion": "sa-exec-credential/v1", "kind": "Cluster"}
	exec := func(extension map[string]any) any {
		return map[string]any{"name": execExtension, "extension": extension}
	}
	audit := map[string]any{"name": "audit", "extension": map[string]any{"c": "d"}}
	tests := []struct {
		name, fields string
		extensions   []any
		unfit        bool
	}{
		{name: "a file", fields: "certificate-authority: ca.crt",
			extensions: []any{exec(ours)}},
		{name: "a file and its data", fields: "certificate-authority: gone, " +
			"certificate-authority-data: DATA",
			extensions: []any{exec(ours)}},
		{name: "data", fields: "certificate-authority-data: DATA",
			extensions: []any{exec(ours)}},
		{name: "data of more authorities than the entry has",
			fields:     "certificate-authority-data: MORE",
			extensions: []any{exec(ours)}},
		{name: "no extensions", fields: "certificate-authority: ca.crt, extensions: null",
			extensions: []any{exec(ours)}},
		{name: "others' extensions",
			fields: "certificate-authority: ca.crt, extensions: [{name: audit, " +
				"extension: {c: d}}]",
			extensions: []any{audit, exec(ours)}},
		{name: "another's of the same name stays",
			fields:     "certificate-authority: ca.crt, extensions: [" + foreign + "]",
			extensions: []any{exec(map[string]any{"a": "b"})}},
		{name: "a form that is not edited", unfit: true,
			fields: "certificate-authority: ca.crt, extensions: *x"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "config")
			ca := testEntry().CA
			write(t, filepath.Join(filepath.Dir(path), "ca.crt"), string(ca))
			data := base64.StdEncoding.EncodeToString(ca)
			more := base64.StdEncoding.EncodeToString(append(pem.EncodeToMemory(
				&pem.Block{Type: "CERTIFICATE", Bytes: []byte("other")}), ca...))
			text := "shared: &x []\nclusters: [{name: c, cluster: {server: " +
				"\"https://api.example.com:6443\", " +
				strings.NewReplacer("DATA", data, "MORE", more).Replace(tt.fields) + "}}]\n" +
				"contexts: [{name: a, context: {cluster: c, user: a}}]\nusers: " +
				"[{name: a, user: {token: s3cr3t}}]\n"
			write(t, path, text)
			entry := staticEntry()
			entry.CA = ca
			done, err := ReplaceUser([]string{path}, "a", entry)
			if err != nil || (len(done.Unfit) == 1) != tt.unfit ||
				(len(done.Clusters) == 1) == tt.unfit {
				t.Fatalf("%+v, %v", done, err)
			}
			if tt.unfit {
				return
			}
			var found struct {
				Clusters []struct{ Cluster map[string]any }
			}
			if err := yaml.Unmarshal([]byte(read(t, path)), &found); err != nil {
				t.Fatal(err)
			}
			cluster := found.Clusters[0].Cluster
			if got, _ := cluster["certificate-authority-data"].(string); got != data {
				t.Errorf("certificate-authority-data %q", got)
			}
			if !reflect.DeepEqual(cluster["extensions"], tt.extensions) {
				t.Errorf("extensions %v, want %v", cluster["extensions"],
					tt.extensions)
			}
			if strings.Contains(read(t, path), "profile: ") {
				t.Error("the cluster counts as one of the profile's own")
			}
		})
	}
}

func TestReplaceUserReportsTheTokenFile(t *testing.T) {
	path := staticFile(t)
	done, err := ReplaceUser([]string{path}, "file", staticEntry())
	if err != nil || done.TokenFile != filepath.Join(filepath.Dir(path), "tokens", "one") {
		t.Fatalf("%+v, %v", done, err)
	}
	if read(t, done.TokenFile) == "" || strings.Contains(read(t, path), "s3cr3t.old") ||
		strings.Contains(read(t, path), "tokens/one") {
		t.Error("the token file is gone, or its name is still there")
	}
}

func TestReplaceUserRefusesOtherClusters(t *testing.T) {
	path := staticFile(t)
	for context, want := range map[string]error{
		"shared": ErrShared, "elsewhere": profile.ErrOtherCluster,
	} {
		if _, err := ReplaceUser([]string{path}, context, staticEntry()); !errors.Is(err,
			want) {
			t.Errorf("%q: %v", context, err)
		}
	}
	if read(t, path) != staticUsers {
		t.Error("the file has changed")
	}
}

func TestReplaceUserInAnotherFile(t *testing.T) {
	two := staticFile(t)
	one := filepath.Join(t.TempDir(), "one")
	text := "contexts: [{name: mine, context: {cluster: prod, user: lonely2}}]\n"
	write(t, one, text)
	write(t, two, strings.ReplaceAll(staticUsers, "name: lonely", "name: lonely2"))
	done, err := ReplaceUser([]string{one, two}, "mine", staticEntry())
	if err != nil || done.File != two || read(t, one) != text ||
		mustLoadFile(t, two).AuthInfos["lonely2"].Exec == nil {
		t.Errorf("%+v, %v", done, err)
	}
}

func TestATokenBehindAnAnchorIsNotHalfRemoved(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config")
	text := `clusters: [{name: prod, cluster: {server: "https://api.example.com:6443"}}]
contexts: [{name: a, context: {cluster: prod, user: a}}]
users:
- name: a
  user: {token: &t s3cr3t}
- name: b
  user: {token: *t}
`
	write(t, path, text)
	_, err := ReplaceUser([]string{path}, "a", staticEntry())
	if !errors.Is(err, yamledit.ErrUnsupported) || read(t, path) != text {
		t.Errorf("error %v", err)
	}
}

func TestNoCommentKeepsAReplacedToken(t *testing.T) {
	const old = "s3cr3t.s3cr3t.s3cr3t"
	path := staticFile(t)
	other := filepath.Join(t.TempDir(), "other")
	write(t, other, "# was "+old+"\n# stays\nkind: Config\n")
	text := strings.Replace(staticUsers, "contexts:\n",
		"# before "+old+"\ncontexts: # and "+old+"\n", 1)
	text = strings.Replace(text, "- {name: copy, user: {token: "+old+"}}\n", "# "+old+"\n", 1)
	write(t, path, text+"# after "+old+"\n")
	if _, err := ReplaceUser([]string{path, other}, "token", staticEntry()); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(read(t, path)+read(t, other), old) {
		t.Errorf("it is still there:\n%s%s", read(t, path), read(t, other))
	}
	if !strings.Contains(read(t, other), "# stays") || !strings.Contains(read(t, path),
		"# mine") {
		t.Errorf("other comments are gone:\n%s%s", read(t, path), read(t, other))
	}
}

func TestATokenThatClientsIgnoredIsScrubbedAsWell(t *testing.T) {
	path := staticFile(t)
	write(t, path, staticUsers+"# s3cr3t.old\n# s3cr3t.file\n")
	if _, err := ReplaceUser([]string{path}, "file", staticEntry()); err != nil {
		t.Fatal(err)
	}
	if text := read(t, path); strings.Contains(text, "s3cr3t.old") ||
		strings.Contains(text, "s3cr3t.file") {
		t.Errorf("a token is still there:\n%s", text)
	}
}

func TestATokenBehindAMergeKeyIsNotLeftThere(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config")
	text := `x-shared: &x {token: s3cr3t}
clusters: [{name: prod, cluster: {server: "https://api.example.com:6443"}}]
contexts: [{name: a, context: {cluster: prod, user: a}}]
users: [{name: a, user: {<<: *x}}]
`
	write(t, path, text)
	if static, err := StaticToken([]string{path}, "a"); err != nil || static.Token.Empty() {
		t.Fatalf("%+v, %v", static, err)
	}
	_, err := ReplaceUser([]string{path}, "a", staticEntry())
	if !errors.Is(err, yamledit.ErrUnsupported) || read(t, path) != text {
		t.Errorf("error %v\n%s", err, read(t, path))
	}
}
