// Command sa-exec-credential is a client-go exec credential plugin. It mints short-lived ServiceAccount tokens with a
// bootstrap credential and keeps them in the operating system's keyring until they expire.
package main

import (
	"log/slog"
	"os"

	"k8s.io/klog/v2"
)

func main() {
	harden()
	quieten()
	os.Exit(run(os.Args[1:], systemEnvironment()))
}

// quieten drops what client-go logs, for example about its own variables (DISABLE_HTTP2, KUBE_FEATURE_…): standard error
// goes to the terminal of whoever runs kubectl.
func quieten() {
	klog.SetSlogLogger(slog.New(slog.DiscardHandler))
}
