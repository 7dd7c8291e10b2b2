// Package kubeconfig reads the user's kubeconfigs, puts our entries into them and takes static
// tokens out of them. What it does not mean to change survives, as internal/yamledit proves.
//
// It knows nothing of stores, minting or the API server: of this module it imports
// internal/yamledit, internal/profile, internal/secret, the templates, and of internal/ui what
// quotes a command.
package kubeconfig

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
)

// What can be wrong. The errors of this package wrap one of them, one of yamledit's or profile's,
// files.ErrUntrusted or what the operating system says. None holds anything of a file but names of
// contexts, users and clusters.
var (
	ErrEntry     = errors.New("not a usable kubeconfig entry")
	ErrForeign   = errors.New("not created by sa-exec-credential")
	ErrNoContext = errors.New("no such context")
	ErrReference = errors.New("context is incomplete")
	ErrInsecure  = errors.New("context does not verify TLS")
	ErrNotStatic = errors.New("context has no static token")
	ErrOurs      = errors.New("context uses sa-exec-credential already")
	ErrShared    = errors.New("user is shared with another cluster")
)

// The apiVersion of an exec section that every client of today takes, and the reserved name of the
// cluster extension that clients hand to the plugin (KEP-541).
const (
	defaultAPIVersion = "client.authentication.k8s.io/v1"
	v1beta1           = "client.authentication.k8s.io/v1beta1"
	execExtension     = "client.authentication.k8s.io/exec"
)

// The plugin's own names, without Windows' ending: that of the whole program, and that of the one
// for hits.
const (
	binary = "sa-exec-credential"
	quick  = binary + "-get"
)

// Entry is what is rendered or merged: one context with its cluster and its user.
type Entry struct {
	ContextName   string
	ClusterName   string
	UserName      string // one for each cluster: some clients keep tokens by user name alone
	Server        string
	TLSServerName string
	CA            []byte // PEM; none: the system's roots
	ProxyURL      string
	Namespace     string
	Profile       string
	Command       string // an absolute path, or a bare name that clients look up in PATH
	APIVersion    string // empty: client.authentication.k8s.io/v1

	Source profile.Source // of the bootstrap credential; only comments depend on it
}

// EntryFor returns a profile's entry. The context is called like the profile; cluster and user have
// a short hash of the cluster's identity behind that.
func EntryFor(p profile.Profile, command string) (Entry, error) {
	identity, err := p.Identity()
	if err != nil {
		return Entry{}, err
	}
	name := p.Name + "-" + shortHash(identity)
	return Entry{
		ContextName: p.Name, ClusterName: name, UserName: name,
		Server: p.Cluster.Server, TLSServerName: p.Cluster.TLSServerName,
		CA: p.Cluster.CertificateAuthorityData, ProxyURL: p.Cluster.ProxyURL,
		Namespace: p.ContextNamespace(), Profile: p.Name, Command: command,
		APIVersion: defaultAPIVersion,
		Source:     p.Bootstrap.Source,
	}, nil
}

func shortHash(identity profile.Identity) string {
	sum := sha256.Sum256([]byte(identity.Server + "\n" + identity.TLSServerName + "\n" +
		identity.CA))
	return hex.EncodeToString(sum[:4])
}

// validate is an ErrEntry, profile.ErrName or profile.ErrCluster when no client could use the
// entry, or when a client would find another command than the one that is meant.
func (e Entry) validate() error {
	if err := profile.CheckName(e.Profile); err != nil {
		return err
	}
	if _, err := profile.IdentityOf(e.Server, e.TLSServerName, e.CA); err != nil {
		return err
	}
	switch {
	case e.ContextName == "" || e.ClusterName == "" || e.UserName == "":
		return fmt.Errorf("%w: context, cluster and user need names", ErrEntry)
	case !filepath.IsAbs(e.Command) && (e.Command == "" || strings.ContainsAny(e.Command,
		`/\`)):
		return fmt.Errorf("%w: command %q is neither an absolute path nor a bare name",
			ErrEntry, e.Command)
	case e.APIVersion != "" && e.APIVersion != defaultAPIVersion && e.APIVersion != v1beta1:
		return fmt.Errorf("%w: apiVersion %q", ErrEntry, e.APIVersion)
	}
	for _, text := range e.placeholders() {
		if !utf8.ValidString(text) {
			return fmt.Errorf("%w: %q is not UTF-8", ErrEntry, text)
		}
	}
	return nil
}
