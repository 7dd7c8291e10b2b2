package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
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
	device  string // name
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
	return []string{"PATH=" + os.Getenv("PATH"), "HOME=" + folder("home"), "XDG_CONFIG_HOME=" +
		folder("config"), "TMPDIR=" + folder("tmp"),
		"XDG_CACHE_HOME=" + folder("cache"), "XDG_RUNTIME_DIR=" + folder("run"),
		"DBUS_SESSION_BUS_ADDRESS=" + s.service.Address()}
}

func (s *soak) getenv(name string) string {
	for _, variable := range s.environment() {
		if value, found := strings.CutPrefix(variable, name+"="); found {
			return value
		}
	}
	return ""
}

func (s *soak) run(args ...string) *exec.Cmd {
	return s.runIn(context.Background(), s.plugin,
		args...)
}

func (s *soak) runIn(ctx context.Context, name string, args ...string) *exec.Cmd {
	command := exec.CommandContext(ctx, name, args...)
	command.Env = s.environment()
	return command
}

// client is a shell that runs get as client-go does: exec info is the plugin's, and not the
// shell's own.
func (s *soak) client(ctx context.Context, script string) *exec.Cmd {
	info, err := json.Marshal(map[string]any{"apiVersion": "client.authentication.k8s.io/v1",
		"kind": "ExecCredential",
		"spec": map[string]any{"cluster": map[string]any{"server": s.proxy.URL,
			"certificate-authority-data": s.plane.CAPEM}}})
	if err != nil {
		panic(err) // maps of text always encode
	}
	return s.runIn(ctx, "sh", "-c", `export "$0"; `+script,
		"KUBERNETES_EXEC_INFO="+string(info), s.plugin, "get", "--profile", account)
}

// getOnce is a get of a client that has never asked before.
func (s *soak) getOnce(ctx context.Context) *exec.Cmd { return s.client(ctx, `"$@"; exit $?`) }

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
	mix := []func(*counts){s.again, s.again, s.once, s.once, s.once, s.token, s.kubectl,
		s.killed}
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

// again asks again and again from one process, which ends each answer with the exit code on a
// line of its own.
func (s *soak) again(c *counts) {
	const repeats, end = 20, "end of answer "
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	client := s.client(ctx, `while read -r line; do
		"$@"
		last=$(printf '\n`+end+`%d' $?)
		echo "$last"
		echo "$last" >&2
	done`)
	stdin, err1 := client.StdinPipe()
	stdout, err2 := client.StdoutPipe()
	stderr, err3 := client.StderrPipe()
	if err := errors.Join(err1, err2, err3, client.Start()); err != nil {
		c.add(func(c *counts) { c.wrong = append(c.wrong, err.Error()) })
		return
	}
	defer func() {
		_ = stdin.Close()
		_ = client.Wait()
	}()
	results, complaints := bufio.NewReader(stdout), bufio.NewReader(stderr)
	for range repeats {
		limit := time.AfterFunc(answerLimit, cancel)
		began := time.Now()
		a := answer{code: -1}
		_, _ = io.WriteString(stdin, "\n") // when it has ended, reading fails
		a.output, a.code = upTo(results, end)
		a.complaints, _ = upTo(complaints, end)
		a.took = time.Since(began)
		limit.Stop()
		s.judge(c, a, tokenOfCredential)
		if a.code < 0 {
			return
		}
	}
}

// upTo reads lines up to one that begins with end, and what follows there, or -1.
func upTo(lines *bufio.Reader, end string) (text string, code int) {
	for {
		line, err := lines.ReadString('\n')
		if rest, found := strings.CutPrefix(line, end); found || err != nil {
			code, err = strconv.Atoi(strings.TrimSpace(rest))
			if !found || err != nil {
				code = -1
			}
			return strings.TrimSpace(text), code
		}
		text += line
	}
}

// once asks from a process that has never asked before.
func (s *soak) once(c *counts) {
	ctx, cancel := context.WithTimeout(context.Background(), answerLimit)
	defer cancel()
	s.judge(c, answerOf(s.getOnce(ctx)), tokenOfCredential)
}

func (s *soak) token(c *counts) {
	ctx, cancel := context.WithTimeout(context.Background(), answerLimit)
	defer cancel()
	s.judge(c, answerOf(s.runIn(ctx, s.plugin, "token", "--profile", account)),
		func(output string) (string, error) {
			return output, nil
		})
}

func tokenOfCredential(output string) (string, error) {
	var credential struct {
		Kind   string
		Status struct {
			Token               string
			ExpirationTimestamp time.Time
		}
	}
	if err := json.Unmarshal([]byte(output), &credential); err != nil {
		return "", err
	}
	if credential.Kind != "ExecCredential" || credential.Status.ExpirationTimestamp.IsZero() {
		return "", errors.New("not an ExecCredential")
	}
	return credential.Status.Token, nil
}

