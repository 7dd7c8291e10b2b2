package kubeconfig

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	yaml "go.yaml.in/yaml/v3"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/sa-exec-credential/sa-exec-credential/internal/kuberc"
	"github.com/sa-exec-credential/sa-exec-credential/internal/yamledit"
)

// crowd is a kubeconfig of n contexts with all that this program does not know.
func crowd(n int) string {
	var b strings.Builder
	b.WriteString("# mine\napiVersion: v1\nkind: Config\npreferences: {colors: " +
		"true}\nunknown-top: {a: [1, 2.50, 0x1F], b: null}\n")
	b.WriteString("extensions:\n- name: top\n  extension: {x: y}\nclusters:\n")
	for i := range n {
		fmt.Fprintf(&b, "- cluster:\n    certificate-authority: pki/ca%d.crt # "+
			"relative\n    server: https://c%d.example.com\n"+
			"    unknown: [a, {b: c}]\n    extensions:\n    - name: e\n      "+
			"extension: {n: %d}\n  name: c%d\n", i, i, i, i)
	}
	b.WriteString("contexts:\n")
	for i := range n {
		fmt.Fprintf(&b, "- context:\n    cluster: c%d\n    user: u%d\n    namespace: "+
			"\"0%d\"\n  name: arn:aws:eks:eu:1:cluster/%d\n", i, i, i, i)
	}
	b.WriteString("users:\n")
	for i := range n {
		fmt.Fprintf(&b, "- name: u%d\n  user:\n    client-certificate: ./pki/%d.crt\n    "+
			"client-key: ../%d.key\n    x-note: |\n      two\n      lines\n", i, i, i)
	}
	b.WriteString("current-context: arn:aws:eks:eu:1:cluster/3\n")
	return b.String()
}

func decoded(t *testing.T, text string) map[string]any {
	t.Helper()
	var value map[string]any
	if err := yaml.Unmarshal([]byte(text), &value); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return value
}

// without returns the decoded file less the last item of each list.
func withoutLast(value map[string]any) map[string]any {
	for _, list := range []string{clusters, users, contexts} {
		items := value[list].([]any)
		value[list] = items[:len(items)-1]
	}
	return value
}

func TestOnlyTheNewEntriesDiffer(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config")
	write(t, path, crowd(300))
	before, entries := mustLoadFile(t, path), testEntry()
	changed, err := Merge([]string{path}, entries, false)
	if err != nil || !changed {
		t.Fatal(changed, err)
	}
	after := read(t, path)
	if got := withoutLast(decoded(t, after)); !reflect.DeepEqual(got, decoded(t, crowd(300))) {
		t.Error("something else differs")
	}
	checkEntry(t, mustLoad(t, []byte(after)), entries)
	got := mustLoad(t, []byte(after))
	delete(got.Clusters, entries.ClusterName)
	delete(got.AuthInfos, entries.UserName)
	delete(got.Contexts, entries.ContextName)
	mustEqual(t, before, got)
	for _, comment := range []string{"# mine", "# relative"} {
		if !strings.Contains(after, comment) {
			t.Errorf("comment %q is gone", comment)
		}
	}
	if info, _ := os.Stat(path); info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
	onlyFiles(t, filepath.Dir(path), "config")
}

func TestMergingAgainWritesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config")
	write(t, path, crowd(3))
	for i, want := range []bool{true, false, false} {
		before, _ := os.Stat(path)
		changed, err := Merge([]string{path}, testEntry(), true)
		if err != nil || changed != want {
			t.Errorf("run %d: changed %v, %v", i, changed, err)
		}
		if after, _ := os.Stat(path); os.SameFile(before, after) == want {
			t.Errorf("run %d: the file was replaced: %v", i, !want)
		}
	}
	if got := mustLoadFile(t, path).CurrentContext; got != testEntry().ContextName {
		t.Errorf("current context %q", got)
	}
}

