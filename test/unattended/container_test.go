//go:build linux

package unattended_test

import (
	"os"
	"testing"

	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/test/lab"
)

// inContainer is a program without D-Bus, without the directories of a session, and under a filter
// of system calls that refuses the kernel's keyring, as Docker's does.
func (m *machine) inContainer(args ...string) lab.Result {
	m.Helper()
	wrapper := lab.Helper(m.T, "no keyctl")
	return lab.Command{Args: append([]string{wrapper.Path}, args...), Dir: "/",
		Env: append(wrapper.Env, "HOME="+m.home, "PATH=/usr/bin:/bin")}.Run(m.T)
}

// TestContainersWithoutAKeyring is about the stores in an image without D-Bus, under a real seccomp
// filter: profiles that were set up elsewhere, and mounted.
func TestContainersWithoutAKeyring(t *testing.T) {
	const fromContext = "context=admin@test"
	for _, test := range []struct {
		name     string
		kind     keyring.Kind // of the machine
		flags    []string
		error    string // empty: it is answered, and says nothing
		hint     string
		warning  string // of status; empty: none
		requests int
	}{
		{name: "none", kind: keyring.Kernel, requests: 1,
			flags: []string{"--store", "none", "--bootstrap", fromContext}},
		{name: "sealed", kind: keyring.Sealed, requests: 1},
		{name: "kernel, with another bootstrap source", kind: keyring.Kernel, requests: 1,
			flags:   []string{"--bootstrap", fromContext},
			warning: "token not cached: reading the kernel keyring: no keyring is available: the kernel refuses"},
		{name: "Secret Service, with another bootstrap source", kind: keyring.Keyring,
			flags: []string{"--bootstrap", fromContext}, requests: 1,
			warning: "token not cached: no keyring is available: there is no session bus"},
		{name: "kernel", kind: keyring.Kernel,
			error: "no keyring is available: the kernel refuses its own to this process",
			hint:  "use --store none with another --bootstrap than keyring"},
		{name: "Secret Service", kind: keyring.Keyring,
			error: "there is no session bus: DBUS_SESSION_BUS_ADDRESS is not set, and ",
			hint:  "where nobody is, set it up with another store: sa-exec-credential setup"},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := newMachine(t, test.kind)
			m.Prepare(test.flags...)
			before := m.Minted(lab.Account)
			r := m.inContainer(lab.Plane.Kubectl, "--kubeconfig", m.home+"/.kube/config",
				"get", "pods", "-o", "name")
			if test.error != "" {
				r.Fails(1, test.error, test.hint)
				m.inContainer(lab.Plugin, "token", "--profile", m.Profile).
					OneError(6, test.error, test.hint)
				m.inContainer(lab.Plugin, "renew").OneError(6, test.error, test.hint)
				return
			}
			r.Succeeds().Silent()
			if n := m.Minted(lab.Account) - before; n != test.requests {
				t.Errorf("it has requested %d tokens, not %d", n, test.requests)
			}
			status := m.inContainer(lab.Plugin, "status").Succeeds().Silent().Stdout
			lab.Has(t, "status", status, test.warning)
			if test.warning == "" {
				return
			}
			lab.Has(t, "doctor", m.inContainer(lab.Plugin, "doctor").Stdout, "the last one, ",
				test.warning)
		})
	}
}

// TestSetupInAContainer chooses no store that it could not use.
func TestSetupInAContainer(t *testing.T) {
	m := newMachine(t, keyring.Kernel)
	const creds = "/usr/bin/systemd-creds" // which an image does not have
	if _, err := os.Stat(creds); err == nil {
		m.mount(os.DevNull, creds)
	}
	setup := func(args ...string) lab.Result {
		return m.inContainer(append([]string{lab.Plugin, "setup", lab.Account, "-n",
			m.Namespace, "--kubeconfig", m.Admin, "--cluster-role", "view"}, args...)...)
	}
	refused := setup().Fails(6, "there is no session bus", "the kernel refuses its own to this process",
		"hint: a container's filter of system calls does that: use --store none")
	m.Follow(refused, "--help")
	if r := lab.AsAdmin(t, "", "get", "namespace", m.Namespace); r.Code == 0 {
		t.Error("the namespace was created")
	}
	lab.Has(t, "the proof", setup("--bootstrap", "context=admin@test").Succeeds().Stdout,
		"kept in", "none")
	m.inContainer(lab.Plane.Kubectl, "--kubeconfig", m.home+"/.kube/config", "--context",
		m.Profile, "get", "pods", "-o", "name").Succeeds().Silent()
}
