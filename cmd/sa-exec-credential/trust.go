package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
)

// What a kubeconfig sets in exec.env is its author's, and the folder of profiles follows from variables. A profile that
// only leads to entries of the store needs no more trust than that: entries are found by a hash over the cluster that
// they are for. Every other profile could make this program run a command, read a file or send a variable to a cluster
// that the same author chose, so it is used only where the user keeps profiles. docs/security.md has it at length.

// errForgedFolder is a profile that the user may never have agreed to.
var errForgedFolder = errors.New("the profile is not in the user's own folder")

// checkAgreed is an errForgedFolder when the kubeconfig may have chosen the folder that the profile is from, and the
// profile could do harm. It is asked for every get: clients that set no exec info run kubeconfigs too.
func (e *environment) checkAgreed(p profile.Profile) error {
	if p.Bootstrap.Source == profile.SourceKeyring && !p.AllowMissingClusterInfo && p.Recovery == nil {
		return nil
	}
	used, err := e.profiles()
	if err != nil {
		return err
	}
	for _, lookup := range e.vouchedVariables() {
		vouched := *e
		vouched.lookupEnv = lookup
		if own, err := vouched.profiles(); err == nil && own == used {
			return nil
		}
	}
	return fmt.Errorf("%w: %q", errForgedFolder, string(used))
}

// vouchedVariables are environments that no kubeconfig has touched: an empty one, in which the user database tells the
// home folder, and that with which the client was started, where the system shows it.
func (e *environment) vouchedVariables() []func(string) (string, bool) {
	none := func(string) (string, bool) { return "", false }
	return []func(string) (string, bool){none, e.clientEnv()}
}

// dropForgedRoots keeps a kubeconfig from naming the certificate authorities that this program trusts, where those are
// the system's: SSL_CERT_FILE and SSL_CERT_DIR count only when the client itself was started with them.
func (e *environment) dropForgedRoots() error {
	client := e.clientEnv()
	for _, name := range []string{"SSL_CERT_FILE", "SSL_CERT_DIR"} {
		value, present := e.lookupEnv(name)
		if own, vouched := client(name); present && (!vouched || own != value) {
			if err := os.Unsetenv(name); err != nil {
				return fmt.Errorf("unsetting %q: %w", name, err)
			}
		}
	}
	return nil
}
