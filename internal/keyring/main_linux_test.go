package keyring

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring/filtertest"
)

// helperVariable makes the test binary run one of the helpers instead of the tests: what depends on
// a process's user, session or system call filter needs a process of its own.
const helperVariable = "KEYRING_TEST_HELPER"

func TestMain(m *testing.M) {
	if name := os.Getenv(helperVariable); name != "" {
		if err := helpers[name](os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

var helpers = map[string]func(arguments []string) error{
	"get":        helpGet,
	"read":       helpRead,
	"quota":      helpQuota,
	"room":       helpRoom,
	"listen":     helpListen,
	"front":      helpFront,
	"no keyctl":  func([]string) error { return helpFiltered(unix.EPERM) },
	"old kernel": func([]string) error { return helpFiltered(unix.ENOSYS) },
}

// helper prepares the test binary to run a helper, after the words of a wrapper such as "keyctl
// session -".
func helper(t *testing.T, name string, wrapper []string, arguments ...string) *exec.Cmd {
	t.Helper()
	command := append(append(wrapper, readableTestBinary(t)), arguments...)
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Env = append(os.Environ(), helperVariable+"="+name)
	return cmd
}

// readableTestBinary copies the test binary to where every user can run it.
func readableTestBinary(t *testing.T) string {
	t.Helper()
	dir := publicDir(t)
	source, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	path := filepath.Join(dir, "helper")
	target, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(target, source)
	if err := errors.Join(err, target.Chmod(0o755), target.Close()); err != nil {
		t.Fatal(err)
	}
	return path
}

// publicDir is a directory that every user can enter and write to; t.TempDir's parents are closed
// to others.
func publicDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "keyring")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	return dir
}

// asOther makes a helper run as another user than this one, which only root can. What go test
// -cover wants of it at its end is written to where that user can.
func asOther(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	cmd.Env = append(cmd.Env, "GOCOVERDIR="+publicDir(t))
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: otherUser,
		Gid: otherUser}}
	cmd.Dir = "/"
}

const otherUser = 65534

func isRoot() bool { return os.Geteuid() == 0 }

func mustRun(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	out, err := cmd.CombinedOutput()
	if errors.Is(err, exec.ErrNotFound) {
		t.Fatalf("this test needs %s: install the package keyutils or libsecret-tools",
			cmd.Args[0])
	}
	if err != nil {
		t.Fatalf("%s: %v\n%s", cmd.Args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// helpListen PATH listens there and writes what it hears to PATH.heard.
func helpListen(arguments []string) error {
	listener, err := net.Listen("unix", arguments[0])
	if err != nil {
		return err
	}
	if err := os.Chmod(arguments[0], 0o777); err != nil {
		return err
	}
	fmt.Println("ready")
	conn, err := listener.Accept()
	if err != nil {
		return err
	}
	heard, _ := io.ReadAll(conn)
	return os.WriteFile(arguments[0]+".heard", heard, 0o666)
}

// helpFiltered opens the stores under a system call filter like that of a container runtime.
func helpFiltered(answer syscall.Errno) error {
	if err := filtertest.RefuseKeyctl(answer); err != nil {
		return err
	}
	nothing := System{Getenv: func(string) string { return "" }}
	kernel, err := Open(context.Background(), Kernel, nothing)
	if err != nil {
		return fmt.Errorf("opening the kernel keyring already calls it: %w", err)
	}
	_, getErr := kernel.Get(context.Background(), testKey)
	setErr := kernel.Set(context.Background(), testKey, liveEntry("t"))
	deleteErr := kernel.Delete(context.Background(), testKey)
	_, keysErr := kernel.Keys(context.Background())
	_, autoErr := Open(context.Background(), Auto, nothing)
	for i, err := range []error{getErr, setErr, deleteErr, keysErr, autoErr} {
		if !errors.Is(err, ErrUnavailable) {
			return fmt.Errorf("call %d: got %v, want ErrUnavailable", i, err)
		}
	}
	return useFronted(newFronted(storeOf(newMemory(1<<20), Keyring), "refused:"), 3)
}

// eventually waits until done has no error.
func eventually(t *testing.T, done func() error) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		err := done()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func wantError(t *testing.T, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func wantToken(t *testing.T, s Store, key, want string) {
	t.Helper()
	entry, err := s.Get(t.Context(), key)
	if err != nil || entry.Token.Reveal() != want {
		t.Errorf("getting %s: got %q, %v", key, entry.Token.Reveal(), err)
	}
}

func mustSet(t *testing.T, s Store, key, token string) {
	t.Helper()
	if err := s.Set(t.Context(), key, liveEntry(token)); err != nil {
		t.Fatal(err)
	}
}
