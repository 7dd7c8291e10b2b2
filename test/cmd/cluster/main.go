// Command cluster gives a person a real, throw-away Kubernetes control plane on
// loopback: it starts one, prints how to use it, and removes it when told to
// stop. It has no nodes, so pods stay pending.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
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
	flags.StringVar(&o.Dir, "dir", "", "empty or new `folder` for the state, removed at the end (default: a temporary one)")
	flags.StringVar(&o.Bin, "bin", ownFolder(), "`folder` with the programs that test/build makes")
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	}
	if err := serve(ctx, o, stdout); err != nil {
		fmt.Fprintf(stderr, "cluster: error: %v\n", err)
		return 1
	}
	return 0
}

func serve(ctx context.Context, o controlplane.Options, stdout io.Writer) (err error) {
	c, err := controlplane.Start(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Stop()) }()
	if err := c.WaitForRoles(ctx); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(stdout, instructions, c.Server, c.AdminKubeconfig, c.Kubectl, c.AuditLog); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
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