func TestFilesOfEveryKind(t *testing.T) {
	tests := []struct {
		name, text string
		keeps      []string
	}{
		{"an empty file", "", nil},
		{"a file of comments", "# a\n# b\n", []string{"# a", "# b"}},
		{"an empty document", "---\n", nil},
		{"null lists", "clusters: null\ncontexts:\nusers: ~\nkind: Config\n", nil},
		{"empty lists", "clusters: []\ncontexts: []\nusers: []\n",
			[]string{"clusters:\n- name: ",
				"users:\n- name: "}},
		{"a file of kubectl's",
			"apiVersion: v1\nclusters: []\ncontexts: []\ncurrent-context: " +
				"\"\"\nkind: Config\npreferences: {}\nusers: []\n", nil},
		{"flow style", "{clusters: [{name: a, cluster: {server: 'https://a'}}], users: " +
			"[], contexts: []}", []string{"name: a"}},
		{"comments in flow style",
			"clusters: [ # one\n {name: a, # two\n cluster: {server: 'https://a'}}]\n",
			[]string{"name: a"}},
		{"indented lists", "clusters:\n    - name: a\n      cluster:\n        server: " +
			"https://a\n",
			[]string{"\n    - name: a\n"}},
		{"aliases and merge keys elsewhere",
			"x: &x {server: 'https://a'}\nclusters:\n- name: a\n  cluster:\n    <<: " +
				"*x\n",
			[]string{"<<: *x", "\n    <<:"}},
		{"Windows line ends",
			"apiVersion: v1\r\nkind: Config\r\nclusters:\r\n- name: a\r\n  " +
				"cluster:\r\n    server: https://a\r\n", []string{"name: a"}},
		{"words that YAML versions disagree about",
			"clusters:\n- name: a\n  cluster: {server: 'https://a', w: yes, x: 012, " +
				"y: 1:20, z: on}\n",
			[]string{"w: yes", "x: 012"}},
		{"indented JSON", "{\n  \"clusters\": [\n    {\"name\": \"a<\", \"cluster\": " +
			"{\"server\": \"https://a\", \"n\": 1.50}}\n  ]\n}\n", []string{`"a<"`,
			"1.50", "\n  \"clusters\""}},
		{"JSON in one line", `{"clusters":[{"name":"a\u001b","cluster":{"server":"https://a"}}],"users":null}`, []string{`a\u001b`}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "config")
			write(t, path, tt.text)
			before := mustLoad(t, []byte(tt.text))
			changed, err := Merge([]string{path}, testEntry(), false)
			if err != nil || !changed {
				t.Fatal(changed, err)
			}
			after := read(t, path)
			checkEntry(t, mustLoad(t, []byte(after)), testEntry())
			for name, cluster := range before.Clusters {
				if !reflect.DeepEqual(cluster, mustLoad(t,
					[]byte(after)).Clusters[name]) {
					t.Errorf("cluster %q differs", name)
				}
			}
			for _, text := range tt.keeps {
				if !strings.Contains(after, text) {
					t.Errorf("%q is gone:\n%s", text, after)
				}
			}
			if strings.Contains(tt.name, "JSON") && (after[0] != '{' ||
				strings.Contains(after, `\e`) ||
				strings.HasSuffix(after, "\n") != strings.HasSuffix(tt.text,
					"\n")) {
				t.Errorf("no JSON, or with another end:\n%s", after)
			}
			if changed, err := Merge([]string{path}, testEntry(), false); err != nil ||
				changed {
				t.Errorf("again: %v, %v", changed, err)
			}
		})
	}
}

func TestANewFileIsPrivateAndHasACurrentContext(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a", "b", "config")
	if _, err := Merge([]string{path}, testEntry(), false); err != nil {
		t.Fatal(err)
	}
	if info, _ := os.Stat(path); info.Mode().Perm() != 0o600 {
		t.Errorf("file %v", info.Mode())
	}
	if info, _ := os.Stat(filepath.Dir(path)); info.Mode().Perm() != 0o700 {
		t.Errorf("dir %v", info.Mode())
	}
	if got := mustLoadFile(t, path).CurrentContext; got != testEntry().ContextName {
		t.Errorf("current context %q", got)
	}
	second := testEntry()
	second.ContextName = "other"
	if _, err := Merge([]string{path}, second, false); err != nil {
		t.Fatal(err)
	}
	if got := mustLoadFile(t, path).CurrentContext; got != testEntry().ContextName {
		t.Errorf("the current context moved to %q", got)
	}
}

