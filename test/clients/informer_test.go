//go:build linux

package clients_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/sa-exec-credential/sa-exec-credential/test/faultproxy"
	"github.com/sa-exec-credential/sa-exec-credential/test/lab"
)

// tokenLife is how long tokens live for a program that has to outlive some of them.
const tokenLife = 12 * time.Second

// clientGo runs a program with an informer and a loop of requests, as controllers are, over some
// lives of its token.
func (c *client) clientGo() {
	const lives = 4
	door := lab.NewDoor(c.T)
	c.Behind(door)
	c.Prepare()
	c.Forget()
	proxy := lab.Proxy(c.T, faultproxy.Options{Lifetime: func(name string) time.Duration {
		if name == account {
			return tokenLife
		}
		return 0
	}})
	door.LeadTo(proxy.URL)
	cmd := lab.Helper(c.T, "informer", c.Kubeconfig(), c.Namespace)
	cmd.Env = append(c.Env(), cmd.Env...)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		c.Fatal(err)
	}
	program := lab.Adopt(c.T, cmd)
	made := 0
	lab.Eventually(c.T, fmt.Sprintf("the program has used %d tokens", lives), func() bool {
		c.AsAdmin("create", "configmap", fmt.Sprintf("made-%d", made), "-n", c.Namespace)
		made++
		return proxy.Minted(c.Namespace, account) >= lives
	})
	if err := stdin.Close(); err != nil {
		c.Fatal(err)
	}
	var seen watched
	c.Decode(program.End(), &seen)
	if seen.Unauthorized != 0 || proxy.Denied() != 0 || len(seen.Errors) != 0 {
		c.Errorf("%d times 401, %d denied, %q", seen.Unauthorized, proxy.Denied(),
			seen.Errors)
	}
	if len(seen.Names) < made-1 { // the last may have come too late
		c.Errorf("the informer has seen %d of %d: %q", len(seen.Names), made, seen.Names)
	}
	c.Logf("%d objects, %d requests, %d tokens", len(seen.Names), seen.Requests,
		proxy.Minted(c.Namespace, account))
}

// watched is what a program with an informer has seen.
type watched struct {
	Names                  []string
	Requests, Unauthorized int
	Errors                 []string

	mu sync.Mutex
}

// counting is a transport that counts answers.
type counting struct {
	http.RoundTripper
	seen *watched
}

// RoundTrip implements http.RoundTripper.
func (c counting) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := c.RoundTripper.RoundTrip(r)
	c.seen.mu.Lock()
	defer c.seen.mu.Unlock()
	c.seen.Requests++
	if err == nil && answer.StatusCode == http.StatusUnauthorized {
		c.seen.Unauthorized++
	}
	return answer, err
}

// informerMain watches ConfigMaps, and lists pods again and again, until its standard input ends.
func informerMain(args []string) int {
	config, err := clientcmd.BuildConfigFromFlags("", args[0])
	if err != nil {
		return fail(err)
	}
	seen := &watched{}
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return counting{next, seen} })
	if err := seen.watch(config, args[1]); err != nil {
		return fail(err)
	}
	seen.mu.Lock()
	defer seen.mu.Unlock()
	if err := json.NewEncoder(os.Stdout).Encode(seen); err != nil {
		return fail(err)
	}
	return 0
}

func (w *watched) watch(config *rest.Config, namespace string) error {
	clients, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		stop()
	}()
	factory := informers.NewSharedInformerFactoryWithOptions(clients, 0,
		informers.WithNamespace(namespace))
	informer := factory.Core().V1().ConfigMaps().Informer()
	add := func(object any) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.Names = append(w.Names, object.(*corev1.ConfigMap).Name)
	}
	_, err = informer.AddEventHandler(cache.ResourceEventHandlerFuncs{AddFunc: add})
	if err != nil {
		return err
	}
	factory.Start(ctx.Done())
	for ctx.Err() == nil {
		_, err := clients.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{})
		w.note(ctx, err)
		time.Sleep(50 * time.Millisecond)
	}
	factory.Shutdown()
	return nil
}

func (w *watched) note(ctx context.Context, err error) {
	if err == nil || ctx.Err() != nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.Errors = append(w.Errors, err.Error())
}
