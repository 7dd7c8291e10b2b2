//go:build linux

package get_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/test/lab"
)

// tokenLife is how long tokens live for a program that has to outlive some of them.
const tokenLife = 12 * time.Second

// counts are what a client has seen.
type counts struct {
	Answers      int // 200
	Unauthorized int // 401
	Others       []string
}

func TestAProgramThatOutlivesItsTokensNeverSeesA401(t *testing.T) {
	t.Parallel()
	for _, workers := range []int{1, 8} {
		t.Run(fmt.Sprintf("with %d goroutines", workers), func(t *testing.T) {
			t.Parallel()
			bothStores(t, func(t *testing.T, kind keyring.Kind) {
				t.Parallel()
				checkOutliving(t, kind, workers)
			})
		})
	}
}

// checkOutliving runs a client for as long as it needs to use up some tokens.
func checkOutliving(t *testing.T, kind keyring.Kind, workers int) {
	const enough = 4
	door := lab.NewDoor(t)
	m := newMachine(t, kind, door)
	m.Prepare()
	m.Forget()
	proxy := leadToProxy(t, door)
	proxy.setLives(map[string]time.Duration{account: tokenLife})
	reviews := m.reviews()

	client := m.startClient(workers)
	lab.Eventually(t, fmt.Sprintf("the client has used %d tokens", enough),
		func() bool { return proxy.usedOf(account) >= enough })
	counts := client.stop(t)

	if counts.Unauthorized != 0 || len(counts.Others) != 0 || counts.Answers == 0 {
		t.Errorf("the client saw %d answers, %d times 401, and %q", counts.Answers,
			counts.Unauthorized, counts.Others)
	}
	if denied := proxy.Denied(); denied != 0 {
		t.Errorf("%d requests came with a token that had expired", denied)
	}
	if minted, used := proxy.Minted(m.Namespace, account),
		proxy.usedOf(account); minted != used {
		t.Errorf("%d tokens were minted, %d used", minted, used)
	}
	if reviews := m.reviews() - reviews; reviews != 0 {
		t.Errorf("%d tokens were checked although none was ever refused", reviews)
	}
	t.Logf("%d answers with %d tokens", counts.Answers, proxy.usedOf(account))
}

// client is the test binary as a program of its own that uses client-go: within one process,
// client-go keeps one credential for all that have the same exec section.
type client struct {
	*lab.Started
	stdin io.Closer
}

func (m *machine) startClient(workers int) *client {
	m.Helper()
	cmd := lab.Helper(m.T, "client", m.Kubeconfig(), m.Namespace, strconv.Itoa(workers))
	cmd.Env = append(m.Env(), cmd.Env...)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		m.Fatal(err)
	}
	return &client{lab.Adopt(m.T, cmd), stdin}
}

// stop tells the client to end and returns what it has counted.
func (c *client) stop(t *testing.T) (counts counts) {
	t.Helper()
	if err := c.stdin.Close(); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(c.End().Silent().Stdout), &counts); err != nil {
		t.Fatal(err)
	}
	return counts
}

// clientMain lists pods again and again until its standard input ends, then prints what it has
// counted.
func clientMain(args []string) int {
	workers, err := strconv.Atoi(args[2])
	if err != nil {
		return fail(err)
	}
	config, err := clientcmd.BuildConfigFromFlags("", args[0])
	if err != nil {
		return fail(err)
	}
	http, err := rest.HTTPClientFor(config)
	if err != nil {
		return fail(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		stop()
	}()
	seen := list(ctx, http, config.Host+"/api/v1/namespaces/"+args[1]+"/pods", workers)
	if err := json.NewEncoder(os.Stdout).Encode(seen); err != nil {
		return fail(err)
	}
	return 0
}

func fail(err error) int {
	fmt.Fprintln(os.Stderr, err)
	return 1
}

// list asks from several goroutines until ctx ends.
func list(ctx context.Context, client *http.Client, url string, workers int) (seen counts) {
	var mu sync.Mutex
	var wait sync.WaitGroup
	for range workers {
		wait.Go(func() {
			for ctx.Err() == nil {
				code, err := ask(client, url)
				mu.Lock()
				seen.add(code, err)
				mu.Unlock()
				time.Sleep(50 * time.Millisecond)
			}
		})
	}
	wait.Wait()
	return seen
}

func ask(client *http.Client, url string) (code int, err error) {
	response, err := client.Get(url)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	_, err = io.Copy(io.Discard, response.Body)
	return response.StatusCode, err
}

func (c *counts) add(code int, err error) {
	switch {
	case err != nil:
		c.Others = append(c.Others, err.Error())
	case code == http.StatusOK:
		c.Answers++
	case code == http.StatusUnauthorized:
		c.Unauthorized++
	default:
		c.Others = append(c.Others, http.StatusText(code))
	}
}
