package doctor

import (
	"context"
	"strings"

	"github.com/sa-exec-credential/sa-exec-credential/internal/bootstrap"
	"github.com/sa-exec-credential/sa-exec-credential/internal/cluster"
	"github.com/sa-exec-credential/sa-exec-credential/internal/connect"
	"github.com/sa-exec-credential/sa-exec-credential/internal/mint"
	"github.com/sa-exec-credential/sa-exec-credential/internal/prepare"
)

// rights are about what setup has granted: an account that was created anew, or whose bindings are
// gone, is known to the API server and allowed nothing.
func (c *profileChecks) rights(ctx context.Context, grant mint.Grant) {
	const check = "rights"
	granted := c.profile.Setup.Rights.Flags()
	if len(granted) == 0 || len(c.profile.Audiences) > 0 {
		return
	}
	config, err := bootstrap.WithToken(c.profile.Cluster, grant.Token)
	if err != nil {
		return
	}
	client, err := connect.To(config)
	if err != nil {
		return
	}
	namespace := c.profile.ContextNamespace()
	access, err := cluster.Can(ctx, client, namespace)
	switch {
	case err != nil || access.Incomplete:
	case len(access.Can) == 0:
		c.add(warn(check, prepare.SetupLine(c.profile),
			"the account is allowed nothing in namespace %q; setup had granted it %s",
			namespace, strings.Join(granted, " ")))
	default:
		c.add(ok(check, "the account is allowed %s in namespace %q", access.Can[0],
			namespace))
	}
}
