//go:build linux

package attack_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

func isPolicy(a answer) bool { return strings.Contains(a.message, "ValidatingAdmissionPolicy") }

// limitsData are the limits that are in force.
func (p plane) limitsData() object {
	p.Helper()
	data, _ := p.allowed(p.admin, http.MethodGet, limits, nil)["data"].(object)
	return data
}

func TestSetup(t *testing.T) {
	p := startPlane(t)
	p.each("limits are in force when it returns", checkInForce)
	p.each("without the right to the policy", checkWithoutRight)
}

func TestSetupsAtOnce(t *testing.T) {
	checkTogether(startPlane(t))
}

// checkTogether starts with a cluster that has no policy.
func checkTogether(p plane) {
	var accounts []string
	for i := range 8 {
		accounts = append(accounts, fmt.Sprintf("at-once-%d", i))
	}
	var running sync.WaitGroup
	for _, account := range append(slices.Clone(accounts), accounts[0]) {
		m := p.machine("together", account)
		running.Go(func() {
			if output, err := m.run(p.Context(), m.setupLine(p.AdminKubeconfig, "--cluster-role", "view")...); err != nil ||
				strings.Contains(output, "warning") {
				p.Errorf("setup of %s: %v\n%s", account, err, output)
			}
		})
	}
	running.Wait()
	data := p.limitsData()
	for _, account := range accounts {
		if data["together."+account] == nil {
			p.Errorf("there are no limits of %s in %v", account, data)
		}
	}
	if data["default"] == nil || data["apiAudiences"] != apiAudience {
		p.Errorf("the limits are %v", data)
	}
}

// checkWithoutRight has an administrator of a namespace, and then one of the cluster.
func checkWithoutRight(p plane) {
	p.allowed(p.admin, http.MethodPost, "/api/v1/namespaces", named("team", nil))
	p.allowed(p.admin, http.MethodPost, rbac+"/namespaces/team/rolebindings", named("lead", object{
		"roleRef":  object{"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "admin"},
		"subjects": []any{object{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "lead"}}}))
	m := p.machine("team", "ci")
	output := m.must(m.setupLine(p.kubeconfig("lead"), "--cluster-role", "view")...)
	if !strings.Contains(output, "no limits on what devices can ask for") {
		p.Errorf("setup does not say that there are no limits:\n%s", output)
	}
	if p.limitsData()["team.ci"] != nil {
		p.Error("there are limits of an account whose administrator cannot write them")
	}
	m.token()
	second := p.machine("team", "ci")
	second.setup("--cluster-role", "view")
	if p.limitsData()["team.ci"] == nil {
		p.Error("there are no limits after an administrator's setup")
	}
	m.token()
	for _, d := range m.devices() {
		thief := p.holder(p.bootstrap("team", d.Name))
		p.checkDenied(attack{"", thief, http.MethodPost, core("team", "serviceaccounts", "ci", "token"), tokenRequest(3601, d.Name), tooLong})
	}
}

// kubeconfig is that of a user.
func (p plane) kubeconfig(user string) string {
	p.Helper()
	certificate, err := p.CA.IssueClientCert(user)
	if err != nil {
		p.Fatal(err)
	}
	file := filepath.Join(p.TempDir(), "kubeconfig")
	if err := os.WriteFile(file, p.Kubeconfig(user, certificate), 0o600); err != nil {
		p.Fatal(err)
	}
	return file
}

// checkVersions changes the policy, and has a setup of another account run.
func checkVersions(p plane) {
	const path = policies + "/sa-exec-credential"
	before := p.allowed(p.admin, http.MethodGet, path, nil)["spec"].(object)["validations"].([]any)
	for i, c := range []struct {
		name, version string
		stays         bool
	}{
		{"a newer one stays", "999", true},
		{"one that somebody changed is put right", "1", false},
		{"one of no version is put right", "latest", false},
	} {
		p.each(c.name, func(p plane) {
			p.allowed(p.admin, http.MethodPatch, path, object{"metadata": object{"annotations": object{
				"sa-exec-credential/policy-version": c.version}}})
			p.patchValidations(before[:1])
			output := p.machine("versions", fmt.Sprintf("ci-%d", i)).setup("--cluster-role", "view")
			after := p.allowed(p.admin, http.MethodGet, path, nil)["spec"].(object)["validations"].([]any)
			if stays := len(after) == 1; stays != c.stays {
				p.Errorf("there are %d validations after setup:\n%s", len(after), output)
			}
		})
	}
}

// checkInForce begins with a cluster that has no policy; then there are new limits each time.
func checkInForce(p plane) {
	for i := range 20 {
		m := p.machine("in-force", fmt.Sprintf("ci-%d", i))
		d := m.newDevice("--cluster-role", "view", "--duration", fmt.Sprintf("%dm", 90-i))
		thief := p.holder(p.bootstrap("in-force", d.Name))
		path := core("in-force", "serviceaccounts", m.account, "token")
		longest := (90 - i) * 60
		p.checkDenied(attack{"", thief, http.MethodPost, path, tokenRequest(longest+1, d.Name), tooLong})
		p.allowed(thief, http.MethodPost, path, tokenRequest(longest, d.Name))
	}
}
