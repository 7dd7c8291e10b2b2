//go:build linux

package hostile_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode"

	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/internal/mint"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
	"github.com/sa-exec-credential/sa-exec-credential/test/lab"
)

// Somebody gives the user a kubeconfig that calls the plugin with the name of a profile that
// exists. The tests in this file are what he can write into it, one thing at a time, and each is
// tried with kubectl. No token may reach a server of his, and nothing may be run, read or sent
// that the user did not agree to at setup.

// What is said to it, most of it by the plugin.
const (
	otherServer    = "the client's cluster is not the profile's: it has server"
	otherName      = "the client's cluster is not the profile's: it has tls-server-name"
	otherAuthority = "the client's cluster is not the profile's: its certificate authority " +
		"is another"
	unusable      = "the client's cluster is not the profile's: not a usable cluster"
	unverified    = "the client does not verify the server's certificate"
	noClusterInfo = "the client sent no cluster information"
	notTheUsers   = "the profile is not in the user's own directory"
	noSuchProfile = "no such profile"
	noBootstrap   = "there is no bootstrap credential"
	notAName      = "not a profile name"
	onlyGet       = "a kubeconfig can only run get, not"
	usage         = "sa-exec-credential: hint: run: sa-exec-credential "
	noSocket      = "DBUS_SESSION_BUS_ADDRESS names no Unix socket"
	noStore       = "hint: start the keyring service"
	notSigned     = "it is not signed by the profile's certificate authority"
	// kubectl's own words, as the next ones
	notTrusted   = "certificate signed by unknown authority"
	noURL        = "host must be a URL or a host:port pair"
	noCredential = "decoding stdout" // the plugin has printed something else
)

// fields are a part of a kubeconfig.
type fields map[string]any

// with is these fields and others, which win; one that is nil is left out.
func (f fields) with(others fields) fields {
	all := maps.Clone(f)
	maps.Copy(all, others)
	maps.DeleteFunc(all, func(_ string, value any) bool { return value == nil })
	return all
}

// render writes a kubeconfig with one context.
func render(context string, cluster, user fields) string {
	encoded, err := json.Marshal(fields{"apiVersion": "v1", "kind": "Config",
		"current-context": context,
		"clusters":        []fields{{"name": "test", "cluster": cluster}},
		"users":           []fields{{"name": "test", "user": user}},
		"contexts": []fields{{"name": context, "context": fields{"cluster": "test",
			"user": "test"}}}})
	if err != nil {
		panic(err) // maps of text always encode
	}
	return string(encoded)
}

// execSection runs a command as a plugin.
func execSection(command string, args ...string) fields {
	return fields{"apiVersion": "client.authentication.k8s.io/v1", "command": command,
		"args":               args,
		"provideClusterInfo": true, "interactiveMode": "Never"}
}

// settings are the env of an exec section.
type settings map[string]string

// hostile is a kubeconfig from somebody else: how it differs from the one that setup wrote, and
// what comes of it.
type hostile struct {
	name    string
	cluster fields
	exec    fields
	env     settings
	mints   bool // nothing is cached, so that the plugin itself has to call the API server
	asks    bool // nothing is in front of the store, so that the plugin has to ask that
	// why it fails; empty: it is for the user's own cluster and harmless, and works
	says  string
	hears string // what the attacker may hear all the same
	// lost is what comes of it where the client is not found, and with it the user's own
	// places; nil: the same.
	lost *outcome
}

type outcome struct{ says, hears string }

// tooMany are more scripts between a client and the plugin than the plugin looks through.
const tooMany = 20

// render is the kubeconfig.
func (h hostile) render(m *machine) string {
	cluster := fields{"server": m.Server, "certificate-authority-data": lab.Plane.CAPEM}
	exec := execSection(lab.Plugin, "get", "--profile", m.Profile)
	var env []fields
	for _, name := range slices.Sorted(maps.Keys(h.env)) {
		env = append(env, fields{"name": name, "value": h.env[name]})
	}
	return render("hostile", cluster.with(h.cluster),
		fields{"exec": exec.with(fields{"env": env}).with(h.exec)})
}

// uses has the user try one kubeconfig of the attacker's after the other.
func (m *machine) uses(a *attacker, all ...hostile) {
	for _, h := range all {
		m.Run(h.name, func(t *testing.T) { m.in(t).use(a, h) })
		if h.lost != nil {
			h.says, h.hears = h.lost.says, h.lost.hears
			h.exec = fields{"command": m.Wrapper(tooMany)}.with(h.exec)
			m.Run(h.name+", with a client that is not found",
				func(t *testing.T) { m.in(t).use(a, h) })
		}
	}
}

func (m *machine) use(a *attacker, h hostile) {
	m.Helper()
	if h.mints {
		m.Forget()
	}
	// the token is nowhere else, so that the store is asked for what mints another
	if key := m.Configuration().TokenKey(); h.asks && m.InFront(key) {
		m.LoseFront(key)
	}
	before := m.belongings()
	path := writeFile(m.T, filepath.Join(lab.Dir(m.T, "hostile"), "kubeconfig"), h.render(m))
	r := m.Kubectl("--kubeconfig", path, "get", "--raw",
		"/api/v1/namespaces/"+m.Namespace+"/pods")
	m.checkOutcome(r, h.says)
	a.check(m.T, h.hears)
	m.checkStillHas(before)
}

