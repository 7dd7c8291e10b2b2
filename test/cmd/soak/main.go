// Command soak runs a mix of workers for a chosen time against the real control plane through a
// proxy that injects faults at random, while tokens expire every few seconds and the bootstrap
// credential is renewed. It fails when an answer was wrong, when something was left behind, or
// when more tokens were minted than there was need for.
package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring/secretservicetest"
	"github.com/sa-exec-credential/sa-exec-credential/test/controlplane"
	"github.com/sa-exec-credential/sa-exec-credential/test/faultproxy"
	"github.com/sa-exec-credential/sa-exec-credential/test/lab"
)

const (
	namespace = "soak"
	account   = "worker"

	tokenLife     = 12 * time.Second
	bootstrapLife = 60 * time.Second
	workers       = 8
	// faultRate is how many of a hundred requests fare badly while faults are on. They are on
	// half of the time: what an outage must not keep from anybody shows only when there are
	// times without one.
	faultRate  = 40
	faultPhase = 7 * time.Second
	// answerLimit is the longest that any process may take. The sum of all time limits within
	// it is less.
	answerLimit = 60 * time.Second
)

func main() {
	duration, err := time.ParseDuration(envOr("SOAKTIME", "1m"))
	if err == nil {
		err = run(duration)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "soak: error:", err)
		os.Exit(1)
	}
}

func envOr(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}

func say(format string, args ...any) { fmt.Fprintf(os.Stderr, "soak: "+format+"\n", args...) }

func run(duration time.Duration) error {
	s := &soak{plugin: envOr("SA_EXEC_CREDENTIAL", "../bin/sa-exec-credential"),
		began: time.Now()}
	defer s.stop()
	if err := s.start(); err != nil {
		return err
	}
	say("%d workers for %v, tokens live %v, bootstrap tokens %v", workers, duration, tokenLife,
		bootstrapLife)
	counts := s.work(duration)
	s.faulty.Store(false)
	problems := counts.problems()
	problems = append(problems, s.afterwards(duration, counts)...)
	counts.print(s)
	if len(problems) > 0 {
		return fmt.Errorf("%s", strings.Join(problems, "; "))
	}
	say("nothing wrong")
	return nil
}

