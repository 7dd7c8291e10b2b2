//go:build linux

package dist_test

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"encoding/hex"
	"errors"
	"io"
	"math/big"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// offer is what a package manager reads: where the archives are, their sums, and which files in them
// it installs.
type offer struct {
	file  string         // below dist/
	names *regexp.Regexp // of the files, each in its first group
	// platforms are those of the archives, as GOOS/GOARCH. make dist PLATFORMS=host has fewer.
	platforms []string
}

var (
	unixes = []string{"linux/amd64", "linux/arm64", "darwin/amd64", "darwin/arm64"}
	arms   = []string{"linux/amd64", "linux/arm64", "linux/arm"}
	window = []string{"windows/amd64", "windows/arm64"}
)

var offers = []offer{
	{"homebrew/Casks/" + program + ".rb",
		regexp.MustCompile(`(?m)^ *(?:binary|manpage|\w+_completion) "([^"]+)"`), unixes},
	{"krew/" + program + ".yaml", regexp.MustCompile(`bin: (\S+)`),
		slices.Concat(unixes, window, []string{"linux/arm"})},
	{"scoop/" + program + ".json", regexp.MustCompile(`"bin": \[\s*"([^"]+)"`), window},
	{"winget/manifests/s/" + program + "/" + program + "/VERSION/" + program + "." + program +
		".installer.yaml", regexp.MustCompile(`RelativeFilePath: (\S+)`), window},
	{"aur/" + program + "-bin.pkgbuild",
		regexp.MustCompile(`install -Dm\d+ (?:-t "\S+" )?(\S+)`), arms},
	{"aur/" + program + "-bin.srcinfo", nil, arms},
	{"nix/pkgs/" + program + "/default.nix", regexp.MustCompile(`\./(\S+)`),
		append(slices.Clone(unixes), "linux/arm")},
}

// TestWhatPackageManagersRead compares each description with the archives that it offers.
func TestWhatPackageManagersRead(t *testing.T) {
	version, tag := metadata(t).Version, metadata(t).Tag
	archives := map[string]artifact{}
	for _, a := range made(t, "Archive") {
		archives[a.Name] = a
	}
	for _, o := range offers {
		platforms := slices.DeleteFunc(slices.Clone(o.platforms), func(platform string) bool {
			return !slices.ContainsFunc(made(t, "Archive"), func(a artifact) bool {
				return a.OS+"/"+a.Arch == platform
			})
		})
		if len(platforms) == 0 {
			continue
		}
		t.Run(strings.ReplaceAll(o.file, "/", " "), func(t *testing.T) {
			text := string(read(t, filepath.Join(dist(),
				strings.ReplaceAll(o.file, "VERSION", version))))
			text = strings.NewReplacer("#{version}", version, "${pkgver}", version).Replace(text)
			if !strings.Contains(text, version) {
				t.Errorf("it is not of %s", version)
			}
			found := o.check(t, text, "/download/"+tag+"/", archives)
			if !slices.Equal(sorted(found), sorted(platforms)) {
				t.Errorf("it is for %q, and should be for %q", found, platforms)
			}
		})
	}
}

// TestHomebrewHasEveryManualPage lists them, because it takes no pattern.
func TestHomebrewHasEveryManualPage(t *testing.T) {
	cask := string(read(t, filepath.Join(dist(), offers[0].file)))
	archive := one(t, "Archive", ".tar.gz")
	for _, name := range contents(t, archive.Name, read(t, archive.file())) {
		if strings.HasPrefix(name, "man/") && !strings.Contains(cask, `manpage "`+name+`"`) {
			t.Errorf("it has no %s", name)
		}
	}
}

func sorted(list []string) []string { return slices.Sorted(slices.Values(list)) }

var (
	address = regexp.MustCompile(`https://[^"')\s]+/releases/download/[^"')\s]+`)
	digest  = regexp.MustCompile(`\b(?:[0-9a-f]{64}|[0-9a-df-np-sv-z]{52})\b`)
)

// check returns the platforms that a description is for. Its n-th sum is that of its n-th address.
func (o offer) check(t *testing.T, text, release string,
	archives map[string]artifact) (platforms []string) {
	t.Helper()
	urls, sums := address.FindAllString(text, -1), digest.FindAllString(text, -1)
	if len(urls) != len(sums) || len(urls) == 0 {
		t.Fatalf("there are %d addresses and %d sums in\n%s", len(urls), len(sums), text)
	}
	var names []string
	if o.names != nil {
		for _, found := range o.names.FindAllStringSubmatch(text, -1) {
			names = append(names, found[1])
		}
		if len(names) == 0 {
			t.Fatalf("it installs nothing:\n%s", text)
		}
	}
	for i, url := range urls {
		a, known := archives[path.Base(url)]
		if !known || !strings.HasSuffix(url, release+a.Name) {
			t.Errorf("there is no %s", url)
			continue
		}
		platforms = append(platforms, a.OS+"/"+a.Arch)
		data := read(t, a.file())
		if got := asHex(sums[i]); got != sum(data) {
			t.Errorf("%s has the SHA-256 %s, and not %s", a.Name, sum(data), got)
		}
		wanted := names
		if len(names) == len(urls) { // one for each
			wanted = names[i : i+1]
		}
		inside := contents(t, a.Name, data)
		for _, name := range wanted {
			if !slices.ContainsFunc(inside, func(in string) bool {
				matches, err := path.Match(name, in)
				return err == nil && matches
			}) {
				t.Errorf("%s has no %s but %q", a.Name, name, inside)
			}
		}
	}
	return platforms
}

// asHex is a sum as everybody else writes it: nix has the last byte first, five bits a digit.
func asHex(text string) string {
	const digits, nixLength = "0123456789abcdfghijklmnpqrsvwxyz", 52
	if len(text) != nixLength {
		return text
	}
	n := new(big.Int)
	for _, digit := range text {
		n.Lsh(n, 5)
		n.Add(n, big.NewInt(int64(strings.IndexRune(digits, digit))))
	}
	data := n.FillBytes(make([]byte, nixLength*5/8))
	slices.Reverse(data)
	return hex.EncodeToString(data)
}

// contents are the names of the files in an archive.
func contents(t *testing.T, name string, data []byte) (names []string) {
	t.Helper()
	if strings.HasSuffix(name, ".zip") {
		files, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files.File {
			names = append(names, file.Name)
		}
		return names
	}
	unzipped, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	for files := tar.NewReader(unzipped); ; {
		header, err := files.Next()
		if errors.Is(err, io.EOF) {
			return names
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, header.Name)
	}
}
