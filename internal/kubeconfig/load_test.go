package kubeconfig

import (
	"errors"
	"os"
	"path"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
)

const manyContexts = `
current-context: dev
clusters:
- {name: plain, cluster: {server: "https://plain.example.com", certificate-authority: pki/ca.crt, tls-server-name: k, proxy-url: "http://p:1"}}
- {name: insecure, cluster: {server: "https://x", insecure-skip-tls-verify: true}}
- {name: http, cluster: {server: "http://x"}}
- {name: noca, cluster: {server: "https://x", certificate-authority: none.crt}}
- {name: pipe, cluster: {server: "https://x", certificate-authority: /dev/zero}}
contexts:
- {name: dev, context: {cluster: plain, user: ours, namespace: ns}}
- {name: "arn:aws:eks:eu:1:cluster/prod", context: {cluster: plain, user: renamed}}
- {name: "prod[1]", context: {cluster: insecure, user: bare}}
- {name: http, context: {cluster: http, user: foreign}}
- {name: noca, context: {cluster: noca, user: none}}
- {name: nocluster, context: {cluster: none, user: token}}
- {name: pipe, context: {cluster: pipe, user: token}}
users:
- name: ours
  user: {exec: {apiVersion: v, command: ../bin/sa-exec-credential, args: [get, --profile, p1], env: [{name: A, value: b}], interactiveMode: Never, provideClusterInfo: true}}
- {name: renamed, user: {exec: {command: /x/y, args: [get, --profile=p2]}}}
- {name: bare, user: {exec: {command: 'C:\bin\SA-exec-credential.EXE', args: [token]}}}
- {name: foreign, user: {exec: {command: aws, args: [eks, get-token, --profile, x]}}}
- {name: token, user: {token: x}}
`

func manyContextsFile(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "config")
	write(t, file, manyContexts)
	return file
}

func TestContexts(t *testing.T) {
	file := manyContextsFile(t)
	arn := "arn:aws:eks:eu:1:cluster/prod"
	tests := []struct {
		name     string
		patterns []string
		want     []string
		err      error
	}{
		{"all, sorted", nil, []string{arn, "dev", "http", "nocluster", "noca", "pipe",
			"prod[1]"}, nil},
		{"a glob goes over a slash", []string{"arn:*prod"}, []string{arn}, nil},
		{"a glob is for the whole name", []string{"prod"}, nil, ErrNoContext},
		{"a name that looks like a glob", []string{"prod[1]"}, []string{"prod[1]"}, nil},
		{"several that overlap", []string{"no*", "noca"}, []string{"noca", "nocluster"},
			nil},
		{"a question mark", []string{"?ev"}, []string{"dev"}, nil},
		{"no glob", []string{"["}, nil, path.ErrBadPattern},
	}
	tests[0].want = []string{arn, "dev", "http", "noca", "nocluster", "pipe", "prod[1]"}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Contexts([]string{file}, tt.patterns...)
			if !errors.Is(err, tt.err) || !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
	if got, err := Contexts([]string{filepath.Join(t.TempDir(), "none")}); got != nil ||
		err != nil {
		t.Errorf("without a file: %q, %v", got, err)
	}
}

func TestContextsWithoutAPatternAreAllEvenWhenOneIsCalledLikeAGlob(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config")
	write(t, file, `contexts: [{name: b, context: {}}, {name: "*", context: {}}, {name: a, context: {}}]`)
	for _, tt := range []struct {
		patterns, want []string
	}{
		{nil, []string{"*", "a", "b"}},
		{[]string{"*"}, []string{"*"}},
		{[]string{"?"}, []string{"*", "a", "b"}},
	} {
		got, err := Contexts([]string{file}, tt.patterns...)
		if err != nil || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%q: got %q, %v", tt.patterns, got, err)
		}
	}
}

func TestResolve(t *testing.T) {
	file := manyContextsFile(t)
	writeCA(t, file)
	for _, name := range []string{"dev", ""} {
		got, err := Resolve([]string{file}, name)
		got.all = nil
		want := Context{Name: "dev", File: file, ClusterName: "plain", User: "ours",
			Namespace: "ns",
			Cluster: profile.Cluster{
				Server: "https://plain.example.com", TLSServerName: "k",
				CertificateAuthorityData: testCA(),
				ProxyURL:                 "http://p:1"}}
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %+v, %v", name, got, err)
		}
	}
	for name, want := range map[string]error{
		"none": ErrNoContext, "prod[1]": ErrInsecure, "http": profile.ErrCluster,
		"nocluster": ErrReference,
	} {
		if _, err := Resolve([]string{file}, name); !errors.Is(err, want) {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, name := range []string{"noca", "pipe"} {
		if _, err := Resolve([]string{file}, name); err == nil {
			t.Errorf("%q: no error", name)
		}
	}
}

func writeCA(t *testing.T, file string) {
	t.Helper()
	dir := filepath.Join(filepath.Dir(file), "pki")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "ca.crt"), string(testCA()))
}

func TestFindPluginContexts(t *testing.T) {
	file := manyContextsFile(t)
	writeCA(t, file)
	uses, err := FindPluginContexts([]string{file})
	if err != nil || len(uses) != 3 {
		t.Fatalf("%+v, %v", uses, err)
	}
	dev := uses[1]
	if dev.Context != "dev" || dev.Profile != "p1" || dev.User != "ours" || dev.File != file ||
		!dev.ProvideClusterInfo ||
		dev.Command != filepath.Join(filepath.Dir(file), "../bin/sa-exec-credential") ||
		dev.InteractiveMode != "Never" ||
		!reflect.DeepEqual(dev.Environment, []string{"A"}) || dev.ClusterError != nil ||
		dev.Cluster.Server == "" {
		t.Errorf("dev: %+v", dev)
	}
	if uses[0].Profile != "p2" || uses[2].Profile != "" ||
		!errors.Is(uses[2].ClusterError, ErrInsecure) {
		t.Errorf("%+v", uses)
	}
}

func TestTheFirstFileWins(t *testing.T) {
	one, two := manyContextsFile(t), filepath.Join(t.TempDir(), "two")
	writeCA(t, one)
	write(t, two, "current-context: x\ncontexts: [{name: dev, context: {cluster: other}}, "+
		"{name: x, context: {cluster: plain}}]\n"+
		"clusters: [{name: plain, cluster: {server: 'https://other'}}]")
	got, err := Resolve([]string{filepath.Join(t.TempDir(), "none"), one, two}, "")
	if err != nil || got.Name != "dev" || got.ClusterName != "plain" {
		t.Errorf("%+v, %v", got, err)
	}
	got, err = Resolve([]string{one, two}, "x")
	if err != nil || got.Cluster.Server != "https://plain.example.com" || got.File != two {
		t.Errorf("%+v, %v", got, err)
	}
}
