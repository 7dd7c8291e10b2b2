package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring/secretservicetest"
	"github.com/sa-exec-credential/sa-exec-credential/test/controlplane"
	"github.com/sa-exec-credential/sa-exec-credential/test/faultproxy"
)

// soak is the real parts and the program under test.
type soak struct {
	plugin  string
	dir     string
	admin   string // kubeconfig
	began   time.Time
	plane   *controlplane.ControlPlane
	service *secretservicetest.Service
	proxy   *faultproxy.Proxy
	faulty  atomic.Bool
}

func (s *soak) environment() []string {
	folder := func(name string) string {
		path := filepath.Join(s.dir, name)
		_ = os.MkdirAll(path, 0o700)
		return path
	}
	return []string{"PATH=" + os.Getenv("PATH"), "HOME=" + folder("home"), "XDG_CONFIG_HOME=" + folder("config"), "TMPDIR=" + folder("tmp"),
		"XDG_CACHE_HOME=" + folder("cache"), "XDG_RUNTIME_DIR=" + folder("run"), "DBUS_SESSION_BUS_ADDRESS=" + s.service.Address()}
}

func (s *soak) getenv(name string) string {
	for _, variable := range s.environment() {
		if value, found := strings.CutPrefix(variable, name+"="); found {
			return value
		}
	}
	return ""
}

func (s *soak) run(args ...string) *exec.Cmd { return s.runIn(context.Background(), s.plugin, args...) }

func (s *soak) runIn(ctx context.Context, name string, args ...string) *exec.Cmd {
	command := exec.CommandContext(ctx, name, args...)
	command.Env = s.environment()
	return command
}

// get is a get as client-go calls it.
func (s *soak) get(ctx context.Context, name string, args ...string) *exec.Cmd {
	info, err := json.Marshal(map[string]any{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential",
		"spec": map[string]any{"cluster": map[string]any{"server": s.proxy.URL, "certificate-authority-data": s.plane.CAPEM}}})
	if err != nil {
		panic(err)
	}
	command := s.runIn(ctx, name, args...)
	command.Env = append(command.Env, "KUBERNETES_EXEC_INFO="+string(info))
	return command
}

// counts is what has happened.
type counts struct {
	mutex    sync.Mutex
	answers  int
	failed   map[int]int // by exit code
	killed   int
	logouts  int
	wrong    []string
	longest  time.Duration
	restarts int // of gnome-keyring
}

func (c *counts) add(change func(*counts)) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	change(c)
}

// work runs the mix until the time is over and all processes are done.
func (s *soak) work(duration time.Duration) *counts {
	c := &counts{failed: map[int]int{}}
	mix := []func(*counts){s.direct, s.direct, s.fromNewShell, s.fromNewShell, s.fromNewShell, s.token, s.kubectl, s.killed}
	ctx, cancel := context.WithTimeout(context.Background(), duration)
	defer cancel()
	var wait sync.WaitGroup
	wait.Add(1)
	go func() {
		defer wait.Done()
		s.guardKeyring(ctx, c)
	}()
	for i := range workers {
		wait.Add(1)
		go func() {
			defer wait.Done()
			for ctx.Err() == nil {
				mix[i%len(mix)](c)
				time.Sleep(time.Duration(rand.IntN(100)) * time.Millisecond)
			}
		}()
	}
	wait.Wait()
	return c
}

// direct asks again and again from one process, this one.
func (s *soak) direct(c *counts) {
	ctx, cancel := context.WithTimeout(context.Background(), answerLimit)
	defer cancel()
	s.judge(c, s.get(ctx, s.plugin, "get", "--profile", account), tokenOfCredential)
}

// fromNewShell asks from a process that has never asked before.
func (s *soak) fromNewShell(c *counts) {
	ctx, cancel := context.WithTimeout(context.Background(), answerLimit)
	defer cancel()
	s.judge(c, s.getFromShell(ctx), tokenOfCredential)
}

// getFromShell has a shell for a client: exec info is the plugin's, and not the shell's own.
func (s *soak) getFromShell(ctx context.Context) *exec.Cmd {
	command := s.get(ctx, "sh", "-c", `export "$0"; "$@"; exit $?`, "", s.plugin, "get", "--profile", account)
	last := len(command.Env) - 1
	command.Args[3], command.Env = command.Env[last], command.Env[:last]
	return command
}

func (s *soak) token(c *counts) {
	ctx, cancel := context.WithTimeout(context.Background(), answerLimit)
	defer cancel()
	s.judge(c, s.runIn(ctx, s.plugin, "token", "--profile", account), func(output []byte) (string, error) {
		return strings.TrimSpace(string(output)), nil
	})
}

func tokenOfCredential(output []byte) (string, error) {
	var credential struct {
		Kind   string
		Status struct {
			Token               string
			ExpirationTimestamp time.Time
		}
	}
	if err := json.Unmarshal(output, &credential); err != nil {
		return "", err
	}
	if credential.Kind != "ExecCredential" || credential.Status.ExpirationTimestamp.IsZero() {
		return "", errors.New("not an ExecCredential")
	}
	return credential.Status.Token, nil
}

// judge runs a command and says whether its answer is right: a token that is good now, or one error, one hint, a named
// exit code and an empty standard output.
func (s *soak) judge(c *counts, command *exec.Cmd, tokenOf func([]byte) (string, error)) {
	var output, complaints bytes.Buffer
	command.Stdout, command.Stderr = &output, &complaints
	began := time.Now()
	err := command.Run()
	took := time.Since(began)
	wrong := s.wrong(command, output.Bytes(), complaints.String(), tokenOf)
	c.add(func(c *counts) {
		c.longest = max(c.longest, took)
		if err == nil {
			c.answers++
		} else {
			c.failed[command.ProcessState.ExitCode()]++
		}
		if wrong != "" {
			c.wrong = append(c.wrong, wrong)
		}
	})
}

