//go:build unix

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/execcred"
	"github.com/sa-exec-credential/sa-exec-credential/internal/host"
	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
	"github.com/sa-exec-credential/sa-exec-credential/internal/ui"
)

// panicToken is what the pod of the test has mounted, and what every panic is raised with: good
// until the year 2100.
const panicToken = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJzeXN0ZW06c2VydmljZWFjY291bnQ6YnVpbGQ6Y2kiLCJleHAiOjQxMDI0NDQ4MDB9.c2lnbmF0dXJlLXNpZ25hdHVyZQ"

// calledInPod is the environment of a get in a pod, which has its token from a file and asks no
// server.
func calledInPod(t *testing.T) *host.Host {
	t.Helper()
	home := t.TempDir()
	if err := os.WriteFile(filepath.Join(home, "token"), []byte(panicToken),
		0o600); err != nil {
		t.Fatal(err)
	}
	variables := host.Snapshot([]string{"HOME=" + home, execcred.EnvironmentVariable +
		`={"apiVersion":"client.authentication.k8s.io/v1",` +
		`"kind":"ExecCredential","spec":{"cluster":{"server":"https://127.0.0.1:1"}}}`})
	env := host.System()
	env.Variables, env.MountedDir = variables, home
	env.ClientVariables = func() host.Variables { return variables }
	env.UserHome = func() (string, error) { return "", host.ErrNoHome }
	folder, err := env.Profiles()
	if err := errors.Join(err, env.CreateConfigDir()); err != nil {
		t.Fatal(err)
	}
	p := profile.Profile{Name: "p", Cluster: profile.Cluster{Server: "https://127.0.0.1:1"},
		Namespace: "build", ServiceAccount: "ci",
		Duration: profile.Duration{Duration: time.Hour}, Store: keyring.None,
		Bootstrap: profile.Bootstrap{Source: profile.SourceInCluster}}
	if err := folder.Save(p); err != nil {
		t.Fatal(err)
	}
	return env
}

// panickingStore has a token that nobody gets.
type panickingStore struct{ keyring.Store }

func (panickingStore) Get(context.Context, string) (keyring.Entry, error) { panic(panicToken) }

func openPanicking(ctx context.Context, kind keyring.Kind, system keyring.System) (keyring.Store,
	error) {
	store, err := keyring.Open(ctx, kind, system)
	return panickingStore{store}, err
}

// panickingWriter is a standard output that nothing comes through.
type panickingWriter struct{}

func (panickingWriter) Write(p []byte) (int, error) { panic(string(p)) }

// raises and the like take the place of a function of the environment.
func raises[T any]() T            { panic(panicToken) }
func raisesToo[T, U any]() (T, U) { panic(panicToken) }
func raisesError[T any]() T       { panic(fmt.Errorf("minting: %w", errors.New(panicToken))) }

// breakages are the ways in which what the program uses of its process can go wrong, by their
// names in the environment.
var breakages = map[string]func(*host.Host){
	"lookupEnv": func(e *host.Host) {
		e.Variables = func(string) (string,
			bool) {
			panic(panicToken)
		}
	},
	"clientEnv": func(e *host.Host) { e.ClientVariables = raises },
	"home":      func(e *host.Host) { e.UserHome = raisesToo },
	"now":       func(e *host.Host) { e.Now = raises },
	"caller":    func(e *host.Host) { e.Caller = raises },
	"openStore": func(e *host.Host) {
		e.OpenStore = func(context.Context, keyring.Kind, keyring.System) (keyring.Store,
			error) {
			panic(panicToken)
		}
	},
	"hostname":       func(e *host.Host) { e.Hostname = raisesToo },
	"stdout":         func(e *host.Host) { e.Stdout = panickingWriter{} },
	"a store":        func(e *host.Host) { e.OpenStore = openPanicking },
	"with an error":  func(e *host.Host) { e.Now = raisesError },
	"of the runtime": func(e *host.Host) { e.Caller = nil },
}

// waysToGet are the command lines of a get: that of a kubeconfig, which is recognised, and one
// that is parsed.
var waysToGet = [][]string{{"get", "--profile", "p"}, {"get", "--profile=p"}, {"-v", "get",
	"--profile", "p"}}

func TestAPanicIsOneErrorWithoutWhatItWasRaisedWith(t *testing.T) {
	for name, breaks := range breakages {
		for _, args := range waysToGet {
			t.Run(name+", "+strings.Join(args, " "), func(t *testing.T) {
				env := calledInPod(t)
				var stdout, stderr bytes.Buffer
				env.Stdout, env.Stderr, env.Log = &stdout, &stderr,
					&ui.Log{Out: &stderr}
				breaks(env)
				if code := run(args, env); code != exitUnexpected {
					t.Errorf("exit code %d", code)
				}
				checkPanic(t, stdout.String(), stderr.String())
			})
		}
	}
}

var panicForm = regexp.MustCompile(`^sa-exec-credential: error: internal error: panic in \S+:\d+\nsa-exec-credential: hint: [^\n]+\n$`)

// checkPanic looks for one error and one hint, after what -v has said before, and for any part of
// the token.
func checkPanic(t *testing.T, stdout, stderr string) {
	t.Helper()
	if stdout != "" {
		t.Errorf("standard output is not empty: %d bytes", len(stdout))
	}
	lines := slices.DeleteFunc(strings.SplitAfter(stderr, "\n"), func(line string) bool {
		return strings.HasPrefix(line, ui.Program+": debug: ")
	})
	if said := strings.Join(lines, ""); !panicForm.MatchString(said) {
		t.Errorf("not one error and one hint: %q", said)
	}
	for part := range strings.SplitSeq(panicToken, ".") {
		if strings.Contains(stderr, part) {
			t.Errorf("standard error holds a part of the token: %q", stderr)
		}
	}
}

// TestWithoutAPanicTheSameGetWorks makes sure that it is the panics that fail, and that they come
// where a token is in memory.
func TestWithoutAPanicTheSameGetWorks(t *testing.T) {
	for _, args := range waysToGet {
		env := calledInPod(t)
		var stdout bytes.Buffer
		env.Stdout, env.Stderr, env.Log = &stdout, io.Discard, &ui.Log{Out: io.Discard}
		if code := run(args, env); code != exitDone || !strings.Contains(stdout.String(),
			panicToken) {
			t.Errorf("%q: exit code %d, %d bytes", args, code, stdout.Len())
		}
	}
}
