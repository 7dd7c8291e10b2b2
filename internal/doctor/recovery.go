package doctor

import (
	"fmt"
	"strings"

	"github.com/sa-exec-credential/sa-exec-credential/internal/kubeconfig"
	"github.com/sa-exec-credential/sa-exec-credential/internal/prepare"
)

// recovery looks whether the context that setup was told to recover with is still there and leads
// to the cluster. Its credential is not tried: it may take a person to get it, and nothing is to
// be recovered.
func (c *profileChecks) recovery() {
	if c.profile.Recovery == nil {
		return
	}
	const check = "recovery"
	credential := c.profile.Recovery.Credential
	where := fmt.Sprintf("context %q of %s", credential.Context,
		strings.Join(credential.Kubeconfig, ", "))
	context, err := kubeconfig.Resolve(credential.Kubeconfig, credential.Context)
	if err == nil {
		err = c.profile.Cluster.Difference(context.Cluster)
	}
	if err != nil {
		c.add(warn(check, "make the context again, or name another one to: "+
			""+prepare.SetupLine(c.profile), "impossible with %s: %v", where, err))
		return
	}
	c.add(ok(check, "with %s, when the cluster no longer knows the bootstrap credential",
		where))
}
