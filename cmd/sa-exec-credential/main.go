// Command sa-exec-credential is a client-go exec credential plugin. It mints short-lived
// ServiceAccount tokens with a bootstrap credential and keeps them in the operating system's
// keyring until they expire.
//
// This package is flags, options, a call, and print: what is done lives in internal.
package main

import (
	"log/slog"
	"os"

	"k8s.io/klog/v2"

	"github.com/sa-exec-credential/sa-exec-credential/internal/host"
)

func main() {
	host.Harden()
	quieten()
	os.Exit(run(os.Args[1:], host.System()))
}

// quieten drops what client-go logs, for example about its own variables (DISABLE_HTTP2,
// KUBE_FEATURE_…): standard error goes to the terminal of whoever runs kubectl.
func quieten() {
	klog.SetSlogLogger(slog.New(slog.DiscardHandler))
}
