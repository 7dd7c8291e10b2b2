// Command cluster gives a person a real, throw-away Kubernetes control plane on
// loopback: it starts one, prints how to use it, and removes it when told to
// stop. It has no nodes, so pods stay pending. With a command as its arguments it
// runs that on the plane instead, and ends with it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/sa-exec-credential/sa-exec-credential/test/controlplane"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run keeps a cluster until ctx ends, and returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o := controlplane.Options{ControllerManager: true, Log: stderr}
	flags := flag.NewFlagSet("cluster", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&o.Dir, "dir", "", "empty or new `folder` for the state, removed at the "+
		"end (default: a temporary one)")
	flags.StringVar(&o.Bin, "bin", ownFolder(),
		"`folder` with the programs that test/build makes")
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	}
	use := func(c *controlplane.ControlPlane) error { return wait(ctx, c, stdout) }
	if command := flags.Args(); len(command) > 0 {
		use = func(c *controlplane.ControlPlane) error {
			return runOn(ctx, c, command,
				stdout, stderr)
		}
	}
	err := serve(ctx, o, use)
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && exit.Exited() {
		return exit.ExitCode()
	}
	if err != nil {
		fmt.Fprintf(stderr, "cluster: error: %v\n", err)
		return 1
	}
	return 0
}

// serve runs a control plane for as long as use takes.
func serve(ctx context.Context, o controlplane.Options,
	use func(*controlplane.ControlPlane) error) (err error) {
	c, err := controlplane.Start(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Stop()) }()
	if err := c.WaitForRoles(ctx); err != nil {
		return err
	}
	return use(c)
}

// wait prints how to use the control plane and returns when ctx ends.
func wait(ctx context.Context, c *controlplane.ControlPlane, stdout io.Writer) error {
	_, err := fmt.Fprintf(stdout, instructions, c.Server, c.AdminKubeconfig, c.Kubectl,
		c.AuditLog)
	if err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

// runOn runs a command that finds the control plane in its environment.
func runOn(ctx context.Context, c *controlplane.ControlPlane, command []string, stdout,
	stderr io.Writer) error {
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Env = append(os.Environ(), controlplane.DirVariable+"="+c.Dir(),
		"KUBECONFIG="+c.AdminKubeconfig)
	cmd.Stdout, cmd.Stderr = stdout, stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	return cmd.Run()
}

// instructions can be evaluated by a shell: all but the export is comment.
const instructions = `# A cluster is running at %s. Press Ctrl-C here to stop and remove it.
# In another terminal:
export KUBECONFIG='%s'
# kubectl:   %s
# audit log: %s
`

// ownFolder is where test/build has put the other programs too.
func ownFolder() string {
	path, err := os.Executable()
	if err != nil {
		return ""
	}
	return filepath.Dir(path)
}
