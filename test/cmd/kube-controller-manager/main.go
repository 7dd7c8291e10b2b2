//go:build upstream

// Command kube-controller-manager is the upstream controller manager. The tests
// want it for the aggregated roles and for namespace and token clean-up.
package main

import (
	"os"

	"k8s.io/component-base/cli"
	"k8s.io/kubernetes/cmd/kube-controller-manager/app"
)

func main() { os.Exit(cli.Run(app.NewControllerManagerCommand())) }
