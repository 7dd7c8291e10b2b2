//go:build linux

// Package circle_test breaks a machine that works in every way there is, and then does nothing but
// what is printed: the hint of what has failed, or else what doctor says. All ways lead back.
package circle_test

import (
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/test/controlplane"
	"github.com/sa-exec-credential/sa-exec-credential/test/lab"
)

// Policies are broken, too, so the control plane is this package's own.
func TestMain(m *testing.M) { lab.Main(m, lab.Options{OwnPlane: true}) }

// person has the administrator's kubeconfig, and another one of his own, the current context of
// which is the profile's.
type person struct {
	*lab.Machine
	door *lab.Door
}

func newPerson(t *testing.T) *person {
	t.Helper()
	p := &person{Machine: lab.NewMachine(t, keyring.Keyring), door: lab.NewDoor(t)}
	p.Behind(p.door)
	p.Admin = p.Write(p.Path("admin"), p.Read(p.Admin))
	p.Prepare()
	p.kubectl().Succeeds()
	return p
}

func (p *person) kubectl() lab.Result { return p.Kubectl("get", "pods") }

func (p *person) asAdmin(args ...string) {
	p.Helper()
	p.AsAdmin(append(args, "-n", p.Namespace)...)
}

// file is one of the program's own.
func (p *person) file(kind string) string {
	p.Helper()
	name := p.Profile
	if kind == "devices" {
		name = p.Configuration().Profile.Device
	}
	return p.Path(".config", "sa-exec-credential", kind, name+".yaml")
}

// steps are how many hints a person follows before he asks somebody.
const steps = 5

// states are what can be broken so that kubectl fails.
var states = []struct {
	name   string
	breaks func(p *person)
}{
	{"the store is empty", func(p *person) {
		p.Plugin("logout", "--all", "--bootstrap").Succeeds()
	}},
	{"the store is locked", func(p *person) {
		if err := p.Service.Lock(); err != nil {
			p.Fatal(err)
		}
		p.LoseFront(p.Configuration().TokenKey())
	}},
	{"the store is gone", func(p *person) {
		p.Service.StopKeyring()
		p.LoseFront(p.Configuration().TokenKey())
	}},
	{"the device is deleted", func(p *person) {
		device := p.Configuration().Device.Name
		p.asAdmin("delete", "secret", device)
		p.asAdmin("delete", "serviceaccount", device)
	}},
	{"the device's Secret is another one", func(p *person) {
		device := p.Configuration().Device.Name
		p.asAdmin("delete", "secret", device)
		p.asAdmin("create", "secret", "generic", device)
	}},
	{"the device's rights are deleted", func(p *person) {
		p.asAdmin("delete", "rolebinding", p.Configuration().Device.Name)
		p.Forget()
	}},
	{"the account is deleted", func(p *person) {
		p.asAdmin("delete", "serviceaccount", lab.Account)
	}},
	{"the account is another one", func(p *person) {
		p.asAdmin("delete", "serviceaccount", lab.Account)
		p.asAdmin("create", "serviceaccount", lab.Account)
		p.asAdmin("delete", "rolebinding", "--all")
	}},
	{"the account's rights are deleted", func(p *person) {
		p.asAdmin("delete", "rolebinding", "sa-exec-credential:ci:cluster-role:view")
	}},
	{"the namespace is deleted", func(p *person) {
		p.AsAdmin("delete", "namespace", p.Namespace)
	}},
	{"the profile is deleted", func(p *person) { p.Exec("rm", p.file("profiles")) }},
	{"the profile is cut off", func(p *person) {
		path := p.file("profiles")
		text := p.Read(path)
		p.Write(path, text[:len(text)*2/3])
	}},
	{"the profile is no YAML", func(p *person) {
		p.Replace(p.file("profiles"), "version: 1", "version: [")
	}},
	{"the profile is of another version", func(p *person) {
		p.Replace(p.file("profiles"), "version: 1", "version: 99")
	}},
	{"the profile is empty", func(p *person) { p.Write(p.file("profiles"), "") }},
	{"everybody can write the profile", func(p *person) {
		p.Exec("chmod", "666", p.file("profiles")).Succeeds()
	}},
	{"everybody can write the directory", func(p *person) {
		p.Exec("chmod", "777", filepath.Dir(p.file("profiles"))).Succeeds()
	}},
	{"the device's record is deleted", func(p *person) { p.Exec("rm", p.file("devices")) }},
	{"the device's record is no YAML", func(p *person) { p.Write(p.file("devices"), "{") }},
	{"all the program's files are deleted", func(p *person) {
		p.Exec("rm", "-r", p.Path(".config", "sa-exec-credential")).Succeeds()
	}},
	{"the context is deleted", func(p *person) {
		p.Kubectl("config", "delete-context", p.Profile).Succeeds()
	}},
	{"the context's command is wrong", func(p *person) {
		p.Replace(p.Kubeconfig(), lab.Client, "/usr/local/bin/gone")
	}},
	{"the context names another profile", func(p *person) {
		p.Replace(p.Kubeconfig(), "--profile, \""+p.Profile, "--profile, \"other")
	}},
	{"the context says nothing of its cluster", func(p *person) {
		p.Replace(p.Kubeconfig(), "provideClusterInfo: true", "provideClusterInfo: false")
	}},
	{"the context runs another command", func(p *person) {
		p.Replace(p.Kubeconfig(), "[get, ", "[status, ")
	}},
	{"the context's cluster is elsewhere", func(p *person) {
		p.Replace(p.Kubeconfig(), p.Server, lab.Plane.Server)
	}},
	{"the kubeconfig is deleted", func(p *person) {
		p.Exec("rm", p.Kubeconfig()).Succeeds()
	}},
	{"the cluster has moved", func(p *person) {
		p.Replace(p.Admin, p.Server, lab.Plane.Server)
		p.door.Lead(lab.Reset)
		p.Forget()
	}},
	{"the cluster has another certificate authority", func(p *person) {
		other, err := controlplane.NewAuthority("another", time.Now().Add(time.Hour))
		if err != nil {
			p.Fatal(err)
		}
		encode := base64.StdEncoding.EncodeToString
		for _, file := range []string{p.file("profiles"), p.Kubeconfig()} {
			p.Replace(file, encode(lab.Plane.CAPEM), encode(other.PEM))
		}
	}},
	{"the store is empty, and names hold what a shell would run", func(p *person) {
		name := "it's \"mine\"; $(touch x) `touch y` *"
		p.Kubectl("--kubeconfig", p.Admin, "config", "rename-context", "admin@test", name).
			Succeeds()
		file := p.Path("the admin's; file")
		p.Write(file, p.Read(p.Admin))
		p.Exec("rm", p.Admin).Succeeds()
		p.Admin = file
		p.Prepare()
		p.Plugin("logout", "--all", "--bootstrap").Succeeds()
	}},
	{"the administrator's kubeconfig is gone, and the store is empty", func(p *person) {
		p.Plugin("logout", "--all", "--bootstrap").Succeeds()
		p.keepAdmin()
		p.Exec("rm", p.Admin).Succeeds()
	}},
	{"the administrator's context is renamed, and the store is empty", func(p *person) {
		p.Plugin("logout", "--all", "--bootstrap").Succeeds()
		p.Kubectl("--kubeconfig", p.Admin, "config", "rename-context", "admin@test",
			"root").Succeeds()
		p.keepAdmin()
	}},
	{"all files are deleted, and the administrator's context is the user's own",
		func(p *person) {
			p.keepAdmin()
			p.Exec("rm", "-r", p.Path(".config", "sa-exec-credential")).Succeeds()
		}},
}

