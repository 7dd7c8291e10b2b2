package controlplane

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// startLimit is how long a program may take to be ready: a hundred times what it
// takes on an idle machine.
const startLimit = 4 * time.Minute

// MaxTokenLifetime is the longest that the API server grants, as managed clusters
// limit it too. It is more than setup asks for by itself.
const MaxTokenLifetime = 800 * time.Hour

// etcdSocket is relative to the state folder, where etcd and the API server run:
// the kernel takes some hundred bytes for a socket's path, and a test's
// temporary folder can be longer. There being no TCP port, no other user of the
// machine can read the cluster's Secrets either.
const etcdSocket = "unix://etcd.sock"

func (c *ControlPlane) startEtcd(ctx context.Context) (err error) {
	if c.etcd, err = c.start("etcd", etcdArgs()); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	return poll(ctx, c.etcd, func() bool {
		_, err := os.Stat(c.path("etcd.sock"))
		return err == nil
	})
}

// etcdArgs make a single member, which elects itself at once, write without
// waiting for the disk: the data need not survive the machine.
func etcdArgs() []string {
	// There are no peers, and the API server does not look at what is advertised,
	// but etcd insists on both, and on a port in them: here a part of the
	// socket's name.
	const peer = "unix://etcd-peer.sock:1"
	return []string{
		"--name=test",
		"--data-dir=etcd",
		"--listen-client-urls=" + etcdSocket,
		"--advertise-client-urls=" + peer,
		"--listen-peer-urls=" + peer,
		"--initial-advertise-peer-urls=" + peer,
		"--initial-cluster=test=" + peer,
		"--unsafe-no-fsync",
		"--log-level=warn",
	}
}

// StartAPIServer starts the API server, on the port and with the certificates
// and keys that it had before, and returns when it is ready. One that runs is
// ended first: two could share the port.
func (c *ControlPlane) StartAPIServer(ctx context.Context) (err error) {
	c.apiServer.kill()
	began := time.Now()
	if c.apiServer, err = c.start("kube-apiserver", append(c.apiServerArgs(),
		c.options.APIServerArgs...)); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	err = poll(ctx, c.apiServer, func() bool {
		_, err := c.get(ctx, "/readyz")
		return err == nil
	})
	if err != nil {
		return err
	}
	c.logf("kube-apiserver is ready at %s after %.1f s", c.Server, time.Since(began).Seconds())
	return nil
}

// StopAPIServer ends the API server and leaves everything else as it is.
// Connections are refused until StartAPIServer.
func (c *ControlPlane) StopAPIServer() {
	c.logf("stopping kube-apiserver")
	c.apiServer.kill()
}

func (c *ControlPlane) apiServerArgs() []string {
	return []string{
		"--bind-address=127.0.0.1",
		"--secure-port=" + strconv.Itoa(c.port.number),
		"--permit-port-sharing",
		// Nobody looks for the API server in the cluster. Without these it looks
		// for a default route, and a test machine need not have one.
		"--advertise-address=127.0.0.1",
		"--endpoint-reconciler-type=none",
		"--etcd-servers=" + etcdSocket,
		"--tls-cert-file=" + servingCertFile,
		"--tls-private-key-file=" + servingKeyFile,
		"--client-ca-file=" + caFile,
		"--authorization-mode=Node,RBAC",
		"--service-cluster-ip-range=10.0.0.0/24",
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file=" + serviceAccountPublicKeyFile,
		"--service-account-signing-key-file=" + serviceAccountKeyFile,
		"--service-account-max-token-expiration=" + MaxTokenLifetime.String(),
		"--audit-policy-file=audit-policy.yaml",
		"--audit-log-path=" + c.AuditLog,
		"--audit-log-maxsize=100000", // in MB: it is read to its end
		"--profiling=false",
	}
}

// RotateServiceAccountKeys replaces the keys of the service account issuer and
// restarts what uses them. No token issued before is good afterwards.
func (c *ControlPlane) RotateServiceAccountKeys(ctx context.Context) error {
	c.controllerManager.kill()
	c.StopAPIServer()
	if err := c.writeServiceAccountKeys(); err != nil {
		return fmt.Errorf("making service account keys: %w", err)
	}
	if err := c.StartAPIServer(ctx); err != nil {
		return err
	}
	if c.controllerManager == nil {
		return nil
	}
	return c.startControllerManager()
}

// Rebuild replaces the cluster by an empty one with the same address and
// certificate authority. Nothing that was in it is left, and no token issued
// before is good afterwards.
func (c *ControlPlane) Rebuild(ctx context.Context) error {
	c.controllerManager.kill()
	c.StopAPIServer()
	c.etcd.kill()
	for _, name := range []string{"etcd", "etcd.sock"} {
		if err := os.RemoveAll(c.path(name)); err != nil {
			return fmt.Errorf("removing the old cluster: %w", err)
		}
	}
	if err := c.startEtcd(ctx); err != nil {
		return err
	}
	return c.RotateServiceAccountKeys(ctx)
}

func (c *ControlPlane) startControllerManager() (err error) {
	c.controllerManager, err = c.start("kube-controller-manager", c.controllerManagerArgs())
	return err
}

// controllerManagerArgs leave out all controllers but those whose work a client
// of service accounts sees, and serve nothing. They have their names from before 1.28, which newer
// versions know too.
func (c *ControlPlane) controllerManagerArgs() []string {
	controllers := []string{
		"clusterrole-aggregation",
		"garbagecollector",
		"namespace",
		"root-ca-cert-publisher",
		"serviceaccount",
		"serviceaccount-token",
	}
	return []string{
		"--kubeconfig=" + c.AdminKubeconfig,
		"--controllers=" + strings.Join(controllers, ","),
		"--service-account-private-key-file=" + serviceAccountKeyFile,
		"--root-ca-file=" + caFile,
		"--leader-elect=false",
		"--secure-port=0",
	}
}
