package advice

import (
	"errors"
	"fmt"

	"github.com/sa-exec-credential/sa-exec-credential/internal/call"
	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/internal/kubeconfig"
	"github.com/sa-exec-credential/sa-exec-credential/internal/prepare"
	"github.com/sa-exec-credential/sa-exec-credential/internal/session"
	"github.com/sa-exec-credential/sa-exec-credential/internal/ui"
)

// ForQuota says who has used a quota up, and how there is more.
func ForQuota(e *keyring.QuotaError) string {
	users := ""
	if len(e.Users) > 0 {
		users = "it is used by " + ui.QuotedList(e.Users) + "; "
	}
	return fmt.Sprintf("%sto keep this one elsewhere: {again --store keyring}; to raise the quota: sudo sysctl -w %skeys=%d %sbytes=%d",
		users, e.Room.Sysctl, 10*e.Room.MaxKeys, e.Room.Sysctl, 10*e.Room.MaxBytes)
}

// ForClient has the whole command that lets the client have tokens. The plugin cannot see the
// client's kubeconfig, and so not say which of two ways it is.
func ForClient(e *session.ClientError) string {
	if errors.Is(e, call.ErrNoAuthority) {
		return embedLine(e.Context)
	}
	allowing := e.Profile
	allowing.AllowMissingClusterInfo = true
	setup := "to let such clients have tokens of this profile: " + prepare.SetupLine(allowing)
	if errors.Is(e, call.ErrNoExecInfo) {
		token := ui.CommandLine(ui.Program, "token", "--profile", e.Profile.Name)
		return "to get a token by hand: " + token + "; " + setup
	}
	return "if the kubeconfig user's exec section lacks provideClusterInfo: true, add it; if it is there, " +
		"the client cannot send cluster information, and " + setup
}

// embedLine is the command that puts a certificate authority into the kubeconfig itself.
func embedLine(use *kubeconfig.PluginContext) string {
	line, where := []string{"kubectl", "config"}, ""
	if use == nil {
		use = &kubeconfig.PluginContext{ClusterName: "CLUSTER", CAFile: "FILE"}
		where = "; CLUSTER and FILE are those of the client's kubeconfig"
	} else {
		line = append(line, "--kubeconfig", use.ClusterFile)
	}
	line = append(line, "set-cluster", use.ClusterName, "--certificate-authority="+use.CAFile,
		"--embed-certs")
	return "if it comes as a file, put the certificate authority into the kubeconfig: " + ui.CommandLine(line...) + where
}
