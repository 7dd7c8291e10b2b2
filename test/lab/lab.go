//go:build linux

// Package lab is what all tests on a real control plane have in common: the plane, machines with
// homes and keyrings of their own, running the built program and kubectl on them, and the search
// that ends every package's tests: no token may be in any file, argument, environment or output.
//
// Every program that a test runs goes through Command, and everything is written below one
// directory, so that in the end all of it can be searched. What a test needs to have a secret in
// is in t.TempDir, which is not.
package lab

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/test/controlplane"
)

// Limit bounds every wait, for a program and for what the control plane does: a hundred times
// what it takes on an idle machine.
const Limit = 4 * time.Minute

// Options are what the tests of a package need.
type Options struct {
	// OwnPlane is for tests that stop, rebuild or rekey the control plane, which others share
	// else.
	OwnPlane bool
	// APIServerArgs are further ones of a plane of one's own.
	APIServerArgs []string
	// Users is for tests that run programs as other users than their own, where root runs the
	// tests: see NewServer.
	Users bool
	// Authentication is for tests in which the API server takes the ID tokens of Jobs: the
	// configuration that it starts with (--authentication-config). Nil: none. OwnPlane goes
	// with it, and Configure replaces it.
	Authentication func(*Issuer) string
	// Helpers are programs that the test binary becomes beside those of the lab; see Helper.
	Helpers map[string]func(args []string) int
}

// Plane is the control plane and Plugin the program under test. Client is what setup writes into
// kubeconfigs, for profiles that keep tokens: the program for hits, where it lies beside the other.
// Main sets them before any test runs.
var (
	Plane  *controlplane.ControlPlane
	Plugin string
	Client string
)

// shared is what else the tests of a package have in common.
var shared struct {
	root   string // everything is written below it
	tokens tokens
	seen   record
	count  atomic.Int64 // of namespaces
}

// helperVariable makes the test binary a helper, isolatedVariable the one that runs the tests.
const (
	helperVariable   = "LAB_HELPER"
	isolatedVariable = "LAB_ISOLATED"
)

// atOnce is how many parallel tests run side by side: they spend most of their time waiting.
const atOnce = "8"

// helpers are for all packages.
var helpers = map[string]func(args []string) int{"pod": podMain,
	"own session": func(args []string) int { return become(joinSession, args) },
	"no keyctl":   func(args []string) int { return become(refuseKeyctl, args) }}

// Main runs a package's tests and the search, and exits.
func Main(m *testing.M, o Options) {
	name := os.Getenv(helperVariable)
	for _, programs := range []map[string]func(args []string) int{o.Helpers, helpers} {
		if helper := programs[name]; helper != nil {
			os.Exit(helper(os.Args[1:]))
		}
	}
	if os.Getenv(isolatedVariable) == "" {
		if code, ok := runIsolated(o); ok {
			os.Exit(code)
		}
	} else if err := hideUserRuntime(); err != nil {
		fmt.Fprintln(os.Stderr, "hiding the users' runtime directories:", err)
		os.Exit(1)
	}
	_ = flag.Set("test.parallel", atOnce) // the command line still has the last word
	os.Exit(run(m, o))
}

func run(m *testing.M, o Options) (code int) {
	defer func() {
		if err := closeAll(); err != nil {
			fmt.Fprintln(os.Stderr, "cleaning up:", err)
			code = 1
		}
	}()
	if err := open(o); err != nil {
		fmt.Fprintln(os.Stderr, "preparing the tests:", err)
		return 1
	}
	watcher := watch()
	code = m.Run()
	watcher.stop()
	for _, leak := range leaks() {
		fmt.Println("FAIL: a token, or a part of its signature, is in", leak)
		code = 1
	}
	if err := saveHints(); err != nil {
		fmt.Fprintln(os.Stderr, "noting the hints:", err)
		code = 1
	}
	fmt.Println(summary())
	return code
}

// open finds the program and starts the control plane, or attaches to the one that all packages
// share.
func open(o Options) (err error) {
	if Plugin, err = findPlugin(); err != nil {
		return err
	}
	if Client = Plugin + "-get"; !isFile(Client) {
		Client = Plugin
	}
	// short: a socket's path has at most 107 bytes
	if shared.root, err = os.MkdirTemp("", "lab"); err != nil {
		return err
	}
	temp := filepath.Join(shared.root, "tmp")
	if err := errors.Join(os.Mkdir(temp, 0o700), os.Setenv("TMPDIR", temp)); err != nil {
		return err
	}
	bin := filepath.Join("..", "bin")
	if dir := os.Getenv(controlplane.DirVariable); dir != "" && !o.OwnPlane {
		Plane, err = controlplane.Attach(dir, bin)
		return err
	}
	options := controlplane.Options{Bin: bin, ControllerManager: true,
		APIServerArgs: o.APIServerArgs}
	if o.Authentication != nil {
		if err := openIssuer(o, &options); err != nil {
			return err
		}
	}
	if Plane, err = controlplane.Start(context.Background(), options); err != nil {
		return err
	}
	return Plane.WaitForRoles(context.Background())
}

