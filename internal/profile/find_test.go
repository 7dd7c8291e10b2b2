//go:build unix

package profile

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/files"
)

// fleet is a directory of profiles, whose times of change are old enough to count.
type fleet struct {
	*testing.T
	Dir
	ca []byte
}

func newFleet(t *testing.T) *fleet { return &fleet{t, DirIn(t.TempDir()), certificate(t)} }

// at is the cluster with an address.
func (f *fleet) at(server string) Cluster {
	return Cluster{Server: server, CertificateAuthorityData: f.ca}
}

// save writes a profile for an address.
func (f *fleet) save(name string, c Cluster) {
	f.Helper()
	p := example(f)
	p.Name, p.Cluster = name, c
	if err := f.Dir.Save(p); err != nil {
		f.Fatal(err)
	}
}

// settle has all changes be made a minute ago.
func (f *fleet) settle() {
	f.Helper()
	old := time.Now().Add(-time.Minute).Truncate(time.Second)
	paths, _ := filepath.Glob(filepath.Join(string(f.Dir), "*"))
	for _, path := range append(paths, string(f.Dir)) {
		if info, err := os.Stat(path); err != nil || time.Since(info.ModTime()) < settled {
			if err := os.Chtimes(path, old, old); err != nil {
				f.Fatal(err)
			}
		}
	}
}

// find returns the names of the profiles of a cluster.
func (f *fleet) find(c Cluster) string {
	f.Helper()
	found, err := f.ForCluster(c)
	if err != nil {
		f.Fatal(err)
	}
	var names []string
	for _, p := range found.Fitting {
		names = append(names, p.Name)
	}
	return strings.Join(names, " ")
}

// isFresh reports whether the next find reads no directory.
func (f *fleet) isFresh() bool {
	f.Helper()
	info, err := os.Stat(string(f.Dir))
	if err != nil {
		f.Fatal(err)
	}
	return f.readIndex().isOf(info)
}

func TestProfilesAreFoundByTheirCluster(t *testing.T) {
	f := newFleet(t)
	for name, server := range map[string]string{"a": "https://a", "b1": "https://b:6443",
		"b2": "HTTPS://B.:06443/"} {
		f.save(name, f.at(server))
	}
	named := f.at("https://a")
	named.TLSServerName = "x"
	f.save("named", named)
	other := f.at("https://a")
	other.CertificateAuthorityData = certificate(t)
	f.save("other", other)
	bundle := f.at("https://c")
	bundle.CertificateAuthorityData = join(f.ca, other.CertificateAuthorityData)
	f.save("bundle", bundle)
	turned := f.at("https://c")
	turned.CertificateAuthorityData = join(other.CertificateAuthorityData, f.ca, f.ca)
	for _, test := range []struct {
		name    string
		cluster Cluster
		want    string
	}{
		{"the only one", f.at("https://a"), "a"},
		{"an address that is spelled otherwise", f.at("https://A.:443/"), "a"},
		{"several", f.at("https://b:6443"), "b1 b2"},
		{"another name", named, "named"},
		{"another authority", other, "other"},
		{"a bundle in another order", turned, "bundle"},
		{"a part of a bundle", f.at("https://c"), ""},
		{"no authority", Cluster{Server: "https://a"}, ""},
		{"another address", f.at("https://d"), ""},
	} {
		for _, from := range []string{"the profiles", "the index", "the index again"} {
			if got := f.find(test.cluster); got != test.want {
				t.Errorf("%s, from %s: found %q, want %q", test.name, from, got,
					test.want)
			}
			f.settle()
		}
	}
	if _, err := f.ForCluster(Cluster{Server: "http://a"}); !errors.Is(err, ErrCluster) {
		t.Errorf("what is no cluster: %v", err)
	}
	found, err := f.ForCluster(f.at("https://c"))
	if err != nil || len(found.Near) != 1 || found.Near[0].Name != "bundle" {
		t.Errorf("near a part of a bundle: %+v, %v", found.Near, err)
	}
}