func TestFilesThatAreLeftAlone(t *testing.T) {
	foreign := "users:\n- name: %q\n  user: {token: s3cr3t}\n"
	tests := []struct {
		name, text string
		want       error
		says       string
	}{
		{"no YAML", "a: b\nc: \"s3cr3t\nd: e\n", yamledit.ErrMalformed, ""},
		{"no YAML, with its line", "a: b\nc: [s3cr3t\nd: {{\n", yamledit.ErrMalformed,
			"line "},
		{"a tab", "\ta: s3cr3t", yamledit.ErrMalformed, ""},
		{"an unknown alias", "a: *s3cr3t", yamledit.ErrMalformed, ""},
		{"a field that is there twice", "s3cr3t: 1\ns3cr3t: 2\n", yamledit.ErrMalformed,
			"line 2"},
		{"a list", "- s3cr3t\n", yamledit.ErrMalformed, ""},
		{"lists that are none", "clusters: {s3cr3t: 5}\n", yamledit.ErrMalformed, ""},
		{"a name that is there twice", "users:\n- name: s3cr3t\n- name: s3cr3t\n",
			yamledit.ErrMalformed,
			""},
		{"two documents", "kind: Config\n---\na: s3cr3t\n", yamledit.ErrUnsupported,
			"2 YAML documents"},
		{"a list that is an alias", "x: &x []\nclusters: *x\n", yamledit.ErrUnsupported,
			"clusters"},
		{"a list with an anchor", "clusters: &x\n- name: a\n  cluster: {server: x}\ny: " +
			"*x\n",
			yamledit.ErrUnsupported, "clusters"},
		{"another's user of that name", fmt.Sprintf(foreign, testEntry().UserName),
			ErrForeign,
			testEntry().UserName},
		{"another's cluster of that name", fmt.Sprintf("clusters: [{name: %q, cluster: "+
			"{server: x}}]",
			testEntry().ClusterName), ErrForeign, "cluster"},
		{"another's cluster of that name with an extension",
			fmt.Sprintf("clusters: [{name: %q, cluster: "+
				"{server: x, extensions: [{name: %s, extension: {apiVersion: "+
				"other/v1, "+
				"profile: %q}}]}}]",
				testEntry().ClusterName, execExtension, testEntry().Profile),
			ErrForeign,
			"cluster"},
		{"another's context of that name", fmt.Sprintf("contexts: [{name: %q, context: "+
			"{user: x}}]",
			testEntry().ContextName), ErrForeign, "context"},
		{"aliases without end",
			"a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c " +
				"[*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c]\ne: " +
				"&e [*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f " +
				"[*e,*e,*e,*e,*e,*e,*e,*e]\ng: [*f,*f,*f,*f,*f,*f,*f,*f]\n",
			yamledit.ErrMalformed, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "config")
			write(t, path, tt.text)
			changed, err := Merge([]string{path}, testEntry(), true)
			if changed || !errors.Is(err, tt.want) || !strings.Contains(err.Error(),
				tt.says) {
				t.Fatalf("changed %v, %v", changed, err)
			}
			if strings.Contains(err.Error(), "s3cr3t") || strings.Contains(err.Error(),
				"\n") {
				t.Errorf("the error quotes the file: %v", err)
			}
			if tt.want != ErrForeign && !strings.Contains(err.Error(), path) {
				t.Errorf("the error does not name the file: %v", err)
			}
			if read(t, path) != tt.text {
				t.Error("the file has changed")
			}
			onlyFiles(t, filepath.Dir(path), "config")
		})
	}
}

func TestOurEntryIsBroughtUpToDate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config")
	if _, err := Merge([]string{path}, testEntry(), false); err != nil {
		t.Fatal(err)
	}
	// What the user added to our entries stays.
	text := strings.Replace(read(t, path), "      interactiveMode:",
		"      env: [{name: A, value: b}]\n      interactiveMode:", 1)
	text = strings.Replace(text, "provideClusterInfo: true", "provideClusterInfo: true # mine",
		1)
	text = strings.Replace(text, "    extensions:",
		"    disable-compression: true\n    insecure-skip-tls-verify: true\n    "+
			"extensions:\n    - name: mine\n      extension: {}", 1)
	write(t, path, text)
	e := testEntry()
	e.Command, e.Server, e.ProxyURL, e.Namespace = "/new/sa-exec-credential",
		"https://new.example.com", "", "other"
	if changed, err := Merge([]string{path}, e, false); err != nil || !changed {
		t.Fatal(changed, err)
	}
	config := mustLoadFile(t, path)
	user, cluster := config.AuthInfos[e.UserName], config.Clusters[e.ClusterName]
	if len(user.Exec.Env) != 1 || !cluster.DisableCompression ||
		cluster.Extensions["mine"] == nil {
		t.Errorf("the user's fields are gone:\n%s", read(t, path))
	}
	if !strings.Contains(read(t, path), "provideClusterInfo: true # mine\n") {
		t.Errorf("the comment on a value that stays is gone:\n%s", read(t, path))
	}
	if cluster.InsecureSkipTLSVerify {
		t.Error("the cluster still skips verification")
	}
	user.Exec.Env = nil
	checkEntry(t, config, e)
}

