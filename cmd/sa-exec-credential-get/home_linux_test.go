package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/call"
	"github.com/sa-exec-credential/sa-exec-credential/internal/execcred"
	"github.com/sa-exec-credential/sa-exec-credential/internal/host"
	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
	"github.com/sa-exec-credential/sa-exec-credential/internal/secret"
)

// whole is a whole program that says who has run it, and how.
const whole = `#!/bin/sh
echo "whole: $$ $0 $*"
`

const (
	server = "https://127.0.0.1:6443"
	token  = "e30.the-token-that-is-kept.sig"
)

var binary string // of this package, built once

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "hit")
	if err != nil {
		panic(err)
	}
	binary = filepath.Join(dir, "sa-exec-credential-get")
	build := exec.Command("go", "build", "-trimpath", "-gcflags=all=-dwarf=false", "-ldflags",
		"-s -w", "-o", binary, ".") // as make build does
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	code := 1
	if output, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "%v\n%s", err, output)
	} else if err := os.WriteFile(filepath.Join(dir, "sa-exec-credential"), []byte(whole),
		0o700); err != nil {
		fmt.Fprintln(os.Stderr, err)
	} else {
		code = m.Run()
	}
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// machine is a user's home with a profile, whose token is in the kernel keyring.
type machine struct {
	t    *testing.T
	home string
	call *call.Call
}

// newMachine has a profile for a store, with a token that was issued so long ago of the hour that
// it lives.
func newMachine(t *testing.T, store keyring.Kind, age time.Duration) *machine {
	t.Helper()
	return newMachineOf(t, profile.Cluster{Server: server}, store, age)
}

// newMachineOf is newMachine for another cluster.
func newMachineOf(t *testing.T, cluster profile.Cluster, store keyring.Kind,
	age time.Duration) *machine {
	t.Helper()
	m := &machine{t: t, home: t.TempDir()}
	h := host.System().With(host.Snapshot(m.environ()))
	h.ClientVariables = func() host.Variables { return nil }
	p := profile.Profile{Name: "p", Cluster: cluster,
		Namespace: "build", ServiceAccount: "ci", Store: store,
		Duration: profile.Duration{Duration: time.Hour},
		Bootstrap: profile.Bootstrap{Source: profile.SourceKeyring,
			Duration: &profile.Duration{Duration: time.Hour}}}
	m.must(os.MkdirAll(filepath.Join(m.home, ".config"), 0o700))
	m.must(os.Mkdir(filepath.Join(m.home, "run"), 0o700))
	devices, err := call.Devices(h)
	m.must(err)
	record, err := devices.Lock(t.Context(), p)
	m.must(err)
	record.Current = &profile.Device{Name: "ci-device", AccountUID: "1",
		SecretUID: t.Name() + time.Now().String()} // a key of its own in the keyring
	m.must(record.Save())
	record.Release()
	p.Device = record.Name
	profiles, err := h.Profiles()
	m.must(err)
	m.must(profiles.Save(p))
	h.OpenStore = keyring.OpenFront
	m.call, err = call.Load(t.Context(), h, "p")
	m.must(err)
	issued := time.Now().Add(-age)
	m.must(m.call.Store.Set(t.Context(), m.call.TokenKey(), keyring.Entry{
		Token: secret.New(token), IssuedAt: issued, ExpiresAt: issued.Add(time.Hour)}))
	t.Cleanup(func() {
		_ = m.call.Store.Delete(context.Background(), m.call.TokenKey())
	})
	return m
}

func (m *machine) must(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatal(err)
	}
}

func (m *machine) environ() []string {
	return []string{"HOME=" + m.home, "XDG_RUNTIME_DIR=" + filepath.Join(m.home, "run"),
		"PATH=" + os.Getenv("PATH")}
}

// client is what a client runs, behind the words of a wrapper. It was itself started with the
// variables of the machine alone, and is another process for each command.
func (m *machine) client(wrapper []string, args ...string) *exec.Cmd {
	m.t.Helper()
	info, err := json.Marshal(map[string]any{"apiVersion": execcred.V1,
		"kind": "ExecCredential", "spec": map[string]any{"cluster": map[string]any{
			"server":                     m.call.Profile.Cluster.Server,
			"certificate-authority-data": m.call.Profile.Cluster.CertificateAuthorityData}}})
	m.must(err)
	// exec info reaches the plugin alone; the shell stands for the client
	script := `info=$1; shift; KUBERNETES_EXEC_INFO=$info "$@"; exit $?`
	words := append([]string{"-c", script, "client", string(info)}, wrapper...)
	command := exec.Command("/bin/sh", append(append(words, binary), args...)...)
	command.Env = m.environ()
	command.Dir = m.home
	return command
}
