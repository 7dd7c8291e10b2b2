//go:build linux

package clients_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"k8s.io/apimachinery/pkg/runtime"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	clientcmdv1 "k8s.io/client-go/tools/clientcmd/api/v1"

	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/internal/mint"
	"github.com/sa-exec-credential/sa-exec-credential/test/faultproxy"
	"github.com/sa-exec-credential/sa-exec-credential/test/lab"
)

// fleetSize is how many clusters there are.
const fleetSize = 20

// fleet is a machine with a profile for each of many clusters. All of them are one, behind
// addresses of their own; each has an account in a namespace of its own, and reports every request
// with another's token.
type fleet struct {
	*lab.Machine
	servers    []string
	namespaces []string
	isSetUp    atomic.Bool // setup tries a token of the account default
}

func newFleet(t *testing.T, kind keyring.Kind, size int) *fleet {
	t.Helper()
	f := &fleet{Machine: lab.NewMachine(t, kind)}
	for i := range size {
		namespace := fmt.Sprintf("%s-%02d", f.Namespace, i)
		proxy := lab.Proxy(t, faultproxy.Options{Fault: f.onlyOf(namespace)})
		f.servers = append(f.servers, proxy.URL)
		f.namespaces = append(f.namespaces, namespace)
	}
	f.writeAdmins()
	f.Plugin("setup", account, "--all-contexts", "--cluster-role", "view", "--store",
		string(kind)).Succeeds()
	f.isSetUp.Store(true)
	f.NoteEntries()
	return f
}

// onlyOf fails the test when a token of another namespace arrives.
func (f *fleet) onlyOf(namespace string) func(*http.Request) faultproxy.Fault {
	return func(r *http.Request) faultproxy.Fault {
		token, found := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if claims := mint.ParseClaims(token); found && f.isSetUp.Load() &&
			claims.Namespace != namespace {
			f.Errorf("the cluster of %s was sent a token of %s", namespace,
				claims.Namespace)
		}
		return faultproxy.None
	}
}

func (f *fleet) user(i int) string {
	return "system:serviceaccount:" + f.namespaces[i] + ":" + account
}

func contextOf(i int) string { return fmt.Sprintf("c%02d", i) }

// profileOf is the name that setup has given.
func (f *fleet) profileOf(i int) string {
	return account + "." + f.namespaces[i] + "@" + contextOf(i)
}

// TestOneKubeconfigUserServesEveryCluster has kubectl call a get that names no profile.
func TestOneKubeconfigUserServesEveryCluster(t *testing.T) {
	t.Parallel()
	f := newFleet(t, keyring.Kernel, 3)
	config, file := oneEntry(), f.Path("one")
	for i, server := range f.servers {
		add(config, contextOf(i), server, "")
	}
	f.WriteKubeconfig(file, config)
	for i := range f.servers {
		for range 2 {
			f.is(f.user(i), "--kubeconfig", file, "--context", contextOf(i))
		}
	}

	// a person's commands find it by the context, and doctor has nothing against it
	token := f.Plugin("token", "--header", "--kubeconfig", file, "--context",
		contextOf(1)).Succeeds()
	claims := mint.ParseClaims(lab.TokenIn(token.Stdout))
	if claims.Namespace != f.namespaces[1] {
		t.Errorf("the token is of %q", claims.Namespace)
	}
	lab.Has(t, "doctor", f.Plugin("doctor", "--kubeconfig", file, "-o",
		"json").Succeeds().Stdout,
		contextOf(1)+" runs "+lab.Plugin)

	// nobody has set up the cluster's own address
	add(config, "other", lab.Plane.Server, "")
	f.WriteKubeconfig(file, config)
	r := f.Kubectl("--kubeconfig", file, "--context", "other", "get", "pods")
	r.Fails(1, "no profile is for the client's cluster")
	f.Follow(r, "sa-exec-credential status")
	add(config, "other", lab.Plane.Server, `{"profile":"`+f.profileOf(0)+`"}`)
	f.WriteKubeconfig(file, config)
	f.Kubectl("--kubeconfig", file, "--context", "other", "get", "pods").Fails(1,
		"the client's cluster is not the profile's")
}

// is expects kubectl to be somebody.
func (f *fleet) is(user string, args ...string) {
	f.Helper()
	r := f.Kubectl(append(args, "auth", "whoami")...).Succeeds().Silent()
	lab.Has(f.T, "whoami", r.Stdout, user)
}

