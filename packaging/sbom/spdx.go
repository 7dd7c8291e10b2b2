package main

import (
	"strings"

	"github.com/spdx/tools-golang/spdx/v2/common"
	spdx "github.com/spdx/tools-golang/spdx/v2/v2_3"
)

// module is a package of SPDX's for one of Go's, which scanners know by its purl. What its license is
// nobody has looked at here; the texts are in the archive.
func module(path, version string, id common.ElementID) *spdx.Package {
	return &spdx.Package{
		PackageName: path, PackageSPDXIdentifier: id, PackageVersion: version,
		PackageDownloadLocation: unknown, PackageLicenseConcluded: unknown,
		PackageLicenseDeclared: unknown, PackageCopyrightText: unknown,
		IsFilesAnalyzedTagPresent: true,
		PackageExternalReferences: []*spdx.PackageExternalReference{{
			Category: common.CategoryPackageManager, RefType: common.TypePackageManagerPURL,
			Locator: "pkg:golang/" + path + "@" + strings.ReplaceAll(version, "+", "%2B")}},
	}
}

// identifier is a path as an id may be: letters, digits, dots and dashes.
func identifier(path string) string {
	return strings.Map(func(r rune) rune {
		if r == '/' || r == '_' || r == '~' {
			return '-'
		}
		return r
	}, path)
}

func relationship(from common.ElementID, how string, to common.ElementID) *spdx.Relationship {
	return &spdx.Relationship{RefA: common.MakeDocElementID("", string(from)),
		RefB: common.MakeDocElementID("", string(to)), Relationship: how}
}
