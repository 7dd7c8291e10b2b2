package call

import (
	"errors"
	"fmt"

	"github.com/sa-exec-credential/sa-exec-credential/internal/execcred"
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

// Check is nil when the client will send the token to the profile's cluster and to nobody else, and
// nothing that the kubeconfig alone has chosen decides where the token comes from.
func (c *Call) Check(info execcred.Info) error {
	if err := checkCluster(info, c.Profile); err != nil {
		return err
	}
	if err := c.checkAgreed(); err != nil {
		return err
	}
	c.takeProxy(info)
	return nil
}

func checkCluster(info execcred.Info, p profile.Profile) error {
	if info.Cluster == nil && p.AllowMissingClusterInfo {
		return nil
	}
	if err := checkSaid(info); err != nil {
		return err
	}
	client := clusterOf(info.Cluster)
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

// checkSaid is an error when the client does not say where it will send the token to, or will not
// look who is there.
func checkSaid(info execcred.Info) error {
	switch {
	case info.Cluster == nil && info.Absent:
		return ErrNoExecInfo
	case info.Cluster == nil:
		return ErrNoClusterInfo
	case info.Cluster.InsecureSkipTLSVerify:
		return ErrInsecureClient
	}
	return nil
}

// clusterOf is where the client says that it will send the token to.
func clusterOf(said *execcred.Cluster) profile.Cluster {
	return profile.Cluster{Server: said.Server, TLSServerName: said.TLSServerName,
		CertificateAuthorityData: said.CertificateAuthorityData}
}

// takeProxy remembers the proxy of a client that has been checked.
func (c *Call) takeProxy(info execcred.Info) {
	if info.Cluster == nil || info.Cluster.ProxyURL == c.Profile.Cluster.ProxyURL {
		return
	}
	if profile.IsProxyURL(info.Cluster.ProxyURL) {
		c.ClientProxy = info.Cluster.ProxyURL
	}
}