func TestAClusterThatIsAnotherNowLeavesNoOldEntries(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config")
	write(t, path, crowd(2))
	e := testEntry()
	if _, err := Merge([]string{path}, e, false); err != nil {
		t.Fatal(err)
	}
	e.ClusterName, e.UserName = "ci.build@prod-ffffffff", "ci.build@prod-ffffffff"
	if _, err := Merge([]string{path}, e, false); err != nil {
		t.Fatal(err)
	}
	checkEntry(t, mustLoadFile(t, path), e)
	if got := withoutLast(decoded(t, read(t, path))); !reflect.DeepEqual(got,
		decoded(t, crowd(2))) {
		t.Errorf("left over:\n%s", read(t, path))
	}
}

func TestALinkStays(t *testing.T) {
	for _, exists := range []bool{true, false} {
		dir := t.TempDir()
		if err := os.Mkdir(filepath.Join(dir, "dotfiles"), 0o700); err != nil {
			t.Fatal(err)
		}
		file, link := filepath.Join(dir, "dotfiles", "kube"), filepath.Join(dir, "config")
		if exists {
			write(t, file, crowd(1))
		}
		if err := os.Symlink("dotfiles/kube", link); err != nil {
			t.Fatal(err)
		}
		if _, err := Merge([]string{link}, testEntry(), false); err != nil {
			t.Fatal(err)
		}
		if info, _ := os.Lstat(link); info.Mode()&fs.ModeSymlink == 0 {
			t.Error("the link is gone")
		}
		checkEntry(t, mustLoadFile(t, file), testEntry())
		onlyFiles(t, dir, "config", "dotfiles")
	}
}

func TestWhatIsNoRegularFileIsRefused(t *testing.T) {
	_, err := Merge([]string{"/dev/null"}, testEntry(), false)
	if !errors.Is(err, yamledit.ErrReadOnly) {
		t.Errorf("error %v", err)
	}
}

func TestSeveralFiles(t *testing.T) {
	dir := t.TempDir()
	missing, one, two := filepath.Join(dir, "missing"), filepath.Join(dir, "one"),
		filepath.Join(dir, "two")
	paths := kuberc.Kubeconfigs("", strings.Join([]string{missing, "", one, two, one},
		string(os.PathListSeparator)), "")
	if !reflect.DeepEqual(paths, []string{missing, one, two}) {
		t.Fatalf("paths %q", paths)
	}
	if got := Target(paths); got != two {
		t.Errorf("with no file the target is %q", got)
	}
	write(t, one, crowd(1))
	write(t, two, "")
	if got := Target(paths); got != one {
		t.Errorf("the target is %q", got)
	}
	if _, err := Merge([]string{two}, testEntry(), false); err != nil {
		t.Fatal(err)
	}
	e := testEntry()
	e.Namespace = "moved"
	if changed, err := Merge(paths, e, true); err != nil || !changed {
		t.Fatal(changed, err)
	}
	checkEntry(t, mustLoadFile(t, two), e)
	if got := mustLoadFile(t, one); len(got.Contexts) != 1 ||
		got.CurrentContext != e.ContextName {
		t.Errorf("the first file has %v", got)
	}
	onlyFiles(t, dir, "one", "two")
}

func TestMergesAtTheSameTimeLoseNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config")
	write(t, path, crowd(20))
	var group sync.WaitGroup
	for i := range 20 {
		group.Go(func() {
			e := testEntry()
			e.ContextName, e.ClusterName, e.UserName = fmt.Sprint("x", i),
				fmt.Sprint("x", i),
				fmt.Sprint("x", i)
			if _, err := Merge([]string{path}, e, false); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if got := len(mustLoadFile(t, path).Contexts); got != 40 {
		t.Errorf("%d contexts", got)
	}
	onlyFiles(t, filepath.Dir(path), "config")
}

func TestWhatAKilledProcessLeftIsTakenOver(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "config")
	write(t, path, crowd(1))
	write(t, path+".lock", "")
	write(t, filepath.Join(dir, ".config.123.tmp"), "token: secret")
	write(t, filepath.Join(dir, ".config.mine.tmp"), "")
	if err := os.Mkdir(filepath.Join(dir, ".config.456.tmp"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := Merge([]string{path}, testEntry(), false); err != nil {
		t.Fatal(err)
	}
	onlyFiles(t, dir, "config", ".config.mine.tmp", ".config.456.tmp")
}

func TestAnEntryThatSharesAnAnchorWithAnotherIsLeftAlone(t *testing.T) {
	for name, other := range map[string]string{
		"a user":                     "- {name: other, user: *ours}\n",
		"a field unknown to clients": "x-note: *ours\n",
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "config")
			if _, err := Merge([]string{path}, testEntry(), false); err != nil {
				t.Fatal(err)
			}
			lists := strings.SplitAfter(read(t, path), "contexts:\n")
			text := "contexts:\n" + lists[1] + strings.TrimSuffix(lists[0],
				"contexts:\n")
			text = strings.Replace(text, "  user:\n    exec:",
				"  user: &ours\n    exec:", 1) + other
			write(t, path, text)
			e := testEntry()
			e.Command = "/new/sa-exec-credential"
			changed, err := Merge([]string{path}, e, false)
			if changed || !errors.Is(err, yamledit.ErrUnsupported) ||
				read(t, path) != text {
				t.Errorf("changed %v, %v\n%s", changed, err, read(t, path))
			}
		})
	}
}

