//go:build linux

// Package compat_test runs every job once on whatever control plane it is given, so that compat/run
// can tell which versions of Kubernetes the program works with.
package compat_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/test/lab"
)

// TestMain leaves out what other packages test on the newest version, thoroughly.
func TestMain(m *testing.M) {
	if os.Getenv(limitsVariable) == "" {
		fmt.Println("only compat/run runs these tests")
		os.Exit(0)
	}
	lab.Main(m, lab.Options{})
}

// The variables that compat/run sets: the kubectl of the oldest version, and the answer to whether
// the API server has admission policies, which is what enforces the limits.
const (
	oldestVariable = "COMPAT_OLDEST_KUBECTL"
	limitsVariable = "COMPAT_LIMITS"
)

// TestJob goes through the jobs in the order in which a person has them: each needs the ones
// before.
func TestJob(t *testing.T) {
	s := &site{lab.NewMachine(t, keyring.Kernel)}
	s.Profile = "it"
	for _, job := range []struct {
		name string
		run  func(*site)
	}{
		{"setup", (*site).setup},
		{"newest-kubectl", (*site).newestKubectl},
		{"oldest-kubectl", (*site).oldestKubectl},
		{"limits", (*site).limits},
		{"healing", (*site).healing},
		{"doctor", (*site).doctor},
		{"join", (*site).join},
		{"rotate", (*site).rotate},
		{"minters", (*site).minters},
		{"migrate", (*site).migrate},
		{"revoke", (*site).revoke},
		{"uninstall", (*site).uninstall},
	} {
		t.Run(job.name, func(t *testing.T) { job.run(&site{s.In(t)}) })
	}
}

// site is a machine, and a namespace on the control plane.
type site struct{ *lab.Machine }

const account = lab.Account

func (s *site) setup() {
	s.Helper()
	r := s.Prepare("--profile", s.Profile)
	lab.Has(s.T, "setup", r.Stdout, "It works.", s.Username())
}

// works expects that a kubectl may do what the account may do, and no more.
func (s *site) works(kubectl string) {
	s.Helper()
	lab.Has(s.T, "kubectl", s.Exec(kubectl, "get", "pods").Succeeds().Stderr,
		"No resources found in "+s.Namespace)
	for verb, want := range map[string]string{"list": "yes", "delete": "no"} {
		r := s.Exec(kubectl, "auth", "can-i", verb, "pods")
		if got := strings.TrimSpace(r.Stdout); got != want {
			s.Errorf("can-i %s pods: %q, not %q\n%s", verb, got, want, r.Stderr)
		}
	}
}

func (s *site) newestKubectl() { s.works(lab.Plane.Kubectl) }

func (s *site) oldestKubectl() {
	s.works(os.Getenv(oldestVariable))
}

// limits asks for what setup's policy forbids, with the bootstrap credential itself.
func (s *site) limits() {
	if os.Getenv(limitsVariable) == "no" {
		s.Skip("the API server has no admission policies")
	}
	_, bootstrap := s.Tokens(s.Load(s.Profile))
	a := lab.Holder(bootstrap).Ask(s.T, http.MethodPost, lab.TokenOf(s.Namespace, account),
		lab.TokenRequest(360000, ""))
	if a.Code != http.StatusUnprocessableEntity && a.Code != http.StatusForbidden {
		s.Errorf("a token that is bound to nothing: %d", a.Code)
	}
	lab.Has(s.T, "the refusal", string(a.Body), "sa-exec-credential")
}

func (s *site) healing() {
	old, _ := s.Tokens(s.Load(s.Profile))
	s.AsAdmin("delete", "serviceaccount", "-n", s.Namespace, account)
	s.AsAdmin("create", "serviceaccount", "-n", s.Namespace, account)
	s.refused(old)
	s.Kubectl("get", "pods") // client-go hands on the first refusal
	s.works(lab.Plane.Kubectl)
}

// refused waits until a token is.
func (s *site) refused(token string) {
	s.Helper()
	lab.Eventually(s.T, "the token is refused", func() bool {
		return lab.Status(s.T, token, "/version") == http.StatusUnauthorized
	})
}

// doctor finds nothing that failed, and offers no fix for what an old API server cannot do.
func (s *site) doctor() {
	report := s.Plugin("doctor").Succeeds().Stdout
	lab.Has(s.T, "doctor", report, "Nothing ")
	limited := "limited: "
	if os.Getenv(limitsVariable) == "no" {
		limited = "older than Kubernetes 1.30"
		if strings.Contains(report, "fix:") {
			s.Errorf("there is no fix:\n%s", report)
		}
	}
	lab.Has(s.T, "doctor", report, limited)
}

func (s *site) rotate() {
	_, old := s.Tokens(s.Load(s.Profile))
	s.Plugin("rotate", "--profile", s.Profile, "--kubeconfig", s.Admin).Succeeds()
	s.NoteEntries()
	s.refused(old)
	s.works(lab.Plane.Kubectl)
}

