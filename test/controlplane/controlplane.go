// Package controlplane runs a real Kubernetes control plane for a test: etcd,
// kube-apiserver, optionally kube-controller-manager, on loopback, with
// certificates and keys made for this one run and all state in one folder.
//
// It starts the programs that test/build puts into test/bin and speaks to them
// over their public interfaces only. It may not import anything of Kubernetes:
// it has to compile in a second, not in five minutes.
package controlplane

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// Options say what to start and where. The zero value is a control plane
// without controllers, in a folder of its own below the system's temporary one.
type Options struct {
	// Dir is the folder for all state. It is made when absent, must be empty
	// otherwise, and is gone after Stop. Empty means a new temporary folder.
	Dir string

	// Bin is the folder of the programs. Empty means "../bin", where the tests
	// of a package directly below test/ find them.
	Bin string

	// ControllerManager starts kube-controller-manager too. Without it there are
	// no default service accounts, legacy token Secrets stay empty, namespaces
	// are never finally deleted, and view, edit and admin grant nothing.
	ControllerManager bool

	// APIServerArgs come after our own; of a flag given twice the last counts.
	APIServerArgs []string

	// Environment is all that the programs find of one, as NAME=VALUE.
	Environment []string

	// Log gets a line for each step. Nil means none. What the programs
	// themselves log is in Dir/log.
	Log io.Writer
}

// ControlPlane is a running control plane. Its methods are not meant to be
// called at the same time, AuditEvents and WaitForRoles excepted.
type ControlPlane struct {
	// Server is the API server's URL, the same over its restarts.
	Server string

	// CA signed the API server's certificate, and the API server trusts it for
	// client certificates. CAFile and CAPEM are its certificate.
	CA     *Authority
	CAFile string
	CAPEM  []byte

	// AdminKubeconfig is the path of a kubeconfig for a member of system:masters.
	AdminKubeconfig string

	// Kubectl is the path of a kubectl of the same version.
	Kubectl string

	// AuditLog is the path of the API server's audit log: a JSON event a line.
	AuditLog string

	audited audited
	options Options
	port    *reservedPort
	admin   *http.Client
	starter *starter

	etcd, apiServer, controllerManager *process
}

// Start returns when the API server says that it is ready. ctx bounds the start,
// not the life of what is started: that ends with Stop or, on Linux, with the
// calling process, however it dies.
func Start(ctx context.Context, o Options) (_ *ControlPlane, err error) {
	if o, err = o.complete(); err != nil {
		return nil, err
	}
	c := &ControlPlane{options: o, starter: newStarter(o.Environment)}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.Stop())
		}
	}()
	if err := c.prepare(); err != nil {
		return nil, err
	}
	if err := c.startEtcd(ctx); err != nil {
		return nil, err
	}
	if err := c.StartAPIServer(ctx); err != nil {
		return nil, err
	}
	if o.ControllerManager {
		if err := c.startControllerManager(); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// Stop ends every process, waits for each and removes the state. It may be
// called again, and does nothing then; nothing can be started any more. A plane
// that was attached to goes on.
func (c *ControlPlane) Stop() error {
	if c.starter == nil {
		return nil
	}
	for _, p := range []*process{c.controllerManager, c.apiServer, c.etcd} {
		p.kill()
	}
	c.starter.close()
	c.port.release()
	if err := os.RemoveAll(c.options.Dir); err != nil {
		return fmt.Errorf("removing the control plane's state: %w", err)
	}
	return nil
}

// complete fills in the defaults, makes every path absolute, because the
// programs run in a folder of their own, and checks what can be checked early.
func (o Options) complete() (Options, error) {
	if o.Bin == "" {
		o.Bin = filepath.Join("..", "bin")
	}
	if o.Log == nil {
		o.Log = io.Discard
	}
	var err error
	if o.Bin, err = filepath.Abs(o.Bin); err != nil {
		return o, err
	}
	if err := o.checkPrograms(); err != nil {
		return o, err
	}
	o.Dir, err = stateFolder(o.Dir)
	return o, err
}

func (o Options) checkPrograms() error {
	programs := []string{"etcd", "kube-apiserver", "kubectl"}
	if o.ControllerManager {
		programs = append(programs, "kube-controller-manager")
	}
	for _, name := range programs {
		if _, err := os.Stat(filepath.Join(o.Bin, name)); err != nil {
			return fmt.Errorf("looking for the control plane's programs: %w: run "+
				"test/build first", err)
		}
	}
	return nil
}

// stateFolder returns the absolute path of an empty folder. Whatever is in it
// later is ours, so Stop can remove it without a doubt.
func stateFolder(dir string) (string, error) {
	if dir == "" {
		return os.MkdirTemp("", "control-plane-")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", err
	}
	if len(entries) > 0 {
		return "", fmt.Errorf("folder for the control plane's state %q is not empty", dir)
	}
	return dir, nil
}

// prepare writes every file that the programs read, and takes a port.
func (c *ControlPlane) prepare() (err error) {
	if err := os.MkdirAll(c.path("log"), 0o700); err != nil {
		return err
	}
	if c.port, err = reservePort(); err != nil {
		return fmt.Errorf("reserving a port for the API server: %w", err)
	}
	c.Server = fmt.Sprintf("https://127.0.0.1:%d", c.port.number)
	c.Kubectl = filepath.Join(c.options.Bin, "kubectl")
	c.AuditLog = c.path(auditLog)
	if err := c.writeCertificates(); err != nil {
		return fmt.Errorf("making certificates: %w", err)
	}
	if err := c.writeServiceAccountKeys(); err != nil {
		return fmt.Errorf("making service account keys: %w", err)
	}
	return errors.Join(
		os.WriteFile(c.path(serverFile), []byte(c.Server), 0o600),
		os.WriteFile(c.path("audit-policy.yaml"), []byte(auditPolicy), 0o600),
	)
}

// Dir is the directory of all state.
func (c *ControlPlane) Dir() string { return c.options.Dir }

// path names a file of the state.
func (c *ControlPlane) path(name string) string { return filepath.Join(c.options.Dir, name) }

// start starts a program of Bin by its name.
func (c *ControlPlane) start(name string, args []string) (*process, error) {
	c.logf("starting %s", name)
	return c.starter.start(program{
		name: name,
		path: filepath.Join(c.options.Bin, name),
		args: args,
		dir:  c.options.Dir,
		log:  c.path(filepath.Join("log", name+".log")),
	})
}

func (c *ControlPlane) logf(format string, args ...any) {
	fmt.Fprintf(c.options.Log, format+"\n", args...)
}

// poll calls ready until it says so, p ends or ctx does. p may be nil.
func poll(ctx context.Context, p *process, ready func() bool) error {
	const interval = 50 * time.Millisecond
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for !ready() {
		select {
		case <-p.ended():
			return p.failure()
		case <-ctx.Done():
			return errors.Join(context.Cause(ctx), p.failure())
		case <-ticker.C:
		}
	}
	return nil
}
