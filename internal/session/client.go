package session

import (
	"errors"
	"fmt"
	"slices"

	"github.com/sa-exec-credential/sa-exec-credential/internal/execcred"
	"github.com/sa-exec-credential/sa-exec-credential/internal/kubeconfig"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
)

// silent are the clients that never say where the token goes, whatever their kubeconfig says.
const silent = "Python before 32, JavaScript of every version, Ruby, Java, C# and the exec " +
	"blocks of Terraform's providers send none"

// What can be wrong with the client that calls.
var (
	ErrNoExecInfo = errors.New("no client has called, or one that sends no cluster " +
		"information: KUBERNETES_EXEC_INFO is not set (" + silent + ")")
	ErrNoClusterInfo  = errors.New("the client sent no cluster information (" + silent + ")")
	ErrInsecureClient = errors.New("the client does not verify the server's certificate")
	ErrNoAuthority    = fmt.Errorf("%w: its certificate authority is another: the client sent "+
		"none, as Python's does where it comes as a file (certificate-authority)",
		profile.ErrOtherCluster)
)

// ClientError is a client that gets no token of a profile, with what is known for setting it right.
type ClientError struct {
	Kind    error // one of the errors above
	Profile profile.Profile
	// Context is one of the user's that names the profile and has its certificate authority in
	// a file, for ErrNoAuthority. Nil: none was found.
	Context *kubeconfig.PluginContext
}

// Error implements error.
func (e *ClientError) Error() string { return e.Kind.Error() }

// Unwrap gives the kind.
func (e *ClientError) Unwrap() error { return e.Kind }

// CheckClient is nil when the client will send the token to the profile's cluster and to nobody
// else, and nothing that the kubeconfig alone has chosen decides where the token comes from.
func (s *Session) CheckClient(info execcred.Info) error {
	err := checkCluster(info, s.Profile)
	if err != nil {
		err = s.clientError(err)
	} else {
		err = s.checkAgreed()
	}
	if err != nil {
		s.noteRefusal(err)
		return err
	}
	s.takeProxy(info)
	if len(s.Profile.Cluster.CertificateAuthorityData) == 0 {
		return s.dropForgedRoots()
	}
	return nil
}

// noteRefusal logs a client that gets no token, where the user's own profile says so: another one
// could name any file as its log.
func (s *Session) noteRefusal(err error) {
	s.warn = func(problem error) { s.host.Log.Debug("logging", "error", problem) }
	if CheckOwnDir(s.host) == nil {
		s.noteFailure(eventClient, err)
	}
}

func checkCluster(info execcred.Info, p profile.Profile) error {
	if info.Cluster == nil {
		switch {
		case p.AllowMissingClusterInfo:
			return nil
		case info.Absent:
			return ErrNoExecInfo
		}
		return ErrNoClusterInfo
	}
	if info.Cluster.InsecureSkipTLSVerify {
		return ErrInsecureClient
	}
	client := profile.Cluster{Server: info.Cluster.Server,
		TLSServerName:            info.Cluster.TLSServerName,
		CertificateAuthorityData: info.Cluster.CertificateAuthorityData}
	err := p.Cluster.Difference(client)
	if err == nil || len(client.CertificateAuthorityData) > 0 {
		return err
	}
	client.CertificateAuthorityData = p.Cluster.CertificateAuthorityData
	if p.Cluster.Difference(client) == nil {
		return ErrNoAuthority // and nothing else
	}
	return err
}

// clientError adds to an error what its reader needs to know of the profile and the kubeconfig.
func (s *Session) clientError(err error) error {
	kinds := []error{ErrNoExecInfo, ErrNoClusterInfo, ErrNoAuthority}
	if !slices.Contains(kinds, err) {
		return err
	}
	found := &ClientError{Kind: err, Profile: s.Profile}
	if err == ErrNoAuthority {
		found.Context = s.contextWithFile()
	}
	return found
}

// contextWithFile looks where the client may have got its certificate authority from.
func (s *Session) contextWithFile() *kubeconfig.PluginContext {
	paths, err := s.host.KubeconfigPaths("")
	var uses []kubeconfig.PluginContext
	if err == nil {
		uses, err = kubeconfig.FindPluginContexts(paths)
	}
	s.host.Log.Debug("looked for the client's context", "error", err)
	for _, use := range uses {
		if use.Profile == s.Profile.Name && use.CAFile != "" {
			return &use
		}
	}
	return nil
}