// works has the user use what setup wrote, as before everything.
func (m *machine) works() {
	m.Helper()
	before := m.belongings()
	m.Kubectl("get", "pods").Succeeds()
	m.checkStillHas(before)
}

// checkStillHas fails the test when anything is not what it was. What was absent may have been
// minted.
func (m *machine) checkStillHas(before belongings) {
	m.Helper()
	after := m.belongings()
	if before.token == "" {
		before.token = after.token
	}
	if before != after {
		m.Error("the user's profile, or what the store has for it, is not what it was")
	}
}

// checkOutcome tells the API server's own answer from any other.
func (m *machine) checkOutcome(r lab.Result, says string) {
	m.Helper()
	works := r.Code == 0 && strings.Contains(r.Stdout, `"kind":"PodList"`)
	failed := r.Code != 0 && r.Stdout == ""
	if says == "" && !works || says != "" && !failed || !strings.Contains(r.Stderr, says) {
		m.Errorf("exit code %d, and this instead of %q:\n%s%s", r.Code, says, r.Stdout,
			r.Stderr)
	}
	if found := lab.Leak(r.Stderr); found != "" {
		m.Errorf("the standard error holds %s", found)
	}
	if strings.Count("\n"+r.Stderr, "\nsa-exec-credential: hint: ") > 1 {
		m.Errorf("there is more than one hint:\n%s", r.Stderr)
	}
	if strings.ContainsFunc(r.Stderr, func(c rune) bool {
		return unicode.IsControl(c) &&
			c != '\n'
	}) {
		m.Errorf("the standard error holds what a terminal would obey: %q", r.Stderr)
	}
}

// belongings are what setup has given the user. Tokens go by their ids.
type belongings struct{ profile, bootstrap, token string }

func (m *machine) belongings() belongings {
	m.Helper()
	p := m.Configuration()
	return belongings{profile: m.Read(filepath.Join(string(m.Profiles()), m.Profile+".yaml")),
		bootstrap: m.id(p.BootstrapKey()), token: m.id(p.TokenKey())}
}

// id is the id of a token that may be in the store.
func (m *machine) id(key string) string {
	m.Helper()
	entry, err := m.Store().Get(context.Background(), key)
	if err != nil && !errors.Is(err, keyring.ErrNotFound) {
		m.Fatal(err)
	}
	return mint.ParseClaims(entry.Token.Reveal()).ID
}

// newVictim makes a machine that knows its API server by name. The address behind that name is
// the door's.
func newVictim(t *testing.T) (*machine, *lab.Door, *attacker) {
	t.Helper()
	door := lab.NewDoor(t)
	m := newMachine(t, keyring.Kernel, door)
	m.ChangeAdmin("127.0.0.1", "localhost")
	m.Prepare()
	return m, door, newAttacker(t)
}

// port is the server's, with a colon.
func (m *machine) port() string { return m.Server[strings.LastIndexByte(m.Server, ':'):] }

// TestAHostileKubeconfigGetsNoTokenForAnotherServer is at its worst for the user: the attacker
// has servers of his own, and has taken over the address of the user's, too.
func TestAHostileKubeconfigGetsNoTokenForAnotherServer(t *testing.T) {
	t.Parallel()
	m, door, a := newVictim(t)
	door.LeadTo(a.server.URL)
	m.uses(a, otherServers(m, a)...)
	m.uses(a, otherAuthorities(t, a)...)
	m.uses(a, otherClients(m, a)...)
	m.uses(a, userInformation(m, a, notTrusted)...)
	door.LeadTo(lab.Plane.Server)
	m.works()
}

