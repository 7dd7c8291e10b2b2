//go:build linux

package fleet_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/test/lab"
)

// mostRequests is what a context may cost the API server, whether it is new or set up again.
const mostRequests = 15

// mostThere is that of a new one whose namespace is there: four objects of its device and two of its
// account are tried before the first is written. In a namespace that is not there none can be.
const mostThere = 19

// mostAsked is what doctor may ask the API server about a profile: whom the bootstrap credential, a
// new token and the stored one stand for, two requests for tokens, of which one has to be denied,
// and what the account can do.
const mostAsked = 6

// TestAContextCostsFewRequests counts what many contexts of one server cost, each in a namespace of
// its own. What the first of them costs more than the others is shared by all.
func TestAContextCostsFewRequests(t *testing.T) {
	t.Parallel()
	const size = 20
	m := &machine{lab.NewMachine(t, keyring.Kernel)}
	site := lab.NewSite(m.Machine)
	m.writeFleet(lab.Namespace(), size)
	m.costs(site, "new", size, mostRequests-1) // limits are written, too
	m.costs(site, "set up again", size, mostRequests)
	site.Gate.Forget()
	m.Plugin("doctor").Succeeds()
	requests := site.Gate.Requests()
	if got := len(requests); got > size*mostAsked+1 {
		t.Errorf("%d requests of doctor for %d profiles, want %d at most:\n%s", got, size,
			size*mostAsked+1, summary(requests))
	}
}

// TestAContextCostsFewRequestsWhereItsNamespaceIsThere is about accounts that are not.
func TestAContextCostsFewRequestsWhereItsNamespaceIsThere(t *testing.T) {
	t.Parallel()
	const size = 20
	m := &machine{lab.NewMachine(t, keyring.Kernel)}
	site := lab.NewSite(m.Machine)
	config := m.writeFleet(lab.Namespace(), size)
	namespaces := ""
	for _, context := range config.Contexts {
		namespaces += "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: " +
			context.Namespace + "}\n"
	}
	m.AsAdminWith(namespaces, "create", "-f", "-")
	m.costs(site, "in a namespace that is there", size, mostThere)
}

// costs sets all contexts up.
func (m *machine) costs(site *lab.Site, what string, size, most int) {
	m.Helper()
	site.Gate.Forget()
	r := m.Plugin("setup", lab.Account, "--all-contexts", "--cluster-role", "view",
		"--kubeconfig", m.Kubeconfig()).Succeeds()
	if got := strings.Count(r.Stdout, " ready\n"); got != size {
		m.Fatalf("%s: %d contexts are ready, want %d\n%s", what, got, size, r.Stdout)
	}
	requests := withoutLimits(site.Gate.Requests())
	if got := len(requests); got > size*most {
		m.Errorf("%s: %d requests for %d contexts, want %d at most:\n%s", what, got, size,
			size*most, summary(requests))
	}
}

// withoutLimits leaves out what is about the ConfigMap that tests of other packages write as well,
// which has each of them look again, but for one write a context.
func withoutLimits(requests []string) (counted []string) {
	for _, request := range requests {
		if !strings.HasSuffix(request, "/sa-exec-credential/configmaps/limits") {
			counted = append(counted, request)
		}
	}
	return counted
}

// summary counts requests of a kind.
func summary(requests []string) string {
	counts := map[string]int{}
	for _, request := range requests {
		parts := strings.Split(request, "/")
		for i, part := range parts {
			if i > 0 && parts[i-1] == "namespaces" && part != "default" &&
				part != "sa-exec-credential" && part != "kube-system" {
				parts[i] = "NS"
			}
			if strings.HasPrefix(part, "ci-device-") {
				parts[i] = "DEVICE"
			}
		}
		counts[strings.Join(parts, "/")]++
	}
	var lines []string
	for request, count := range counts {
		lines = append(lines, fmt.Sprintf("%4d %s", count, request))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}
