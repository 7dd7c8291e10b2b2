//go:build linux

package setup_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sa-exec-credential/sa-exec-credential/internal/mint"
	"github.com/sa-exec-credential/sa-exec-credential/test/lab"
)

// podUser is who programs in the pod are; outside they are whoever runs the tests.
const podUser = 12345

// pod is a pod without kubelet: mount and user namespaces, a root file system that cannot be
// written to, and at the usual place the three files with kubelet's links, which this test
// replaces as kubelet does.
type pod struct {
	*machine
	folder string
	turn   int
}

// newPod makes the pod object and mounts a token that is bound to it.
func newPod(t *testing.T, namespace string) *pod {
	t.Helper()
	p := &pod{machine: newMachine(t), folder: t.TempDir()}
	p.AsAdmin("create", "namespace", namespace)
	p.AsAdmin("create", "serviceaccount", "worker", "-n", namespace)
	p.AsAdmin("create", "rolebinding", "worker", "-n", namespace, "--clusterrole=view",
		"--serviceaccount="+namespace+":worker")
	p.AsAdminWith(`{"apiVersion":"v1","kind":"Pod","metadata":{"name":"worker","namespace":"`+namespace+`"},"spec":{"serviceAccountName":"worker","containers":[{"name":"worker","image":"none"}]}}`,
		"create", "-f", "-")
	if err := os.MkdirAll(p.mounted(), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(p.folder, "emptydir"), 0o700); err != nil {
		t.Fatal(err)
	}
	p.mount(namespace)
	return p
}

func (p *pod) mounted() string {
	return filepath.Join(p.folder, "run", "secrets", "kubernetes.io", "serviceaccount")
}

// mount writes the files into a new folder and moves the link "..data" over, which is how kubelet
// replaces them.
func (p *pod) mount(namespace string) {
	p.Helper()
	token := p.AdminsToken("create", "token", "worker", "-n", namespace,
		"--bound-object-kind=Pod", "--bound-object-name=worker")
	p.turn++
	folder := fmt.Sprintf("..turn-%d", p.turn)
	for name, content := range map[string]string{"token": token,
		"ca.crt": string(lab.Plane.CAPEM), "namespace": namespace} {
		p.Write(filepath.Join(p.mounted(), folder, name), content)
		if err := os.Symlink("..data/"+name, filepath.Join(p.mounted(),
			name)); err != nil && !errors.Is(err, os.ErrExist) {
			p.Fatal(err)
		}
	}
	link := filepath.Join(p.mounted(), "..data_tmp")
	if err := errors.Join(os.Symlink(folder, link), os.Rename(link, filepath.Join(p.mounted(),
		"..data"))); err != nil {
		p.Fatal(err)
	}
}

// in runs a program in the pod.
func (p *pod) in(environment []string, args ...string) lab.Result {
	p.Helper()
	server, err := url.Parse(lab.Plane.Server)
	if err != nil {
		p.Fatal(err)
	}
	cmd := lab.Helper(p.T, "pod", append([]string{p.folder}, args...)...)
	cmd.Env = append(slices.Concat(environment, cmd.Env), "PATH=/usr/bin:/bin",
		"KUBERNETES_SERVICE_HOST="+server.Hostname(),
		"KUBERNETES_SERVICE_PORT="+server.Port())
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: podUser, HostID: os.Getuid(),
			Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: podUser, HostID: os.Getgid(),
			Size: 1}},
		AmbientCaps: []uintptr{unix.CAP_SYS_ADMIN, unix.CAP_SYS_CHROOT},
	}
	return lab.Adopt(p.T, cmd).End()
}

// podMain makes the test binary become what runs in a pod. Its arguments are the directory that
// the pod sees as /run and as its only other writable place, and the program.
func podMain(args []string) int {
	fmt.Fprintln(os.Stderr, becomePod(args[0], args[1:]))
	return 1
}

