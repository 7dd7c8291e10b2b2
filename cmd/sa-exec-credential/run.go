package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/sa-exec-credential/sa-exec-credential/internal/advice"
	"github.com/sa-exec-credential/sa-exec-credential/internal/call"
	"github.com/sa-exec-credential/sa-exec-credential/internal/commandline"
	"github.com/sa-exec-credential/sa-exec-credential/internal/host"
	"github.com/sa-exec-credential/sa-exec-credential/internal/invitation"
	"github.com/sa-exec-credential/sa-exec-credential/internal/manual"
	"github.com/sa-exec-credential/sa-exec-credential/internal/parallel"
	"github.com/sa-exec-credential/sa-exec-credential/internal/prepare"
	"github.com/sa-exec-credential/sa-exec-credential/internal/ui"
)

const description = "A credential plugin for kubectl and every other client-go program: mints " +
	"short-lived " +
	"ServiceAccount tokens on demand and keeps them in the operating system's keyring."

// command is one of the grammar's, whose flags have been read.
type command interface {
	Run(context.Context, *host.Host) error
}

// grammar is the command line. One file a command holds its flags and its Run.
type grammar struct {
	Verbose bool `short:"v" help:"Say on standard error what is being done."`
	Version bool `help:"Print the version."`

	Setup      setupCommand      `cmd:"" help:"Prepare a service account, a profile and a kubeconfig context, and prove that it works."`
	Invite     inviteCommand     `cmd:"" help:"Prepare the cluster for another machine, and print an invitation for it."`
	Join       joinCommand       `cmd:"" help:"Take an invitation: a profile, a bootstrap credential and a kubeconfig context for this machine."`
	Token      tokenCommand      `cmd:"" help:"Print the bare token, for curl or a script."`
	Status     statusCommand     `cmd:"" help:"List the profiles and what is kept for them."`
	Logout     logoutCommand     `cmd:"" help:"Forget cached tokens."`
	Get        getCommand        `cmd:"" help:"Print an ExecCredential; called by kubectl and other clients."`
	Kubeconfig kubeconfigCommand `cmd:"" help:"Print a kubeconfig for a profile, or merge its context into one."`
	Rotate     rotateCommand     `cmd:"" help:"Replace this machine's device and bootstrap credential, and end the old ones."`
	Renew      renewCommand      `cmd:"" help:"Renew the bootstrap credentials and tokens that are due; for a timer."`
	Revoke     revokeCommand     `cmd:"" help:"End this machine's tokens, or another's, in the cluster, and forget them here."`
	Forget     forgetCommand     `cmd:"" help:"Remove a profile, its secrets and its contexts from this machine; no cluster is asked."`
	Uninstall  uninstallCommand  `cmd:"" help:"Remove from the cluster all that setup created for a service account, and what is left of it here."`
	Devices    devicesCommand    `cmd:"" help:"List the machines that can mint for a service account."`
	Migrate    migrateCommand    `cmd:"" help:"Turn a context with a service account's token into one that mints its own."`
	Doctor     doctorCommand     `cmd:"" help:"Check everything that can be wrong, and name what fixes it."`

	CopyBinary  copyBinaryCommand `cmd:"" name:"copy-binary" help:"Copy this program into a directory; for the init container of an image that lacks it."`
	ShowVersion versionCommand    `cmd:"" name:"version" help:"Print the version."`
	Completion  completionCommand `cmd:"" help:"Print a script that completes commands in a shell."`
	Complete    completeCommand   `cmd:"" name:"__complete" hidden:"" passthrough:""`
	Man         manCommand        `cmd:"" hidden:""`
}

// run executes one command and returns the exit code.
func run(args []string, h *host.Host) (code int) {
	defer func() {
		if r := recover(); r != nil {
			origin := parallel.PanicOrigin()
			if elsewhere, ok := r.(parallel.Panic); ok {
				origin = string(elsewhere)
			}
			h.Log.Failure(fmt.Errorf("internal error: panic in %s", origin),
				"please report it as a bug")
			code = exitUnexpected
		}
	}()
	operation, err := execute(args, h)
	if err == nil {
		return exitDone
	}
	if code := silentExit(0); errors.As(err, &code) {
		return int(code)
	}
	code, hint := explain(advice.Situation{Host: h, Operation: operation, Args: args}, err)
	h.Log.Failure(h.Located(err), hint)
	return code
}

