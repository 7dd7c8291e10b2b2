//go:build linux

// Package scripts_test shows the commands of a life with the program, each with its failures, as
// a person types them: the scripts in testdata run on a real control plane, each on a machine and
// in a namespace of its own.
package scripts_test

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
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
	testscript.RunT(script{t, newHints()}, testscript.Params{
		Dir:                 "testdata",
		WorkdirRoot:         lab.Dir(t, "work"),
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup:               setUp,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"fails":        failsCommand,
			"works":        worksCommand,
			"hint":         hintCommand,
			"excuse":       excuseCommand,
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
type script struct {
	*testing.T
	hints *hints
}

// Run implements testscript.T.
func (s script) Run(name string, run func(testscript.T)) {
	s.T.Run(name, func(t *testing.T) { run(script{t, newHints()}) })
}

// Verbose implements testscript.T: the log has everything that was printed.
func (script) Verbose() bool { return true }

// Log implements testscript.T.
func (s script) Log(args ...any) {
	lab.Search("the log of "+s.Name(), fmt.Sprint(args...))
	s.T.Log(args...)
	s.hints.mu.Lock()
	defer s.hints.mu.Unlock()
	if s.Failed() {
		return
	}
	log := scriptLine.ReplaceAllString(fmt.Sprint(args...), "")
	for _, command := range lab.UnfollowedHints(log, s.hints.typed, s.hints.excused) {
		s.T.Errorf("it was told to type this, and has not:\n%s", command)
	}
}

// scriptLine is a line of the script itself, in its log.
var scriptLine = regexp.MustCompile(`(?m)^> .*$`)

// machineKey is where a script keeps its machine.
type machineKey struct{}

// hintsKey is where it keeps its hints.
type hintsKey struct{}

// hints are the commands that a script has typed because the program said so, and patterns of
// those that it need not type.
type hints struct {
	mu             sync.Mutex
	typed, excused []string
	work           string // the script's directory, which its log calls $WORK
	said, followed string // what gave the last hint, and what its command has said
}

// note remembers a command as the log shows it.
func (h *hints) note(command string) {
	command = strings.ReplaceAll(command, h.work, "$WORK")
	h.typed = append(h.typed, command)
	lab.NoteTyped(command)
}

// excusedEverywhere are the hints that no script has to follow, with the reasons.
var excusedEverywhere = map[string]string{
	` FILE\b|CLUSTER`:      "something has to be filled in; a script that has it types it",
	` doctor --fix$`:       "asks on a terminal: there test/doctor types it",
	` get --raw /version$`: "tries once more what has just failed",

	`create role sa-exec-credential-setup-`: "is an administrator's to type, as in rights.txtar",
}

func newHints() *hints {
	return &hints{excused: slices.Collect(maps.Keys(excusedEverywhere))}
}

func setUp(env *testscript.Env) error {
	m := lab.NewMachine(env.T().(script).T, keyring.Keyring)
	m.Profile = "it"
	env.Defer(m.NoteEntries)
	h := env.T().(script).hints
	h.work = env.WorkDir
	env.Values[machineKey{}], env.Values[hintsKey{}] = m, h
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
	follow(ts)
}

// worksCommand is "[!] works PROGRAM [ARGUMENT...]": exec, and then what the program says to type
// next, if that only looks.
func worksCommand(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) == 0 {
		ts.Fatalf("usage: [!] works PROGRAM [ARGUMENT...]")
	}
	if err := ts.Exec(args[0], args[1:]...); (err != nil) != neg {
		ts.Fatalf("it ended with %v", err)
	}
	follow(ts)
}

// rawVersion is what tries once more what has just failed.
var rawVersion = regexp.MustCompile(` get --raw /version$`)

// said is what the last program has said and printed.
func said(ts *testscript.TestScript) string {
	return ts.ReadFile("stderr") + ts.ReadFile("stdout")
}

// follow types the commands that the last program gave to look at something. What the script sees
// of that program stays.
func follow(ts *testscript.TestScript) {
	m, h := ts.Value(machineKey{}).(*lab.Machine), ts.Value(hintsKey{}).(*hints)
	for _, command := range lab.Hints(said(ts)) {
		if !lab.IsHarmless(command) || strings.Contains(command, " FILE ") ||
			rawVersion.MatchString(command) {
			continue
		}
		c := m.Command("/bin/sh", "-c", command)
		c.Dir = ts.MkAbs(".")
		const bus = "DBUS_SESSION_BUS_ADDRESS"
		c.Env = append(c.Env, bus+"="+ts.Getenv(bus))
		if r := c.Run(m.T); r.Code != 0 {
			ts.Fatalf("%s\nends with %d: %s", command, r.Code, r.Stderr)
		}
		h.note(command)
	}
}

// hintCommand is "[!] hint [WORD...]": it types the command that the last program gave, as it is
// printed; of several the one that holds all words. Another hint after it is of the same program.
func hintCommand(ts *testscript.TestScript, neg bool, words []string) {
	h := ts.Value(hintsKey{}).(*hints)
	if now := said(ts); now != h.followed {
		h.said = now
	}
	command, err := lab.Hint(h.said, words...)
	ts.Check(err)
	h.note(command)
	err = ts.Exec("/bin/sh", "-c", command)
	h.followed = said(ts)
	if (err != nil) != neg {
		ts.Fatalf("%s\nended with %v", command, err)
	}
	follow(ts)
}

// excuseCommand is "excuse PATTERN REASON...": hints of this script that it need not follow.
func excuseCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: excuse PATTERN REASON...")
	}
	h := ts.Value(hintsKey{}).(*hints)
	h.excused = append(h.excused, args[0])
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
