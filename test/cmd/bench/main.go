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

func main() {
	runs := flag.Int("runs", 200, "how often each program is run")
	bin := flag.String("bin", "bin", "folder of the built programs")
	only := flag.Bool("scale", false, "measure only what grows with contexts, profiles and processes")
	flag.Parse()
	if err := run(*runs, *bin, *only); err != nil {
		fmt.Fprintln(os.Stderr, "bench: error:", err)
		os.Exit(1)
	}
}

// dirVariable names the directory of everything, to the process that measures.
const dirVariable = "BENCH_DIR"

func run(runs int, bin string, onlyScale bool) error {
	bin, err := filepath.Abs(bin)
	if err != nil {
		return err
	}
	dir := os.Getenv(dirVariable)
	if dir == "" {
		return again()
	}
	b := &bench{bin: filepath.Join(dir, "bin"), runs: runs, dir: dir}
	if err := b.install(bin); err != nil {
		return err
	}
	defer b.stop()
	load := busyness()
	if err := b.start(); err != nil {
		return err
	}
	if !onlyScale {
		if err := b.costs(); err != nil {
			return err
		}
	}
	return b.scale(load)
}

// install copies the programs, as make install does. What the linker has written itself is in the
// page cache in smaller pieces than a copy, and each start of it pays a tenth more for that.
func (b *bench) install(from string) error {
	return os.CopyFS(b.bin, os.DirFS(from))
}

// costs measures single calls, and crowds.
func (b *bench) costs() error {
	subjects, err := b.subjects()
	if err != nil {
		return err
	}
	if err := b.measure(subjects); err != nil {
		return err
	}
	medians := report(subjects)
	for _, g := range goals {
		g.print(medians)
	}
	if err := b.size(); err != nil {
		return err
	}
	hits, misses, requests, err := b.crowds() // which a busy machine may not have the time for
	if err != nil {
		return err
	}
	hits.print()
	misses.print()
	verdict("the last of a cold crowd, as many hits and one miss",
		float64(misses.median())/float64(hits.median()+medians[missOf("keyring")]), crowdTarget, "times")
	verdict(fmt.Sprintf("TokenRequests of %d cold processes", crowd), float64(requests), 1, "")
	return nil
}

// again runs this program once more, with a home and a Secret Service of its own: what the plugin
// takes from variables counts as its client was started with it.
func again() error {
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	service, err := secretservicetest.Start()
	if err != nil {
		return err
	}
	defer service.Stop()
	self, err := os.Executable()
	if err != nil {
		return err
	}
	command := exec.Command(self, os.Args[1:]...)
	command.Env = append(append(os.Environ(), service.Env()...), "HOME="+dir,
		"XDG_CONFIG_HOME="+dir, "XDG_CACHE_HOME="+dir, dirVariable+"="+dir,
		"KUBECONFIG="+filepath.Join(dir, ".kube", "config"))
	command.Stdout, command.Stderr = os.Stdout, os.Stderr
	return command.Run()
}

// bench is the real parts that are measured against.
type bench struct {
	bin   string
	runs  int
	dir   string
	plane *controlplane.ControlPlane
}

func say(format string, args ...any) { fmt.Fprintf(os.Stderr, "bench: "+format+"\n", args...) }

func (b *bench) start() (err error) {
	say("starting a control plane")
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
}

// subject is one program and how long its runs took.
type subject struct {
	name    string
	command func() *exec.Cmd
	before  func() error // not measured
	after   func() error // nor is this
	took    []time.Duration
}

func (b *bench) subjects() ([]*subject, error) {
	for _, store := range stores {
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
	key, err := b.secretKey()
	if err != nil {
		return nil, err
	}
	found, err := b.found()
	if err != nil {
		return nil, err
	}
	kubectls, err := b.kubectls()
	if err != nil {
		return nil, err
	}
	kubelogins, err := b.kubelogins()
	if err != nil {
		return nil, err
	}
	subjects := []*subject{
		{name: hello, command: func() *exec.Cmd { return exec.Command(filepath.Join(b.bin, "hello")) }},
		{name: "secret-tool lookup", command: func() *exec.Cmd {
			return exec.Command("secret-tool", "lookup", "service",
				"sa-exec-credential", "username", key)
		}},
		{name: "the short D-Bus exchange", command: func() *exec.Cmd {
			return exec.Command(filepath.Join(b.bin, "dbusfloor"), key)
		}},
		{name: curlName, command: curl},
	}
	for _, profile := range stores {
		whole := func() *exec.Cmd { return b.calling(program, "get", "--profile", profile) }
		client := func() *exec.Cmd { return b.client(profile) }
		forget := func() error { return b.plugin("logout", "--profile", profile).Run() }
		subjects = append(subjects, &subject{name: hitOf(profile), command: client},
			&subject{name: hitOf(profile) + ", whole program", command: whole},
			&subject{name: missOf(profile), command: client, before: forget})
	}
	return slices.Concat(subjects, kubelogins, kubectls, found), nil
}

func (b *bench) plugin(args ...string) *exec.Cmd {
	return exec.Command(filepath.Join(b.bin, "sa-exec-credential"), args...)
}

// client runs get as client-go does.
func (b *bench) client(profile string) *exec.Cmd { return b.call("get", "--profile", profile) }

func (b *bench) call(args ...string) *exec.Cmd { return b.calling(quick, args...) }

// calling has one of the two programs called by a client.
func (b *bench) calling(name string, args ...string) *exec.Cmd {
	command := exec.Command(filepath.Join(b.bin, name), args...)
	command.Env = append(os.Environ(), b.execInfo())
	return command
}

// execInfo is what a client says of itself, as a variable.
func (b *bench) execInfo() string {
	info, err := json.Marshal(map[string]any{"apiVersion": "client.authentication.k8s.io/v1",
		"kind": "ExecCredential",
		"spec": map[string]any{"interactive": false, "cluster": map[string]any{
			"server": b.plane.Server, "certificate-authority-data": b.plane.CAPEM}}})
	if err != nil {
		panic(err)
	}
	return "KUBERNETES_EXEC_INFO=" + string(info)
}

// secretKey asks for tokens, and returns a key under which the Secret Service has something: the
// bootstrap credential, which is as long as a token. Tokens themselves are in the kernel keyring.
func (b *bench) secretKey() (string, error) {
	for _, profile := range stores {
		if said, err := b.client(profile).CombinedOutput(); err != nil {
			return "", fmt.Errorf("getting a token: %w\n%s", err, said)
		}
	}
	search := exec.Command("secret-tool", "search", "--all", "service",
		"sa-exec-credential")
	output, _ := search.CombinedOutput()
	for line := range strings.Lines(string(output)) {
		if _, key, found := strings.Cut(line, "attribute.username = "); found {
			return strings.TrimSpace(key), nil
		}
	}
	return "", errors.New("nothing is in the Secret Service")
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
	if s.after != nil {
		err = errors.Join(err, s.after())
	}
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

// report prints the medians, and returns them by name.
func report(subjects []*subject) map[string]time.Duration {
	medians := map[string]time.Duration{}
	fmt.Printf("%-46s %10s %10s %10s\n", "whole process, ms", "median", "p10", "p90")
	for _, s := range subjects {
		medians[s.name] = s.median()
		s.print()
	}
	fmt.Println()
	return medians
}

func (s *subject) print() {
	fmt.Printf("%-46s %10.2f %10.2f %10.2f\n", s.name, ms(s.median()), ms(s.percentile(10)),
		ms(s.percentile(90)))
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
