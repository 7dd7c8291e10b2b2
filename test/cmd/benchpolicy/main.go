// Command benchpolicy prints what the cluster's policy costs: how long requests take, and how
// much memory the API server has, without the policy and with more and more accounts in its
// limits.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/sa-exec-credential/sa-exec-credential/internal/api"
	"github.com/sa-exec-credential/sa-exec-credential/internal/bootstrap"
	"github.com/sa-exec-credential/sa-exec-credential/internal/cluster"
	"github.com/sa-exec-credential/sa-exec-credential/internal/connect"
	"github.com/sa-exec-credential/sa-exec-credential/internal/mint"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
	"github.com/sa-exec-credential/sa-exec-credential/test/controlplane"
)

// audiences are the API server's own.
var audiences = []string{"https://kubernetes.default.svc"}

const (
	namespace = "bench"
	account   = "ci"
	// startLimit bounds what comes before the first measurement.
	startLimit = 5 * time.Minute
	megabyte   = 1 << 20
)

// steps are how many accounts the limits have, beside the one that is measured.
var steps = []int{0, 10, 100, 500}

func main() {
	runs := flag.Int("runs", 300, "how often each request is sent")
	bin := flag.String("bin", filepath.Join("test", "bin"),
		"directory of the control plane's programs")
	flag.Parse()
	if err := run(context.Background(), *runs, *bin); err != nil {
		fmt.Fprintln(os.Stderr, "benchpolicy: error:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, runs int, bin string) error {
	b := bench{runs: runs}
	starting, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	plane, err := controlplane.Start(starting, controlplane.Options{Bin: bin})
	if err != nil {
		return err
	}
	defer plane.Stop()
	if err := b.prepare(starting, plane); err != nil {
		return err
	}
	fmt.Println("| policy | device's token request | administrator's | ConfigMap write | " +
		"Secret write | API server memory |")
	fmt.Println("| --- | --- | --- | --- | --- | --- |")
	if err := b.row(ctx, "none"); err != nil {
		return err
	}
	if err := b.apply(ctx, cluster.Wanted{Namespace: namespace, ServiceAccount: account,
		Limits: true}); err != nil {
		return err
	}
	for _, accounts := range steps {
		if err := b.setLimits(ctx, accounts); err != nil {
			return err
		}
		if err := b.row(ctx, strconv.Itoa(accounts)+" accounts"); err != nil {
			return err
		}
	}
	return nil
}

// bench is an administrator, and a machine that mints.
type bench struct {
	runs   int
	admin  *api.Client
	issuer *mint.Client // the administrator's, which the policy leaves alone
	minter *mint.Client // the device's
	device profile.Device
}

func (b *bench) prepare(ctx context.Context, plane *controlplane.ControlPlane) error {
	config, err := clientcmd.BuildConfigFromFlags("", plane.AdminKubeconfig)
	if err != nil {
		return err
	}
	if b.admin, err = connect.To(config); err != nil {
		return err
	}
	if err := b.apply(ctx, cluster.Wanted{Namespace: namespace,
		ServiceAccount: account}); err != nil {
		return err
	}
	name := cluster.NewDeviceName(account, "laptop")
	if b.device, err = cluster.EnsureDevice(ctx, b.admin, cluster.DeviceSpec{
		Namespace: namespace, Account: account, Name: name}); err != nil {
		return err
	}
	if b.minter, err = b.bootstrap(ctx, config); err != nil {
		return err
	}
	for kind, path := range written {
		object := fmt.Sprintf(`{"apiVersion":"v1","kind":%q,"metadata":{"name":"written"}}`,
			kind)
		if _, err := b.admin.Raw(ctx, http.MethodPost, filepath.Dir(path), nil,
			"application/json", []byte(object)); err != nil {
			return err
		}
	}
	return cluster.WaitUntilAllowed(ctx, time.Minute, func(ctx context.Context) error {
		return b.mint(ctx, b.minter)
	})
}

// bootstrap mints with the device's own token.
func (b *bench) bootstrap(ctx context.Context, config *rest.Config) (*mint.Client, error) {
	var err error
	if b.issuer, err = bootstrap.Minter(config, time.Now); err != nil {
		return nil, err
	}
	grant, err := b.issuer.Mint(ctx, b.request(b.device.Name, 24*time.Hour))
	if err != nil {
		return nil, err
	}
	config = rest.AnonymousClientConfig(config)
	config.BearerToken = grant.Token.Reveal()
	return bootstrap.Minter(config, time.Now)
}

func (b *bench) request(name string, duration time.Duration) mint.Request {
	return mint.Request{Namespace: namespace, ServiceAccount: name, Duration: duration,
		Bound: &mint.Secret{Name: b.device.Name, UID: b.device.SecretUID}}
}

func (b *bench) apply(ctx context.Context, w cluster.Wanted) error {
	objects, err := cluster.Objects(w, nil)
	if err != nil {
		return err
	}
	_, err = cluster.Apply(ctx, b.admin, objects, func(cluster.Ref, cluster.Result) {})
	return err
}

// setLimits waits until the policy denies what is too long.
func (b *bench) setLimits(ctx context.Context, accounts int) error {
	wanted := cluster.Limits{Token: time.Hour, Bootstrap: 720 * time.Hour}
	if _, _, err := cluster.EnsureLimits(ctx, b.admin, namespace, account, wanted,
		audiences); err != nil {
		return err
	}
	data := map[string]string{}
	for i := range accounts {
		data[fmt.Sprintf("%s.account-%d", namespace, i)] = wanted.String()
	}
	body, err := json.Marshal(map[string]any{"data": data})
	if err != nil {
		return err
	}
	path := "/api/v1/namespaces/" + cluster.LimitsRef.Namespace + "/configmaps/" +
		cluster.LimitsRef.Name
	if _, err := b.admin.Raw(ctx, http.MethodPatch, path, nil, "application/merge-patch+json",
		body); err != nil {
		return err
	}
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		if _, err := b.minter.Mint(ctx, b.request(account, 2*time.Hour)); err != nil {
			return nil
		}
	}
	return fmt.Errorf("the policy is not in force")
}

func (b *bench) mint(ctx context.Context, minter *mint.Client) error {
	_, err := minter.Mint(ctx, b.request(account, time.Hour))
	return err
}

// written are the objects that are written to.
var written = map[string]string{
	"ConfigMap": "/api/v1/namespaces/" + namespace + "/configmaps/written",
	"Secret":    "/api/v1/namespaces/" + namespace + "/secrets/written",
}

// write changes a label of an object.
func (b *bench) write(ctx context.Context, kind string) error {
	body := fmt.Appendf(nil, `{"metadata":{"labels":{"now":"%d"}}}`, time.Now().UnixNano())
	_, err := b.admin.Raw(ctx, http.MethodPatch, written[kind], nil,
		"application/merge-patch+json", body)
	return err
}

// row measures in turns, so that a busy machine slows all of a row alike: what the policy costs a
// device is the difference between its requests and the administrator's.
func (b *bench) row(ctx context.Context, name string) error {
	requests := []func() error{
		func() error { return b.mint(ctx, b.minter) },
		func() error { return b.mint(ctx, b.issuer) },
		func() error { return b.write(ctx, "ConfigMap") },
		func() error { return b.write(ctx, "Secret") },
	}
	took := make([][]time.Duration, len(requests))
	for range b.runs {
		for i, request := range requests {
			began := time.Now()
			if err := request(); err != nil {
				return err
			}
			took[i] = append(took[i], time.Since(began))
		}
	}
	memory, err := b.memory(ctx)
	if err != nil {
		return err
	}
	fmt.Printf("| %s |", name)
	for _, durations := range took {
		slices.Sort(durations)
		fmt.Printf(" %.2f ms |", float64(durations[len(durations)/2].Microseconds())/1000)
	}
	fmt.Printf(" %.0f MiB |\n", memory/megabyte)
	return nil
}

// memory is what the API server says of itself.
func (b *bench) memory(ctx context.Context) (float64, error) {
	answer, err := b.admin.Get(ctx, "/metrics", "text/plain", nil)
	if err != nil {
		return 0, err
	}
	for line := range bytes.Lines(answer) {
		if value, found := bytes.CutPrefix(line,
			[]byte("process_resident_memory_bytes ")); found {
			return strconv.ParseFloat(string(bytes.TrimSpace(value)), 64)
		}
	}
	return 0, fmt.Errorf("the API server does not say how much memory it has")
}