// silentExit ends the program with a code after everything has been said.
type silentExit int

// Error implements error.
func (s silentExit) Error() string { return fmt.Sprintf("exit code %d", int(s)) }

// execute runs the command line. operation is the command's name, for the hint that an error gets.
func execute(args []string, h *host.Host) (operation string, err error) {
	if err := host.CheckDescriptors(); err != nil {
		return "", err
	}
	if name, ok := call.PlainGet(args); ok {
		// Nothing has to be cleaned up when this one is ended, so signals keep their
		// default effect.
		get := getCommand{Profile: name}
		return "get", get.Run(context.Background(), h)
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return parseAndRun(ctx, args, h)
}

func parseAndRun(ctx context.Context, args []string, h *host.Host) (operation string, err error) {
	h.Log.OnTerminal(h.Stdout, h.Getenv)
	cli := grammar{}
	parser, err := kong.New(&cli, kong.Name(ui.CommandLine(ui.Program)), kong.Description(description),
		kong.Help(helpWithExamples), kong.Writers(h.Stdout, h.Stderr),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}))
	if err != nil {
		return "", fmt.Errorf("building the command line: %w", err)
	}
	cli.Complete.program, cli.Man.program = parser.Model.Node, parser.Model.Node
	parsed, asked, err := commandline.Parse(parser, args, "help", "version")
	switch {
	case err != nil:
		return "", usageOf(parser, args, err)
	case asked == "help":
		return "", parsed.PrintUsage(false)
	case asked == "version":
		return "", (&versionCommand{Output: "text"}).Run(ctx, h)
	}
	h.Log.Verbose = cli.Verbose
	operation, _, _ = strings.Cut(parsed.Command(), " ")
	if h.CalledByClient() && operation != "get" && operation != "version" {
		return operation, fmt.Errorf("%w, not %q", errNotForClients, operation)
	}
	return operation, parsed.Selected().Target.Addr().Interface().(command).Run(ctx, h)
}

// errNotForClients keeps a kubeconfig from running more than it is for: setup, for example, would
// do what nobody has agreed to.
var errNotForClients = errors.New("a kubeconfig can only run get")

// usageError names the command whose --help says more.
type usageError struct {
	error
	command string
}

// Unwrap makes it a ui.ErrUsage.
func (usageError) Unwrap() error { return ui.ErrUsage }

// usageOf says what is wrong with a command line as kubectl does: an unknown command is called one.
func usageOf(parser *kong.Kong, args []string, err error) error {
	command := ""
	if strings.Contains(strings.Join(args, " "), invitation.Armour) { // a secret, which err quotes
		return usageError{prepare.ErrNoArgument, "join"}
	}
	for _, arg := range args {
		if strings.HasPrefix(arg, "-") {
			continue
		}
		for _, child := range parser.Model.Children {
			if child.Name == arg && !child.Hidden {
				command = arg
			}
		}
		if command == "" && strings.Contains(err.Error(), "unexpected argument "+arg) {
			err = fmt.Errorf("unknown command %q", arg)
		}
		break
	}
	return usageError{err, command}
}

// helpWithExamples is kong's help, with examples at its end.
func helpWithExamples(options kong.HelpOptions, ctx *kong.Context) error {
	if err := kong.DefaultHelpPrinter(options, ctx); err != nil {
		return err
	}
	name := ui.Program
	if selected := ctx.Selected(); selected != nil {
		name = selected.Name
	}
	if list := manual.Examples(name); len(list) > 0 {
		_, err := fmt.Fprintf(ctx.Stdout, "\nExamples:\n  %s\n",
			strings.ReplaceAll(ui.AsTyped(strings.Join(list, "\n")), "\n", "\n  "))
		return err
	}
	return nil
}
