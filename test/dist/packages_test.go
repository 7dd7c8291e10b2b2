//go:build linux

package dist_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sassoftware/go-rpmutils"
)

// TestTheRPM reads what rpm -qlp and -qip would say of each.
func TestTheRPM(t *testing.T) {
	for _, a := range made(t, "Linux Package") {
		if !strings.HasSuffix(a.Name, ".rpm") {
			continue
		}
		rpm, err := rpmutils.ReadRpm(bytes.NewReader(read(t, a.file())))
		if err != nil {
			t.Fatalf("%s: %v", a.Name, err)
		}
		files, err := rpm.Header.GetFiles()
		if err != nil {
			t.Fatalf("%s: %v", a.Name, err)
		}
		var names []string
		for _, file := range files {
			names = append(names, file.Name())
			if file.UserName() != "root" || file.GroupName() != "root" {
				t.Errorf("%s: %s is %s's", a.Name, file.Name(), file.UserName())
			}
			if file.Name() == inPackages[0] && file.Mode()&0o777 != 0o755 {
				t.Errorf("%s: the program has mode %o", a.Name, file.Mode())
			}
		}
		has(t, a.Name, names, append(inPackages, "/usr/share/zsh/site-functions/_"+program,
			"/usr/share/licenses/sa-exec-credential/LICENSE")...)
		name, err := rpm.Header.GetNEVRA()
		if err != nil || name.Name != program || !strings.HasPrefix(a.Name, program) {
			t.Errorf("%s: it calls itself %v (%v)", a.Name, name, err)
		}
		if license, err := rpm.Header.GetString(rpmutils.LICENSE); license != "Apache-2.0" {
			t.Errorf("%s: its license is %q (%v)", a.Name, license, err)
		}
	}
}

// TestTheAPK reads each as apk does: three archives, one behind the other.
func TestTheAPK(t *testing.T) {
	for _, a := range made(t, "Linux Package") {
		if !strings.HasSuffix(a.Name, ".apk") {
			continue
		}
		unzipped, err := gzip.NewReader(bytes.NewReader(read(t, a.file())))
		if err != nil {
			t.Fatalf("%s: %v", a.Name, err)
		}
		var names []string
		var control string
		for files := tar.NewReader(unzipped); ; {
			header, err := files.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("%s: %v", a.Name, err)
			}
			names = append(names, "/"+strings.Trim(header.Name, "/"))
			if header.Name == ".PKGINFO" {
				data, err := io.ReadAll(files)
				if err != nil {
					t.Fatal(err)
				}
				control = string(data)
			}
		}
		has(t, a.Name, names, append(inPackages, "/usr/share/zsh/site-functions/_"+program)...)
		if !strings.Contains(control, "pkgname = "+program+"\n") {
			t.Errorf("%s: it says\n%s", a.Name, control)
		}
	}
}

func has(t *testing.T, what string, names []string, wanted ...string) {
	t.Helper()
	for _, name := range wanted {
		if !slices.Contains(names, name) {
			t.Errorf("%s has no %s but %q", what, name, names)
		}
	}
}

// TestEverythingIsInSHA256SUMS is also what action.yml relies on.
func TestEverythingIsInSHA256SUMS(t *testing.T) {
	said := sums(t)
	files := slices.Concat(made(t, "Archive"), made(t, "Linux Package"), made(t, "SBOM"),
		made(t, "Binary"))
	for _, a := range files {
		if digest := sum(read(t, a.file())); said[a.Name] != digest {
			t.Errorf("%s has the SHA-256 %s, and SHA256SUMS says %q", a.Name, digest, said[a.Name])
		}
	}
}

// TestEachArchiveHasABill compares it with the archive and with go.mod.
func TestEachArchiveHasABill(t *testing.T) {
	module := string(read(t, filepath.Join("..", "..", "go.mod")))
	for _, a := range made(t, "Archive") {
		var bill struct {
			SPDXVersion string `json:"spdxVersion"`
			Packages    []struct {
				Name      string `json:"name"`
				Version   string `json:"versionInfo"`
				Checksums []struct {
					Value string `json:"checksumValue"`
				} `json:"checksums"`
			} `json:"packages"`
		}
		path := filepath.Join(dist(), a.Name+".spdx.json")
		if err := json.Unmarshal(read(t, path), &bill); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if bill.SPDXVersion != "SPDX-2.3" || len(bill.Packages) < 30 ||
			len(bill.Packages[0].Checksums) != 1 ||
			bill.Packages[0].Checksums[0].Value != sum(read(t, a.file())) {
			t.Errorf("%s begins with %+v and has %d packages", path, bill.Packages[0],
				len(bill.Packages))
		}
		found := false
		for _, p := range bill.Packages {
			found = found || p.Name == "k8s.io/client-go" &&
				strings.Contains(module, p.Name+" "+p.Version+"\n")
		}
		if !found {
			t.Errorf("%s does not have the client-go of go.mod", path)
		}
	}
}
