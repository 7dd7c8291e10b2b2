package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// version is set by the linker for releases; other builds tell the module's version.
var version string

type versionCommand struct{}

// Run prints the version of the program and what it was built for.
func (versionCommand) Run(env *environment) error {
	return env.write(fmt.Appendf(nil, "%s %s %s/%s %s\n", program, programVersion(), runtime.GOOS, runtime.GOARCH, runtime.Version()))
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
