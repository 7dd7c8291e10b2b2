//go:build linux

package clients_test

import (
	"encoding/base64"

	"k8s.io/apimachinery/pkg/runtime"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/sa-exec-credential/sa-exec-credential/test/lab"
)

// writeAdmins makes the user's own kubeconfig: the administrator's contexts of clusters with these
// addresses, c00 and on, each with its namespace.
func (f *fleet) writeAdmins() {
	f.Helper()
	config := lab.LoadKubeconfig(f.T, f.Admin)
	context := config.Contexts[config.CurrentContext]
	cluster := config.Clusters[context.Cluster]
	clear(config.Contexts)
	clear(config.Clusters)
	for i, server := range f.servers {
		other := *cluster
		other.Server = server
		config.Clusters[contextOf(i)] = &other
		config.Contexts[contextOf(i)] = &clientcmdapi.Context{Cluster: contextOf(i),
			AuthInfo: context.AuthInfo, Namespace: f.namespaces[i]}
	}
	config.CurrentContext = contextOf(0)
	f.WriteKubeconfig(f.Kubeconfig(), config)
}

// everywhere is the user of a kubeconfig that has one for all clusters.
const everywhere = "everywhere"

// oneEntry is a kubeconfig with a user that names no profile.
func oneEntry() *clientcmdapi.Config {
	config := clientcmdapi.NewConfig()
	config.AuthInfos[everywhere] = &clientcmdapi.AuthInfo{Exec: getAlone()}
	return config
}

// getAlone is the command of all clusters.
func getAlone() *clientcmdapi.ExecConfig {
	return &clientcmdapi.ExecConfig{Command: lab.Plugin, Args: []string{"get"},
		APIVersion: "client.authentication.k8s.io/v1", ProvideClusterInfo: true,
		InteractiveMode: clientcmdapi.NeverExecInteractiveMode}
}

// add adds a cluster, and a context of the same name. The extension is JSON; empty: none.
func add(config *clientcmdapi.Config, name, server, extension string) {
	cluster := clientcmdapi.NewCluster()
	cluster.Server, cluster.CertificateAuthorityData = server, lab.Plane.CAPEM
	if extension != "" {
		cluster.Extensions = map[string]runtime.Object{execExtension: &runtime.Unknown{
			Raw: []byte(extension), ContentType: runtime.ContentTypeJSON}}
	}
	config.Clusters[name] = cluster
	config.Contexts[name] = &clientcmdapi.Context{Cluster: name, AuthInfo: everywhere}
}

func base64Of(data []byte) string { return base64.StdEncoding.EncodeToString(data) }
