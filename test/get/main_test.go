//go:build linux

// Package get_test runs get as kubectl and other clients call it: on a hit, on a miss, in a
// crowd, killed, without what it needs, and on a control plane that stops, is rebuilt or gets
// other signing keys. All of it is real: a control plane, kubectl, gnome-keyring and the kernel's
// keyring. Only odd answers and short lives of tokens come from a proxy in front of the API
// server.
package get_test

import (
	"strings"
	"syscall"
	"testing"

	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/test/controlplane"
	"github.com/sa-exec-credential/sa-exec-credential/test/lab"
)

func TestMain(m *testing.M) {
	lab.Main(m, lab.Options{OwnPlane: true,
		Helpers: map[string]func([]string) int{"client": clientMain}})
}

const account = lab.Account

// machine is a lab's machine on which clients call the plugin.
type machine struct{ *lab.Machine }

// newMachine makes one on which nothing is set up. It reaches the API server through door, or
// directly when that is nil.
func newMachine(t *testing.T, kind keyring.Kind, door *lab.Door) *machine {
	t.Helper()
	return &machine{lab.NewMachine(t, kind).Behind(door)}
}

// in is the machine for a subtest.
func (m *machine) in(t *testing.T) *machine { return &machine{m.In(t)} }

// get runs the plugin as a client of its own would, which has not called before.
func (m *machine) get() lab.Result {
	m.Helper()
	return m.getWith(m.ExecInfo())
}

func (m *machine) getWith(execInfo string) lab.Result {
	m.Helper()
	return m.asClient("KUBERNETES_EXEC_INFO="+execInfo, "get", "--profile", m.Profile)
}

// asClient runs the plugin below a shell, which makes the caller another process each time. The
// shell sets the variable as a client does, for the plugin alone.
func (m *machine) asClient(variable string, args ...string) lab.Result {
	m.Helper()
	script := ""
	if variable != "" {
		script = `export "$0"`
	}
	return m.clientCommand(script, variable, args...).Run(m.T)
}

// clientCommand is a shell that runs the plugin after a script of its own, in which "$0" is name.
func (m *machine) clientCommand(script, name string, args ...string) lab.Command {
	shell := []string{"/bin/sh", "-c", script + "\n" + `"$@"; exit $?`, name, lab.Plugin}
	return lab.Command{Args: append(shell, args...), Env: m.Env(), PrintsToken: true}
}

// getFromClient is a get of a client that does something else first.
func (m *machine) getFromClient(before string, flags ...string) lab.Command {
	args := append([]string{"get", "--profile", m.Profile}, flags...)
	return m.clientCommand(before+"\n"+`export "$0"`, "KUBERNETES_EXEC_INFO="+m.ExecInfo(),
		args...)
}

// ended is the exit code of a client the plugin of which a signal has ended.
func ended(signal syscall.Signal) int { return 128 + int(signal) }

// events are the requests about this machine's namespace and by its service accounts.
func (m *machine) events() []controlplane.AuditEvent {
	m.Helper()
	return m.Events(func(event controlplane.AuditEvent) bool {
		return event.ObjectRef.Namespace == m.Namespace ||
			strings.HasPrefix(event.User.Username,
				"system:serviceaccount:"+m.Namespace+":")
	})
}

// renewed counts the tokens that the API server has issued for the machine's device.
func (m *machine) renewed() int {
	m.Helper()
	return m.Minted(m.Configuration().Device.Name)
}

// reviews counts how often the API server was asked by the service account who it is.
func (m *machine) reviews() int {
	m.Helper()
	count := 0
	for _, event := range m.events() {
		if event.ObjectRef.Resource == "selfsubjectreviews" {
			count++
		}
	}
	return count
}
