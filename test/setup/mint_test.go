//go:build linux

package setup_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/api"
	"github.com/sa-exec-credential/sa-exec-credential/internal/cluster"
	"github.com/sa-exec-credential/sa-exec-credential/internal/mint"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
	"github.com/sa-exec-credential/sa-exec-credential/test/lab"
)

func bound(device profile.Device) *mint.Secret {
	return &mint.Secret{Name: device.Secret, UID: device.UID}
}

// bootstrapper returns a minter with a bootstrap token that is bound to device, as setup makes it.
func (p plane) bootstrapper(namespace, account string, device profile.Device) *mint.Client {
	p.Helper()
	grant, err := p.minter(p.config).Mint(p.Context(), mint.Request{Namespace: namespace, ServiceAccount: account + "-bootstrap",
		Duration: 24 * time.Hour, Bound: bound(device)})
	if err != nil {
		p.Fatal(err)
	}
	minter := p.minter(p.withToken(grant))
	err = cluster.WaitUntilAllowed(p.Context(), lab.Limit, func(ctx context.Context) error {
		_, err := minter.Mint(ctx, mint.Request{Namespace: namespace, ServiceAccount: account,
			Duration: 10 * time.Minute, Bound: bound(device)})
		return err
	})
	if err != nil {
		p.Fatal(err)
	}
	return minter
}

func isAdmission(err error) bool {
	var status *api.StatusError
	return errors.As(err, &status) && status.Admission && errors.Is(err, api.ErrForbidden)
}

// request is a TokenRequest and whether the cap lets it through.
type request struct {
	name    string
	account string
	seconds time.Duration
	bound   *mint.Secret
	denied  bool
}

func (p plane) checkCap() {
	w := minimal("capped", "ci")
	w.Cap, w.Duration, w.BootstrapDuration = true, 30*time.Minute, 2*time.Hour
	p.apply(p.plan(w))
	device := bound(p.device("capped", "ci", "laptop-1"))
	p.admin("create", "secret", "generic", "other", "-n", "capped")
	other := &mint.Secret{Name: "other", UID: p.admin("get", "secret", "other", "-n", "capped", "-o", "jsonpath={.metadata.uid}")}
	minter := p.bootstrapper("capped", "ci", profile.Device{Secret: device.Name, UID: device.UID})
	p.waitForCap(minter, "capped", "ci", device)
	for _, r := range []request{
		{"the longest token", "ci", 30 * time.Minute, device, false},
		{"a short token", "ci", 10 * time.Minute, device, false},
		{"a token too long by a second", "ci", 30*time.Minute + time.Second, device, true},
		{"an unbound token", "ci", 10 * time.Minute, nil, true},
		{"a token bound to another Secret", "ci", 10 * time.Minute, other, true},
		{"the longest bootstrap token", "ci-bootstrap", 2 * time.Hour, device, false},
		{"a bootstrap token too long by a second", "ci-bootstrap", 2*time.Hour + time.Second, device, true},
		{"an unbound bootstrap token", "ci-bootstrap", 10 * time.Minute, nil, true},
		{"a bootstrap token bound to another Secret", "ci-bootstrap", 10 * time.Minute, other, true},
	} {
		p.Run(r.name, func(t *testing.T) { p.with(t).checkRequest(minter, "capped", r) })
	}
	p.Run("the administrator is not limited", func(t *testing.T) {
		p.with(t).checkRequest(p.minter(p.config), "capped", request{account: "ci", seconds: 24 * time.Hour})
	})
}

func (p plane) with(t *testing.T) plane {
	p.T = t
	return p
}

func (p plane) checkRequest(minter *mint.Client, namespace string, r request) {
	p.Helper()
	_, err := minter.Mint(p.Context(), mint.Request{Namespace: namespace, ServiceAccount: r.account, Duration: r.seconds, Bound: r.bound})
	if r.denied && !isAdmission(err) {
		p.Errorf("got %v, want a denial by admission", err)
	}
	if !r.denied && err != nil {
		p.Error(err)
	}
}