func otherServers(m *machine, a *attacker) []hostile {
	host, port, theirs := m.Server, m.port(), strings.TrimPrefix(a.server.URL, "https://")
	at := func(server string) fields { return fields{"server": server} }
	return []hostile{
		{name: "the attacker's server", cluster: a.cluster(), says: otherServer},
		{name: "the attacker's server and the profile's authority",
			cluster: at(a.server.URL), says: otherServer},
		{name: "the attacker's server and both authorities",
			cluster: a.cluster().with(fields{
				"certificate-authority-data": slices.Concat(lab.Plane.CAPEM,
					a.authority.PEM)}), says: otherServer},
		{name: "the attacker's server, not verified",
			cluster: fields{"server": a.server.URL, "certificate-authority-data": nil,
				"insecure-skip-tls-verify": true}, says: unverified},
		{name: "the attacker's server under the name of the profile's",
			cluster: a.cluster().with(fields{"tls-server-name": "localhost"}),
			says:    otherServer},
		{name: "the attacker's port", cluster: at("https://localhost" +
			theirs[strings.IndexByte(theirs, ':'):]), says: otherServer},
		{name: "the default port", cluster: at("https://localhost"), says: otherServer},
		{name: "an empty port", cluster: at("https://localhost:"), says: otherServer},
		{name: "the server's address instead of its name", cluster: at("https://127.0.0.1" +
			port), says: otherServer},
		{name: "another address of the same machine", cluster: at("https://[::1]" + port),
			says: otherServer},
		{name: "two final dots", cluster: at("https://localhost.." + port), says: unusable},
		{name: "a letter that some fold into an s", cluster: at("https://localho\u017ft" +
			port), says: otherServer},
		{name: "a backslash before the attacker's server", cluster: at(host + `\@` +
			theirs), says: noURL},
		{name: "a fragment before the attacker's server", cluster: at(host + "#@" + theirs),
			says: unusable},
		{name: "a query before the attacker's server", cluster: at(host + "?@" + theirs),
			says: unusable},
		{name: "a query", cluster: at(host + "/?to=" + theirs), says: unusable},
		{name: "a path to a pod of the attacker's", cluster: at(host +
			"/api/v1/namespaces/theirs/services/https:theirs:443/proxy"),
			says: otherServer},
		{name: "another cluster behind a shared address", cluster: at(host +
			"/k8s/clusters/theirs"), says: otherServer},
		{name: "a path that leads back", cluster: at(host + "/.."), says: unusable},
		{name: "a path that leads back, escaped", cluster: at(host + "/x/%2e%2e"),
			says: unusable},
		{name: "an escaped host", cluster: at("https://%6cocalhost" + port), says: noURL},
		{name: "another tls-server-name of the same certificate",
			cluster: fields{"tls-server-name": "api.example.test"}, says: otherName},
		{name: "a tls-server-name that a terminal would obey",
			cluster: fields{"tls-server-name": "\x1b]0;x\a"}, says: otherName},
	}
}

func otherAuthorities(t *testing.T, a *attacker) []hostile {
	own, theirs := lab.Plane.CAPEM, a.authority.PEM
	bundle := func(parts ...[]byte) fields { return fields{"certificate-authority-data": slices.Concat(parts...)} }
	retyped := func(old, replacement string) []byte {
		return bytes.ReplaceAll(theirs, []byte(old), []byte(replacement))
	}
	file := writeFile(t, filepath.Join(a.folder, "ca.pem"), string(slices.Concat(own, theirs)))
	return []hostile{
		{name: "another authority", cluster: bundle(theirs), says: otherAuthority},
		{name: "an authority after the right one", cluster: bundle(own, theirs),
			says: otherAuthority},
		{name: "an authority before the right one", cluster: bundle(theirs, own),
			says: otherAuthority},
		{name: "an authority in a file", cluster: fields{"certificate-authority-data": nil,
			"certificate-authority": file}, says: otherAuthority},
		{name: "an authority in OpenSSL's own format", cluster: bundle(own,
			retyped("CERTIFICATE", "TRUSTED CERTIFICATE")), says: unusable},
		{name: "an authority with a header", cluster: bundle(own,
			retyped("CERTIFICATE-----\n", "CERTIFICATE-----\nA: b\n\n")),
			says: unusable},
		{name: "an authority that only some can read", cluster: bundle(own,
			retyped("END CERTIFICATE", "END  CERTIFICATE")), says: unusable},
		{name: "the system's authorities", cluster: fields{"certificate-authority-data": nil}, says: otherAuthority},
		{name: "no verification", cluster: fields{"certificate-authority-data": nil,
			"insecure-skip-tls-verify": true}, says: unverified},
		{name: "no verification, with the right authority",
			cluster: fields{"insecure-skip-tls-verify": true},
			says: "specifying a root certificates file with the insecure flag is not " +
				"allowed"},
	}
}

// otherClients say something else than where kubectl goes, or nothing.
func otherClients(m *machine, a *attacker) []hostile {
	silent := fields{"provideClusterInfo": false}
	forged := settings{"KUBERNETES_EXEC_INFO": m.ExecInfo()}
	// with a name that ends where its value should
	disguised := settings{"KUBERNETES_EXEC_INFO=" + m.ExecInfo(): ""}
	return []hostile{
		{name: "no cluster information", exec: silent, says: noClusterInfo},
		{name: "no cluster information for the attacker's server", cluster: a.cluster(),
			exec: silent, says: noClusterInfo},
		{name: "forged cluster information", cluster: a.cluster(), exec: silent,
			env: forged, says: noClusterInfo},
		{name: "forged and true cluster information", cluster: a.cluster(), env: forged,
			says: otherServer},
		{name: "disguised cluster information", cluster: a.cluster(), exec: silent,
			env: disguised, says: noClusterInfo},
		{name: "the older version", cluster: a.cluster(),
			exec: fields{"apiVersion": "client.authentication.k8s.io/v1beta1"},
			says: otherServer},
		{name: "a version without cluster information",
			exec: fields{"apiVersion": "client.authentication.k8s.io/v1alpha1"},
			says: "invalid apiVersion"},
		{name: "no TLS at the profile's server",
			cluster: fields{"server": "http://localhost" + m.port()},
			says:    "Error from server (BadRequest)"},
	}
}

// userInformation is in URLs. kubectl makes a password of it and asks the plugin only when the
// server refuses that.
func userInformation(m *machine, a *attacker, says string) []hostile {
	at := func(server string) fields { return fields{"server": "https://" + server} }
	own, theirs := strings.TrimPrefix(m.Server, "https://"), strings.TrimPrefix(a.server.URL,
		"https://")
	return []hostile{
		{name: "user information", cluster: at("me:secret@" + own), says: says},
		{name: "empty user information", cluster: at("@" + own), says: says},
		{name: "the server's name as user information", cluster: at(own + "@" + theirs),
			says: notTrusted},
	}
}

