// Command bench prints whole-process medians of the plugin beside floors that were measured in
// the same run, in turns, so that a busy machine slows all of them alike.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring/secretservicetest"
	"github.com/sa-exec-credential/sa-exec-credential/test/controlplane"
)

const namespace = "bench"

// Targets, as multiples of a floor.
const (
	hitTarget  = 1.5 // of the short D-Bus exchange
	missTarget = 1.3 // of one TokenRequest by curl
)

func main() {
	runs := flag.Int("runs", 200, "how often each program is run")
	bin := flag.String("bin", "bin", "folder of the built programs")
	flag.Parse()
	if err := run(*runs, *bin); err != nil {
		fmt.Fprintln(os.Stderr, "bench: error:", err)
		os.Exit(1)
	}
}

func run(runs int, bin string) error {
	bin, err := filepath.Abs(bin)
	if err != nil {
		return err
	}
	b := &bench{bin: bin, runs: runs}
	defer b.stop()
	if err := b.start(); err != nil {
		return err
	}
	subjects, err := b.subjects()
	if err != nil {
		return err
	}
	if err := b.measure(subjects); err != nil {
		return err
	}
	hits, misses, err := b.crowds()
	if err != nil {
		return err
	}
	return report(subjects, hits, misses)
}

// bench is the real parts that are measured against.
type bench struct {
	bin     string
	runs    int
	dir     string
	plane   *controlplane.ControlPlane
	service *secretservicetest.Service
}

func say(format string, args ...any) { fmt.Fprintf(os.Stderr, "bench: "+format+"\n", args...) }

func (b *bench) start() (err error) {
	say("starting a control plane and a Secret Service")
	if b.dir, err = os.MkdirTemp("", "bench"); err != nil {
		return err
	}
	if b.service, err = secretservicetest.Start(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	b.plane, err = controlplane.Start(ctx, controlplane.Options{Bin: filepath.Join("test",
		"bin")})
	return err
}

func (b *bench) stop() {
	if b.plane != nil {
		_ = b.plane.Stop()
	}
	if b.service != nil {
		b.service.Stop()
	}
	_ = os.RemoveAll(b.dir)
}

// subject is one program and how long its runs took.
type subject struct {
	name    string
	command func() *exec.Cmd
	before  func() error // not measured
	took    []time.Duration
}

func (b *bench) subjects() ([]*subject, error) {
	for _, store := range []string{"keyring", "kernel"} {
		setup := b.plugin("setup", "ci-"+store, "-n", namespace, "--store", store,
			"--profile", store,
			"--kubeconfig", b.plane.AdminKubeconfig, "-o", filepath.Join(b.dir,
				"kubeconfig"))
		if output, err := setup.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("setup: %w\n%s", err, output)
		}
	}
	curl, err := b.curl()
	if err != nil {
		return nil, err
	}
	key, err := b.tokenKey()
	if err != nil {
		return nil, err
	}
	get := func(profile string) func() *exec.Cmd {
		return func() *exec.Cmd { return b.client(profile) }
	}
	forget := func() error { return b.plugin("logout", "--profile", "keyring").Run() }
	environment := b.environment()
	return []*subject{
		{name: "a Go program that prints {}", command: func() *exec.Cmd { return exec.Command(filepath.Join(b.bin, "hello")) }},
		{name: "secret-tool lookup", command: func() *exec.Cmd {
			return with(environment, "secret-tool", "lookup", "service",
				"sa-exec-credential", "username", key)
		}},
		{name: "the short D-Bus exchange", command: func() *exec.Cmd {
			return with(environment, filepath.Join(b.bin, "dbusfloor"), key)
		}},
		{name: "get, hit in the Secret Service", command: get("keyring")},
		{name: "get, hit in the kernel keyring", command: get("kernel")},
		{name: "one TokenRequest by curl", command: curl},
		{name: "get, miss", command: get("keyring"), before: forget},
	}, nil
}

func with(environment []string, name string, args ...string) *exec.Cmd {
	command := exec.Command(name, args...)
	command.Env = environment
	return command
}

func (b *bench) environment() []string {
	return append(b.service.Env(), "PATH="+os.Getenv("PATH"), "HOME="+b.dir,
		"XDG_CONFIG_HOME="+b.dir, "XDG_CACHE_HOME="+b.dir)
}

func (b *bench) plugin(args ...string) *exec.Cmd {
	return with(b.environment(), filepath.Join(b.bin, "sa-exec-credential"), args...)
}

