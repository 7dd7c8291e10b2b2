//go:build linux

// Package dist_test takes what `make dist` has made, installs it as people do, and does the main job
// with it on a real control plane. DIST is the folder; without it nothing is tested.
package dist_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sa-exec-credential/sa-exec-credential/test/lab"
)

const program = "sa-exec-credential"

func TestMain(m *testing.M) {
	if os.Getenv("DIST") == "" {
		os.Exit(0)
	}
	lab.Main(m, lab.Options{})
}

// artifact is what GoReleaser says of one of its files.
type artifact struct {
	Name string `json:"name"`
	Path string `json:"path"` // from the repository's root
	OS   string `json:"goos"`
	Arch string `json:"goarch"`
	Type string `json:"type"`
}

// file is where it is.
func (a artifact) file() string { return filepath.Join(dist(), "..", a.Path) }

func dist() string { return os.Getenv("DIST") }

// made are the files of one kind: "Archive", "Binary", which are those that a release has beside its
// archives, "Linux Package" or "SBOM".
func made(t *testing.T, kind string) (list []artifact) {
	t.Helper()
	var all []artifact
	if err := json.Unmarshal(read(t, filepath.Join(dist(), "artifacts.json")),
		&all); err != nil {
		t.Fatal(err)
	}
	for _, a := range all {
		if a.Type == kind && (kind != "Binary" || strings.Contains(a.Name, "-"+a.OS+"-")) {
			list = append(list, a)
		}
	}
	if len(list) == 0 {
		t.Fatalf("there is no %s in %s", kind, dist())
	}
	return list
}

// release is what GoReleaser says of all of it.
type release struct {
	Version string `json:"version"`
	Tag     string `json:"tag"` // of a snapshot that of an earlier release
}

func metadata(t *testing.T) (r release) {
	t.Helper()
	if err := json.Unmarshal(read(t, filepath.Join(dist(), "metadata.json")), &r); err != nil {
		t.Fatal(err)
	}
	return r
}

// one is the file for this platform whose name has that ending.
func one(t *testing.T, kind, ending string) artifact {
	t.Helper()
	for _, a := range made(t, kind) {
		if a.OS == "linux" && a.Arch == "amd64" && strings.HasSuffix(a.Name, ending) {
			return a
		}
	}
	t.Fatalf("there is no %s that ends in %q", kind, ending)
	return artifact{}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func sum(data []byte) string {
	digest := sha256.Sum256(data)
	return hex.EncodeToString(digest[:])
}

// sums are what SHA256SUMS says, by the file's name.
func sums(t *testing.T) map[string]string {
	t.Helper()
	said := map[string]string{}
	for line := range strings.Lines(string(read(t, filepath.Join(dist(), "SHA256SUMS")))) {
		digest, name, found := strings.Cut(strings.TrimSpace(line), "  ")
		if !found {
			t.Fatalf("SHA256SUMS has a line %q", line)
		}
		said[name] = digest
	}
	return said
}

// root is a root file system in which there is nothing: no shell, no library, no user.
type root struct {
	*lab.Machine
	dir string
}

// newRoot makes one that root can chroot to. It has /proc, without which no program knows its path, and
// /dev, without which none starts another.
func newRoot(m *lab.Machine) root {
	m.Helper()
	if os.Geteuid() != 0 {
		m.Skip("only root can install into another root")
	}
	r := root{m, lab.Dir(m.T, "root")}
	for _, dir := range []string{"proc", "dev", "tmp", "root", "plugins"} {
		if err := os.Mkdir(filepath.Join(r.dir, dir), 0o700); err != nil {
			m.Fatal(err)
		}
	}
	for _, dir := range []string{"proc", "dev"} {
		here := filepath.Join(r.dir, dir)
		if err := unix.Mount("/"+dir, here, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
			m.Fatal(err)
		}
		m.Cleanup(func() { _ = unix.Unmount(here, unix.MNT_DETACH) })
	}
	return r
}

// runs runs a program of the root's, as its root.
func (r root) runs(args ...string) lab.Result {
	r.Helper()
	return lab.Command{Args: append([]string{"/usr/sbin/chroot", r.dir}, args...),
		Env: []string{"HOME=/root", "PATH=/usr/bin:/bin", "TMPDIR=/tmp"}}.Run(r.T)
}

// put copies a file into it.
func (r root) put(from, to string, mode os.FileMode) {
	r.Helper()
	lab.WriteFile(r.T, filepath.Join(r.dir, to), string(read(r.T, from)), mode)
}