// TestAHostileKubeconfigThatNeedsNoPluginGetsNoToken has what kubectl does without running the
// plugin: it shows what the attacker's server says to anybody.
func TestAHostileKubeconfigThatNeedsNoPluginGetsNoToken(t *testing.T) {
	t.Parallel()
	m, _, a := newVictim(t)
	for name, server := range map[string]string{"no TLS": a.plain.URL,
		"a password": strings.Replace(a.server.URL, "//", "//me:secret@", 1)} {
		t.Run(name, func(t *testing.T) {
			m := m.in(t)
			h := hostile{cluster: a.cluster().with(fields{"server": server})}
			path := writeFile(t, filepath.Join(a.folder, "kubeconfig"), h.render(m))
			r := m.Kubectl("--kubeconfig", path, "get", "--raw",
				"/api").Succeeds().Silent()
			if !strings.Contains(r.Stdout, `"Success"`) {
				t.Errorf("this is not the attacker's answer: %s", r.Stdout)
			}
			a.check(t, "GET /api")
		})
	}
}

// TestAHostileSpellingOfTheOwnServerLeadsOnlyThere tries what is the same cluster to every
// client. It works, and when somebody else answers at the server's address it fails like the
// user's own kubeconfig.
func TestAHostileSpellingOfTheOwnServerLeadsOnlyThere(t *testing.T) {
	t.Parallel()
	m, door, a := newVictim(t)
	spellings := harmless(m)
	m.uses(a, spellings...)
	m.uses(a, userInformation(m, a, unusable)...)
	door.LeadTo(a.server.URL)
	for i := range spellings {
		spellings[i].name += ", at the attacker's"
		spellings[i].says = notTrusted
	}
	m.uses(a, spellings...)
	m.uses(a, hostile{name: "a mint at the attacker's", mints: true, says: notSigned})
	door.LeadTo(lab.Plane.Server)
	m.works()
}

func harmless(m *machine) []hostile {
	port, ca := m.port(), lab.Plane.CAPEM
	at := func(server string) fields { return fields{"server": server} }
	return []hostile{
		{name: "nothing changed"},
		{name: "upper case", cluster: at("HTTPS://LocalHOST" + port)},
		{name: "a final slash", cluster: at(m.Server + "/")},
		{name: "final slashes", cluster: at(m.Server + "//")},
		{name: "a port with zeros", cluster: at("https://localhost:00" + port[1:])},
		{name: "the host as tls-server-name", cluster: fields{"tls-server-name": "LOCALHOST."}},
		{name: "the authority twice", cluster: fields{"certificate-authority-data": slices.Concat(ca, []byte("# again\n"), ca)}},
		{name: "the authority in a file", cluster: fields{"certificate-authority-data": nil,
			"certificate-authority": lab.Plane.CAFile}},
		{name: "the older version", exec: fields{"apiVersion": "client.authentication.k8s.io/v1beta1"}},
		{name: "an extension", cluster: fields{"extensions": []fields{{"name": "client.authentication.k8s.io/exec",
			"extension": fields{"profile": "x", "server": "https://theirs"}}}}},
	}
}

// behindProxy makes a machine whose way to the API server, which has a name that resolves
// nowhere, is a proxy: Go's clients pass over proxies on the way to their own machine.
func behindProxy(t *testing.T) *machine {
	t.Helper()
	m := newMachine(t, keyring.Kernel, nil)
	m.Variables = []string{"HTTPS_PROXY=" + newForwarder(t, lab.Plane.Server, &ear{}),
		"NO_PROXY=127.0.0.1"}
	m.ChangeAdmin(m.Server, "https://api.example.test:6443")
	m.Prepare()
	return m
}

