//go:build linux

// Package scripts_test shows the commands of a life with the program, each with its failures, as
// a person types them: the scripts in testdata run on a real control plane, each on a machine and
// in a namespace of its own.
package scripts_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/test/lab"
)

func TestMain(m *testing.M) { lab.Main(m, lab.Options{}) }

// TestScripts finds these variables in every script: NS, the machine's namespace; ADMIN, an
// administrator's kubeconfig; NOBODY, that of somebody without any right; OUTSIDE, a directory
// for what holds a secret.
func TestScripts(t *testing.T) {
	testscript.RunT(script{t}, testscript.Params{
		Dir:                 "testdata",
		WorkdirRoot:         lab.Dir(t, "work"),
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup:               setUp,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"fails":        failsCommand,
			"eventually":   eventuallyCommand,
			"static-token": staticTokenCommand,
			"entries":      entriesCommand,
			"modeless":     modelessCommand,
		},
		Condition: func(name string) (bool, error) {
			if name == "fuse" {
				return canMount(), nil
			}
			return false, fmt.Errorf("unknown condition %q", name)
		},
	})
}

// script is a script as a test, the whole log of which is searched for tokens.
type script struct{ *testing.T }

// Run implements testscript.T.
func (s script) Run(name string, run func(testscript.T)) {
	s.T.Run(name, func(t *testing.T) { run(script{t}) })
}

// Verbose implements testscript.T: the log has everything that was printed.
func (script) Verbose() bool { return true }

// Log implements testscript.T.
func (s script) Log(args ...any) {
	lab.Search("the log of "+s.Name(), fmt.Sprint(args...))
	s.T.Log(args...)
}

// machineKey is where a script keeps its machine.
type machineKey struct{}

func setUp(env *testscript.Env) error {
	m := lab.NewMachine(env.T().(script).T, keyring.Keyring)
	m.Profile = "it"
	env.Defer(m.NoteEntries)
	env.Values[machineKey{}] = m
	outside := m.TempDir()
	admin := filepath.Join(outside, "admin.kubeconfig")
	m.Write(admin, m.Read(m.Admin))
	env.Vars = append(env.Vars, m.Env()...)
	env.Vars = append(env.Vars, "NS="+m.Namespace, "ADMIN="+admin, "OUTSIDE="+outside,
		"NOBODY="+lab.User(m.T, "nobody-"+m.Namespace), "DEVICE=")
	return nil
}

// failsCommand runs a program that fails with an exit code, prints nothing and says why.
func failsCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: fails CODE PROGRAM [ARGUMENT...]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	exit := (*exec.ExitError)(nil)
	switch {
	case !errors.As(err, &exit):
		ts.Fatalf("it ended with %v, not with exit code %d", err, want)
	case exit.ExitCode() != want:
		ts.Fatalf("exit code %d, not %d", exit.ExitCode(), want)
	case ts.ReadFile("stdout") != "":
		ts.Fatalf("it failed and printed something")
	case !strings.Contains(ts.ReadFile("stderr"), "error: "):
		ts.Fatalf("it does not say why")
	}
}

// eventuallyCommand runs a program until it succeeds, or with ! until it fails.
func eventuallyCommand(ts *testscript.TestScript, neg bool, args []string) {
	m := ts.Value(machineKey{}).(*lab.Machine)
	lab.Eventually(m.T, strings.Join(args, " "), func() bool {
		return (ts.Exec(args[0], args[1:]...) != nil) == neg
	})
}

// entriesCommand is "entries N": how many secrets the machine's store holds.
func entriesCommand(ts *testscript.TestScript, _ bool, args []string) {
	m := ts.Value(machineKey{}).(*lab.Machine)
	if keys := m.StoreKeys(); len(args) != 1 || strconv.Itoa(len(keys)) != args[0] {
		ts.Fatalf("the store holds %q", keys)
	}
}

// staticTokenCommand creates an account with a legacy Secret, and adds a context with its token
// to a kubeconfig. The token is in no argument.
func staticTokenCommand(ts *testscript.TestScript, _ bool, args []string) {
	m := ts.Value(machineKey{}).(*lab.Machine)
	if len(args) != 2 {
		ts.Fatalf("usage: static-token CONTEXT FILE")
	}
	context, file := args[0], args[1]
	m.AsAdmin("create", "namespace", m.Namespace)
	m.AsAdmin("create", "serviceaccount", context, "-n", m.Namespace)
	token := m.AdminsToken("create", "token", context, "-n", m.Namespace)
	config, err := clientcmd.LoadFromFile(file)
	ts.Check(err)
	config.AuthInfos[context] = &clientcmdapi.AuthInfo{Token: token}
	config.Contexts[context] = &clientcmdapi.Context{Cluster: "test", AuthInfo: context,
		Namespace: m.Namespace}
	ts.Check(clientcmd.WriteToFile(*config, file))
	ts.Check(os.Chmod(file, 0o600))
}
