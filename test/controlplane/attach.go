package controlplane

import (
	"fmt"
	"os"
	"path/filepath"
)

// DirVariable names the environment variable in which cluster hands the state dir
// of a running control plane to the command that it runs.
const DirVariable = "TEST_CONTROL_PLANE"

// The files of the state that whoever attaches to the plane reads, relative to Dir.
const (
	adminKubeconfig = "admin.kubeconfig"
	auditLog        = "audit.log"
	serverFile      = "server"
)

// Attach returns a control plane that another process has started in dir, ready
// and with its roles filled in. It cannot be stopped, restarted or rebuilt, because
// others use it too.
func Attach(dir, bin string) (*ControlPlane, error) {
	bin, err := filepath.Abs(bin)
	if err != nil {
		return nil, err
	}
	c := &ControlPlane{options: Options{Dir: dir, Bin: bin}, Kubectl: filepath.Join(bin,
		"kubectl")}
	server, err := os.ReadFile(c.path(serverFile))
	if err != nil {
		return nil, fmt.Errorf("attaching to a control plane: %w", err)
	}
	c.Server, c.CAFile, c.AuditLog = string(server), c.path(caFile), c.path(auditLog)
	c.AdminKubeconfig = c.path(adminKubeconfig)
	if c.CA, err = readAuthority(c.CAFile, c.path(caKeyFile)); err != nil {
		return nil, fmt.Errorf("attaching to a control plane: %w", err)
	}
	c.CAPEM = c.CA.PEM
	return c, nil
}