func TestAHostileProxyHearsNoToken(t *testing.T) {
	t.Parallel()
	m, a := behindProxy(t), newAttacker(t)
	const hears = "CONNECT api.example.test:6443 " // and then TLS
	tunnel, middle := newForwarder(t, lab.Plane.Server, &a.ear), newForwarder(t, a.server.URL,
		&a.ear)
	through := func(proxy string) fields { return fields{"proxy-url": proxy} }
	m.uses(a, []hostile{
		{name: "a proxy", cluster: through(tunnel), hears: hears},
		{name: "a proxy that answers itself", cluster: through(middle), says: notTrusted,
			hears: hears},
		{name: "a proxy that answers itself, with its authority",
			cluster: a.cluster().with(fields{"server": m.Server, "proxy-url": middle}),
			says:    otherAuthority},
		{name: "a proxy that answers itself, not verified",
			cluster: fields{"certificate-authority-data": nil,
				"insecure-skip-tls-verify": true, "proxy-url": middle},
			says: unverified},
		{name: "a proxy behind TLS", cluster: through(a.server.URL), says: notTrusted},
		{name: "a proxy for the plugin", env: settings{"HTTPS_PROXY": tunnel}, mints: true,
			hears: hears},
		{name: "a proxy for the plugin that answers itself",
			env: settings{"HTTPS_PROXY": middle}, mints: true, says: notSigned,
			hears: hears},
		{name: "a proxy for the plugin, in lower case", env: settings{"HTTPS_PROXY": "",
			"https_proxy": middle}, mints: true, says: notSigned, hears: hears},
		{name: "a proxy for everything", env: settings{"ALL_PROXY": middle,
			"HTTP_PROXY": middle}, mints: true},
		{name: "a profile with a proxy", env: m.forge(func(p *profile.Profile) {
			p.Cluster.ProxyURL, p.Duration.Duration = tunnel, 20*time.Minute
		}), lost: &outcome{hears: hears}},
		{name: "a profile with a proxy that answers itself",
			env: m.forge(func(p *profile.Profile) {
				p.Cluster.ProxyURL, p.Duration.Duration = middle, 30*time.Minute
			}), lost: &outcome{notSigned, hears}},
		{name: "a final dot", cluster: fields{"server": "https://API.example.test.:6443",
			"proxy-url": tunnel}, hears: "CONNECT API.example.test.:6443 "},
		{name: "a final dot and a proxy that answers itself",
			cluster: fields{"server": "https://api.example.test.:6443",
				"proxy-url": middle},
			says: notTrusted, hears: "CONNECT api.example.test.:6443 "},
	}...)
	m.works()
}

// forge writes the user's profile with some changes to a folder of the attacker's choice, and
// returns the variables that lead there.
func (m *machine) forge(change func(*profile.Profile)) settings {
	m.Helper()
	p := m.Configuration()
	change(&p.Profile)
	folder := lab.Dir(m.T, "forged")
	if err := p.Save(folder); err != nil {
		m.Fatal(err)
	}
	m.Cleanup(func() { // the keyring may be shared with others
		if err := m.Store().Delete(context.Background(), p.TokenKey()); err != nil {
			m.Error(err)
		}
	})
	return settings{"XDG_CONFIG_HOME": folder}
}

func TestAHostileEnvironmentLeadsToNoProfileThatRunsReadsOrSendsAnything(t *testing.T) {
	t.Parallel()
	m, _, a := newVictim(t)
	m.Variables = []string{"OF_THE_USER=some-credential"}
	file := writeFile(t, m.Path(".credential"), "another-credential")
	opened := watch(t, file)
	all := forgedProfiles(m, a, file)
	m.uses(a, all...)
	// also with what the attacker has set already in the environment of the plugin's parent
	for i := range all {
		all[i].name += ", behind a wrapper"
		all[i].exec = fields{"command": m.Wrapper(1)}.with(all[i].exec)
		all[i].lost = nil
	}
	m.uses(a, all...)
	if opened() {
		t.Error("a file of the user's was opened")
	}
	m.works()
}

// forgedProfiles are for the attacker's server, so that the kubeconfig may lead there. Where the
// client is found, the user's own profile counts.
func forgedProfiles(m *machine, a *attacker, file string) []hostile {
	from := func(b profile.Bootstrap) settings {
		return m.forge(func(p *profile.Profile) {
			a.takeOver(p)
			p.Bootstrap, p.Store = b, keyring.None
		})
	}
	context := func(user fields) settings {
		return from(profile.Bootstrap{Source: profile.SourceContext, Context: "admin@test",
			Kubeconfig: []string{a.kubeconfig(m.T, user)}})
	}
	command := from(profile.Bootstrap{Source: profile.SourceCommand,
		Command: []string{a.program(m.T, "command")}})
	plugin := fields{"exec": execSection(a.program(m.T, "plugin"))}
	all := []hostile{
		{name: "a command", env: command},
		{name: "a command, by way of the home folder", env: settings{"XDG_CONFIG_HOME": "",
			"HOME": homeWith(m.T, command)}},
		{name: "a file", env: from(profile.Bootstrap{Source: profile.SourceTokenFile,
			Path: file})},
		{name: "a variable", env: from(profile.Bootstrap{Source: profile.SourceEnv,
			Variable: "OF_THE_USER"})},
		{name: "a context with a plugin", env: context(plugin)},
		{name: "a context with a file", env: context(fields{"tokenFile": file})},
		{name: "a pod's token", env: from(profile.Bootstrap{Source: profile.SourceInCluster})},
	}
	for i := range all {
		all[i].cluster, all[i].says, all[i].lost = a.cluster(), otherServer,
			&outcome{says: notTheUsers}
	}
	return append(all, forgedCopies(m, a, plugin)...)
}

