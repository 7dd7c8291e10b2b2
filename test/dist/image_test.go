//go:build linux

package dist_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/test/lab"
)

// descriptor is OCI's, with what of an index, a manifest and a configuration is looked at.
type descriptor struct {
	Digest   string
	Platform struct {
		OS, Architecture string
	}
	Manifests []descriptor
	Layers    []descriptor
	Config    json.RawMessage
}

// blob reads one of the image, whose name is its digest.
func blob(t *testing.T, digest string, into any) []byte {
	t.Helper()
	data := read(t, filepath.Join(dist(), "image", "blobs", strings.Replace(digest, ":", "/", 1)))
	if "sha256:"+sum(data) != digest {
		t.Fatalf("the blob %s has another digest", digest)
	}
	if into != nil {
		if err := json.Unmarshal(data, into); err != nil {
			t.Fatal(err)
		}
	}
	return data
}

// TestTheImage runs copy-binary from it, as docs/controllers.md does, in a root that holds what the
// image holds.
func TestTheImage(t *testing.T) {
	var index, manifest, config descriptor
	if err := json.Unmarshal(read(t, filepath.Join(dist(), "image", "index.json")),
		&index); err != nil {
		t.Fatal(err)
	}
	linux := map[string]bool{}
	for _, a := range made(t, "Binary") {
		linux[a.Arch] = linux[a.Arch] || a.OS == "linux"
	}
	for _, m := range index.Manifests {
		if !linux[m.Platform.Architecture] || m.Platform.OS != "linux" {
			t.Errorf("it is for %+v", m.Platform)
		}
		delete(linux, m.Platform.Architecture)
		if m.Platform.Architecture == "amd64" {
			blob(t, m.Digest, &manifest)
		}
	}
	for arch, is := range linux {
		if is {
			t.Errorf("there is none for %s", arch)
		}
	}
	var configured struct {
		Config struct {
			Entrypoint, Env []string
			User            string
		}
	}
	if err := json.Unmarshal(manifest.Config, &config); err != nil {
		t.Fatal(err)
	}
	blob(t, config.Digest, &configured)
	where := "/usr/local/bin/" + program
	if c := configured.Config; !slices.Equal(c.Entrypoint, []string{where}) ||
		!slices.Equal(c.Env, []string{"PATH=/usr/local/bin"}) || c.User != "65532:65532" {
		t.Errorf("it is configured as %+v", c)
	}
	r := newRoot(lab.NewMachine(t, keyring.Kernel))
	for _, layer := range manifest.Layers {
		r.unpack(blob(t, layer.Digest, nil))
	}
	r.runs(where, "copy-binary", "/plugins").Succeeds().Silent()
	r.runs("/plugins/"+program, "version").Succeeds().Silent()
	if roots := r.Read(filepath.Join(r.dir, "etc/ssl/certs/ca-certificates.crt")); strings.Count(roots,
		"BEGIN CERTIFICATE") < 50 {
		t.Error("it trusts hardly any authority")
	}
}

// unpack lays a layer over the root.
func (r root) unpack(layer []byte) {
	r.Helper()
	unzipped, err := gzip.NewReader(bytes.NewReader(layer))
	if err != nil {
		r.Fatal(err)
	}
	for files := tar.NewReader(unzipped); ; {
		header, err := files.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			r.Fatal(err)
		}
		if header.Typeflag != tar.TypeReg {
			continue
		}
		data, err := io.ReadAll(files)
		if err != nil {
			r.Fatal(err)
		}
		lab.WriteFile(r.T, filepath.Join(r.dir, header.Name), string(data),
			os.FileMode(header.Mode))
	}
}