func closeAll() error {
	var stopped error
	if Plane != nil {
		stopped = Plane.Stop()
	}
	return errors.Join(stopped, removeUsers(), os.RemoveAll(shared.root))
}

// runIsolated runs the tests in a user namespace of their own, where the kernel gives them an
// empty user keyring that nobody else sees and that is gone with them, and in a mount namespace
// of their own, where they can mount file systems. It is not ok where the
// system does not allow that; then the tests share the keyring, and clean up their own entries
// only.
func runIsolated(o Options) (code int, ok bool) {
	self, err := os.Executable()
	if err != nil {
		return 0, false
	}
	runtime.LockOSThread() // Pdeathsig is about the thread, not about the process
	cmd := exec.Command(self, os.Args[1:]...)
	cmd.Env = append(os.Environ(), isolatedVariable+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	users := func(own int) []syscall.SysProcIDMap {
		if o.Users && os.Geteuid() == 0 {
			return []syscall.SysProcIDMap{{Size: allUsers}}
		}
		return []syscall.SysProcIDMap{{ContainerID: own, HostID: own, Size: 1}}
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: users(os.Getuid()), GidMappings: users(os.Getgid()),
		GidMappingsEnableSetgroups: o.Users && os.Geteuid() == 0,
		Pdeathsig:                  syscall.SIGKILL,
	}
	if cmd.Start() != nil {
		return 0, false
	}
	if err := cmd.Wait(); err != nil {
		return max(cmd.ProcessState.ExitCode(), 1), true
	}
	return 0, true
}

// allUsers is how many ids a user namespace needs to have those of the system and some more.
const allUsers = 1 << 16

// userRuntimes is where systemd creates the users' runtime directories.
const userRuntimes = "/run/user"

// hideUserRuntime puts an empty directory in the place of those of this machine, in which a bus of
// the user's may be: what a program finds there is a test's.
func hideUserRuntime() error {
	if _, err := os.Stat(userRuntimes); errors.Is(err, fs.ErrNotExist) {
		// nothing has to be hidden, but what a test puts there has to have a place
		if err := os.Mkdir(userRuntimes, 0o755); err != nil {
			return nil
		}
	}
	err := syscall.Mount("tmpfs", userRuntimes, "tmpfs", syscall.MS_NOSUID|syscall.MS_NODEV,
		"mode=0755")
	if entries, _ := os.ReadDir(userRuntimes); len(entries) == 0 {
		return nil // also where mounting is forbidden: there is nothing to hide
	}
	return err
}

// pluginVariable names the program under test.
const pluginVariable = "SA_EXEC_CREDENTIAL"

func findPlugin() (string, error) {
	built := filepath.Join("..", "..", "bin", "sa-exec-credential")
	plugin, err := filepath.Abs(cmp.Or(os.Getenv(pluginVariable), built))
	if err != nil {
		return "", err
	}
	if info, err := os.Stat(plugin); err != nil || info.IsDir() || info.Mode()&0o111 == 0 {
		return "", fmt.Errorf("there is no program %q: run make build, or set %s", plugin,
			pluginVariable)
	}
	return plugin, nil
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// Helper is a command that runs the test binary as one of the package's helpers.
func Helper(t *testing.T, name string, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, args...)
	cmd.Env = append(coverage(), helperVariable+"="+name)
	return cmd
}

// coverage leads the coverage data of a program built with -cover to where go test, or a person,
// wants it.
func coverage() []string {
	return []string{"GOCOVERDIR=" + cmp.Or(os.Getenv("GOCOVERDIR"), os.TempDir())}
}

// Namespace returns a name that no other test uses, also not one of another package.
func Namespace() string { return fmt.Sprintf("lab-%d-%d", os.Getpid(), shared.count.Add(1)) }

// Dir creates a directory that stays until everything has been searched.
func Dir(t *testing.T, name string) string {
	t.Helper()
	dir, err := os.MkdirTemp(shared.root, fileName(t.Name())+"-"+name)
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// ShortDir is such a directory for sockets, the paths of which have to be short.
func ShortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp(shared.root, "s")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// Eventually polls, and fails the test when that takes longer than Limit.
func Eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(Limit); !done(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain until %s", what)
		}
	}
}