func (s *soak) start() (err error) {
	say("starting a control plane, a Secret Service and the proxy")
	if s.dir, err = os.MkdirTemp("", "soak"); err != nil {
		return err
	}
	if s.plugin, err = filepath.Abs(s.plugin); err != nil {
		return err
	}
	if s.service, err = secretservicetest.Start(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	if s.plane, err = controlplane.Start(ctx, controlplane.Options{Bin: "bin"}); err != nil {
		return err
	}
	s.proxy, err = faultproxy.Start(s.plane, faultproxy.Options{Lifetime: lifetime,
		Fault: s.fault})
	if err != nil {
		return err
	}
	return s.setup()
}

func lifetime(name string) time.Duration {
	switch {
	case name == account:
		return tokenLife
	case strings.HasPrefix(name, account+"-device-"):
		return bootstrapLife
	}
	return 0
}

// fault decides what happens to a request, by a phase and by chance.
func (s *soak) fault(request *http.Request) faultproxy.Fault {
	if !s.faulty.Load() || int(time.Since(s.began)/faultPhase)%2 == 0 ||
		rand.IntN(100) >= faultRate {
		return faultproxy.None
	}
	faults := []faultproxy.Fault{faultproxy.Reset, faultproxy.Cut, faultproxy.Hang,
		faultproxy.Page, faultproxy.NoToken,
		faultproxy.Past, faultproxy.OtherJSON, "400", "403", "404", "409", "410", "422",
		"429", "500", "503"}
	if path.Base(request.URL.Path) == "token" {
		faults = append(faults, "401") // elsewhere it would say that a good token is none
	}
	return faults[rand.IntN(len(faults))]
}

// setup gives the administrator a token, because a client certificate ends at the proxy.
func (s *soak) setup() error {
	admin := func(args ...string) (string, error) {
		output, err := exec.Command(s.plane.Kubectl, append([]string{"--kubeconfig",
			s.plane.AdminKubeconfig}, args...)...).Output()
		return strings.TrimSpace(string(output)), err
	}
	for _, args := range [][]string{
		{"create", "namespace", namespace},
		{"-n", namespace, "create", "serviceaccount", "admin"},
		{"create", "clusterrolebinding", "soak-admin", "--clusterrole=cluster-admin",
			"--serviceaccount=" + namespace + ":admin"},
	} {
		if _, err := admin(args...); err != nil {
			return fmt.Errorf("kubectl %s: %w", strings.Join(args, " "), err)
		}
	}
	token, err := admin("-n", namespace, "create", "token", "admin", "--duration", "24h")
	if err != nil {
		return err
	}
	s.admin = filepath.Join(s.dir, "admin.kubeconfig")
	if err := os.WriteFile(s.admin, s.kubeconfig(token), 0o600); err != nil {
		return err
	}
	output, err := s.run("setup", account, "-n", namespace, "--verb", "list", "--resource",
		"pods", "--profile", account,
		"--store", "keyring", "--kubeconfig", s.admin, "-o", filepath.Join(s.dir,
			"kubeconfig")).CombinedOutput()
	if err != nil {
		return fmt.Errorf("setup: %w\n%s", err, output)
	}
	p, err := lab.LoadProfile(filepath.Join(s.dir, "config"), account)
	if err != nil {
		return err
	}
	s.device = p.Device.Name
	s.faulty.Store(true)
	return nil
}

func (s *soak) kubeconfig(token string) []byte {
	return fmt.Appendf(nil, `apiVersion: v1
kind: Config
current-context: soak
clusters: [{name: soak, cluster: {server: %q, certificate-authority: %q}}]
users: [{name: soak, user: {token: %q}}]
contexts: [{name: soak, context: {cluster: soak, user: soak}}]
`, s.proxy.URL, s.plane.CAFile, token)
}

func (s *soak) stop() {
	if s.proxy != nil {
		s.proxy.Stop()
	}
	if s.plane != nil {
		_ = s.plane.Stop()
	}
	if s.service != nil {
		s.service.Stop()
	}
	_ = os.RemoveAll(s.dir)
}

// afterwards looks at what is left when all workers are done.
func (s *soak) afterwards(duration time.Duration, counts *counts) (problems []string) {
	// One token for each life and after each logout, another one where the process that had
	// minted it was killed or lost the race against a fault, and some more for chance.
	needed := int(duration/(tokenLife*8/10)) + 2
	allowed := 3*needed + 2*counts.logouts + counts.faults(s)
	if minted := s.proxy.Minted(namespace, account); minted > allowed {
		problems = append(problems, fmt.Sprintf("%d tokens minted, at most %d were needed",
			minted, allowed))
	}
	if s.proxy.Minted(namespace, s.device) < 2 && duration > bootstrapLife {
		problems = append(problems, "the bootstrap credential was never renewed")
	}
	if !s.works() {
		problems = append(problems, "get fails after all faults are over")
	}
	return append(problems, s.leftovers()...)
}

// leftovers are entries and files beyond those that one profile has.
func (s *soak) leftovers() (problems []string) {
	store, err := keyring.Open(context.Background(), keyring.Keyring,
		keyring.System{Getenv: s.getenv})
	if err != nil {
		return []string{err.Error()}
	}
	keys, err := keyring.Behind(store).Keys(context.Background())
	if err != nil {
		return []string{err.Error()}
	}
	// the token is in front where the system has a kernel keyring
	lasting := slices.DeleteFunc(slices.Clone(keys),
		func(key string) bool { return strings.HasPrefix(key, "token:") })
	if len(lasting) != 1 || len(keys) > 2 {
		problems = append(problems, fmt.Sprintf("the store has %d entries, not a "+
			"bootstrap credential and at most a token: %q", len(keys), keys))
	}
	for folder, wanted := range map[string]int{"run/sa-exec-credential": 2,
		"config/sa-exec-credential/profiles": 1, "cache": 0, "tmp": 0} {
		entries, _ := os.ReadDir(filepath.Join(s.dir, folder))
		if len(entries) != wanted {
			problems = append(problems, fmt.Sprintf("folder %s has %d entries, not "+
				"%d: %v", folder, len(entries), wanted, entries))
		}
	}
	return append(problems, s.secretsInFiles()...)
}

// secretsInFiles looks for the signatures of all tokens in all files; the keyring's own are
// elsewhere.
func (s *soak) secretsInFiles() (problems []string) {
	var signatures []string
	for _, token := range s.proxy.Texts() {
		signatures = append(signatures, token[strings.LastIndexByte(token, '.')+1:])
	}
	_ = filepath.WalkDir(s.dir, func(path string, entry os.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() || path == s.admin {
			return nil
		}
		content, _ := os.ReadFile(path)
		for _, signature := range signatures {
			if strings.Contains(string(content), signature) {
				problems = append(problems, "a token is in "+path)
			}
		}
		return nil
	})
	return problems
}