func TestTheIndexIsReadInPlaceOfTheProfiles(t *testing.T) {
	f := newFleet(t)
	if got := f.find(f.at("https://a")); got != "" {
		t.Errorf("without a directory: %q", got)
	}
	f.save("a", f.at("https://a"))
	f.save("b", f.at("https://b"))
	f.settle()
	// what one that was killed has left
	write(t, filepath.Dir(string(f.Dir)), ".profiles.index.1.tmp", "x", 0o600)
	f.find(f.at("https://a"))
	if !f.isFresh() {
		t.Fatal("no index was written")
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(string(f.Dir)), ".*")); left != nil {
		t.Errorf("left behind: %q", left)
	}
	before := f.readIndex()
	// whoever reads them all finds this one unreadable, and writes another index
	chmod(t, f.path("b"), 0o622)
	for range 3 {
		if got := f.find(f.at("https://a")); got != "a" {
			t.Errorf("found %q", got)
		}
	}
	if after := f.readIndex(); !after.written.Equal(before.written) {
		t.Error("a hit has written the index")
	}
	if info, err := os.Stat(f.indexPath()); err != nil || info.Mode().Perm() != files.PrivateFile {
		t.Errorf("the index: %v, %v", info, err)
	}
}

// TestProfilesThatOthersWroteAreFound is about files that no Save has seen.
func TestProfilesThatOthersWroteAreFound(t *testing.T) {
	f := newFleet(t)
	f.save("a", f.at("https://a"))
	f.save("gone", f.at("https://gone"))
	f.settle()
	f.find(f.at("https://a"))
	copied, err := os.ReadFile(f.path("a"))
	if err != nil {
		t.Fatal(err)
	}
	write(t, string(f.Dir), "copy.yaml", string(copied), 0o600)
	if got := f.find(f.at("https://a")); got != "a copy" {
		t.Errorf("after a copy: %q", got)
	}
	f.settle()
	f.find(f.at("https://a"))
	remove(t, f.path("gone"))
	if got := f.find(f.at("https://gone")); got != "" {
		t.Errorf("after it is gone: %q", got)
	}
	f.settle()
	f.find(f.at("https://a"))
	// in place: the directory has not changed
	moved := strings.ReplaceAll(string(copied), "https://a", "https://moved")
	if err := os.WriteFile(f.path("copy"), []byte(moved), 0o600); err != nil {
		t.Fatal(err)
	}
	for server, want := range map[string]string{"https://a": "a", "https://moved": "copy"} {
		if got := f.find(f.at(server)); got != want {
			t.Errorf("%s after a change in place: %q", server, got)
		}
	}
}