func (s *soak) wrong(command *exec.Cmd, output []byte, complaints string, tokenOf func([]byte) (string, error)) string {
	code := command.ProcessState.ExitCode()
	if code == 0 {
		token, err := tokenOf(output)
		switch {
		case err != nil:
			return fmt.Sprintf("an answer that is none: %v", err)
		case !s.proxy.Good(token):
			return "a token that is not good"
		}
		return ""
	}
	switch {
	case len(output) > 0:
		return fmt.Sprintf("exit code %d with something on standard output", code)
	case code < 3 || code > 7:
		return fmt.Sprintf("exit code %d: %s", code, complaints)
	case strings.Count(complaints, ": error: ") != 1 || strings.Count(complaints, ": hint: ") != 1:
		return fmt.Sprintf("not one error and one hint: %q", complaints)
	}
	return ""
}

// kubectl is right when it works, and may fail while faults are on.
func (s *soak) kubectl(c *counts) {
	ctx, cancel := context.WithTimeout(context.Background(), answerLimit)
	defer cancel()
	command := s.runIn(ctx, s.plane.Kubectl, "--kubeconfig", filepath.Join(s.dir, "kubeconfig"), "--request-timeout", "5s", "-n", namespace,
		"--cache-dir", filepath.Join(s.dir, "home", "kubectl"), "get", "--raw", "/api/v1/namespaces/"+namespace+"/pods")
	began := time.Now()
	err := command.Run()
	c.add(func(c *counts) {
		c.longest = max(c.longest, time.Since(began))
		if err == nil {
			c.answers++
		} else {
			c.failed[-1]++
		}
	})
}

// killed ends a get at any moment.
func (s *soak) killed(c *counts) {
	command := s.get(context.Background(), s.plugin, "get", "--profile", account)
	if err := command.Start(); err != nil {
		return
	}
	time.Sleep(time.Duration(rand.IntN(20_000)) * time.Microsecond)
	signal := []os.Signal{syscall.SIGKILL, syscall.SIGTERM}[rand.IntN(2)]
	_ = command.Process.Signal(signal)
	_ = command.Wait()
	c.add(func(c *counts) { c.killed++ })
	if rand.IntN(10) == 0 {
		_ = s.run("logout", "--profile", account).Run() // so that more has to be minted than by expiry alone
		c.add(func(c *counts) { c.logouts++ })
	}
}

// guardKeyring starts gnome-keyring again when it has ended. A client that is killed between its first message and the
// answer can end it (https://gitlab.gnome.org/GNOME/gnome-keyring/-/issues/190), and workers here are killed all the time.
func (s *soak) guardKeyring(ctx context.Context, c *counts) {
	for ctx.Err() == nil {
		if conn, err := s.service.Connect(); err == nil {
			var owned bool
			err := conn.BusObject().Call("org.freedesktop.DBus.NameHasOwner", 0, "org.freedesktop.secrets").Store(&owned)
			_ = conn.Close()
			if err == nil && !owned {
				s.service.StopKeyring()
				if err := s.service.StartKeyring(true); err == nil {
					c.add(func(c *counts) { c.restarts++ })
				}
			}
		}
		time.Sleep(200 * time.Millisecond)
	}
}

// works reports whether an answer can be had once all faults are over. What a failure has left behind holds for seconds.
func (s *soak) works() bool {
	for range 10 {
		output, err := s.getFromShell(context.Background()).Output()
		if token, bad := tokenOfCredential(output); err == nil && bad == nil && s.proxy.Good(token) {
			return true
		}
		time.Sleep(time.Second)
	}
	return false
}

func (c *counts) problems() (problems []string) {
	if len(c.wrong) > 0 {
		problems = append(problems, fmt.Sprintf("%d wrong answers, the first: %s", len(c.wrong), c.wrong[0]))
	}
	if c.answers == 0 {
		problems = append(problems, "no answer at all")
	}
	if c.longest >= answerLimit {
		problems = append(problems, fmt.Sprintf("an answer took longer than %v", answerLimit))
	}
	return problems
}

func (c *counts) faults(s *soak) int {
	sum := 0
	for _, count := range s.proxy.Faults() {
		sum += count
	}
	return sum
}

func (c *counts) print(s *soak) {
	fmt.Printf("answers            %d\n", c.answers)
	fmt.Printf("wrong answers      %d\n", len(c.wrong))
	codes := make([]int, 0, len(c.failed))
	for code := range c.failed {
		codes = append(codes, code)
	}
	slices.Sort(codes)
	for _, code := range codes {
		name := fmt.Sprintf("exit code %d", code)
		if code == -1 {
			name = "kubectl failed"
		}
		fmt.Printf("%-18s %d\n", name, c.failed[code])
	}
	fmt.Printf("killed             %d\n", c.killed)
	fmt.Printf("logouts            %d\n", c.logouts)
	fmt.Printf("keyring restarts   %d\n", c.restarts)
	fmt.Printf("faults             %d\n", c.faults(s))
	fmt.Printf("tokens minted      %d\n", s.proxy.Minted(namespace, account))
	fmt.Printf("bootstrap renewals %d\n", s.proxy.Minted(namespace, account+"-bootstrap")-1)
	fmt.Printf("longest wait       %v\n", c.longest.Round(time.Millisecond))
}