// answer is what a process has said, without space around it.
type answer struct {
	output, complaints string
	code               int
	took               time.Duration
}

func answerOf(command *exec.Cmd) answer {
	var output, complaints bytes.Buffer
	command.Stdout, command.Stderr = &output, &complaints
	began := time.Now()
	_ = command.Run() // the exit code tells
	return answer{strings.TrimSpace(output.String()), complaints.String(),
		command.ProcessState.ExitCode(), time.Since(began)}
}

// judge says whether an answer is right: a token that is good now, or one error, one hint, a
// named exit code and an empty standard output.
func (s *soak) judge(c *counts, a answer, tokenOf func(string) (string, error)) {
	wrong := s.wrong(a, tokenOf)
	c.add(func(c *counts) {
		c.longest = max(c.longest, a.took)
		if a.code == 0 {
			c.answers++
		} else {
			c.failed[a.code]++
		}
		if wrong != "" {
			c.wrong = append(c.wrong, wrong)
		}
	})
}

func (s *soak) wrong(a answer, tokenOf func(string) (string, error)) string {
	if a.code == 0 {
		token, err := tokenOf(a.output)
		switch {
		case err != nil:
			return fmt.Sprintf("an answer that is none: %v", err)
		case !s.proxy.Good(token):
			return "a token that is not good"
		}
		return ""
	}
	switch {
	case a.output != "":
		return fmt.Sprintf("exit code %d with something on standard output", a.code)
	case a.code < 3 || a.code > 7:
		return fmt.Sprintf("exit code %d: %s", a.code, a.complaints)
	case strings.Count(a.complaints, ": error: ") != 1 || strings.Count(a.complaints,
		": hint: ") != 1:
		return fmt.Sprintf("not one error and one hint: %q", a.complaints)
	}
	return ""
}

// kubectl is right when it works, and may fail while faults are on.
func (s *soak) kubectl(c *counts) {
	ctx, cancel := context.WithTimeout(context.Background(), answerLimit)
	defer cancel()
	command := s.runIn(ctx, s.plane.Kubectl, "--kubeconfig", filepath.Join(s.dir, "kubeconfig"),
		"--request-timeout", "5s", "-n", namespace,
		"--cache-dir", filepath.Join(s.dir, "home", "kubectl"), "get", "--raw",
		"/api/v1/namespaces/"+namespace+"/pods")
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
	command := s.getOnce(context.Background())
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := command.Start(); err != nil {
		return
	}
	time.Sleep(time.Duration(rand.IntN(20_000)) * time.Microsecond)
	signal := []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM}[rand.IntN(2)]
	_ = syscall.Kill(-command.Process.Pid, signal) // the client with its plugin
	_ = command.Wait()
	c.add(func(c *counts) { c.killed++ })
	if rand.IntN(10) == 0 {
		// so that more has to be minted than by expiry alone
		_ = s.run("logout", "--profile", account).Run()
		c.add(func(c *counts) { c.logouts++ })
	}
}

// guardKeyring starts gnome-keyring again when it has ended. A client that is killed between its
// first message and the answer can end it
// (https://gitlab.gnome.org/GNOME/gnome-keyring/-/issues/190), and workers here are killed all
// the time.
func (s *soak) guardKeyring(ctx context.Context, c *counts) {
	for ctx.Err() == nil {
		if conn, err := s.service.Connect(); err == nil {
			var owned bool
			err := conn.BusObject().Call("org.freedesktop.DBus.NameHasOwner", 0,
				"org.freedesktop.secrets").Store(&owned)
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

// works reports whether an answer can be had once all faults are over. What a failure has left
// behind holds for seconds.
func (s *soak) works() bool {
	for range 10 {
		a := answerOf(s.getOnce(context.Background()))
		if token, err := tokenOfCredential(a.output); err == nil && s.proxy.Good(token) {
			return true
		}
		time.Sleep(time.Second)
	}
	return false
}

func (c *counts) problems() (problems []string) {
	if len(c.wrong) > 0 {
		problems = append(problems, fmt.Sprintf("%d wrong answers, the first: %s",
			len(c.wrong), c.wrong[0]))
	}
	if c.answers == 0 {
		problems = append(problems, "no answer at all")
	}
	if c.longest >= answerLimit {
		problems = append(problems, fmt.Sprintf("an answer took longer than %v",
			answerLimit))
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
	fmt.Printf("bootstrap renewals %d\n", s.proxy.Minted(namespace, s.device)-1)
	fmt.Printf("longest wait       %v\n", c.longest.Round(time.Millisecond))
}