// TestWhatTheIndexSaysIsChecked has an index of somebody's making, and ones that are broken.
func TestWhatTheIndexSaysIsChecked(t *testing.T) {
	f := newFleet(t)
	f.save("a", f.at("https://a"))
	f.save("b", f.at("https://b"))
	f.settle()
	f.find(f.at("https://a"))
	good := string(f.readIndex().text)
	identity, _ := f.at("https://a").Identity()
	key := indexKey(identity)
	first, _, _ := strings.Cut(good, "\n")
	for _, text := range []string{
		strings.ReplaceAll(strings.ReplaceAll(good, " a ", " x "), " b ", " a "),
		strings.ReplaceAll(good, " a ", " b "),
		strings.ReplaceAll(good, " a ", " ../a "),
		strings.ReplaceAll(good, " a ", " missing "),
		strings.ReplaceAll(good, key, noKey),
		first + "\n", first + "\n" + key + "\n", first + "\n" + key + " a", "", "x",
		good[:len(good)/2], strings.Repeat("\x00", 200),
	} {
		if err := os.WriteFile(f.indexPath(), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		for server, want := range map[string]string{"https://a": "a", "https://b": "b"} {
			if got := f.find(f.at(server)); got != want {
				t.Errorf("%s by the index %q: %q", server, text, got)
			}
		}
	}
	// a link is not followed, and others' files are not believed
	if err := os.Remove(f.indexPath()); err != nil {
		t.Fatal(err)
	}
	forged := write0(t, strings.ReplaceAll(good, key, strings.Repeat("0", len(key))))
	if err := os.Symlink(forged, f.indexPath()); err != nil {
		t.Fatal(err)
	}
	if got := f.find(f.at("https://a")); got != "a" {
		t.Errorf("by a link: %q", got)
	}
	remove(t, f.indexPath())
	f.find(f.at("https://a"))
	chmod(t, f.indexPath(), 0o622)
	if len(f.readIndex().text) != 0 {
		t.Error("an index that others can write is read")
	}
}

func write0(t *testing.T, text string) (path string) {
	t.Helper()
	dir := t.TempDir()
	write(t, dir, "forged", text, 0o600)
	return filepath.Join(dir, "forged")
}

// TestAnIndexOfTheSameMomentIsNotBelieved has a profile come right after the index was made, so
// that the directory's time of change is the same.
func TestAnIndexOfTheSameMomentIsNotBelieved(t *testing.T) {
	f := newFleet(t)
	f.save("a", f.at("https://a"))
	now := time.Now()
	same := func() {
		if err := os.Chtimes(string(f.Dir), now, now); err != nil {
			t.Fatal(err)
		}
	}
	same()
	if got := f.find(f.at("https://a")); got != "a" {
		t.Fatalf("found %q", got)
	}
	f.save("b", f.at("https://a"))
	same()
	if got := f.find(f.at("https://a")); got != "a b" {
		t.Errorf("found %q", got)
	}
	// nor are the lines of files that have changed in the same moment
	b, err := os.Stat(f.path("b"))
	if err != nil {
		t.Fatal(err)
	}
	f.save("b", f.at("https://c"))
	if err := os.Chtimes(f.path("b"), b.ModTime(), b.ModTime()); err != nil {
		t.Fatal(err)
	}
	same()
	if got := f.find(f.at("https://c")); got != "b" {
		t.Errorf("found %q", got)
	}
}

func TestProfilesAreFoundWhereTheIndexCannotBeWritten(t *testing.T) {
	f := newFleet(t)
	f.save("a", f.at("https://a"))
	f.settle()
	// modes would not keep root from it
	if err := os.Mkdir(f.indexPath(), 0o700); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if got := f.find(f.at("https://a")); got != "a" {
			t.Errorf("found %q", got)
		}
	}
	if err := f.Remove("a"); err != nil {
		t.Error(err)
	}
}

// TestProfilesThatCannotBeReadAreNamed where they may be what is looked for.
func TestProfilesThatCannotBeReadAreNamed(t *testing.T) {
	f := newFleet(t)
	f.save("a", f.at("https://a"))
	f.save("b", f.at("https://b"))
	write(t, string(f.Dir), "bad.yaml", "version: 9\n", 0o600)
	chmod(t, f.path("b"), 0o622)
	f.settle()
	for range 2 {
		found, err := f.ForCluster(f.at("https://b"))
		if err != nil || !slices.Equal(found.Broken, []string{"b", "bad"}) {
			t.Errorf("broken are %q, %v", found.Broken, err)
		}
		found, err = f.ForCluster(f.at("https://a"))
		if err != nil || found.Broken != nil || len(found.Fitting) != 1 {
			t.Errorf("%+v, %v", found, err)
		}
	}
	chmod(t, f.path("b"), 0o600) // which changes no time of the directory
	if got := f.find(f.at("https://b")); got != "b" {
		t.Errorf("once it is trusted: %q", got)
	}
	chmod(t, string(f.Dir), 0o722)
	if _, err := f.ForCluster(f.at("https://a")); !errors.Is(err, files.ErrUntrusted) {
		t.Errorf("a directory that others can write: %v", err)
	}
}

