package kuberc

import (
	"errors"
	"path/filepath"
	"slices"

	"github.com/sa-exec-credential/sa-exec-credential/internal/yamledit"
)

// ErrNoKubeconfig is a kubeconfig that was named and is not there.
var ErrNoKubeconfig = errors.New("no kubeconfig")

// Kubeconfigs returns the kubeconfig files, absolute, in the order in which kubectl reads them: the
// one that was named, else those of KUBECONFIG, else the one in the home directory. Empty and
// repeated elements of KUBECONFIG do not count. What is in them is for package kubeconfig.
func Kubeconfigs(explicit, list, home string) []string {
	if explicit != "" {
		return []string{yamledit.Absolute(explicit)}
	}
	var paths []string
	for _, path := range filepath.SplitList(list) {
		if path == "" {
			continue
		}
		if path = yamledit.Absolute(path); !slices.Contains(paths, path) {
			paths = append(paths, path)
		}
	}
	if len(paths) == 0 {
		paths = []string{filepath.Join(home, ".kube", "config")}
	}
	return paths
}