// TestOfSeveralAccountsOfAClusterTheExtensionNamesOne has kubectl hand the extension over.
func TestOfSeveralAccountsOfAClusterTheExtensionNamesOne(t *testing.T) {
	t.Parallel()
	m := lab.NewMachine(t, keyring.Kernel)
	f := &fleet{Machine: m, servers: []string{m.Server}, namespaces: []string{m.Namespace}}
	m.Ready(m.Namespace, "first")
	m.Ready(m.Namespace+"-b", "second")
	config, file := oneEntry(), m.Path("one")
	for name, extension := range map[string]string{"none": "", "first": `{"profile":"first"}`,
		"second": `{"serviceAccount":"` + m.Namespace + `-b/ci"}`,
		"third":  `{"serviceAccount":"` + m.Namespace + `-c/ci"}`} {
		add(config, name, m.Server, extension)
	}
	f.WriteKubeconfig(file, config)
	f.is(m.Username(), "--kubeconfig", file, "--context", "first")
	f.is("system:serviceaccount:"+m.Namespace+"-b:ci", "--kubeconfig", file, "--context",
		"second")
	r := m.Kubectl("--kubeconfig", file, "--context", "none", "get", "pods")
	r.Fails(1, "2 profiles are for the client's cluster", "first, second", "get --profile NAME")
	m.Follow(r, "sa-exec-credential status")
	m.Kubectl("--kubeconfig", file, "--context", "third", "get", "pods").Fails(1,
		"of service account", m.Namespace+"/ci", m.Namespace+"-b/ci")

	// one process keeps them apart, though they differ in the extension alone
	f.servers = append(f.servers, m.Server, m.Server)
	f.namespaces = append(f.namespaces, m.Namespace+"-b", m.Namespace+"-c")
	told := inventory{Providers: []provider{{"sa-exec-credential", getAlone()}}}
	for i, namespace := range f.namespaces {
		told.Profiles = append(told.Profiles, f.clusterProfile(i,
			map[string]string{"serviceAccount": namespace + "/" + account}))
	}
	answers := f.controller(told)
	if answers[0].User != f.user(0) || answers[1].User != f.user(1) || answers[2].User != "" {
		t.Errorf("the controller is %+v", answers)
	}
}

// TestAControllerOfClusterProfilesActsAsEachClustersAccount is the way of KEP-5339.
func TestAControllerOfClusterProfilesActsAsEachClustersAccount(t *testing.T) {
	t.Parallel()
	f := newFleet(t, keyring.Keyring, fleetSize)
	told := inventory{Providers: []provider{{"other", &clientcmdapi.ExecConfig{}},
		{"sa-exec-credential", getAlone()}}}
	for i := range f.servers {
		told.Profiles = append(told.Profiles, f.clusterProfile(i, nil))
	}
	f.check(told)
}

// clusterProfile is the one of a cluster, with what its extension says.
func (f *fleet) clusterProfile(i int, config any) (p clusterProfile) {
	f.Helper()
	p.Name = f.namespaces[i]
	access := accessProvider{"sa-exec-credential", clientcmdv1.Cluster{Server: f.servers[i],
		CertificateAuthorityData: lab.Plane.CAPEM}}
	if config != nil {
		access.Cluster.Extensions = []clientcmdv1.NamedExtension{{Name: execExtension,
			Extension: runtime.RawExtension{Raw: encode(f.T, config)}}}
	}
	p.Status.AccessProviders = []accessProvider{access}
	return p
}

func encode(t *testing.T, value any) []byte {
	t.Helper()
	data, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestAControllerOfArgosSecretsActsAsEachClustersAccount is the way of Argo CD since 3.5.
func TestAControllerOfArgosSecretsActsAsEachClustersAccount(t *testing.T) {
	t.Parallel()
	f := newFleet(t, keyring.Keyring, fleetSize)
	var told inventory
	for i, server := range f.servers {
		config := encode(t, map[string]any{
			"execProviderConfig": map[string]any{"command": lab.Plugin,
				"args":               []string{"get"},
				"apiVersion":         "client.authentication.k8s.io/v1",
				"provideClusterInfo": true,
				"config":             map[string]any{"clusterName": "c"}},
			"tlsClientConfig": map[string]any{"caData": lab.Plane.CAPEM}})
		told.Secrets = append(told.Secrets, argoSecret{f.namespaces[i], server,
			string(config)})
	}
	f.check(told)
}

// check runs a controller, twice: the second finds tokens.
func (f *fleet) check(told inventory) {
	f.Helper()
	for range 2 {
		for i, answer := range f.controller(told) {
			if answer.Error != "" || answer.User != f.user(i) {
				f.Errorf("cluster %d: %+v, want %s", i, answer, f.user(i))
			}
		}
	}
	for i, namespace := range f.namespaces {
		c := *f.Machine
		c.Namespace = namespace
		// setup's, and one more when that is stale already
		if minted := c.Minted(account); minted > 2 {
			f.Errorf("cluster %d has minted %d tokens", i, minted)
		}
	}
}

// controller returns what one has seen, by cluster.
func (f *fleet) controller(told inventory) (all []seen) {
	f.Helper()
	file := f.Write(f.Path("inventory.json"), string(encode(f.T, told)))
	cmd := lab.Helper(f.T, "controller", file)
	cmd.Env = append(f.Env(), cmd.Env...)
	answers := map[string]seen{}
	f.Decode(lab.Adopt(f.T, cmd).End(), &answers)
	f.NoteEntries()
	for _, namespace := range f.namespaces {
		all = append(all, answers[namespace])
	}
	return all
}
