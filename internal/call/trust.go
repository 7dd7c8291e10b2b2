package call

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/sa-exec-credential/sa-exec-credential/internal/host"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
)

// What a kubeconfig sets in exec.env is its author's, and the directory of profiles follows from
// variables. A profile that only leads to entries of the store needs no more trust than that:
// entries are found by a hash over the cluster that they are for. Every other profile could make
// this program run a command, read a file, send a variable to a cluster that the same author chose
// or add lines to a file, so it is used only where the user keeps profiles. docs/security.md has it
// at length.

// ErrForgedDir is a profile that the user may never have agreed to.
var ErrForgedDir = errors.New("the profile is not in the user's own directory")

// checkAgreed is an ErrForgedDir when the kubeconfig may have chosen the directory that the
// profile is from, and the profile could do harm. It is asked for every get: clients that set no
// exec info run kubeconfigs too.
func (c *Call) checkAgreed() error {
	p := c.Profile
	if p.Bootstrap.Source == profile.SourceKeyring && !p.AllowMissingClusterInfo &&
		p.Recovery == nil && p.Log == "" {
		return nil
	}
	return CheckOwnDir(c.Host)
}

// CheckOwnDir is an ErrForgedDir when the kubeconfig may have chosen the directory of profiles.
func CheckOwnDir(h *host.Host) error {
	used, err := h.Profiles()
	if err != nil {
		return err
	}
	for _, variables := range trustedVariables(h) {
		if own, err := h.With(variables).Profiles(); err == nil && own == used {
			return nil
		}
	}
	return fmt.Errorf("%w: %q", ErrForgedDir, string(used))
}

// trustedVariables are environments that no kubeconfig has touched: an empty one, in which the user
// database tells the home directory, and that with which the client was started, where the system
// shows it.
func trustedVariables(h *host.Host) []host.Variables {
	trusted := []host.Variables{host.Snapshot(nil)}
	if own := h.ClientVariables(); own != nil {
		trusted = append(trusted, own)
	}
	return trusted
}

// DropForgedRoots keeps a kubeconfig from naming the certificate authorities that this program
// trusts, where those are the system's, for the cluster or for the service that a job asks for its
// ID token: SSL_CERT_FILE and SSL_CERT_DIR count only when the client itself was started with them.
//
// crypto/x509 finds the system's authorities by these variables alone, once in a process, and tells
// nobody where it would look without them. So this program starts again in its own place without
// them.
func (c *Call) DropForgedRoots() error {
	environment, isForged := c.trustedRoots()
	if !isForged {
		return nil
	}
	return c.Host.Restart(environment)
}

// trustedRoots is the environment of this process without authorities that a kubeconfig may have
// named, and whether there are any that matter.
func (c *Call) trustedRoots() (environment []string, isForged bool) {
	if len(c.Profile.Cluster.CertificateAuthorityData) > 0 && !c.Profile.Bootstrap.IsJob() {
		return nil, false
	}
	client := c.Host.ClientVariables()
	if client == nil {
		client = host.Snapshot(nil)
	}
	environment = os.Environ()
	for _, name := range []string{"SSL_CERT_FILE", "SSL_CERT_DIR"} {
		value, present := c.Host.Variables(name)
		own, known := client(name)
		if !present || known && own == value {
			continue
		}
		isForged = true
		environment = slices.DeleteFunc(environment,
			func(setting string) bool { return strings.HasPrefix(setting, name+"=") })
		if known {
			environment = append(environment, name+"="+own)
		}
	}
	return environment, isForged
}
