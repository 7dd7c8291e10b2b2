package controlplane

import (
	"encoding/base64"
	"fmt"
)

// kubeconfigFormat takes the server, the authority, the user, and the user's
// certificate and key.
const kubeconfigFormat = `apiVersion: v1
kind: Config
clusters:
- name: test
  cluster:
    server: %[1]s
    certificate-authority-data: %[2]s
users:
- name: %[3]s
  user:
    client-certificate-data: %[4]s
    client-key-data: %[5]s
contexts:
- name: %[3]s@test
  context:
    cluster: test
    user: %[3]s
current-context: %[3]s@test
`

// Kubeconfig returns a kubeconfig for a user with a client certificate. The
// cluster is named test, the context user@test.
func (c *ControlPlane) Kubeconfig(user string, certificate KeyPair) []byte {
	encode := base64.StdEncoding.EncodeToString
	return fmt.Appendf(nil, kubeconfigFormat,
		c.Server, encode(c.CAPEM), user, encode(certificate.CertPEM),
		encode(certificate.KeyPEM))
}
