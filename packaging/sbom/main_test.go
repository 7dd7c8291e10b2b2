package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	spdxjson "github.com/spdx/tools-golang/json"
	spdx "github.com/spdx/tools-golang/spdx/v2/v2_3"
	"github.com/spdx/tools-golang/spdxlib"
)

// packed writes an archive with some program, for which this test is good.
func packed(t *testing.T, name, inside string) (path string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	var archive bytes.Buffer
	if filepath.Ext(name) == ".zip" {
		z := zip.NewWriter(&archive)
		var w io.Writer
		if w, err = z.Create(inside); err == nil {
			_, err = w.Write(data)
		}
		err = errors.Join(err, z.Close())
	} else {
		g := gzip.NewWriter(&archive)
		w := tar.NewWriter(g)
		err = w.WriteHeader(&tar.Header{Name: inside, Size: int64(len(data)), Mode: 0o755,
			Typeflag: tar.TypeReg})
		_, problem := w.Write(data)
		err = errors.Join(err, problem, w.Close(), g.Close())
	}
	path = filepath.Join(t.TempDir(), name)
	if err = errors.Join(err, os.WriteFile(path, archive.Bytes(), 0o600)); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestTheBillIsValidAndTheSameTwice(t *testing.T) {
	for _, name := range []string{"p_1.2.3_linux_amd64.tar.gz", "p_1.2.3_windows_amd64.zip"} {
		t.Run(name, func(t *testing.T) {
			inside := map[string]string{".gz": program, ".zip": program + ".exe"}
			o := options{archive: packed(t, name, inside[filepath.Ext(name)]),
				version: "v1.2.3", created: "2026-03-01T12:04:00Z"}
			output := filepath.Join(t.TempDir(), "bill")
			var bills [][]byte
			for range 2 {
				if err := write(o, output); err != nil {
					t.Fatal(err)
				}
				bill, err := os.ReadFile(output)
				if err != nil {
					t.Fatal(err)
				}
				bills = append(bills, bill)
			}
			if !bytes.Equal(bills[0], bills[1]) {
				t.Error("two bills of one archive differ")
			}
			checkBill(t, bills[0])
		})
	}
}

func checkBill(t *testing.T, bill []byte) {
	t.Helper()
	var d spdx.Document
	if err := spdxjson.ReadInto(bytes.NewReader(bill), &d); err != nil {
		t.Fatal(err)
	}
	if err := spdxlib.ValidateDocument(&d); err != nil {
		t.Error(err)
	}
	found := map[string]bool{}
	for _, p := range d.Packages {
		found[p.PackageName] = p.PackageVersion != "" && len(p.PackageExternalReferences) == 1
	}
	for _, name := range []string{program, "stdlib", "github.com/spdx/tools-golang"} {
		if !found[name] {
			t.Errorf("%q is not in it as it should be:\n%s", name, bill)
		}
	}
}

func TestAnArchiveWithoutTheProgram(t *testing.T) {
	for _, name := range []string{"p.tar.gz", "p.zip"} {
		err := write(options{archive: packed(t, name, "README.md")},
			filepath.Join(t.TempDir(), "bill"))
		if !errors.Is(err, errNoProgram) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
