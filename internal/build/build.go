// Package build tells what this program was built from, and for what. It knows nothing of the
// machine that it runs on.
package build

import (
	"cmp"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/sa-exec-credential/sa-exec-credential/internal/output"
	"github.com/sa-exec-credential/sa-exec-credential/internal/ui"
)

// The linker sets these for releases. Other builds have what Go itself has noted in them.
var version, commit, date string

// Info is what version -o json prints. What nobody has noted is absent.
type Info struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"` // Version
	Version    string `json:"version"`
	Commit     string `json:"commit,omitempty"`
	Date       string `json:"date,omitempty"` // of the commit, RFC 3339 in UTC
	Go         string `json:"goVersion"`
	Platform   string `json:"platform"` // GOOS/GOARCH
}

// Current is what is known of the program that runs.
func Current() Info {
	noted, _ := debug.ReadBuildInfo()
	return describe(noted)
}

func describe(noted *debug.BuildInfo) Info {
	info := Info{APIVersion: output.Version, Kind: "Version", Version: version, Commit: commit,
		Date: date, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	if noted != nil {
		info.Version = cmp.Or(info.Version, noted.Main.Version)
		for _, setting := range noted.Settings {
			switch setting.Key {
			case "vcs.revision":
				info.Commit = cmp.Or(info.Commit, setting.Value)
			case "vcs.time":
				info.Date = cmp.Or(info.Date, setting.Value)
			}
		}
	}
	info.Version = cmp.Or(info.Version, "(devel)")
	return info
}

// String is the line for a person.
func (i Info) String() string {
	return fmt.Sprintf("%s %s %s %s", ui.Program, i.Version, i.Platform, i.Go)
}
