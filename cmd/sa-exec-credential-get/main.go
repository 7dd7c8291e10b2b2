//go:build unix

// Command sa-exec-credential-get is the quick half of sa-exec-credential, for the exec section of a
// kubeconfig: it answers a get whose token is in the kernel keyring and fresh, or that takes one
// plain request, and runs sa-exec-credential in its own place for everything else. It links nothing
// that only the rest needs, which every kubectl call would wait for.
package main

import (
	"context"
	"os"

	"github.com/sa-exec-credential/sa-exec-credential/internal/call"
	"github.com/sa-exec-credential/sa-exec-credential/internal/host"
	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
)

func main() {
	host.Harden()
	h := host.System()
	h.OpenStore = keyring.OpenFront
	if result, ok := answer(h, os.Args[1:]); ok {
		if err := h.Write(result); err != nil {
			h.Log.Failure(err, "")
			os.Exit(1)
		}
		return
	}
	err := host.BecomeProgram()
	h.Log.Failure(err, "install both programs into one directory")
	os.Exit(1)
}

// answer leaves everything else to the whole program: what is wrong it finds again, and says.
func answer(h *host.Host, args []string) (result []byte, ok bool) {
	defer func() {
		if recover() != nil {
			result, ok = nil, false
		}
	}()
	if host.CheckDescriptors() != nil {
		return nil, false
	}
	return call.Answer(context.Background(), h, args)
}
