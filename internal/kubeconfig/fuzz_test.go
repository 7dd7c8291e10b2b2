package kubeconfig

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"k8s.io/client-go/tools/clientcmd"
)

func seed(f *testing.F) {
	for _, text := range []string{
		"", "# a\n", "---\n", "null", "{}", "[]", "a: b\na: c", "\ta",
		"clusters: null\nusers: []\n",
		crowd(2), manyContexts, staticUsers,
		`{"apiVersion":"v1","kind":"Config","clusters":[{"name":"a","cluster":{"server":"https://x"}}],"n":1.0}`,
		"x: &x {name: a, user: {token: t}}\nusers:\n- *x\n- <<: *x\n  name: b\n",
		"users: &u [*u]",
		"kind: Config\n---\nb: c\n",
		"clusters: [ # a\n {name: x, # b\n cluster: {server: y}}]",
		"a: !!binary aGk=\nb: 2020-01-01\nc: .nan\nd: 0o7\n? [k]\n: v\n",
		"users:\n- name: " + testEntry().UserName + "\n  user: null\n",
		"\ufeffkind: Config\r\n",
		"a: |+\n  x\n\n\nb: >-\n  y\n  z\n",
	} {
		f.Add([]byte(text))
	}
	for _, text := range forms {
		f.Add([]byte(text))
		f.Add([]byte("\ufeff" + strings.ReplaceAll(text, "\n", "\r\n")))
	}
}

func FuzzMerge(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(t.TempDir(), "config")
		write(t, path, string(data))
		e := testEntry()
		if _, err := Merge([]string{path}, e, true); err != nil {
			checkUntouched(t, path, data, err)
			return
		}
		before, err := clientcmd.Load(data)
		if err != nil {
			t.Fatalf("merged into what clients cannot read: %v", err)
		}
		after := mustLoadFile(t, path)
		user := after.AuthInfos[e.UserName]
		if user == nil || user.Exec == nil || user.Exec.Command != e.Command ||
			after.CurrentContext != e.ContextName {
			t.Fatalf("not merged:\n%s", read(t, path))
		}
		for name, cluster := range before.Clusters {
			if name != e.ClusterName && !reflect.DeepEqual(cluster,
				after.Clusters[name]) {
				t.Errorf("cluster %q differs", name)
			}
		}
		for name, user := range before.AuthInfos {
			if name != e.UserName && !reflect.DeepEqual(user, after.AuthInfos[name]) {
				t.Errorf("user %q differs", name)
			}
		}
		for name, context := range before.Contexts {
			if name != e.ContextName && !reflect.DeepEqual(context,
				after.Contexts[name]) {
				t.Errorf("context %q differs", name)
			}
		}
		if changed, err := Merge([]string{path}, e, true); changed || err != nil {
			t.Errorf("again: %v, %v", changed, err)
		}
	})
}

func FuzzStaticToken(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(t.TempDir(), "config")
		write(t, path, string(data))
		static, err := StaticToken([]string{path}, "token")
		if err != nil {
			checkUntouched(t, path, data, err)
			return
		}
		done, err := ReplaceUser([]string{path}, "token", staticEntry())
		if err != nil {
			checkUntouched(t, path, data, err)
			return
		}
		user := mustLoadFile(t, path).AuthInfos[static.User]
		if user.Exec == nil || user.Token != "" || user.TokenFile != "" ||
			done.User != static.User {
			t.Errorf("not replaced:\n%s", read(t, path))
		}
	})
}

func FuzzForget(f *testing.F) {
	seed(f)
	f.Add([]byte(marked(withOurs, true)))
	f.Add([]byte("users: [{name: u, user: {exec: {command: sa-exec-credential, args: [get, " +
		"--profile, p]}}}, {name: v}]\n" +
		"contexts: [{name: x, context: {user: u}}]\ncurrent-context: 'x' # now\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(t.TempDir(), "config")
		write(t, path, string(data))
		done := Forget([]string{path}, "p")
		if len(done) == 0 || done[0].Err != nil {
			err := error(ErrEntry)
			if len(done) > 0 {
				err = done[0].Err
			}
			checkUntouched(t, path, data, err)
			return
		}
		before, err := clientcmd.Load(data)
		if err != nil {
			t.Fatalf("taken out of what clients cannot read: %v", err)
		}
		after := mustLoadFile(t, path)
		for name, user := range after.AuthInfos {
			if !reflect.DeepEqual(user, before.AuthInfos[name]) {
				t.Errorf("user %q differs", name)
			}
		}
		for name := range before.Contexts {
			if !slices.Contains(done[0].Contexts, name) && after.Contexts[name] == nil {
				t.Errorf("context %q is gone", name)
			}
		}
		if again := Forget([]string{path}, "p"); len(again) > 0 {
			t.Errorf("again: %+v, in\n%s", again, read(t, path))
		}
	})
}

func checkUntouched(t *testing.T, path string, data []byte, err error) {
	t.Helper()
	if got, errRead := os.ReadFile(path); errRead != nil || string(got) != string(data) {
		t.Errorf("after %v the file has changed", err)
	}
	for _, r := range err.Error() {
		if r < ' ' || r == 0x7f {
			t.Errorf("a control character in %q", err)
		}
	}
	if strings.Contains(err.Error(), "s3cr3t") && !strings.Contains(string(data),
		"name: s3cr3t") {
		t.Errorf("the error quotes the file: %v", err)
	}
	onlyFiles(t, filepath.Dir(path), "config")
}
