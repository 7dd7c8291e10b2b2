//go:build unix

package cache

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/internal/secret"
)

// helperVariable makes the test binary one of the processes of a test; it names the directory that
// they share.
const helperVariable = "CACHE_TEST_FOLDER"

func TestMain(m *testing.M) {
	if dir := os.Getenv(helperVariable); dir != "" {
		if err := helper(dir, os.Args[1]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// helper gets a token, or mints without end, as one process of many.
func helper(dir, what string) error {
	if what == "full" {
		return onFullDisk(dir)
	}
	c := &Cache{Store: inFiles(dir), Key: "token:k", Machine: "m", Dir: dir,
		Caller: Caller{PID: os.Getppid()}, Wait: 30 * time.Second,
		Now: time.Now, Valid: func(context.Context, secret.String) (bool, error) {
			return true, nil
		},
		IsShared: func(error) bool { return true }, Warn: func(error) {},
		Debug: func(string, ...any) {},
		Mint: func(context.Context) (keyring.Entry, error) {
			if what == "hang" {
				fmt.Println("minting")
				select {}
			}
			return mintInto(dir)
		}}
	answer, err := c.Get(context.Background())
	if err == nil {
		fmt.Println(answer.Token.Reveal())
	}
	return err
}

// mintInto leaves a file for each token that is minted.
func mintInto(dir string) (keyring.Entry, error) {
	file, err := os.CreateTemp(dir, "minted-")
	if err != nil {
		return keyring.Entry{}, err
	}
	time.Sleep(20 * time.Millisecond) // as a server would take
	now := time.Now()
	return keyring.Entry{Token: secret.New(filepath.Base(file.Name())), IssuedAt: now,
		ExpiresAt: now.Add(time.Hour)}, file.Close()
}

// inFiles is a store of what the test's processes share; what it holds is no secret.
type inFiles string

func (inFiles) Kind() keyring.Kind                     { return keyring.Keyring }
func (inFiles) Description() string                    { return "files" }
func (inFiles) Delete(context.Context, string) error   { return nil }
func (inFiles) Keys(context.Context) ([]string, error) { return nil, nil }
func (f inFiles) path() string                         { return filepath.Join(string(f), "store") }
func (f inFiles) Get(context.Context, string) (keyring.Entry, error) {
	var e struct {
		Token           string
		Issued, Expires time.Time
	}
	data, err := os.ReadFile(f.path())
	if err != nil || json.Unmarshal(data, &e) != nil {
		return keyring.Entry{}, keyring.ErrNotFound
	}
	return keyring.Entry{Token: secret.New(e.Token), IssuedAt: e.Issued, ExpiresAt: e.Expires},
		nil
}

func (f inFiles) Set(_ context.Context, _ string, entry keyring.Entry) error {
	data, err := json.Marshal(map[string]any{"Token": entry.Token.Reveal(),
		"Issued": entry.IssuedAt, "Expires": entry.ExpiresAt})
	if err != nil {
		return err
	}
	temp := fmt.Sprintf("%s.%d", f.path(), os.Getpid())
	if err := os.WriteFile(temp, data, 0o600); err != nil {
		return err
	}
	return os.Rename(temp, f.path())
}

func process(t *testing.T, dir, what string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0], what)
	cmd.Env = append(os.Environ(), helperVariable+"="+dir)
	return cmd
}

func minted(t *testing.T, dir string) int {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "minted-*"))
	if err != nil {
		t.Fatal(err)
	}
	return len(files)
}

func TestProcesses(t *testing.T) {
	dir := t.TempDir()
	var wait sync.WaitGroup
	outputs := make([]string, 50)
	for i := range outputs {
		wait.Go(func() {
			out, err := process(t, dir, "get").CombinedOutput()
			if err != nil {
				t.Errorf("%v: %s", err, out)
			}
			outputs[i] = string(out)
		})
	}
	wait.Wait()
	for _, out := range outputs {
		if out != outputs[0] {
			t.Errorf("%q and %q", out, outputs[0])
		}
	}
	if n := minted(t, dir); n != 1 {
		t.Errorf("%d mints", n)
	}
}

// hanging starts a process that holds the lock and mints without end.
func hanging(t *testing.T, dir string) *exec.Cmd {
	t.Helper()
	cmd := process(t, dir, "hang")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "minting\n" {
		t.Fatalf("%q, %v", line, err)
	}
	return cmd
}

func TestAHolderThatIsKilledLeavesNothingBehind(t *testing.T) {
	dir := t.TempDir()
	holder := hanging(t, dir)
	waiter := process(t, dir, "get")
	var out strings.Builder
	waiter.Stdout = &out
	if err := waiter.Start(); err != nil {
		t.Fatal(err)
	}
	_ = holder.Process.Kill()
	if err := waiter.Wait(); err != nil || !strings.HasPrefix(out.String(), "minted-") ||
		minted(t, dir) != 1 {
		t.Errorf("%v, %q, %d mints", err, out.String(), minted(t, dir))
	}
}

// TestAHolderThatIsStopped is what a person does with Control-Z.
func TestAHolderThatIsStopped(t *testing.T) {
	w := newWorld(t)
	holder := hanging(t, w.dir)
	if err := holder.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	c := w.cache(1)
	c.Wait = 200 * time.Millisecond
	if answer, err := c.Get(t.Context()); err != nil || answer.Token.Reveal() != "minted-1" {
		t.Errorf("%q, %v", answer.Token.Reveal(), err)
	}
	// stale: whoever gets the lock mints, so it has to be free again
	w.advance(57 * time.Minute)
	w.want(2, "minted-2", 2, 0)
}

func TestPipesAreNotWaitedFor(t *testing.T) {
	w := newWorld(t)
	for _, file := range filesOf(w.dir) {
		if err := syscall.Mkfifo(file, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	w.want(1, "minted-1", 1, 0)
	w.want(1, "minted-1", 1, 0)
}

// TestAHolderThatHangsBesideAPipe: what takes the lock away would wait for the pipe, and for no
// end.
func TestAHolderThatHangsBesideAPipe(t *testing.T) {
	w := newWorld(t)
	if err := syscall.Mkfifo(callsOf(w.dir), 0o600); err != nil {
		t.Fatal(err)
	}
	holder := w.cache(1).lock()
	defer holder.release()
	if !holder.tryExclusive() {
		t.Fatal("the lock is not free")
	}
	answered := make(chan error, 1)
	go func() {
		c := w.cache(2)
		c.Wait = 50 * time.Millisecond
		_, err := c.Get(t.Context())
		answered <- err
	}()
	select {
	case err := <-answered:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(time.Minute):
		t.Error("no answer")
	}
}

// TestAFolderThatCannotBeWrittenTo is made so by its mode, or for root by being none.
func TestADirThatCannotBeWrittenTo(t *testing.T) {
	w := newWorld(t)
	if os.Geteuid() == 0 {
		w.dir = "/proc/self"
	} else if err := os.Chmod(w.dir, 0o500); err != nil {
		t.Fatal(err)
	}
	w.want(1, "minted-1", 1, 0)
	w.want(1, "minted-1", 1, 0)
	w.advance(57 * time.Minute)
	w.want(1, "minted-2", 2, 0)
}
