package main

import (
	"archive/tar"
	"bytes"
	"encoding/pem"
	"io"
	"os"
	"path"
	"path/filepath"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/crypto/x509roots/fallback/bundle"
)

const (
	bin     = "usr/local/bin"
	program = "sa-exec-credential"
	// nobody is who runs it where nothing else is said, as in distroless images.
	nobody = "65532:65532"
)

// imageOf has one layer, and the command at the place where PATH finds it.
func imageOf(binary, share string, r release, created time.Time) (v1.Image, error) {
	content, err := layerOf(binary, share, created)
	if err != nil {
		return nil, err
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(content)), nil
	}, tarball.WithMediaType(types.OCILayer))
	if err != nil {
		return nil, err
	}
	image := mutate.MediaType(mutate.ConfigMediaType(empty.Image, types.OCIConfigJSON),
		types.OCIManifestSchema1)
	if image, err = mutate.AppendLayers(image, layer); err != nil {
		return nil, err
	}
	if image, err = mutate.Config(image, v1.Config{Entrypoint: []string{"/" + bin + "/" + program},
		Env: []string{"PATH=/" + bin}, User: nobody, WorkingDir: "/",
		Labels: labels(r)}); err != nil {
		return nil, err
	}
	return mutate.CreatedAt(image, v1.Time{Time: created})
}

// layerOf is a tar of the files, each with the folders above it.
func layerOf(binary, share string, created time.Time) ([]byte, error) {
	var content bytes.Buffer
	w := tar.NewWriter(&content)
	known := map[string]bool{".": true}
	var add func(name string, data []byte, mode int64) error
	add = func(name string, data []byte, mode int64) error {
		if above := path.Dir(name); !known[above] {
			known[above] = true
			if err := add(above, nil, 0o755); err != nil {
				return err
			}
		}
		header := &tar.Header{Name: name, Size: int64(len(data)), Mode: mode, ModTime: created,
			Typeflag: tar.TypeReg}
		if data == nil {
			header.Name, header.Typeflag = name+"/", tar.TypeDir
		}
		if err := w.WriteHeader(header); err != nil {
			return err
		}
		_, err := w.Write(data)
		return err
	}
	for _, file := range []struct {
		from, to string
		mode     int64
	}{{binary, bin + "/" + program, 0o755}, {"LICENSE", "licenses/LICENSE", 0o644},
		{filepath.Join(share, "third-party-licenses.txt"),
			"licenses/third-party-licenses.txt", 0o644}} {
		data, err := os.ReadFile(file.from)
		if err != nil {
			return nil, err
		}
		if err := add(file.to, data, file.mode); err != nil {
			return nil, err
		}
	}
	if err := add("etc/ssl/certs/ca-certificates.crt", authorities(), 0o644); err != nil {
		return nil, err
	}
	return content.Bytes(), w.Close()
}

// authorities are Mozilla's, for clusters behind a certificate of a public one: those that are trusted
// without further conditions, because a file has no room for any.
func authorities() []byte {
	var file bytes.Buffer
	for root := range bundle.Roots() {
		if root.Constraint == nil {
			_ = pem.Encode(&file, &pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate})
		}
	}
	return file.Bytes()
}