// becomePod makes the mounts and then the program.
func becomePod(folder string, args []string) error {
	root := filepath.Join(folder, "root")
	if err := os.MkdirAll(root, 0o755); err != nil {
		return err
	}
	if err := unix.Mount("/", root, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("binding the root: %w", err)
	}
	readOnly := &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}
	if err := unix.MountSetattr(unix.AT_FDCWD, root, unix.AT_RECURSIVE, readOnly); err != nil {
		return fmt.Errorf("making the root read-only: %w", err)
	}
	for from, to := range map[string]string{"run": "/run", "emptydir": filepath.Join(folder,
		"emptydir")} {
		if err := unix.Mount(filepath.Join(folder, from), root+to, "", unix.MS_BIND,
			""); err != nil {
			return fmt.Errorf("binding %s: %w", to, err)
		}
	}
	if err := errors.Join(unix.Chroot(root), unix.Chdir("/")); err != nil {
		return err
	}
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0,
		0); err != nil {
		return err
	}
	return unix.Exec(args[0], args, os.Environ())
}

func TestAPodGetsAKubeconfigInOneCommand(t *testing.T) {
	t.Parallel()
	namespace := lab.Namespace()
	p := newPod(t, namespace)
	if r := p.in(nil, "/usr/bin/touch", "/etc/x"); r.Code == 0 {
		t.Fatal("the pod can write to its root")
	}
	home := "HOME=" + filepath.Join(p.folder, "emptydir")
	r := p.in([]string{home}, lab.Plugin, "setup", "--bootstrap", "in-cluster").Succeeds()
	lab.Has(t, "the proof", r.Stdout, "It works.", mint.Username(namespace, "worker"),
		"the pod's mounted token")
	p.in([]string{home}, lab.Plane.Kubectl, "get", "pods").Succeeds()
	p.in([]string{home}, lab.Plane.Kubectl, "get", "secrets").Fails(1, "forbidden")
	if data := p.Read(filepath.Join(p.folder, "emptydir", ".kube",
		"config")); lab.TokenIn(data) != "" {
		t.Error("the token is in the kubeconfig")
	}
}

func TestAPodUsesTheTokenThatKubeletHasReplaced(t *testing.T) {
	t.Parallel()
	namespace := lab.Namespace()
	p := newPod(t, namespace)
	home := "HOME=" + filepath.Join(p.folder, "emptydir")
	p.in([]string{home}, lab.Plugin, "setup", "--bootstrap", "in-cluster", "--store",
		"none").Succeeds()
	first := p.credentialID(home)
	p.mount(namespace)
	if second := p.credentialID(home); second == first || second == "" {
		t.Errorf("after the token was replaced its id is %q, was %q", second, first)
	}
}

// credentialID is which token kubectl has sent, in the API server's own words.
func (p *pod) credentialID(home string) string {
	p.Helper()
	var review struct {
		Status struct {
			UserInfo struct{ Extra map[string][]string }
		}
	}
	r := p.in([]string{home}, lab.Plane.Kubectl, "auth", "whoami", "-o", "json").Succeeds()
	if err := json.Unmarshal([]byte(r.Stdout), &review); err != nil {
		p.Fatal(err)
	}
	return strings.Join(review.Status.UserInfo.Extra["authentication.kubernetes.io/credential-id"], " ")
}

func TestAPodWithoutAnyPlaceToWriteToIsToldSo(t *testing.T) {
	t.Parallel()
	p := newPod(t, lab.Namespace())
	for _, home := range [][]string{nil, {"HOME=/"}, {"HOME=/nonexistent"}} {
		r := p.in(home, lab.Plugin, "setup", "--bootstrap", "in-cluster", "--store", "none")
		if r.Code == 0 || !strings.Contains(r.Stderr, "error: ") ||
			!strings.Contains(r.Stderr, "hint: ") {
			t.Errorf("%q: exit code %d\n%s", home, r.Code, r.Stderr)
		}
	}
}

func TestOutsideAPodInClusterSaysWhatIsMissing(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.Variables = []string{"KUBERNETES_SERVICE_HOST=127.0.0.1"}
	m.Plugin("setup", "--bootstrap", "in-cluster").Fails(4, "is this a pod?",
		"automountServiceAccountToken")
}
