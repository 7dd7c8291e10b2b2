package build

import (
	"runtime"
	"runtime/debug"
	"testing"
)

// noted is what Go writes into a program that it builds in a clone.
func noted(main string) *debug.BuildInfo {
	return &debug.BuildInfo{Main: debug.Module{Version: main}, Settings: []debug.BuildSetting{
		{Key: "vcs", Value: "git"}, {Key: "vcs.revision", Value: "4c0f"},
		{Key: "vcs.time", Value: "2026-03-01T12:04:00Z"}}}
}

func TestDescribe(t *testing.T) {
	for _, test := range []struct {
		name                          string
		noted                         *debug.BuildInfo
		setVersion, setCommit         string
		version, commit, date, inLine string
	}{
		{"a release", noted("v1.2.3"), "v1.2.4", "5d1e", "v1.2.4", "5d1e",
			"2026-03-01T12:04:00Z", "v1.2.4"},
		{"go install", &debug.BuildInfo{Main: debug.Module{Version: "v1.2.3"}}, "", "",
			"v1.2.3", "", "", "v1.2.3"},
		{"a clone", noted("v1.2.4-0.20260301-4c0f"), "", "", "v1.2.4-0.20260301-4c0f",
			"4c0f", "2026-03-01T12:04:00Z", "v1.2.4-0.20260301-4c0f"},
		{"nothing at all", nil, "", "", "(devel)", "", "", "(devel)"},
	} {
		t.Run(test.name, func(t *testing.T) {
			version, commit = test.setVersion, test.setCommit
			t.Cleanup(func() { version, commit = "", "" })
			info := describe(test.noted)
			if info.Version != test.version || info.Commit != test.commit ||
				info.Date != test.date {
				t.Errorf("%+v", info)
			}
			want := "sa-exec-credential " + test.inLine + " " + runtime.GOOS + "/" +
				runtime.GOARCH + " " + runtime.Version()
			if info.String() != want {
				t.Errorf("%q is not %q", info, want)
			}
		})
	}
}
