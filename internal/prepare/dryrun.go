package prepare

import (
	"bytes"
	"context"
	"slices"

	"github.com/sa-exec-credential/sa-exec-credential/internal/cluster"
	"github.com/sa-exec-credential/sa-exec-credential/internal/ui"
)

// DryRun is what setup would apply and merge, for people and for kubectl apply, after the checks
// that come before a change. timer is what a timer would run; empty: none is wanted.
func (p *Preparation) DryRun(ctx context.Context, timer string) ([]byte, error) {
	manifests, rendered, err := p.Plan(ctx)
	if err != nil {
		return nil, err
	}
	authentication, err := p.Authentication()
	if err != nil {
		return nil, err
	}
	var text bytes.Buffer
	text.WriteString("# For the cluster: this part, read by kubectl apply, creates what setup " +
		"would. Each machine's own device\n# and bootstrap credential are created by: " +
		ui.CommandLine(ui.Program, "setup", p.profile.ServiceAccount, "-n",
			p.profile.Namespace, "--no-rbac") + "\n")
	if timer != "" {
		text.WriteString("# For this machine: systemd or cron would run this: " + timer + "\n")
	}
	text.Write(manifests)
	text.WriteString("---\n# For the client: this kubeconfig would be merged. It is no " +
		"manifest: cut it off before kubectl apply.\n")
	text.Write(rendered)
	text.Write(authentication)
	return text.Bytes(), nil
}

// DryRunInvite is what invite would apply, after the same checks.
func (p *Preparation) DryRunInvite(ctx context.Context) ([]byte, error) {
	planned, err := p.checkInvite(ctx)
	if err != nil {
		return nil, err
	}
	authentication, err := p.Authentication()
	return slices.Concat([]byte("# Each machine's own device is created by invite, without "+
		"--dry-run.\n"), cluster.Manifests(planned.Objects), authentication), err
}