func TestRemoveLeavesNoNameInTheIndex(t *testing.T) {
	f := newFleet(t)
	f.save("a", f.at("https://a"))
	f.save("b", f.at("https://b"))
	f.settle()
	f.find(f.at("https://a"))
	if err := f.Remove("b"); err != nil {
		t.Fatal(err)
	}
	if text := string(f.readIndex().text); strings.Contains(text, " b ") {
		t.Errorf("the index is %q", text)
	}
}

// TestManyFindAtOnce while profiles come and go: each finds what was there all the time.
func TestManyFindAtOnce(t *testing.T) {
	f := newFleet(t)
	f.save("a", f.at("https://a"))
	var wait sync.WaitGroup
	for i := range 8 {
		wait.Go(func() {
			for j := range 40 {
				if i%2 == 0 {
					p := example(t)
					p.Name = fmt.Sprintf("x%d", i)
					p.Cluster = f.at(fmt.Sprintf("https://x%d-%d", i, j))
					if err := errors.Join(f.Dir.Save(p), f.Dir.Remove(p.Name)); err != nil {
						t.Error(err)
					}
					continue
				}
				found, err := f.ForCluster(f.at("https://a"))
				if err != nil || len(found.Fitting) != 1 {
					t.Errorf("found %+v, %v", found, err)
				}
			}
		})
	}
	wait.Wait()
	left, _ := filepath.Glob(filepath.Join(filepath.Dir(string(f.Dir)), ".*"))
	if len(left) != 0 {
		t.Errorf("left behind: %q", left)
	}
}

// BenchmarkForCluster is a thousand profiles, with the index and without.
func BenchmarkForCluster(b *testing.B) {
	for _, indexed := range []bool{true, false} {
		b.Run(fmt.Sprintf("indexed=%v", indexed), func(b *testing.B) {
			dir, p := DirIn(b.TempDir()), example(b)
			for i := range 1000 {
				p.Name = fmt.Sprintf("p%d", i)
				p.Cluster.Server = fmt.Sprintf("https://c%d", i)
				if err := dir.Save(p); err != nil {
					b.Fatal(err)
				}
			}
			old := time.Now().Add(-time.Minute)
			if err := os.Chtimes(string(dir), old, old); err != nil {
				b.Fatal(err)
			}
			_, _ = dir.ForCluster(p.Cluster)
			for b.Loop() {
				if !indexed {
					_ = os.Remove(dir.indexPath())
				}
				if found, _ := dir.ForCluster(p.Cluster); len(found.Fitting) != 1 {
					b.Fatal("not found")
				}
			}
		})
	}
}

// FuzzIndex has an index of anybody's making never lead to another cluster's profile, and never
// keep the right one from being found.
func FuzzIndex(f *testing.F) {
	dir, p := DirIn(f.TempDir()), example(f)
	for _, name := range []string{"a", "b"} {
		p.Name, p.Cluster.Server = name, "https://"+name
		if err := dir.Save(p); err != nil {
			f.Fatal(err)
		}
	}
	old := time.Now().Add(-time.Minute)
	if err := os.Chtimes(string(dir), old, old); err != nil {
		f.Fatal(err)
	}
	if _, err := dir.ForCluster(p.Cluster); err != nil {
		f.Fatal(err)
	}
	good := dir.readIndex().text
	f.Add(good)
	f.Add(bytes.ReplaceAll(good, []byte(" b "), []byte(" a ")))
	f.Add(good[:len(good)-10])
	f.Add([]byte(indexHeader))
	f.Fuzz(func(t *testing.T, text []byte) {
		if err := os.WriteFile(dir.indexPath(), text, 0o600); err != nil {
			t.Fatal(err)
		}
		found, err := dir.ForCluster(p.Cluster)
		if err != nil || len(found.Fitting) != 1 || found.Fitting[0].Name != "b" {
			t.Errorf("found %+v, %v", found.Fitting, err)
		}
	})
}
