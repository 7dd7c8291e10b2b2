package client

import (
	"encoding/json"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// helperVariable makes the test binary the plugin of a client, which says what it has found.
const helperVariable = "CLIENT_TEST_PLUGIN"

func TestMain(m *testing.M) {
	if os.Getenv(helperVariable) != "" {
		if err := json.NewEncoder(os.Stdout).Encode(Find()); err != nil {
			panic(err)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// What a kubeconfig sets for its plugin, and what its client was started with.
const (
	forged   = "CLIENT_TEST_FOLDER=/forged"
	agreed   = "CLIENT_TEST_FOLDER=/own"
	execInfo = "KUBERNETES_EXEC_INFO={}"
)

// found runs the plugin at the end of a shell's script, in which "$@" stands for it.
func found(t *testing.T, script string, environment ...string) (Process, int) {
	t.Helper()
	command := exec.Command("/bin/sh", "-c", script, "sh", os.Args[0])
	command.Env = append(environment, helperVariable+"=1")
	output, err := command.Output()
	if err != nil {
		t.Fatal(err)
	}
	var p Process
	if err := json.Unmarshal(output, &p); err != nil {
		t.Fatal(err)
	}
	return p, command.Process.Pid
}

func TestTheParentIsTheClient(t *testing.T) {
	p, shell := found(t, `KUBERNETES_EXEC_INFO={} CLIENT_TEST_FOLDER=/forged "$@"; exit $?`,
		agreed)
	if p.PID != shell || p.Start == 0 || !slices.Contains(p.Environment, agreed) ||
		slices.Contains(p.Environment, forged) {
		t.Errorf("found %+v, the shell was %d", p, shell)
	}
}

func TestWrappersAreNoClients(t *testing.T) {
	tests := []struct{ name, script string }{
		{"a script", `"$@"; exit $?`},
		{"a script that runs another", `sh -c '"$@"; exit $?' sh "$@"; exit $?`},
		{"a script that becomes the plugin", `exec "$@"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p, _ := found(t, tt.script, execInfo, forged)
			if p.PID != os.Getpid() || p.Start != stat("self").start || p.Start == 0 {
				t.Errorf("found %d, started at %d; the client is %d", p.PID,
					p.Start, os.Getpid())
			}
			if len(p.Environment) == 0 || slices.Contains(p.Environment, forged) ||
				slices.Contains(p.Environment, execInfo) {
				t.Errorf("its environment is %q", p.Environment)
			}
		})
	}
}

func TestAProcessThatIsGoneHasNothing(t *testing.T) {
	const none = 1 << 30 // beyond the kernel's largest
	if environ(none) != nil || stat(strconv.Itoa(none)) != (status{}) {
		t.Errorf("%v, %+v", environ(none), stat(strconv.Itoa(none)))
	}
}

// TestAWrapperWithAVeryLargeEnvironmentIsNoClient: exec info comes last in what client-go sets,
// behind all that a kubeconfig has in exec.env.
func TestAWrapperWithAVeryLargeEnvironmentIsNoClient(t *testing.T) {
	var before syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_STACK, &before); err != nil {
		t.Fatal(err)
	}
	// a quarter of it is for arguments and environment, but 6 MiB at most
	stack := min(64<<20, before.Max)
	if err := syscall.Setrlimit(syscall.RLIMIT_STACK,
		&syscall.Rlimit{Cur: stack, Max: before.Max}); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = syscall.Setrlimit(syscall.RLIMIT_STACK, &before) }()
	const filler = 120 << 10 // of the 128 KiB that one variable may have
	environment := []string{forged}
	for i := range min(5<<20, stack/5) / filler {
		environment = append(environment,
			"FILLER_"+strconv.FormatUint(i, 10)+"="+strings.Repeat("x", filler))
	}
	p, shell := found(t, `"$@"; exit $?`, append(environment, execInfo)...)
	if p.PID == shell || slices.Contains(p.Environment, forged) {
		t.Errorf("the wrapper %d is taken for the client", shell)
	}
}
