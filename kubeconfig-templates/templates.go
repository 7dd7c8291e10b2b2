// Package kubeconfigtemplates embeds the kubeconfig that is rendered. It is YAML as it stands and
// can be read, and copied by hand, without the program.
//
// It imports nothing of this module. Rendering is internal/kubeconfig's work.
package kubeconfigtemplates

import _ "embed"

// YAML is the kubeconfig of one profile. A scalar that is one of the words in capitals, and nothing
// else, is a placeholder.
//
//go:embed kubeconfig.yaml
var YAML string