// waitForCap waits until the policy, which counts only some time after it was made, denies an excessive lifetime.
func (p plane) waitForCap(minter *mint.Client, namespace, account string, device *mint.Secret) {
	p.Helper()
	lab.Eventually(p.T, "the cap counts", func() bool {
		_, err := minter.Mint(p.Context(), mint.Request{Namespace: namespace, ServiceAccount: account,
			Duration: 1000 * time.Hour, Bound: device})
		return isAdmission(err)
	})
}

func (p plane) checkMinterCap() {
	p.admin("create", "namespace", "runners")
	p.admin("create", "serviceaccount", "runner", "-n", "runners")
	w := cluster.Wanted{Namespace: "mintedby", ServiceAccount: "ci", Minter: &cluster.Subject{Namespace: "runners", Name: "runner"},
		Cap: true, Duration: 30 * time.Minute}
	p.apply(p.plan(w))
	device := bound(p.device("mintedby", "ci", "pod"))
	grant, err := p.minter(p.config).Mint(p.Context(), mint.Request{Namespace: "runners", ServiceAccount: "runner", Duration: time.Hour})
	if err != nil {
		p.Fatal(err)
	}
	minter := p.minter(p.withToken(grant))
	p.waitForCap(minter, "mintedby", "ci", device)
	p.checkRequest(minter, "mintedby", request{account: "ci", seconds: 30 * time.Minute, bound: device})
	p.checkRequest(minter, "mintedby", request{account: "ci", seconds: 31 * time.Minute, bound: device, denied: true})
	_, err = minter.Mint(p.Context(), mint.Request{Namespace: "mintedby", ServiceAccount: "ci-bootstrap", Duration: time.Hour, Bound: device})
	if !errors.Is(err, api.ErrForbidden) || isAdmission(err) {
		p.Errorf("minting for another account: %v, want RBAC to forbid it", err)
	}
}

func (p plane) checkLargerCap() {
	w := minimal("larger", "ci")
	w.Cap, w.Duration, w.BootstrapDuration = true, 8*time.Hour, 24*time.Hour
	p.apply(p.plan(w))
	w.Duration, w.BootstrapDuration = time.Hour, 48*time.Hour
	objects := p.plan(w)
	_, warnings := p.apply(objects)
	if len(warnings) != 1 || warnings[0].Kind != cluster.CapKept || warnings[0].Token != 8*time.Hour || warnings[0].Bootstrap != 48*time.Hour {
		p.Errorf("warnings %+v, want one about a cap of 8 h and 48 h", warnings)
	}
	before := p.resourceVersions(objects)
	p.apply(p.plan(w))
	for ref, version := range p.resourceVersions(objects) {
		if before[ref] != version {
			p.Errorf("%v was written to again", ref)
		}
	}
}

// checkBootstrapAccount tries the two things, and a third. That the authorizer allows no other is tested with the credential
// that setup stores.
func (p plane) checkBootstrapAccount() {
	w := minimal("exactly", "ci")
	w.Cap = true
	p.apply(p.plan(w))
	minter := p.bootstrapper("exactly", "ci", p.device("exactly", "ci", "laptop-1"))
	device := bound(p.device("exactly", "ci", "laptop-1"))
	for _, account := range []string{"ci", "ci-bootstrap"} {
		p.checkRequest(minter, "exactly", request{account: account, seconds: 10 * time.Minute, bound: device})
	}
	p.admin("create", "serviceaccount", "other", "-n", "exactly")
	_, err := minter.Mint(p.Context(), mint.Request{Namespace: "exactly", ServiceAccount: "other", Duration: 10 * time.Minute, Bound: device})
	if !errors.Is(err, api.ErrForbidden) || isAdmission(err) {
		p.Errorf("minting for another account: %v", err)
	}
}
