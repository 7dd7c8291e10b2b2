//go:build linux

package lifecycle_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/sa-exec-credential/sa-exec-credential/test/lab"
)

// installed is a site on which setup has made one of everything.
func installed(t *testing.T) *lab.Site {
	t.Helper()
	s := lab.NewSite(newMachine(t))
	s.Setup(lab.Account, "-n", s.Namespace, "--profile", "it", "--verb", "get,list",
		"--resource", "pods,namespaces",
		"--use-context").Succeeds()
	s.Kubectl("get", "pods").Succeeds()
	return s
}

// TestUninstallThatIsKilledAnywhereIsFinishedByTheNext lets each of uninstall's changes be the
// last thing that it did.
func TestUninstallThatIsKilledAnywhereIsFinishedByTheNext(t *testing.T) {
	t.Parallel()
	s := installed(t)
	s.Gate.Forget()
	s.Plugin("uninstall", lab.Account, "-n", s.Namespace, "--kubeconfig", s.Admin).Succeeds()
	nothingLeft(s)
	writes := 0
	for i, request := range s.Gate.Requests() {
		if !lab.Writes(request) || strings.HasSuffix(request, "/token") {
			continue
		}
		writes++
		t.Run(fmt.Sprintf("%d %s", i+1, lab.Name(request, s.Namespace)),
			func(t *testing.T) {
				t.Parallel()
				s := installed(t)
				s.Killed(i+1, true, "uninstall", lab.Account, "-n", s.Namespace,
					"--kubeconfig", s.Admin)
				s.Plugin("uninstall", lab.Account, "-n", s.Namespace,
					"--kubeconfig",
					s.Admin).Succeeds()
				nothingLeft(s)
				r := s.Plugin("uninstall", lab.Account, "-n", s.Namespace,
					"--kubeconfig",
					s.Admin).Succeeds()
				lab.Has(t, "uninstall", r.Stderr, "nothing that setup created is "+
					"there")
			})
	}
	if writes < 10 {
		t.Errorf("uninstall made only %d changes", writes)
	}
}

// nothingLeft expects that nobody can tell that there was a setup.
func nothingLeft(s *lab.Site) {
	s.Helper()
	nothingInCluster(s)
	if keys := s.StoreKeys(); len(keys) > 0 {
		s.Errorf("the store still holds %q", keys)
	}
	if files := s.Files(); slices.ContainsFunc(files,
		func(f string) bool { return strings.HasSuffix(f, ".yaml") }) {
		s.Errorf("there is still a profile or a record: %q", files)
	}
	lab.Eventually(s.T, "the namespace is gone", func() bool {
		return lab.AsAdmin(s.T, "", "get", "namespace", s.Namespace).Code != 0
	})
}

// TestUninstallNamesEveryRightThatIsMissing has somebody who can look and not touch.
func TestUninstallNamesEveryRightThatIsMissing(t *testing.T) {
	t.Parallel()
	s := installed(t)
	reader := "reader-" + s.Namespace
	s.AsAdmin("create", "clusterrole", reader, "--verb=get,list", "--resource="+
		"secrets,serviceaccounts,configmaps,namespaces,roles,rolebindings,clusterroles,clusterrolebindings")
	s.AsAdmin("create", "clusterrolebinding", reader, "--clusterrole="+reader, "--user="+reader)
	before := s.AsAdmin("get", "roles,rolebindings,serviceaccounts,secrets", "-n", s.Namespace,
		"-o", "yaml")
	r := s.Plugin("uninstall", lab.Account, "-n", s.Namespace, "--kubeconfig", lab.User(t,
		reader))
	ns := s.Namespace
	r.Fails(7, "you are not allowed to ",
		`delete rolebindings, roles, secrets, serviceaccounts "ci-device-`,
		fmt.Sprintf("clusterroles %q", "sa-exec-credential:"+ns+":ci"),
		`delete serviceaccounts "ci"`,
		`patch configmaps "limits" in namespace "sa-exec-credential"`)
	// What cannot be listed in it may be there.
	if strings.Contains(r.Stderr, "delete namespaces") {
		t.Errorf("it would delete a namespace that it cannot look into:\n%s", r.Stderr)
	}
	if after := s.AsAdmin("get", "roles,rolebindings,serviceaccounts,secrets", "-n", ns, "-o",
		"yaml"); after != before {
		t.Error("something has changed")
	}
}

// TestUninstallByTheAdministratorOfANamespace has somebody who can look into one namespace only.
func TestUninstallByTheAdministratorOfANamespace(t *testing.T) {
	t.Parallel()
	s := installed(t)
	s.AsAdmin("create", "rolebinding", "owner", "-n", s.Namespace, "--clusterrole=admin",
		"--user=owner-"+s.Namespace)
	r := s.Plugin("uninstall", lab.Account, "-n", s.Namespace, "--kubeconfig", lab.User(t,
		"owner-"+s.Namespace)).Succeeds()
	lab.Has(t, "uninstall", r.Stderr, "kept: clusterroles: you cannot list them",
		"kept: rolebindings: you cannot list those of all namespaces, so they were "+
			"looked for in "+s.Namespace+" only",
		"kept: ConfigMap", "kept: Namespace", "refused after")
	names := s.AsAdmin("get", "roles,rolebindings,serviceaccounts,secrets", "-n", s.Namespace,
		"-o", "name")
	if strings.Contains(names, "/ci") || strings.Contains(names, ":ci") {
		t.Errorf("there is still %s", names)
	}
	s.Plugin("uninstall", lab.Account, "-n", s.Namespace, "--kubeconfig", s.Admin).Succeeds()
	nothingInCluster(s)
}

func nothingInCluster(s *lab.Site) {
	s.Helper()
	left := s.AsAdmin("get", "clusterroles,clusterrolebindings,roles,rolebindings,serviceaccounts,secrets", "-n", s.Namespace, "-o", "name") +
		s.AsAdmin("get", "configmap", "limits", "-n", "sa-exec-credential", "-o",
			"jsonpath={.data}")
	for _, name := range []string{"/ci", "sa-exec-credential:ci", "sa-exec-credential:" +
		s.Namespace + ":ci", s.Namespace + ".ci"} {
		if strings.Contains(left, name) {
			s.Errorf("there is still %s in\n%s", name, left)
		}
	}
}
