// Command image puts the programs of a release into a container image for every Linux that there is
// one for, as a folder in OCI's layout: nothing is in it but the program, its licenses and the
// certificate authorities that browsers trust. The same programs make the same image.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

func main() {
	dist := flag.String("dist", "dist", "the folder that GoReleaser has filled")
	share := flag.String("share", "bin/share", "the folder that scripts/share has filled")
	output := flag.String("o", "dist/image", "the folder to write")
	flag.Parse()
	if err := write(*dist, *share, *output); err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
}

// release is what GoReleaser's metadata.json says.
type release struct {
	Version string    `json:"version"`
	Commit  string    `json:"commit"`
	Date    time.Time `json:"date"`
}

// artifact is one of artifacts.json.
type artifact struct {
	Name string `json:"name"`
	Path string `json:"path"`
	OS   string `json:"goos"`
	Arch string `json:"goarch"`
	Arm  string `json:"goarm"`
	Type string `json:"type"`
}

func write(dist, share, output string) error {
	var r release
	var artifacts []artifact
	if err := read(filepath.Join(dist, "metadata.json"), &r); err != nil {
		return err
	}
	if err := read(filepath.Join(dist, "artifacts.json"), &artifacts); err != nil {
		return err
	}
	created, err := committed(artifacts, r)
	if err != nil {
		return err
	}
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, a := range artifacts {
		if a.Type != "Binary" || a.OS != "linux" || a.Name != program {
			continue // the same program is an artifact twice, once by its name in a release
		}
		image, err := imageOf(a.Path, share, r, created)
		if err != nil {
			return err
		}
		platform := v1.Platform{OS: a.OS, Architecture: a.Arch}
		if a.Arm != "" {
			platform.Variant = "v" + a.Arm
		}
		if image, err = withPlatform(image, platform); err != nil {
			return err
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: image,
			Descriptor: v1.Descriptor{Platform: &platform}})
	}
	if err := os.RemoveAll(output); err != nil {
		return err
	}
	_, err = layout.Write(output, index)
	if err != nil {
		return err
	}
	digest, err := index.Digest()
	if err != nil {
		return err
	}
	fmt.Println(digest)
	return nil
}

func read(path string, into any) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, into); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// committed is when the release's commit was made: the programs' own time, which does not change when
// they are built again.
func committed(artifacts []artifact, r release) (time.Time, error) {
	for _, a := range artifacts {
		if a.Type == "Binary" {
			info, err := os.Stat(a.Path)
			if err != nil {
				return time.Time{}, err
			}
			return info.ModTime().UTC().Truncate(time.Second), nil
		}
	}
	return time.Time{}, fmt.Errorf("there is no program of %s", r.Version)
}

func withPlatform(image v1.Image, platform v1.Platform) (v1.Image, error) {
	config, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = platform.OS, platform.Architecture
	config.Variant = platform.Variant
	return mutate.ConfigFile(image, config)
}

// labels are those that registries show (OCI's annotations).
func labels(r release) map[string]string {
	return map[string]string{
		"org.opencontainers.image.title":    "sa-exec-credential",
		"org.opencontainers.image.source":   "https://github.com/sa-exec-credential/sa-exec-credential",
		"org.opencontainers.image.licenses": "Apache-2.0",
		"org.opencontainers.image.version":  "v" + strings.TrimPrefix(r.Version, "v"),
		"org.opencontainers.image.revision": r.Commit,
	}
}