// client runs get as client-go does.
func (b *bench) client(profile string) *exec.Cmd {
	info, err := json.Marshal(map[string]any{"apiVersion": "client.authentication.k8s.io/v1",
		"kind": "ExecCredential",
		"spec": map[string]any{"interactive": false, "cluster": map[string]any{
			"server": b.plane.Server, "certificate-authority-data": b.plane.CAPEM}}})
	if err != nil {
		panic(err)
	}
	command := b.plugin("get", "--profile", profile)
	command.Env = append(command.Env, "KUBERNETES_EXEC_INFO="+string(info))
	return command
}

// tokenKey asks for a token and returns the key under which it is kept.
func (b *bench) tokenKey() (string, error) {
	for _, profile := range []string{"keyring", "kernel"} {
		if err := b.client(profile).Run(); err != nil {
			return "", fmt.Errorf("getting a token: %w", err)
		}
	}
	search := with(b.environment(), "secret-tool", "search", "--all", "service",
		"sa-exec-credential")
	output, _ := search.CombinedOutput()
	for line := range strings.Lines(string(output)) {
		if _, key, found := strings.Cut(line, "attribute.username = "); found &&
			strings.HasPrefix(key, "token:") {
			return strings.TrimSpace(key), nil
		}
	}
	return "", errors.New("the token is not in the Secret Service")
}

func (b *bench) curl() (func() *exec.Cmd, error) {
	pair, err := b.plane.CA.IssueClientCert("bench", "system:masters")
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{"cert.pem": pair.CertPEM, "key.pem": pair.KeyPEM,
		"request.json": []byte(`{"apiVersion":"authentication.k8s.io/v1","kind":"TokenRequest","spec":{"expirationSeconds":3600}}`)}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(b.dir, name), content, 0o600); err != nil {
			return nil, err
		}
	}
	url := b.plane.Server + "/api/v1/namespaces/" + namespace +
		"/serviceaccounts/ci-keyring/token"
	return func() *exec.Cmd {
		command := exec.Command("curl", "-sf", "--cacert", b.plane.CAFile, "--cert",
			"cert.pem", "--key", "key.pem",
			"-H", "Content-Type: application/json", "--data", "@request.json", url)
		command.Dir = b.dir
		return command
	}, nil
}

// measure runs all subjects in turns.
func (b *bench) measure(subjects []*subject) error {
	say("running %d programs %d times each, in turns", len(subjects), b.runs)
	for range b.runs {
		for _, s := range subjects {
			if err := s.run(); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *subject) run() error {
	if s.before != nil {
		if err := s.before(); err != nil {
			return fmt.Errorf("before %s: %w", s.name, err)
		}
	}
	command := s.command()
	var output, complaints bytes.Buffer
	command.Stdout, command.Stderr = &output, &complaints
	began := time.Now()
	err := command.Run()
	s.took = append(s.took, time.Since(began))
	if err != nil || output.Len() == 0 {
		return fmt.Errorf("%s: %w, %d bytes of output, %s", s.name, err, output.Len(),
			complaints.String())
	}
	return nil
}

func (s *subject) median() time.Duration {
	slices.Sort(s.took)
	return s.took[len(s.took)/2]
}

func (s *subject) percentile(p int) time.Duration { return s.took[len(s.took)*p/100] }

func report(subjects []*subject, hits, misses *subject) error {
	medians := map[string]time.Duration{}
	fmt.Printf("%-34s %10s %10s %10s\n", "whole process, ms", "median", "p10", "p90")
	for _, s := range append(subjects, hits, misses) {
		medians[s.name] = s.median()
		fmt.Printf("%-34s %10.2f %10.2f %10.2f\n", s.name, ms(s.median()),
			ms(s.percentile(10)), ms(s.percentile(90)))
	}
	fmt.Println()
	for _, c := range []struct {
		name, floor string
		target      float64
	}{
		{"get, hit in the Secret Service", "the short D-Bus exchange", hitTarget},
		{"get, miss", "one TokenRequest by curl", missTarget},
	} {
		ratio := float64(medians[c.name]) / float64(medians[c.floor])
		fmt.Printf("%s: %.2f times %s (wanted: at most %.1f)\n", c.name, ratio, c.floor,
			c.target)
	}
	ratio := float64(misses.median()) / float64(hits.median()+medians["get, miss"])
	fmt.Printf("%s: %.2f times as many hits and one miss (wanted: at most %.1f)\n", misses.name,
		ratio, crowdTarget)
	return nil
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
