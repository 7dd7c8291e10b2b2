//go:build upstream

// Command kubectl is the upstream client: what the plugin's users run, and so
// what the end-to-end tests run.
package main

import (
	"os"

	// the in-tree credential plugins of a released kubectl
	_ "k8s.io/client-go/plugin/pkg/client/auth"
	"k8s.io/component-base/cli"
	"k8s.io/component-base/logs"
	"k8s.io/kubectl/pkg/cmd"
	"k8s.io/kubectl/pkg/cmd/util"
)

func main() {
	// -v must count before the command exists: building it already reads kuberc
	// and looks for plugins, and both log. A level that is no number is reported
	// by the command's own parser.
	_, _ = logs.GlogSetter(cmd.GetLogVerbosity(os.Args))
	if err := cli.RunNoErrOutput(cmd.NewDefaultKubectlCommand()); err != nil {
		util.CheckErr(err)
	}
}
