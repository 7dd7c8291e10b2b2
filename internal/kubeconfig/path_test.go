package kubeconfig

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/sa-exec-credential/sa-exec-credential/internal/kuberc"
)

// spelled is a directory with a kubeconfig at real/config, and links that lead to it.
func spelled(t *testing.T) (root, config string) {
	t.Helper()
	root, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(root, "real", "sub"), 0o700); err != nil {
		t.Fatal(err)
	}
	for link, target := range map[string]string{
		"link": "real", "deep": "real/sub", "file": "real/config", "far": "deep/../config",
	} {
		if err := os.Symlink(target, filepath.Join(root, link)); err != nil {
			t.Fatal(err)
		}
	}
	return root, filepath.Join(root, "real", "config")
}

var spellings = []struct {
	name, dir string // the working directory
	paths     []string
}{
	{"a relative name", "real", []string{"config"}},
	{"a relative name with a dot", "real", []string{"./config"}},
	{"the parent's", "real/sub", []string{"../config"}},
	{"the parent's, in a linked directory", "deep", []string{"../config"}},
	{"not clean", "", []string{"ROOT//real/./sub/../config"}},
	{"a linked directory", "", []string{"ROOT/link/config"}},
	{"a linked directory, relative", "", []string{"link/config"}},
	{"the parent of what a link leads to", "", []string{"ROOT/deep/../config"}},
	{"a linked file", "", []string{"file"}},
	{"a linked file behind the parent of what a link leads to", "", []string{"ROOT/far"}},
	{"twice, relative and absolute", "real", []string{"config", "ROOT/real/config"}},
	{"twice, through a linked directory", "", []string{"ROOT/real/config", "ROOT/link/config"}},
	{"twice, through links alone", "", []string{"ROOT/link/config", "file"}},
}

func TestOneFileIsOneLockHoweverItIsSpelled(t *testing.T) {
	for _, tt := range spellings {
		for _, exists := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, exists %v", tt.name, exists), func(t *testing.T) {
				root, config := spelled(t)
				if exists {
					write(t, config, staticUsers)
				}
				paths := inDir(t, root, tt.dir, tt.paths)
				if changed, err := Merge(paths, testEntry(), true); err != nil ||
					!changed {
					t.Fatal(changed, err)
				}
				checkEntry(t, mustLoadFile(t, config), testEntry())
				if _, err := ClientConfig(paths, testEntry().ContextName); err != nil {
					t.Errorf("as it is spelled: %v", err)
				}
				target := Target(paths)
				t.Chdir(t.TempDir())
				checkEntry(t, mustLoadFile(t, target), testEntry())
				onlyFiles(t, filepath.Dir(config), "config", "sub")
				onlyFiles(t, root, "real", "link", "deep", "file", "far")
			})
		}
	}
}

// inDir moves to a directory and puts the root into paths.
func inDir(t *testing.T, root, dir string, paths []string) []string {
	t.Helper()
	t.Chdir(filepath.Join(root, dir))
	full := make([]string, len(paths))
	for i, path := range paths {
		full[i] = strings.ReplaceAll(path, "ROOT", root)
	}
	return full
}

func TestWhatIsFoundIsNamedForEveryDirectory(t *testing.T) {
	for _, tt := range spellings {
		t.Run(tt.name, func(t *testing.T) {
			root, config := spelled(t)
			write(t, config, staticUsers)
			paths := inDir(t, root, tt.dir, tt.paths)
			context, err := Resolve(paths, "token")
			if err != nil {
				t.Fatal(err)
			}
			uses, err := FindPluginContexts(paths)
			if err != nil || len(uses) != 1 {
				t.Fatalf("%+v, %v", uses, err)
			}
			static, err := StaticToken(paths, "token")
			if err != nil {
				t.Fatal(err)
			}
			list := strings.Join(paths, string(os.PathListSeparator))
			names := append(kuberc.Kubeconfigs("", list, ""), context.File, uses[0].File,
				static.File, Target(paths))
			t.Chdir(t.TempDir())
			for _, name := range names {
				if read(t, name) != staticUsers || !filepath.IsAbs(name) ||
					filepath.Clean(name) != name {
					t.Errorf("%q", name)
				}
			}
		})
	}
}

func TestAUserWhoseFileIsNamedTwiceIsNoOtherHolderOfTheToken(t *testing.T) {
	for _, tt := range spellings {
		t.Run(tt.name, func(t *testing.T) {
			root, config := spelled(t)
			write(t, config, staticUsers)
			paths := inDir(t, root, tt.dir, tt.paths)
			done, err := ReplaceUser(paths, "token", staticEntry())
			if err != nil || !reflect.DeepEqual(done.Holders, []string{"copy"}) {
				t.Errorf("%+v, %v", done, err)
			}
		})
	}
}

func TestADirectoryIsCreatedWhereItsNameLeads(t *testing.T) {
	for _, path := range []string{"link/new/config", "deep/../new/config",
		"ROOT/deep/../new/config"} {
		t.Run(path, func(t *testing.T) {
			root, config := spelled(t)
			paths := inDir(t, root, "", []string{path})
			if _, err := Merge(paths, testEntry(), false); err != nil {
				t.Fatal(err)
			}
			checkEntry(t, mustLoadFile(t, filepath.Join(root, "real", "new", "config")),
				testEntry())
			onlyFiles(t, root, "real", "link", "deep", "file", "far")
			onlyFiles(t, filepath.Dir(config), "new", "sub")
		})
	}
}

func TestMergesUnderSeveralNamesLoseNothing(t *testing.T) {
	root, config := spelled(t)
	write(t, config, crowd(20))
	t.Chdir(root)
	names := []string{"real/config", "link/config", config, "deep/../config", "file", root +
		"//far"}
	var group sync.WaitGroup
	for i := range 24 {
		group.Go(func() {
			if _, err := Merge([]string{names[i%len(names)]}, numberedEntry(i),
				false); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if got := len(mustLoadFile(t, config).Contexts); got != 44 {
		t.Errorf("%d contexts", got)
	}
}

func TestBothNamesOfALinkedFileAreLocked(t *testing.T) {
	root, config := spelled(t)
	write(t, config, crowd(1))
	t.Chdir(root)
	_, err := edit([]string{"link/../file"}, func(*configs) error {
		for _, lock := range []string{filepath.Join(root, "file.lock"), config + ".lock"} {
			if _, err := os.Lstat(lock); err != nil {
				t.Error(err)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}
