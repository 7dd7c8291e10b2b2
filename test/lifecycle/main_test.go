//go:build linux

// Package lifecycle_test runs the built program on a real control plane, with a real Secret Service: what happens to a
// profile after setup, and to a static token that becomes one.
package lifecycle_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring/secretservicetest"
	"github.com/sa-exec-credential/sa-exec-credential/test/controlplane"
)

// patience bounds every wait for the control plane.
const patience = 60 * time.Second

// maxLifetime is what the API server grants at most. It is more than setup asks for by itself.
const maxLifetime = "2880000s" // 800h

// plane is a control plane and a Secret Service that all tests share. Each test has a home and a namespace of its own.
type plane struct {
	*controlplane.ControlPlane
	secrets *secretservicetest.Service
	program string // absolute path
}

func TestLifecycle(t *testing.T) {
	program, err := filepath.Abs(cmp.Or(os.Getenv("SA_EXEC_CREDENTIAL"), "../../bin/sa-exec-credential"))
	if err == nil {
		_, err = os.Stat(program)
	}
	if err != nil {
		t.Fatalf("looking for the program: %v: run make build first", err)
	}
	c, err := controlplane.Start(t.Context(), controlplane.Options{ControllerManager: true,
		APIServerArgs: []string{"--service-account-max-token-expiration=" + maxLifetime}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	})
	if err := c.WaitForRoles(t.Context()); err != nil {
		t.Fatal(err)
	}
	p := plane{ControlPlane: c, secrets: secretservicetest.New(t), program: program}
	t.Run("doctor", func(t *testing.T) { p.runAll(t, doctorTests()) })
	t.Run("migrate", func(t *testing.T) { p.runAll(t, migrateTests()) })
}

func (p plane) runAll(t *testing.T, tests map[string]func(*person)) {
	for name, test := range tests {
		t.Run(name, func(t *testing.T) { test(p.person(t)) })
	}
}

// person is somebody at a machine of their own, with an administrator's kubeconfig beside their own, empty one.
type person struct {
	*testing.T
	plane
	home      string
	admin     string // the administrator's kubeconfig
	own       string // the kubeconfig that kubectl reads by itself
	namespace string
	bus       string // address of the session bus
}

func (p plane) person(t *testing.T) *person {
	home := t.TempDir()
	for _, folder := range []string{".kube", "run", "path"} {
		if err := os.Mkdir(filepath.Join(home, folder), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	q := &person{T: t, plane: p, home: home, admin: filepath.Join(home, "admin.kubeconfig"),
		own: filepath.Join(home, ".kube", "config"), bus: p.secrets.Address()}
	q.namespace = strings.Trim(regexp.MustCompile(`[^a-z0-9]+`).ReplaceAllString(strings.ToLower(filepath.Base(t.Name())), "-"), "-")
	if len(q.namespace) > 40 {
		q.namespace = strings.Trim(q.namespace[:40], "-")
	}
	q.write(q.admin, q.read(p.AdminKubeconfig))
	for name, target := range map[string]string{"sa-exec-credential": p.program, "kubectl": p.Kubectl} {
		if err := os.Symlink(target, filepath.Join(home, "path", name)); err != nil {
			t.Fatal(err)
		}
	}
	return q
}

func (p *person) environment() []string {
	return []string{"HOME=" + p.home, "XDG_CONFIG_HOME=" + p.home + "/.config", "XDG_CACHE_HOME=" + p.home + "/.cache",
		"XDG_RUNTIME_DIR=" + p.home + "/run", "DBUS_SESSION_BUS_ADDRESS=" + p.bus, "USER=jane",
		"PATH=" + p.home + "/path:" + os.Getenv("PATH")}
}

// outcome is what a command printed and how it ended.
type outcome struct {
	stdout, stderr string
	code           int
}

// run runs a command as the person would, and makes sure that it prints no token.
func (p *person) run(name string, args ...string) outcome {
	p.Helper()
	command := exec.CommandContext(p.Context(), name, args...)
	command.Env = p.environment()
	command.Dir = p.home
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = &stdout, &stderr
	err := command.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		p.Fatal(err)
	}
	return outcome{stdout.String(), stderr.String(), command.ProcessState.ExitCode()}
}

var tokenPattern = regexp.MustCompile(`eyJ[A-Za-z0-9_-]+\.eyJ`)

// plugin runs the program.
func (p *person) plugin(args ...string) outcome {
	p.Helper()
	out := p.run(filepath.Join(p.home, "path", "sa-exec-credential"), args...)
	if tokenPattern.MatchString(out.stdout + out.stderr) {
		p.Errorf("%v printed a token", args)
	}
	return out
}

// must is plugin for what has to succeed.
func (p *person) must(args ...string) outcome {
	p.Helper()
	out := p.plugin(args...)
	if out.code != 0 {
		p.Fatalf("%v: exit code %d\n%s%s", args, out.code, out.stdout, out.stderr)
	}
	return out
}

// shell types a line as it stands.
func (p *person) shell(line string) {
	p.Helper()
	if out := p.run("/bin/sh", "-c", line); out.code != 0 {
		p.Fatalf("%s: exit code %d\n%s%s", line, out.code, out.stdout, out.stderr)
	}
}

// asAdmin runs kubectl with the administrator's kubeconfig.
func (p *person) asAdmin(args ...string) string {
	p.Helper()
	return p.kubectl(append([]string{"--kubeconfig", p.AdminKubeconfig}, args...)...)
}

func (p *person) kubectl(args ...string) string {
	p.Helper()
	out := p.run(p.Kubectl, args...)
	if out.code != 0 {
		p.Fatalf("kubectl %v: exit code %d\n%s%s", args, out.code, out.stdout, out.stderr)
	}
	return strings.TrimSpace(out.stdout)
}

// whoAmI asks the API server whom a context stands for.
func (p *person) whoAmI(kubeconfig, context string) string {
	p.Helper()
	return p.kubectl("--kubeconfig", kubeconfig, "--context", context, "auth", "whoami", "-o", "jsonpath={.status.userInfo.username}")
}

// eventually waits for what the control plane takes a moment to do.
func (p *person) eventually(what string, done func() bool) {
	p.Helper()
	ctx, cancel := context.WithTimeout(p.Context(), patience)
	defer cancel()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-ctx.Done():
			p.Fatalf("waited %v in vain until %s", patience, what)
		case <-tick.C:
		}
	}
}

func (p *person) read(path string) []byte {
	p.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		p.Fatal(err)
	}
	return data
}

func (p *person) write(path string, data []byte) {
	p.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		p.Fatal(err)
	}
}

// replace changes text in a file that holds it.
func (p *person) replace(path, old, changed string) {
	p.Helper()
	data := string(p.read(path))
	if !strings.Contains(data, old) {
		p.Fatalf("%q does not hold %q:\n%s", path, old, data)
	}
	p.write(path, []byte(strings.ReplaceAll(data, old, changed)))
}

// filesWith lists the person's files that hold text.
func (p *person) filesWith(text string) []string {
	p.Helper()
	var found []string
	err := filepath.WalkDir(p.home, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		if bytes.Contains(p.read(path), []byte(text)) {
			found = append(found, path)
		}
		return nil
	})
	if err != nil {
		p.Fatal(err)
	}
	return found
}
