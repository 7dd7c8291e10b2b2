package session

import (
	"slices"

	"github.com/sa-exec-credential/sa-exec-credential/internal/call"
	"github.com/sa-exec-credential/sa-exec-credential/internal/execcred"
	"github.com/sa-exec-credential/sa-exec-credential/internal/kubeconfig"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
)

// ClientError is a client that gets no token of a profile, with what is known for setting it right.
type ClientError struct {
	Kind    error // one of those of package call
	Profile profile.Profile
	// Context is one of the user's that names the profile and has its certificate authority in
	// a file, for ErrNoAuthority. Nil: none was found.
	Context *kubeconfig.PluginContext
}

// Error implements error.
func (e *ClientError) Error() string { return e.Kind.Error() }

// Unwrap gives the kind.
func (e *ClientError) Unwrap() error { return e.Kind }

// CheckClient is Call.Check, which says more of what is wrong, and has it logged. With a forged
// environment it starts this program again.
func (s *Session) CheckClient(info execcred.Info) error {
	if err := s.Check(info); err != nil {
		err = s.clientError(err)
		s.noteRefusal(err)
		return err
	}
	return s.DropForgedRoots()
}

// noteRefusal logs a client that gets no token, where the user's own profile says so: another one
// could name any file as its log.
func (s *Session) noteRefusal(err error) {
	s.warn = func(problem error) { s.Host.Log.Debug("logging", "error", problem) }
	if call.CheckOwnDir(s.Host) == nil {
		s.noteFailure(eventClient, err)
	}
}

// clientError adds to an error what its reader needs to know of the profile and the kubeconfig.
func (s *Session) clientError(err error) error {
	kinds := []error{call.ErrNoExecInfo, call.ErrNoClusterInfo, call.ErrNoAuthority}
	if !slices.Contains(kinds, err) {
		return err
	}
	found := &ClientError{Kind: err, Profile: s.Profile}
	if err == call.ErrNoAuthority {
		found.Context = s.contextWithFile()
	}
	return found
}

// contextWithFile looks where the client may have got its certificate authority from.
func (s *Session) contextWithFile() *kubeconfig.PluginContext {
	paths, err := s.Host.KubeconfigPaths("")
	var uses []kubeconfig.PluginContext
	if err == nil {
		uses, err = kubeconfig.FindPluginContexts(paths)
	}
	s.Host.Log.Debug("looked for the client's context", "error", err)
	for _, use := range uses {
		if use.Profile == s.Profile.Name && use.CAFile != "" {
			return &use
		}
	}
	return nil
}