func TestClientsSeeWhatWasNotTouched(t *testing.T) {
	const text = `current-context: a
preferences: {colors: true}
extensions: [{name: e, extension: {a: b}}]
clusters: [{name: ours, cluster: {server: A}}, {name: other, cluster: {server: A}}]
users: [{name: ours, user: {token: B}}, {name: other, user: {token: B}}]
contexts: [{name: ours, context: {user: C}}, {name: other, context: {user: C}}]
`
	touched := yamledit.Touched{clusters: {"ours"}, users: {"ours"}, contexts: {"ours"}}
	tests := []struct {
		name, old, new string
		touched        yamledit.Touched
		differs        bool
	}{
		{"our cluster", "name: ours, cluster: {server: A",
			"name: ours, cluster: {server: x", touched,
			false},
		{"our user", "name: ours, user: {token: B", "name: ours, user: {token: x", touched,
			false},
		{"our context", "name: ours, context: {user: C", "name: ours, context: {user: x",
			touched, false},
		{"another cluster", "name: other, cluster: {server: A",
			"name: other, cluster: {server: x",
			touched, true},
		{"another user", "name: other, user: {token: B", "name: other, user: {token: x",
			touched, true},
		{"another context", "name: other, context: {user: C",
			"name: other, context: {user: x", touched,
			true},
		{"the current context", "current-context: a", "current-context: x", touched, true},
		{"the current context, touched", "current-context: a", "current-context: x",
			yamledit.Touched{currentContext: nil}, false},
		{"preferences", "colors: true", "colors: false", touched, true},
		{"extensions", "{a: b}", "{a: x}", touched, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before, errBefore := othersForClients([]byte(text), tt.touched)
			changed := strings.Replace(text, tt.old, tt.new, 1)
			after, errAfter := othersForClients([]byte(changed), tt.touched)
			if changed == text || errBefore != nil || errAfter != nil ||
				reflect.DeepEqual(before, after) == tt.differs {
				t.Errorf("%v, %v\n%+v\n%+v", errBefore, errAfter, before, after)
			}
		})
	}
}

func TestAnUpdatedEntryKeepsNoFieldThatLeadsClientsElsewhere(t *testing.T) {
	e := testEntry()
	e.TLSServerName, e.CA, e.ProxyURL, e.Namespace = "", nil, "", ""
	for field, above := range map[string]string{
		"tls-server-name: other":               "    server:",
		"proxy-url: http://other":              "    server:",
		"certificate-authority: other.crt":     "    server:",
		"certificate-authority-data: b3RoZXI=": "    server:",
		"insecure-skip-tls-verify: true":       "    server:",
		"namespace: other":                     "    user: \"",
	} {
		t.Run(field, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "config")
			if _, err := Merge([]string{path}, e, false); err != nil {
				t.Fatal(err)
			}
			clean := read(t, path)
			edited := strings.Replace(clean, above, "    "+field+"\n"+above, 1)
			write(t, path, edited)
			if changed, err := Merge([]string{path}, e, false); err != nil || !changed {
				t.Fatalf("changed %v, %v\n%s", changed, err, edited)
			}
			if got := read(t, path); got != clean {
				t.Errorf("the file is\n%s", got)
			}
		})
	}
}

