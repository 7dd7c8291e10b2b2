// Package kubeconfigtemplates embeds the kubeconfigs that are rendered. They are YAML as they stand and can be read,
// and copied by hand, without the program.
//
// It imports nothing of this module. Rendering is internal/kubeconfig's work.
package kubeconfigtemplates

import "embed"

// FS holds one kubeconfig for each way to get a bootstrap credential: keyring.yaml, context.yaml, in-cluster.yaml and
// ci.yaml. A scalar that is one of the words in capitals, and nothing else, is a placeholder.
//
//go:embed *.yaml
var FS embed.FS
