//go:build linux

// Package e2e_test runs the built program the way its users do: setup, then kubectl and other clients that call it. All
// of it is real: a control plane, kubectl, gnome-keyring and the kernel's keyring. Only odd answers and short lives of
// tokens come from a proxy in front of the API server.
//
// Every program that a test runs goes through command.run, and everything is written below one folder, so that in the
// end all of it can be searched for the tokens that were used.
package e2e_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/sa-exec-credential/sa-exec-credential/test/controlplane"
)

// helperVariable makes the test binary a program that a test runs, isolatedVariable the one that runs the tests.
const (
	helperVariable   = "E2E_TEST_HELPER"
	isolatedVariable = "E2E_TEST_ISOLATED"
)

// pluginVariable names the program under test.
const pluginVariable = "SA_EXEC_CREDENTIAL"

// atOnce is how many parallel tests run side by side: they spend most of their time waiting for something to expire.
const atOnce = "8"

func TestMain(m *testing.M) {
	if os.Getenv(helperVariable) == "client" {
		os.Exit(clientMain(os.Args[1:]))
	}
	if os.Getenv(isolatedVariable) == "" {
		if code, ok := runIsolated(); ok {
			os.Exit(code)
		}
	}
	_ = flag.Set("test.parallel", atOnce) // the command line still has the last word
	os.Exit(runTests(m))
}

// runIsolated runs the tests in a user namespace of their own, where the kernel gives them an empty user keyring that
// nobody else sees and that is gone with them. It is not ok where the system does not allow that; then the tests
// share the keyring, and clean up their own entries only.
func runIsolated() (code int, ok bool) {
	self, err := os.Executable()
	if err != nil {
		return 0, false
	}
	runtime.LockOSThread() // Pdeathsig is about the thread, not about the process
	cmd := exec.Command(self, os.Args[1:]...)
	cmd.Env = append(os.Environ(), isolatedVariable+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: os.Getuid(), HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: os.Getgid(), HostID: os.Getgid(), Size: 1}},
		Pdeathsig:   syscall.SIGKILL,
	}
	if cmd.Start() != nil {
		return 0, false
	}
	if err := cmd.Wait(); err != nil {
		return max(cmd.ProcessState.ExitCode(), 1), true
	}
	return 0, true
}

// world is what the tests share.
type world struct {
	root    string // everything is written below it
	plugin  string // the program under test
	plane   *controlplane.ControlPlane
	secrets secrets
	seen    record
	count   atomic.Int64 // of machines
}

var shared *world

func runTests(m *testing.M) int {
	w, err := newWorld()
	if err != nil {
		fmt.Fprintln(os.Stderr, "preparing the end-to-end tests:", err)
		return 1
	}
	shared = w
	watcher := w.watch()
	code := m.Run()
	watcher.stop()
	for _, leak := range w.leaks() {
		fmt.Println("FAIL: a token, or a part of its signature, is in", leak)
		code = 1
	}
	fmt.Println(w.summary())
	if err := w.close(); err != nil {
		fmt.Fprintln(os.Stderr, "cleaning up:", err)
		code = 1
	}
	return code
}

func newWorld() (_ *world, err error) {
	plugin, err := findPlugin()
	if err != nil {
		return nil, err
	}
	root, err := os.MkdirTemp("", "e2e") // short: a socket's path has at most 107 bytes
	if err != nil {
		return nil, err
	}
	w := &world{root: root, plugin: plugin}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.close())
		}
	}()
	temp := filepath.Join(root, "tmp")
	if err := errors.Join(os.Mkdir(temp, 0o700), os.Setenv("TMPDIR", temp)); err != nil {
		return nil, err
	}
	if w.plane, err = controlplane.Start(context.Background(), controlplane.Options{ControllerManager: true}); err != nil {
		return nil, err
	}
	return w, w.plane.WaitForRoles(context.Background())
}

func (w *world) close() error {
	var stopped error
	if w.plane != nil {
		stopped = w.plane.Stop()
	}
	return errors.Join(stopped, os.RemoveAll(w.root))
}

func findPlugin() (string, error) {
	plugin := os.Getenv(pluginVariable)
	if plugin == "" {
		plugin = filepath.Join("..", "..", "bin", "sa-exec-credential")
	}
	plugin, err := filepath.Abs(plugin)
	if err != nil {
		return "", err
	}
	if info, err := os.Stat(plugin); err != nil || info.IsDir() || info.Mode()&0o111 == 0 {
		return "", fmt.Errorf("there is no program %q: run make build, or set %s", plugin, pluginVariable)
	}
	return plugin, nil
}