func TestWhatOurContextNamedByHandStays(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config")
	e := testEntry()
	if _, err := Merge([]string{path}, e, false); err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(read(t, path), `    cluster: "`+e.ClusterName, `    cluster: "mine`,
		1)
	text = strings.Replace(text, "clusters:\n",
		"clusters:\n- {name: mine, cluster: {server: 'https://mine.example.com'}}\n", 1)
	write(t, path, text)
	if _, err := Merge([]string{path}, e, false); err != nil {
		t.Fatal(err)
	}
	got := mustLoadFile(t, path)
	checkEntry(t, got, e)
	if got.Clusters["mine"] == nil {
		t.Errorf("the user's own cluster is gone:\n%s", read(t, path))
	}
}

func TestOurContextGetsTheUserBackThatWasDeleted(t *testing.T) {
	path, e := filepath.Join(t.TempDir(), "config"), testEntry()
	write(t, path, fmt.Sprintf("contexts: [{name: %q, context: {cluster: gone, user: %q}}]\n",
		e.ContextName, e.UserName))
	if _, err := Merge([]string{path}, e, false); err != nil {
		t.Fatal(err)
	}
	checkEntry(t, mustLoadFile(t, path), e)
}

func TestARenamedContextKeepsItsName(t *testing.T) {
	rename := func(t *testing.T, path, from, to string) {
		t.Helper()
		config := mustLoadFile(t, path)
		config.Contexts[to] = config.Contexts[from]
		delete(config.Contexts, from)
		if err := clientcmd.WriteToFile(*config, path); err != nil {
			t.Fatal(err)
		}
	}
	e := testEntry()
	tests := []struct {
		name   string
		change func(t *testing.T, path string, entry *Entry)
		want   []string
		as     string
	}{
		{name: "renamed", as: "prod", want: []string{"prod"},
			change: func(t *testing.T, path string, _ *Entry) {
				rename(t, path, e.ContextName, "prod")
			}},
		{name: "renamed, and the cluster has another authority since", as: "prod",
			want: []string{"prod"},
			change: func(t *testing.T, path string, entry *Entry) {
				rename(t, path, e.ContextName, "prod")
				entry.ClusterName, entry.UserName = "ci.build@prod-ffffffff",
					"ci.build@prod-ffffffff"
			}},
		{name: "copied", as: e.ContextName, want: []string{e.ContextName, "copy"},
			change: func(t *testing.T, path string, _ *Entry) {
				config := mustLoadFile(t, path)
				config.Contexts["copy"] = config.Contexts[e.ContextName]
				if err := clientcmd.WriteToFile(*config, path); err != nil {
					t.Fatal(err)
				}
			}},
		{name: "that of a user who has a name of its own", as: e.ContextName,
			want: []string{e.ContextName, "jenkins"},
			change: func(t *testing.T, path string, _ *Entry) {
				config := mustLoadFile(t, path)
				config.AuthInfos["jenkins"] = config.AuthInfos[e.UserName]
				config.Contexts["jenkins"] = config.Contexts[e.ContextName]
				config.Contexts["jenkins"].AuthInfo = "jenkins"
				delete(config.Contexts, e.ContextName)
				delete(config.AuthInfos, e.UserName)
				if err := clientcmd.WriteToFile(*config, path); err != nil {
					t.Fatal(err)
				}
			}},
		{name: "another profile's", as: e.ContextName, want: []string{e.ContextName, "prod"},
			change: func(t *testing.T, path string, _ *Entry) {
				rename(t, path, e.ContextName, "prod")
				text := strings.ReplaceAll(read(t, path), "- "+e.Profile+"\n", "- other\n")
				write(t, path, strings.ReplaceAll(strings.ReplaceAll(text, e.UserName,
					"other-0a1b2c3d"), "profile: "+e.Profile, "profile: other"))
			}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "config")
			if _, err := Merge([]string{path}, e, true); err != nil {
				t.Fatal(err)
			}
			entry := e
			tt.change(t, path, &entry)
			if _, err := MergeAs([]string{path}, &entry, true); err != nil {
				t.Fatal(err)
			}
			after := mustLoadFile(t, path)
			if got := slices.Sorted(maps.Keys(after.Contexts)); !slices.Equal(got,
				tt.want) || entry.ContextName != tt.as || after.CurrentContext != tt.as {
				t.Fatalf("contexts %q, the entry's %q, the current one %q", got,
					entry.ContextName, after.CurrentContext)
			}
			context := after.Contexts[tt.as]
			if context.AuthInfo != entry.UserName || after.AuthInfos[entry.UserName] == nil ||
				after.Clusters[context.Cluster] == nil {
				t.Errorf("it leads to user %q and cluster %q", context.AuthInfo,
					context.Cluster)
			}
		})
	}
}
