//go:build linux

package journeys_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring/secretservicetest"
	"github.com/sa-exec-credential/sa-exec-credential/test/lab"
)

// hangs is when a program is taken to hang.
const hangs = 4 * time.Minute

// machine is a person's machine: a home, a keyring of its own, an administrator's kubeconfig.
type machine struct {
	*testing.T
	home    string
	service *secretservicetest.Service
	admin   string   // the administrator's kubeconfig
	more    []string // further variables
}

// newMachine makes one on which nothing is set up. At the end nothing in its files may be a secret.
func newMachine(t *testing.T) *machine {
	t.Helper()
	m := &machine{T: t, home: t.TempDir(), service: secretservicetest.New(t), admin: shared.plane.AdminKubeconfig}
	if err := os.Mkdir(m.path("run"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.noSecretInFiles() })
	return m
}

func (m *machine) path(parts ...string) string {
	return filepath.Join(append([]string{m.home}, parts...)...)
}

// kubeconfig is the user's own, the default of kubectl.
func (m *machine) kubeconfig() string { return m.path(".kube", "config") }

func (m *machine) environment() []string {
	return append([]string{"HOME=" + m.home, "USER=jane", "XDG_RUNTIME_DIR=" + m.path("run"),
		"DBUS_SESSION_BUS_ADDRESS=" + m.service.Address(),
		"PATH=" + filepath.Dir(shared.plugin) + ":" + filepath.Dir(shared.plane.Kubectl) + ":/usr/bin:/bin"}, m.more...)
}

// result is a program that has ended.
type result struct {
	t              *testing.T
	line           string
	stdout, stderr string
	code           int
}

// command prepares a program.
func (m *machine) command(args ...string) *exec.Cmd {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = m.environment()
	cmd.Dir = m.home
	return cmd
}

// start runs a program to its end. What it prints may hold no token, unless a token is what it is for.
func (m *machine) start(stdin string, args ...string) result {
	m.Helper()
	cmd := m.command(args...)
	cmd.Stdin = strings.NewReader(stdin)
	r := finish(m.T, cmd)
	if !slices.Contains(args, "token") { // of kubectl create, or of the program's own
		noSecret(m.T, r.line+" (standard output)", []byte(r.stdout))
	}
	noSecret(m.T, r.line+" (standard error)", []byte(r.stderr))
	return r
}

func finish(t *testing.T, cmd *exec.Cmd) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(hangs, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	err := cmd.Wait()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	line := filepath.Base(cmd.Args[0]) + " " + strings.Join(cmd.Args[1:], " ")
	return result{t: t, line: line, stdout: stdout.String(), stderr: stderr.String(), code: cmd.ProcessState.ExitCode()}
}

// run runs the program under test.
func (m *machine) run(args ...string) result {
	m.Helper()
	return m.start("", append([]string{shared.plugin}, args...)...)
}

// setup runs setup with the administrator's kubeconfig.
func (m *machine) setup(args ...string) result {
	m.Helper()
	return m.run(append([]string{"setup", "--kubeconfig", m.admin}, args...)...)
}

// kubectl runs kubectl as this machine's user does: through the context that is given, in the user's own kubeconfig.
func (m *machine) kubectl(context string, args ...string) result {
	m.Helper()
	return m.start("", append([]string{shared.plane.Kubectl, "--context", context}, args...)...)
}

// asAdmin runs kubectl as the administrator and returns what it printed.
func (m *machine) asAdmin(stdin string, args ...string) string {
	m.Helper()
	r := m.start(stdin, append([]string{shared.plane.Kubectl, "--kubeconfig", shared.plane.AdminKubeconfig}, args...)...)
	return strings.TrimSpace(r.succeeds().stdout)
}

func (r result) succeeds() result {
	r.t.Helper()
	if r.code != 0 {
		r.t.Fatalf("%s: exit code %d\n%s\n%s", r.line, r.code, r.stdout, r.stderr)
	}
	return r
}

// fails expects an exit code and words on standard error, and nothing on standard output.
func (r result) fails(code int, words ...string) result {
	r.t.Helper()
	if r.code != code {
		r.t.Errorf("%s: exit code %d, want %d\n%s\n%s", r.line, r.code, code, r.stdout, r.stderr)
	}
	if r.stdout != "" {
		r.t.Errorf("%s: it failed and printed\n%s", r.line, r.stdout)
	}
	has(r.t, r.line, r.stderr, words...)
	return r
}

// secrets are tokens, plain or once more in base64.
var secrets = regexp.MustCompile(`eyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.|ZXlK[A-Za-z0-9+/]{60,}`)

func noSecret(t *testing.T, where string, data []byte) {
	t.Helper()
	if secrets.Match(data) {
		t.Errorf("there is a token in %s", where)
	}
}

// noSecretInFiles looks into everything that was written below the home folder.
func (m *machine) noSecretInFiles() {
	m.Helper()
	err := filepath.WalkDir(m.home, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		noSecret(m.T, path, data)
		return err
	})
	if err != nil {
		m.Error(err)
	}
}

func (m *machine) write(path, content string) string {
	m.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		m.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		m.Fatal(err)
	}
	return path
}

func (m *machine) read(path string) string {
	m.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		m.Fatal(err)
	}
	return string(data)
}

// profile reads a profile from where the program keeps it.
func (m *machine) profile(name string) lab.Profile {
	m.Helper()
	p, err := lab.LoadProfile(m.path(".config"), name)
	if err != nil {
		m.Fatal(err)
	}
	return p
}

// store is this machine's keyring, as the program sees it.
func (m *machine) store() keyring.Store {
	m.Helper()
	store, err := keyring.Open(context.Background(), keyring.Keyring, keyring.System{Getenv: m.service.Getenv})
	if err != nil {
		m.Fatal(err)
	}
	return store
}

// storeKeys lists what is kept.
func (m *machine) storeKeys() []string {
	m.Helper()
	keys, err := m.store().Keys(context.Background())
	if err != nil {
		m.Fatal(err)
	}
	return keys
}

// kept returns a token out of the store.
func (m *machine) kept(key string) string {
	m.Helper()
	entry, err := m.store().Get(context.Background(), key)
	if err != nil {
		m.Fatal(err)
	}
	return entry.Token.Reveal()
}

// user makes a kubeconfig for somebody with a client certificate.
func (m *machine) user(name string, groups ...string) string {
	m.Helper()
	certificate, err := shared.plane.CA.IssueClientCert(name, groups...)
	if err != nil {
		m.Fatal(err)
	}
	return m.write(m.path("admins", name), string(shared.plane.Kubeconfig(name, certificate)))
}
