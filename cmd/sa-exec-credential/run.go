package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"
)

const description = "A credential plugin for kubectl and every other client-go program: mints short-lived ServiceAccount " +
	"tokens on demand and keeps them in the operating system's keyring."

// grammar is the command line. One file a command holds its flags and its Run.
type grammar struct {
	Verbose bool `short:"v" help:"Say on standard error what is being done."`

	Setup      setupCommand      `cmd:"" help:"Prepare a service account, a profile and a kubeconfig context, and prove that it works."`
	Token      tokenCommand      `cmd:"" help:"Print the bare token, for curl or a script."`
	Status     statusCommand     `cmd:"" help:"List the profiles and what is kept for them."`
	Logout     logoutCommand     `cmd:"" help:"Forget cached tokens."`
	Get        getCommand        `cmd:"" help:"Print an ExecCredential; called by kubectl and other clients."`
	Kubeconfig kubeconfigCommand `cmd:"" help:"Print a kubeconfig for a profile, or merge its context into one."`
	Rotate     rotateCommand     `cmd:"" help:"Replace the device Secret and the bootstrap credential, and end the old ones."`
	Revoke     revokeCommand     `cmd:"" help:"End this machine's tokens, or another's, in the cluster, and forget them here."`
	Devices    devicesCommand    `cmd:"" help:"List the machines that can mint for a service account."`
	Migrate    migrateCommand    `cmd:"" help:"Turn a context with a service account's token into one that mints its own."`
	Doctor     doctorCommand     `cmd:"" help:"Check everything that can be wrong, and name what mends it."`

	Version    versionCommand    `cmd:"" help:"Print the version."`
	Completion completionCommand `cmd:"" help:"Print a script that completes commands in a shell."`
	Complete   completeCommand   `cmd:"" hidden:"" passthrough:""`
}

// run executes one command and returns the exit code.
func run(args []string, env *environment) (code int) {
	env.log = &logger{out: env.stderr}
	defer func() {
		if r := recover(); r != nil {
			origin := panicOrigin()
			if elsewhere, ok := r.(panicked); ok {
				origin = string(elsewhere)
			}
			env.log.failure(fmt.Errorf("internal error: panic in %s", origin), "please report it as a bug")
			code = exitUnexpected
		}
	}()
	err := execute(args, env)
	if err == nil {
		return exitDone
	}
	if code := silentExit(0); errors.As(err, &code) {
		return int(code)
	}
	env.log.failure(err, hintFor(err))
	return exitCode(err)
}

// panicOrigin names the function that panicked and not the value, which could be anything.
func panicOrigin() string {
	pcs := make([]uintptr, 32)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(3, pcs)])
	for {
		frame, more := frames.Next()
		if !strings.HasPrefix(frame.Function, "runtime.") || !more {
			return fmt.Sprintf("%s:%d", frame.Function, frame.Line)
		}
	}
}

// errUsage is a command line that cannot be understood.
var errUsage = errors.New("usage")

// silentExit ends the program with a code after everything has been said.
type silentExit int

// Error implements error.
func (s silentExit) Error() string { return fmt.Sprintf("exit code %d", int(s)) }

func execute(args []string, env *environment) error {
	if err := checkDescriptors(); err != nil {
		return err
	}
	if get, ok := plainGet(args); ok {
		// Nothing has to be cleaned up when this one is ended, so signals keep their default effect.
		return get.Run(context.Background(), env)
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return parseAndRun(ctx, args, env)
}

// plainGet recognises the arguments that setup writes into kubeconfigs. Building the grammar for them would take a good
// part of the time of a hit, on every call of every client.
func plainGet(args []string) (*getCommand, bool) {
	if len(args) != 3 || args[0] != "get" || args[1] != "--profile" || strings.HasPrefix(args[2], "-") {
		return nil, false
	}
	return &getCommand{Profile: args[2]}, true
}

func parseAndRun(ctx context.Context, args []string, env *environment) error {
	cli := grammar{}
	parser, err := kong.New(&cli, kong.Name(program), kong.Description(description), kong.UsageOnError(),
		kong.Writers(env.stdout, env.stderr), kong.Exit(func(code int) { panic(helpShown(code)) }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}))
	if err != nil {
		return fmt.Errorf("building the command line: %w", err)
	}
	parsed, shown, err := parse(parser, args)
	if shown {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%w: %s", errUsage, err)
	}
	env.log.verbose = cli.Verbose
	if err := env.permit(parsed.Command()); err != nil {
		return err
	}
	parsed.BindTo(ctx, (*context.Context)(nil))
	return parsed.Run(env)
}

// helpShown is how kong's help, which wants to end the process, gets back here.
type helpShown int

func parse(parser *kong.Kong, args []string) (parsed *kong.Context, shown bool, err error) {
	defer func() {
		if r := recover(); r != nil {
			if _, ok := r.(helpShown); !ok {
				panic(r)
			}
			shown = true
		}
	}()
	parsed, err = parser.Parse(args)
	return parsed, false, err
}

// errNotForClients is a kubeconfig that runs another command than get.
var errNotForClients = errors.New("a kubeconfig may only run get")

// permit keeps a kubeconfig from running more than it is for: setup, for example, would do what nobody has agreed to.
func (e *environment) permit(command string) error {
	if e.calledByClient() && command != "get" && command != "version" {
		return fmt.Errorf("%w, not %q", errNotForClients, command)
	}
	return nil
}