// forgedCopies have the bootstrap credential of the user's own profile.
func forgedCopies(m *machine, a *attacker, plugin fields) []hostile {
	kubeconfig := a.kubeconfig(m.T, plugin)
	return []hostile{
		{name: "a copy that needs no cluster information", cluster: a.cluster(),
			exec: fields{"provideClusterInfo": false},
			env:  m.forge(func(p *profile.Profile) { p.AllowMissingClusterInfo = true }),
			says: noClusterInfo, lost: &outcome{says: notTheUsers}},
		{name: "a copy for another server", cluster: a.cluster(), env: m.forge(a.takeOver),
			says: otherServer, lost: &outcome{says: noBootstrap}},
		{name: "a copy for another server that helps itself", cluster: a.cluster(),
			env: m.forge(func(p *profile.Profile) {
				a.takeOver(p)
				p.Recovery = &profile.Recovery{Credential: profile.Bootstrap{Source: profile.SourceContext, Context: "admin@test", Kubeconfig: []string{kubeconfig}}}
			}), says: otherServer, lost: &outcome{says: notTheUsers}},
		{name: "a copy that writes to a file", env: m.forge(func(p *profile.Profile) { p.Log = a.canary }),
			lost: &outcome{says: notTheUsers}},
		{name: "a copy that writes to a file when it refuses",
			cluster: fields{"certificate-authority-data": nil, "insecure-skip-tls-verify": true},
			env:     m.forge(func(p *profile.Profile) { p.Log = a.canary }), says: unverified,
			lost: &outcome{says: unverified}},
		{name: "a copy for another account", env: m.forge(func(p *profile.Profile) { p.ServiceAccount = "default" }),
			lost: &outcome{says: noBootstrap}},
	}
}

// takeOver makes a profile one for the attacker's server.
func (a *attacker) takeOver(p *profile.Profile) {
	p.Cluster = profile.Cluster{Server: a.server.URL, CertificateAuthorityData: a.authority.PEM}
}

// homeWith is a home folder whose configuration is the one that settings lead to.
func homeWith(t *testing.T, forged settings) string {
	t.Helper()
	home := lab.Dir(t, "home")
	if err := os.Symlink(forged["XDG_CONFIG_HOME"], filepath.Join(home,
		".config")); err != nil {
		t.Fatal(err)
	}
	return home
}

// watch returns a function that says whether the file was opened since. See inotify(7).
func watch(t *testing.T, path string) (opened func() bool) {
	t.Helper()
	fd, err := syscall.InotifyInit1(syscall.IN_CLOEXEC | syscall.IN_NONBLOCK)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(fd) })
	if _, err := syscall.InotifyAddWatch(fd, path, syscall.IN_OPEN); err != nil {
		t.Fatal(err)
	}
	return func() bool {
		n, _ := syscall.Read(fd, make([]byte, 4096))
		return n > 0
	}
}

// TestAHostileEnvironmentAddsNoCertificateAuthority has a profile without a bundle: the system's
// authorities are those with which the user starts kubectl.
func TestAHostileEnvironmentAddsNoCertificateAuthority(t *testing.T) {
	t.Parallel()
	door := lab.NewDoor(t)
	m, a := newMachine(t, keyring.Kernel, door), newAttacker(t)
	m.Variables = []string{"SSL_CERT_FILE=" + lab.Plane.CAFile}
	m.ChangeAdmin("certificate-authority-data:", "extensions: [] #")
	m.Prepare()
	none := fields{"certificate-authority-data": nil}
	file := writeFile(t, filepath.Join(a.folder, "authorities", "theirs.pem"),
		string(a.authority.PEM))
	m.uses(a, hostile{name: "nothing changed", cluster: none, mints: true})
	door.LeadTo(a.server.URL)
	m.uses(a, []hostile{
		{name: "an authority in the kubeconfig",
			cluster: fields{"certificate-authority-data": a.authority.PEM},
			says:    otherAuthority},
		{name: "a file of authorities", cluster: none, env: settings{"SSL_CERT_FILE": file},
			mints: true, says: notSigned},
		{name: "a folder of authorities", cluster: none,
			env: settings{"SSL_CERT_DIR": filepath.Dir(file)}, mints: true,
			says: notSigned},
		{name: "both", cluster: none, env: settings{"SSL_CERT_FILE": file,
			"SSL_CERT_DIR": filepath.Dir(file)}, mints: true, says: notSigned},
	}...)
	m.Forget()
	r := m.Plugin("token", "--profile", m.Profile).Fails(5, "if the cluster's certificate "+
		"authority has changed")
	door.LeadTo(lab.Plane.Server)
	m.Follow(r, "setup ci")
	m.works()
}

// TestAHostileEnvironmentDoesNotReachWhatTheUserHasAgreedTo has bootstrap sources that run a
// program, which trusts its environment as programs do.
func TestAHostileEnvironmentDoesNotReachWhatTheUserHasAgreedTo(t *testing.T) {
	t.Parallel()
	for name, setup := range map[string]func(*machine){"another context's " +
		"plugin": (*machine).setupLogin, "a command": (*machine).setupCommand} {
		t.Run(name, func(t *testing.T) {
			m, a := newMachine(t, keyring.Kernel, nil), newAttacker(t)
			setup(m)
			for _, name := range []string{"login", "print-token", "cat", "kubectl",
				".profilerc"} {
				a.program(t, name)
			}
			own := m.Path(".config")
			theirs := a.kubeconfig(t, fields{"exec": execSection(a.program(t,
				"plugin"))})
			m.uses(a, []hostile{
				{name: "a path", env: settings{"PATH": a.folder + ":/usr/bin:/bin"},
					mints: true},
				{name: "a shell's start file", env: settings{"BASH_ENV": filepath.Join(a.folder, ".profilerc")}, mints: true},
				{name: "a home folder", env: settings{"HOME": a.folder,
					"XDG_CONFIG_HOME": own}, mints: true},
				{name: "a kubeconfig", env: settings{"KUBECONFIG": theirs},
					mints: true},
			}...)
			m.works()
		})
	}
}