// keepAdmin adds the administrator's context to the user's own kubeconfig, under another name.
func (p *person) keepAdmin() {
	p.Helper()
	both := p.Command(lab.Plane.Kubectl, "config", "view", "--flatten")
	both.Env = append(both.Env, "KUBECONFIG="+p.Kubeconfig()+":"+p.Admin)
	text := both.Run(p.T).Succeeds().Stdout
	p.Write(p.Kubeconfig(), strings.ReplaceAll(text, "admin@test", "mine@test"))
}

func TestAllWaysLeadBack(t *testing.T) {
	for _, state := range states {
		t.Run(state.name, func(t *testing.T) {
			t.Parallel()
			p := newPerson(t)
			state.breaks(p)
			lab.Eventually(t, "it is broken", func() bool {
				return p.kubectl().Code != 0
			})
			p.walk(p.kubectl)
		})
	}
}

// TestADeletedPolicyLeadsBack is about what no client notices, and doctor does.
func TestADeletedPolicyLeadsBack(t *testing.T) {
	p := newPerson(t)
	p.AsAdmin("delete", "validatingadmissionpolicybinding", "sa-exec-credential")
	p.AsAdmin("delete", "validatingadmissionpolicy", "sa-exec-credential")
	limited := func() lab.Result {
		r := p.Plugin("doctor")
		if strings.Contains(r.Stdout, "not limited: ") {
			r.Code = 1
		}
		return r
	}
	lab.Eventually(t, "it is broken", func() bool { return limited().Code != 0 })
	p.walk(limited)
}

// asks is said where nothing on the machine tells whose credentials prepare the cluster.
const asks = "hint: name an administrator's context with --context\n"

// walk does what is printed until it works.
func (p *person) walk(works func() lab.Result) {
	p.Helper()
	typed := map[string]bool{}
	var way []string
	for said := works(); said.Code != 0; said = works() {
		command := next(said, typed)
		if command == "" {
			said = p.Plugin("doctor")
			command = next(said, typed)
		}
		for command != "" && len(typed) < steps {
			typed[command] = true
			followed := p.Exec("/bin/sh", "-c", command)
			p.NoteEntries()
			way = append(way, said.Stderr, "$ "+command, followed.Stderr)
			if followed.Code == 0 {
				break
			}
			said = followed
			if strings.HasSuffix(followed.Stderr, asks) && !p.knows(p.Admin) {
				command += " --context admin@test --kubeconfig " + p.Admin
				continue
			}
			command = next(followed, typed)
		}
		if command == "" || len(typed) >= steps && works().Code != 0 {
			p.Fatalf("it does not lead back:\n%s\n%s", strings.Join(way, "\n"),
				said.Stderr+said.Stdout)
		}
	}
}

// knows reports whether a profile that can be read, or the user's own kubeconfig, leads to a file.
func (p *person) knows(file string) bool {
	profile, err := os.ReadFile(p.file("profiles"))
	return err == nil && strings.Contains(string(profile), file)
}

// next is the first command of a text that does something, and has not been typed.
func next(said lab.Result, typed map[string]bool) string {
	for _, command := range said.Hints() {
		if !lab.IsHarmless(command) && !typed[command] {
			return command
		}
	}
	return ""
}
