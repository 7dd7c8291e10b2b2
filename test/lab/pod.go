//go:build linux

package lab

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// podUser is who programs in a pod are; outside they are whoever runs the tests.
const podUser = 12345

// Pod is a pod without kubelet: mount and user namespaces, a root file system that cannot be
// written to, and at the usual place the three files with kubelet's links, which Mount replaces
// as kubelet does.
type Pod struct {
	*Machine
	Writable string // the only directory that can be written to
	folder   string
	account  string
	turn     int
}

// NewPod creates the pod object, with its account where that is missing, and mounts a token that
// is bound to it.
func NewPod(m *Machine, namespace, account string) *Pod {
	m.Helper()
	p := &Pod{Machine: m, folder: m.TempDir(), account: account}
	p.Writable = filepath.Join(p.folder, "emptydir")
	for _, args := range [][]string{{"namespace", namespace},
		{"serviceaccount", account, "-n", namespace}} {
		if AsAdmin(m.T, "", append([]string{"get"}, args...)...).Code != 0 {
			m.AsAdmin(append([]string{"create"}, args...)...)
		}
	}
	m.AsAdminWith(`{"apiVersion":"v1","kind":"Pod","metadata":{"name":"`+account+
		`","namespace":"`+namespace+`"},"spec":{"serviceAccountName":"`+account+
		`","containers":[{"name":"worker","image":"none"}]}}`, "create", "-f", "-")
	if err := errors.Join(os.MkdirAll(p.mounted(), 0o755),
		os.Mkdir(p.Writable, 0o700)); err != nil {
		m.Fatal(err)
	}
	p.Mount(namespace)
	return p
}

func (p *Pod) mounted() string {
	return filepath.Join(p.folder, "run", "secrets", "kubernetes.io", "serviceaccount")
}

// Mount writes the files into a new folder and moves the link "..data" over, which is how kubelet
// replaces them.
func (p *Pod) Mount(namespace string) {
	p.Helper()
	token := p.AdminsToken("create", "token", p.account, "-n", namespace,
		"--bound-object-kind=Pod", "--bound-object-name="+p.account)
	p.turn++
	folder := fmt.Sprintf("..turn-%d", p.turn)
	for name, content := range map[string]string{"token": token,
		"ca.crt": string(Plane.CAPEM), "namespace": namespace} {
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

// Inside runs a program in the pod.
func (p *Pod) Inside(environment []string, args ...string) Result {
	p.Helper()
	server, err := url.Parse(Plane.Server)
	if err != nil {
		p.Fatal(err)
	}
	cmd := Helper(p.T, "pod", append([]string{p.folder}, args...)...)
	cmd.Env = append(slices.Concat(environment, cmd.Env),
		"PATH="+filepath.Dir(Plugin)+":"+filepath.Dir(Plane.Kubectl)+":/usr/bin:/bin",
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
	return Adopt(p.T, cmd).End()
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
