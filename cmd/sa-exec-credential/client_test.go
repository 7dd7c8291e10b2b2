//go:build unix

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/sa-exec-credential/sa-exec-credential/internal/execcred"
	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring/filtertest"
	"github.com/sa-exec-credential/sa-exec-credential/internal/ui"
)

// resultSuffix ends the names of the files into which the client puts standard output, the one
// place for tokens.
const resultSuffix = ".result"

// clientMain runs the program as a client does: as its parent, with exec info, and with what a
// kubeconfig sets in exec.env. It checks what is true of every outcome, so that no script has to
// say it:
//
//	client [-exit N] [-times N] [-info TEXT|none] [-cluster none] [-no-keyctl] [-set FIELD=VALUE]... [-env NAME=VALUE]... ARGUMENT...
func clientMain() {
	if err := runClient(); err != nil {
		fmt.Println("client:", err)
		os.Exit(99)
	}
}

type clientFlags struct {
	exit, times   int
	info, cluster string
	noKeyctl      bool // as in a container
	set, env      listFlag
}

type listFlag []string

func (l *listFlag) String() string         { return strings.Join(*l, " ") }
func (l *listFlag) Set(value string) error { *l = append(*l, value); return nil }

func runClient() error {
	var f clientFlags
	flag.IntVar(&f.exit, "exit", 0, "")
	flag.IntVar(&f.times, "times", 1, "")
	flag.StringVar(&f.info, "info", "", "")
	flag.StringVar(&f.cluster, "cluster", "", "")
	flag.BoolVar(&f.noKeyctl, "no-keyctl", false, "")
	flag.Var(&f.set, "set", "")
	flag.Var(&f.env, "env", "")
	flag.Parse()
	info, err := f.execInfo()
	if err != nil {
		return err
	}
	environ := append(os.Environ(), f.env...)
	if f.info != "none" {
		environ = append(environ, execcred.EnvironmentVariable+"="+info)
	}
	if f.noKeyctl {
		if err := filtertest.RefuseKeyctl(syscall.EPERM); err != nil {
			return err
		}
	}
	for range f.times {
		if err := runOnce(f, environ, flag.Args()); err != nil {
			return err
		}
	}
	return nil
}

// execInfo is the cluster that the script's server is, with the fields that the script sets.
func (f clientFlags) execInfo() (string, error) {
	if f.info != "" {
		return f.info, nil
	}
	data, err := os.ReadFile(filepath.Join(os.Getenv("WORK"), "cluster.json"))
	if err != nil {
		return "", err
	}
	cluster := map[string]any{}
	if err := json.Unmarshal(data, &cluster); err != nil {
		return "", err
	}
	for _, setting := range f.set {
		name, value, _ := strings.Cut(setting, "=")
		cluster[name] = value
		switch {
		case value == "true":
			cluster[name] = true
		case strings.HasPrefix(value, "{"):
			cluster[name] = json.RawMessage(value)
		}
	}
	spec := map[string]any{"interactive": false, "cluster": cluster}
	if f.cluster == "none" {
		delete(spec, "cluster")
	}
	encoded, err := json.Marshal(map[string]any{"apiVersion": execcred.V1,
		"kind": "ExecCredential", "spec": spec})
	return string(encoded), err
}

func runOnce(f clientFlags, environ, arguments []string) error {
	var stdout, stderr bytes.Buffer
	command := exec.Command(ui.Program, arguments...)
	command.Env, command.Stdout, command.Stderr = environ, &stdout, &stderr
	err := command.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return err
	}
	if err := keep(stdout.Bytes(), stderr.Bytes()); err != nil {
		return err
	}
	fmt.Fprint(os.Stderr, stderr.String())
	if code := command.ProcessState.ExitCode(); code != f.exit {
		return fmt.Errorf("exit code %d, not %d", code, f.exit)
	}
	if f.exit != 0 {
		return checkFailure(stdout.String(), stderr.String())
	}
	return checkSuccess(f, arguments, stdout.String())
}

// keep writes what was printed to files, for the scan.
func keep(stdout, stderr []byte) error {
	for suffix, text := range map[string][]byte{resultSuffix: stdout, ".Stderr": stderr} {
		file, err := os.CreateTemp(os.Getenv("WORK"), "output-*"+suffix)
		if err != nil {
			return err
		}
		if _, err := file.Write(text); err != nil {
			return err
		}
		if err := file.Close(); err != nil {
			return err
		}
	}
	return nil
}

// checkFailure holds for every failure: nothing on standard output, one error, one hint.
func checkFailure(stdout, stderr string) error {
	lines := strings.Split(strings.TrimSuffix(stderr, "\n"), "\n")
	errorLine, hintLine := ui.Program+": error: ", ui.Program+": hint: "
	switch {
	case stdout != "":
		return errors.New("it failed and printed a result")
	case strings.Count(stderr, errorLine) != 1 || strings.Count(stderr, hintLine) != 1:
		return fmt.Errorf("not one error and one hint: %q", stderr)
	case !strings.HasPrefix(lines[len(lines)-2], errorLine) ||
		!strings.HasPrefix(lines[len(lines)-1], hintLine):
		return fmt.Errorf("not an error and then a hint: %q", stderr)
	case strings.ContainsFunc(stderr, func(r rune) bool {
		return r < ' ' && r != '\n' ||
			r == 0x7f
	}):
		return fmt.Errorf("control characters: %q", stderr)
	}
	return nil
}

// checkSuccess shows what a get answered, without its token.
func checkSuccess(f clientFlags, arguments []string, stdout string) error {
	if len(arguments) == 0 || arguments[0] != "get" {
		fmt.Print(stdout)
		return nil
	}
	var answer struct {
		APIVersion string
		Kind       string
		Status     struct{ Token, ExpirationTimestamp string }
	}
	if err := json.Unmarshal([]byte(stdout), &answer); err != nil || strings.Count(stdout,
		"\n") != 1 {
		return fmt.Errorf("not one line of JSON: %v", err)
	}
	fmt.Printf("%s %s token %s expires %v\n", answer.APIVersion, answer.Kind,
		tokenName(answer.Status.Token), answer.Status.ExpirationTimestamp != "")
	return nil
}
