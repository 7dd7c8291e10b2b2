package session

import (
	"errors"

	"github.com/sa-exec-credential/sa-exec-credential/internal/execcred"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
)

// What can be wrong with the client that calls.
var (
	ErrNoExecInfo     = errors.New("no client has called: KUBERNETES_EXEC_INFO is not set")
	ErrNoClusterInfo  = errors.New("the client sent no cluster information")
	ErrInsecureClient = errors.New("the client does not verify the server's certificate")
)

// CheckClient is nil when the client will send the token to the profile's cluster and to nobody
// else, and nothing that the kubeconfig alone has chosen decides where the token comes from.
func (s *Session) CheckClient(info execcred.Info) error {
	if err := checkCluster(info, s.Profile); err != nil {
		return err
	}
	if err := s.checkAgreed(); err != nil {
		return err
	}
	if len(s.Profile.Cluster.CertificateAuthorityData) == 0 {
		return s.dropForgedRoots()
	}
	return nil
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
	return p.Cluster.Difference(profile.Cluster{Server: info.Cluster.Server,
		TLSServerName:            info.Cluster.TLSServerName,
		CertificateAuthorityData: info.Cluster.CertificateAuthorityData})
}