// migrate is given a context with the token of a legacy Secret.
func (s *site) migrate() {
	const context = "jenkins"
	s.AsAdmin("create", "serviceaccount", context, "-n", s.Namespace)
	s.AsAdmin("create", "rolebinding", context, "--clusterrole=view", "--serviceaccount="+
		s.Namespace+":"+context, "-n", s.Namespace)
	s.AsAdminWith("apiVersion: v1\nkind: Secret\ntype: kubernetes.io/service-account-token\n"+
		"metadata:\n  name: jenkins\n  annotations: "+
		"{kubernetes.io/service-account.name: jenkins}\n", "apply", "-n", s.Namespace, "-f",
		"-")
	var token string
	lab.Eventually(s.T, "the legacy Secret is filled", func() bool {
		data, err := base64.StdEncoding.DecodeString(s.AdminsToken("get", "secret", context,
			"-n", s.Namespace, "-o", "jsonpath={.data.token}"))
		token = string(data)
		return err == nil && token != ""
	})
	file := s.withToken(context, token)
	r := s.Plugin("migrate", context, "--kubeconfig", file, "--admin-context", "admin@test",
		"--store", "kernel", "--delete-legacy-secret").Succeeds()
	s.NoteEntries()
	lab.Has(s.T, "migrate", r.Stdout, "It works.", "system:serviceaccount:"+s.Namespace+
		":"+context)
	s.Kubectl("--kubeconfig", file, "--context", context, "get", "pods").Succeeds()
	s.refused(token)
}

// withToken is a copy of the administrator's kubeconfig with a context that has a static token. It
// is outside of what is searched for tokens.
func (s *site) withToken(context, token string) (path string) {
	s.Helper()
	config, err := clientcmd.LoadFromFile(s.Admin)
	if err != nil {
		s.Fatal(err)
	}
	config.AuthInfos[context] = &clientcmdapi.AuthInfo{Token: token}
	config.Contexts[context] = &clientcmdapi.Context{Cluster: "test", AuthInfo: context,
		Namespace: s.Namespace}
	path = filepath.Join(s.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*config, path); err != nil {
		s.Fatal(err)
	}
	return path
}

// minters has a person with no right at all mint, and try for more than setup allows.
func (s *site) minters() {
	other := lab.NewMachine(s.T, keyring.Kernel)
	person := lab.User(s.T, "alice")
	both, err := clientcmd.LoadFromFile(s.Admin)
	if err != nil {
		s.Fatal(err)
	}
	own, err := clientcmd.LoadFromFile(person)
	if err != nil {
		s.Fatal(err)
	}
	both.AuthInfos["alice"], both.Contexts["sso"] = own.AuthInfos["alice"],
		own.Contexts["alice@test"]
	file := other.Path("both.kubeconfig")
	if err := clientcmd.WriteToFile(*both, file); err != nil {
		s.Fatal(err)
	}
	other.Plugin("setup", account, "-n", s.Namespace, "--kubeconfig", file, "--context",
		"admin@test", "--bootstrap", "context=sso", "--device", "sso", "--profile", "sso",
		"--store", "kernel", "--cluster-role", "view", "--use-context").Succeeds()
	other.Kubectl("get", "pods").Succeeds()
	device := other.Load("sso").Device.Name
	as := "system:serviceaccount:sa-exec-credential:" + s.Namespace + "." + device
	for _, whom := range []string{"", as} {
		config, err := clientcmd.BuildConfigFromFlags("", person)
		if err != nil {
			s.Fatal(err)
		}
		config.Impersonate.UserName = whom
		a := lab.With(s.T, config).Ask(s.T, http.MethodPost,
			lab.TokenOf(s.Namespace, account), lab.TokenRequest(7200, device))
		if a.Code != http.StatusForbidden && os.Getenv(limitsVariable) != "no" {
			s.Errorf("a token of two hours, as %q: %d %s", whom, a.Code, a.Message)
		}
	}
	s.Plugin("revoke", "--device", "sso", "--serviceaccount", account, "-n", s.Namespace,
		"--kubeconfig", s.Admin).Succeeds()
	other.Plugin("logout", "--profile", "sso").Succeeds()
	other.Kubectl("get", "pods").Fails(1)
}

// join has a second machine join by the pipe of the manual, and ends it by its name.
func (s *site) join() {
	other := lab.NewMachine(s.T, keyring.Kernel)
	admin := "--kubeconfig " + s.Admin + " -n " + s.Namespace
	s.Exec("/bin/bash", "-o", "pipefail", "-c", "sa-exec-credential invite "+account+" "+admin+
		" --for build-7 | HOME="+other.Home+" sa-exec-credential join --profile other "+
		"--store kernel --use-context").Succeeds()
	other.Kubectl("get", "pods").Succeeds()
	token, bootstrap := other.Tokens(other.Load("other"))
	s.Exec("/bin/bash", "-c", "sa-exec-credential revoke --device build-7 --serviceaccount "+
		account+" "+admin).Succeeds()
	for _, t := range []string{token, bootstrap} {
		s.refused(t)
	}
}

func (s *site) revoke() {
	token, bootstrap := s.Tokens(s.Load(s.Profile))
	s.Plugin("revoke", "--profile", s.Profile, "--kubeconfig", s.Admin).Succeeds()
	for _, t := range []string{token, bootstrap} {
		if code := lab.Status(s.T, t, "/version"); code != http.StatusUnauthorized {
			s.Errorf("a revoked credential is answered with %d", code)
		}
	}
}

// uninstall leaves the account, which healing has made anew, and the migrated one.
func (s *site) uninstall() {
	s.Plugin("uninstall", account, "-n", s.Namespace, "--kubeconfig", s.Admin).Succeeds()
	left := s.AsAdmin("get", "roles,rolebindings", "-n", s.Namespace, "-o", "name")
	if strings.Contains(left, "sa-exec-credential:"+account) {
		s.Errorf("still there:\n%s", left)
	}
}
