//go:build upstream

// Command kube-apiserver is the upstream API server. Time zones, JSON logs and
// client metrics, which upstream's own main links, are left out: no test needs
// them.
package main

import (
	"os"

	"k8s.io/component-base/cli"
	"k8s.io/kubernetes/cmd/kube-apiserver/app"
)

func main() { os.Exit(cli.Run(app.NewAPIServerCommand())) }
