package lifecycle

import (
	"strings"
	"testing"

	"github.com/sa-exec-credential/sa-exec-credential/internal/cluster"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
)

func TestWhatAllAccountsShareStaysAndIsNamed(t *testing.T) {
	const command = "kubectl --context admin --kubeconfig 'a file' delete --ignore-not-found " +
		"validatingadmissionpolicybindings/sa-exec-credential " +
		"validatingadmissionpolicies/sa-exec-credential namespaces/sa-exec-credential"
	u := &Uninstalling{origin: profile.Origin{Context: "admin", Kubeconfig: []string{"a file"}}}
	for others, want := range map[int]string{-1: "", 0: command,
		2: "2 other accounts of the cluster depend on them"} {
		u.found = &cluster.Installed{OthersLimited: others}
		if line := u.sharedLine(); !strings.HasSuffix(line, want) ||
			(line == "") != (want == "") {
			t.Errorf("with %d other accounts: %q, want %q at its end", others, line,
				want)
		}
	}
}
