package cluster

import (
	"fmt"
	"slices"
	"strings"

	"github.com/sa-exec-credential/sa-exec-credential/internal/api"
)

// isShared holds for what is the same for every account of a cluster, and need not be read for each
// of many that are set up together: see api.Memo.
func isShared(path string) bool {
	const rbac, core = "/apis/" + rbacGroup + "/v1/", "/api/v1/namespaces/"
	return strings.HasPrefix(path, "/apis/admissionregistration.k8s.io/") ||
		strings.HasPrefix(path, rbac+"clusterroles/") ||
		slices.Contains([]string{"/api", "/apis", rbac + "clusterrolebindings",
			rbac + "rolebindings", core + "kube-system", core + limitsNamespace,
			LimitsRef.path()}, path)
}

// sharedKey is the path alone for what is written as well.
func sharedKey(path, accept string, query map[string]string) string {
	if accept == "" && len(query) == 0 {
		return path
	}
	return fmt.Sprintf("%s %s %v", path, accept, query) // maps are printed in order
}

// lockShared has one at a time look at what all share, and write it.
func lockShared(client *api.Client, path string) (release func()) {
	if !isShared(path) {
		return func() {}
	}
	return client.Memo().Lock(path)
}
