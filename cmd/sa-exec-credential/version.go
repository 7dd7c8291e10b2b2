package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/sa-exec-credential/sa-exec-credential/internal/host"
	"github.com/sa-exec-credential/sa-exec-credential/internal/ui"
)

// version is set by the linker for releases; other builds tell the module's version.
var version string

type versionCommand struct{}

// Run prints the version of the program and what it was built for.
func (versionCommand) Run(h *host.Host) error { return h.Write([]byte(versionLine() + "\n")) }

func versionLine() string {
	return fmt.Sprintf("%s %s %s/%s %s", ui.Program, programVersion(), runtime.GOOS,
		runtime.GOARCH, runtime.Version())
}

func programVersion() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}