// bash is how programs of the user's begin.
const bash = "#!/bin/bash\nset -e\nif [ -e ~/.profilerc ]; then . ~/.profilerc; fi\n"

// addProgram makes a program of the user's, in their PATH.
func (m *machine) addProgram(name, script string) {
	m.Helper()
	folder := filepath.Dir(writeFile(m.T, m.Path("bin", name), bash+script))
	m.Variables = []string{"PATH=" + folder + ":" + filepath.Dir(lab.Plane.Kubectl) +
		":/usr/bin:/bin"}
}

// setupLogin has tokens minted with a context whose own plugin hands out an administrator's
// certificate.
func (m *machine) setupLogin() {
	m.Helper()
	admin, err := lab.Plane.CA.IssueClientCert("admin", "system:masters")
	if err != nil {
		m.Fatal(err)
	}
	answer, err := json.Marshal(fields{"kind": "ExecCredential",
		"apiVersion": "client.authentication.k8s.io/v1",
		"status": fields{"clientCertificateData": string(admin.CertPEM),
			"clientKeyData": string(admin.KeyPEM)}})
	if err != nil {
		m.Fatal(err)
	}
	m.addProgram("login", "cat <<'END'\n"+string(answer)+"\nEND\n")
	cluster := fields{"server": m.Server, "certificate-authority-data": lab.Plane.CAPEM}
	m.Admin = writeFile(m.T, filepath.Join(lab.Dir(m.T, "admin"), "kubeconfig"),
		render("admin@test", cluster, fields{"exec": execSection("login")}))
	m.Prepare("--bootstrap", "context=admin@test")
}

// setupCommand has tokens minted with what a command prints. What it prints is a token of the
// device that an ordinary setup makes.
func (m *machine) setupCommand() {
	m.Helper()
	m.Prepare()
	m.addProgram("print-token", fmt.Sprintf("exec kubectl --kubeconfig %q create token -n %s "+
		"%s\n",
		m.Admin, m.Namespace, m.Configuration().Device.Name))
	m.Profile = "by-command"
	m.Prepare("--profile", m.Profile, "--bootstrap", "command=print-token")
}

func TestAHostileEnvironmentChangesNothing(t *testing.T) {
	t.Parallel()
	m, _, a := newVictim(t)
	a.program(t, "kubectl")
	folder := lab.Dir(t, "theirs")
	m.uses(a, []hostile{
		{name: "Go's log of requests", env: settings{"GODEBUG": "http2debug=2"},
			mints: true},
		{name: "a path", env: settings{"PATH": a.folder}, mints: true},
		{name: "a kubeconfig", env: settings{"KUBECONFIG": a.kubeconfig(t, nil)},
			mints: true},
		{name: "a file of authorities", env: settings{"SSL_CERT_FILE": "/dev/null"},
			mints: true},
		{name: "a session bus", env: settings{"DBUS_SESSION_BUS_ADDRESS": "unix:path=" +
			a.socket(t)}, mints: true},
		{name: "a folder for locks", env: settings{"XDG_RUNTIME_DIR": folder,
			"XDG_CACHE_HOME": folder}, mints: true},
		{name: "a folder for profiles that is no folder",
			env: settings{"XDG_CONFIG_HOME": "relative"}, lost: &outcome{}},
		{name: "an empty folder for profiles", env: settings{"XDG_CONFIG_HOME": folder},
			lost: &outcome{says: noSuchProfile}},
		{name: "a source that leads back", env: settings{"SA_EXEC_CREDENTIAL_WITHIN": m.Profile}},
	}...)
	if entries, err := os.ReadDir(folder); err != nil || len(entries) > 0 {
		t.Errorf("something was created where the attacker chose: %v, %v", entries, err)
	}
	m.uses(a, hostile{name: "a folder for locks that is used",
		env: settings{"XDG_RUNTIME_DIR": folder}, lost: &outcome{}})
	m.works()
}

// TestAHostileSessionBusRunsAndHearsNothing has a profile whose tokens are in the Secret Service.
// Where the client is not found, a Unix socket of the user's own is all that may be connected to,
// and even there nothing is said but who is calling.
func TestAHostileSessionBusRunsAndHearsNothing(t *testing.T) {
	t.Parallel()
	m, a := newMachine(t, keyring.Keyring, nil), newAttacker(t)
	m.Prepare()
	door := lab.NewDoor(t)
	door.Lead(a.hearGreeting)
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(door.URL, "https://"))
	tcp, program := "tcp:host=127.0.0.1,port="+port, "unixexec:path="+a.program(t, "bus")
	at := func(address string) settings {
		return settings{"DBUS_SESSION_BUS_ADDRESS": address, "XDG_RUNTIME_DIR": a.folder}
	}
	buses := []hostile{
		{name: "on another machine", env: at(tcp), lost: &outcome{says: noSocket}},
		{name: "on another machine, with a nonce", env: at("nonce-" + tcp + ",noncefile=" +
			a.canary),
			lost: &outcome{says: noSocket}},
		{name: "that is a program", env: at(program), lost: &outcome{says: noSocket}},
		{name: "that is started", env: at("autolaunch:"), lost: &outcome{says: noSocket}},
		{name: "of systemd", env: at("systemd:"), lost: &outcome{says: noSocket}},
		{name: "one of these", env: at(program + ";" + tcp + ";autolaunch:"),
			lost: &outcome{says: noSocket}},
		{name: "one of these, or the user's own", env: at(program + ";" + tcp + ";" +
			m.Service.Address()),
			lost: &outcome{}},
		{name: "of another program of the user's", env: at("unix:path=" + a.socket(t)),
			lost: &outcome{noStore, "AUTH EXTERNAL"}},
	}
	for i := range buses {
		buses[i].asks = true
	}
	m.uses(a, buses...)
	m.works()
}

