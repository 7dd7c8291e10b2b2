// Command sbom writes the software bill of materials of an archive, as SPDX 2.3 in JSON: the modules
// that Go has noted in the program in it. The same archive has the same bill.
package main

import (
	"bytes"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	spdxjson "github.com/spdx/tools-golang/json"
	"github.com/spdx/tools-golang/spdx/v2/common"
	spdx "github.com/spdx/tools-golang/spdx/v2/v2_3"
)

const (
	program   = "sa-exec-credential"
	home      = "https://github.com/sa-exec-credential/sa-exec-credential"
	license   = "Apache-2.0"
	unknown   = "NOASSERTION"
	mainID    = common.ElementID("Package-" + program)
	dependsOn = "DEPENDS_ON"
)

func main() {
	var o options
	flag.StringVar(&o.archive, "archive", "", "the archive, .tar.gz or .zip")
	flag.StringVar(&o.version, "version", "", "of the release, such as v1.2.3")
	flag.StringVar(&o.created, "created", "", "when, RFC 3339 in UTC")
	output := flag.String("o", "", "the file to write")
	flag.Parse()
	if err := write(o, *output); err != nil {
		fmt.Fprintln(os.Stderr, "sbom:", err)
		os.Exit(1)
	}
}

type options struct{ archive, version, created string }

func write(o options, output string) error {
	data, err := os.ReadFile(o.archive)
	if err != nil {
		return err
	}
	executable, err := find(o.archive, data)
	if err != nil {
		return fmt.Errorf("%s: %w", o.archive, err)
	}
	info, err := buildinfo.Read(bytes.NewReader(executable))
	if err != nil {
		return fmt.Errorf("%s: %w", o.archive, err)
	}
	var encoded bytes.Buffer
	if err := spdxjson.Write(document(o, data, info), &encoded, spdxjson.Indent("  ")); err != nil {
		return err
	}
	return os.WriteFile(output, append(encoded.Bytes(), '\n'), 0o644)
}

func document(o options, archive []byte, info *buildinfo.BuildInfo) *spdx.Document {
	sum := sha256.Sum256(archive)
	name, digest := filepath.Base(o.archive), hex.EncodeToString(sum[:])
	d := &spdx.Document{
		SPDXVersion: spdx.Version, DataLicense: spdx.DataLicense, SPDXIdentifier: "DOCUMENT",
		DocumentName: name, DocumentNamespace: home + "/spdx/" + name + "-" + digest,
		CreationInfo: &spdx.CreationInfo{Created: o.created, Creators: []common.Creator{
			{CreatorType: "Organization", Creator: program},
			{CreatorType: "Tool", Creator: program + "-sbom"}}},
	}
	main := module(info.Main.Path, o.version, mainID)
	main.PackageName, main.PackageFileName = program, name
	main.PackageDownloadLocation = home + "/releases/download/" + o.version + "/" + name
	main.PackageLicenseConcluded, main.PackageLicenseDeclared = license, license
	main.PackageHomePage = home
	main.PackageChecksums = []common.Checksum{{Algorithm: common.SHA256, Value: digest}}
	d.Packages = append(d.Packages, main)
	relate := func(from common.ElementID, how string, to common.ElementID) {
		d.Relationships = append(d.Relationships, relationship(from, how, to))
	}
	relate("DOCUMENT", common.TypeRelationshipDescribe, mainID)
	add := func(path, version string) {
		id := common.ElementID("Package-" + identifier(path))
		d.Packages = append(d.Packages, module(path, version, id))
		relate(mainID, dependsOn, id)
	}
	add("stdlib", strings.TrimPrefix(info.GoVersion, "go"))
	for _, dependency := range info.Deps {
		if dependency.Replace != nil {
			dependency = dependency.Replace
		}
		add(dependency.Path, dependency.Version)
	}
	return d
}
