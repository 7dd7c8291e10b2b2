package admin

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"k8s.io/client-go/rest"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/sa-exec-credential/sa-exec-credential/internal/host"
	"github.com/sa-exec-credential/sa-exec-credential/internal/kuberc"
	"github.com/sa-exec-credential/sa-exec-credential/internal/ui"
)

const (
	// loginLimit bounds the login of a context's plugin, which may take a person a browser
	// and a second factor.
	loginLimit = 5 * time.Minute
	// loginNotice is how long a login takes before a person is told what is being waited for.
	loginNotice = 2 * time.Second
)

// ErrLogin is a context whose plugin has given no credential.
var ErrLogin = errors.New("not logged in")

// login has the exec plugin of a context, if it has one, give its credential before the first API
// call, whose deadline is far shorter. client-go remembers the credential for every client of this
// process that has the same plugin, and runs the plugin again when it has expired.
func login(ctx context.Context, h *host.Host, name string, config *rest.Config,
	report ui.Report) error {
	if config.ExecProvider == nil {
		return nil
	}
	plugin := config.ExecProvider.DeepCopy() // shared with the kubeconfig that was read
	plugin.StdinUnavailable = !h.IsInteractive()
	config.ExecProvider = plugin
	transport, err := config.TransportConfig()
	if err != nil {
		return fmt.Errorf("%w: context %q: its plugin cannot be used", ErrLogin, name)
	}
	holder := transport.TLS.GetCertHolder
	if holder == nil { // its user has a token or a certificate, which go before a plugin
		return nil
	}
	preferences, err := h.KubercPath()
	if err != nil {
		return err
	}
	if err := kuberc.Check(preferences, plugin.Command, exec.LookPath); err != nil {
		return fmt.Errorf("%w: context %q: %w", ErrLogin, name, err)
	}
	if h.IsInteractive() && plugin.InteractiveMode != clientcmdapi.NeverExecInteractiveMode {
		release, err := h.TakeTerminal(ctx)
		if err != nil {
			return interrupted(name)
		}
		defer release()
	}
	run := func() error {
		_, err := holder.GetCert()
		return err
	}
	return await(ctx, name, run, report)
}

// await returns when the plugin has run, when its time is over, or when a person has had enough.
// What the plugin does after that nobody waits for: client-go has nothing that ends it.
func await(ctx context.Context, name string, run func() error, report ui.Report) error {
	ctx, cancel := context.WithTimeout(ctx, loginLimit)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- run() }()
	notice := time.After(loginNotice)
	for {
		select {
		case err := <-done:
			if err != nil && ctx.Err() == nil {
				return fmt.Errorf("%w: context %q: %s", ErrLogin, name,
					pluginProblem(err))
			}
			return endOf(ctx, name)
		case <-notice:
			report(ui.Login, fmt.Sprintf("waiting for the login of context %q", name))
		case <-ctx.Done():
			return endOf(ctx, name)
		}
	}
}

// endOf says why a login has ended: nil when it has done so by itself.
func endOf(ctx context.Context, name string) error {
	switch ctx.Err() {
	case nil:
		return nil
	case context.DeadlineExceeded:
		return fmt.Errorf("%w: context %q: its plugin took longer than %v", ErrLogin, name,
			loginLimit)
	}
	return interrupted(name)
}

func interrupted(name string) error {
	return fmt.Errorf("%w: context %q: interrupted", ErrLogin, name)
}

// pluginProblem is what client-go says of running a plugin, without the help that it puts below.
// What it says of the output is dropped: it quotes what it cannot read.
func pluginProblem(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	for _, known := range []string{"exec: ", "exec plugin cannot support interactive mode: "} {
		if problem, found := strings.CutPrefix(line, known); found {
			return "its plugin: " + problem
		}
	}
	return "its plugin printed no credential"
}