func TestHostileArgumentsGetNothingDone(t *testing.T) {
	t.Parallel()
	m, a := newMachine(t, keyring.Kernel, nil), newAttacker(t)
	m.Prepare()
	before := m.Snapshot()
	m.uses(a, otherCommands(m, a)...)
	m.uses(a, otherProfiles(m, a)...)
	if after := m.Snapshot(); !maps.Equal(before, after) {
		t.Errorf("this was made by setup:\n%v\nand is now:\n%v", before, after)
	}
	m.works()
}

func withArgs(name, says string, args ...string) hostile {
	return hostile{name: name, exec: fields{"args": args}, says: says}
}

func otherCommands(m *machine, a *attacker) []hostile {
	setup := []string{"setup", account, "-n", m.Namespace, "--kubeconfig", m.Admin, "--no-rbac"}
	refused := func(name string, args ...string) hostile {
		return withArgs(name, onlyGet,
			args...)
	}
	return []hostile{
		refused("setup that answers everybody", append(setup,
			"--allow-missing-cluster-info")...),
		refused("setup that runs a command", append(setup, "--profile", "new",
			"--bootstrap", "command="+a.program(m.T, "command"))...),
		refused("setup that writes a file", append(setup, "-o", a.canary)...),
		refused("token", "token", "--profile", m.Profile),
		refused("status", "status"),
		refused("a flag before it", "-v", "status"),
		refused("logout", "logout", "--profile", m.Profile, "--bootstrap"),
		refused("logout from everything", "logout", "--all"),
		refused("rotate", "rotate", "--profile", m.Profile),
		refused("revoke", "revoke", "--profile", m.Profile),
		refused("forget", "forget", "--profile", m.Profile),
		refused("uninstall", "uninstall", account, "-n", m.Namespace, "--kubeconfig",
			m.Admin),
		refused("devices", "devices", account, "-n", m.Namespace),
		refused("migrate", "migrate", m.Profile, "--admin-context", "admin@test"),
		refused("kubeconfig that writes a file", "kubeconfig", "--profile", m.Profile, "-o",
			a.canary),
		refused("doctor", "doctor"),
		refused("completion", "completion", "bash"),
		refused("complete", "__complete", "token", "--profile", ""),
		withArgs("version", noCredential, "version"),
		withArgs("help", noCredential, "setup", "--help"),
		withArgs("nothing", noCredential),
	}
}

// otherProfiles has a profile of the attacker's where browsers put what they download: with its
// own name it would count as the user's.
func otherProfiles(m *machine, a *attacker) []hostile {
	p := m.Configuration()
	p.Bootstrap, p.Store = profile.Bootstrap{Source: profile.SourceCommand,
		Command: []string{a.program(m.T, "command")}}, keyring.None
	content, err := p.Encode()
	if err != nil {
		m.Fatal(err)
	}
	download := strings.TrimSuffix(writeFile(m.T, m.Path("Downloads", "evil.yaml"),
		string(content)), ".yaml")
	return []hostile{
		withArgs("a profile elsewhere", notAName, "get", "--profile",
			"../../../Downloads/evil"),
		withArgs("a profile elsewhere, with an equals sign", notAName, "get",
			"--profile=../../../Downloads/evil"),
		withArgs("a profile at an absolute path", notAName, "get", "--profile", download),
		withArgs("a profile with a name that a terminal would obey", notAName, "get",
			"--profile", "\x1b]0;x\a\x1b[2J"),
		withArgs("a profile with a name of two lines", notAName, "get", "--profile",
			"x\nsa-exec-credential: hint: run this"),
		withArgs("a profile without a name", notAName, "get", "--profile", ""),
		withArgs("a hidden profile", notAName, "get", "--profile", ".x"),
		withArgs("a profile that does not exist", noSuchProfile, "get", "--profile", "x"),
		withArgs("no profile, which is that of the cluster", "", "get"),
		withArgs("a flag of setup", usage, "get", "--profile", m.Profile,
			"--allow-missing-cluster-info"),
		withArgs("a flag that does not exist", usage, "get", "--profile", m.Profile,
			"--server", a.server.URL),
		withArgs("one argument more", usage, "get", "--profile", m.Profile, a.server.URL),
		withArgs("an unknown command", usage, "help", "get"),
		withArgs("a flag that shows what is done", "", "-v", "get", "--profile", m.Profile),
	}
}
