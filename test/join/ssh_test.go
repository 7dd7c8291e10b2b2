//go:build linux

package join_test

import (
	"slices"
	"testing"

	"github.com/sa-exec-credential/sa-exec-credential/test/lab"
)

// TestOneLineEnrolsAMachine is the pipe of README, typed by an administrator.
func TestOneLineEnrolsAMachine(t *testing.T) {
	server := lab.NewServer(t, "build-7")
	admin := administrator(t, server)
	before := lab.FilesBelow(t, admin.Home)
	proof := admin.Exec("/bin/bash", "-o", "pipefail", "-c",
		"sa-exec-credential invite ci -n "+admin.Namespace+" --cluster-role view "+
			"--for build-7 | ssh build-7 sa-exec-credential join --use-context").
		Succeeds()
	lab.Has(t, "the proof", proof.Stdout, "It works.", admin.Username(), server.Home,
		"-device-build-7-")
	lab.Has(t, "the terminal", proof.Stderr, "sa-exec-credential: invite: ",
		"sa-exec-credential: join: ")
	server.NoteToken(admin.Profile)
	if after := lab.FilesBelow(t, admin.Home); !slices.Equal(after, before) {
		t.Errorf("on the administrator's machine there are %q now, and were %q", after,
			before)
	}
	kubectl := "$(command -v kubectl) "
	for name, line := range map[string]string{
		"a command of ssh": "kubectl get pods",
		"a login":          "bash -lc 'kubectl get pods'",
		"cron's environment": "env -i HOME=$HOME LOGNAME=$LOGNAME SHELL=/bin/sh " +
			"PATH=/usr/bin:/bin " + kubectl + "get pods",
		"a unit of the user": "env -i HOME=$HOME " + kubectl + "get pods",
		"a unit": server.Bare() + kubectl +
			"--kubeconfig $HOME/.kube/config get pods",
	} {
		t.Run(name, func(t *testing.T) {
			said := server.In(t).Does(line).Succeeds()
			lab.Has(t, line, said.Stderr, "No resources found in "+admin.Namespace)
		})
	}
}
