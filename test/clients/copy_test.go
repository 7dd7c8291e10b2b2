//go:build linux

package clients_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/test/lab"
)

// volume mounts an empty file system, as kubelet does for a pod.
func volume(t *testing.T, options string) (dir string) {
	t.Helper()
	dir = lab.Dir(t, "volume")
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, options); err != nil {
		t.Skipf("not run, because nothing can be mounted here: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	return dir
}

// TestAnInitContainerCopiesTheProgram onto a volume, where a client then runs it, and copies
// another over it while it runs.
func TestAnInitContainerCopiesTheProgram(t *testing.T) {
	t.Parallel()
	m := lab.NewMachine(t, keyring.Kernel)
	m.Prepare()
	dir := volume(t, "")
	copied := filepath.Join(dir, "sa-exec-credential")
	if r := m.Plugin("copy-binary", dir).Succeeds().Silent(); r.Stdout != copied+"\n" {
		t.Errorf("printed %q", r.Stdout)
	}
	config := m.LoadKubeconfig()
	config.AuthInfos[config.Contexts[m.Profile].AuthInfo].Exec.Command = copied
	f := &fleet{Machine: m}
	f.WriteKubeconfig(m.Kubeconfig(), config)
	f.is(m.Username())

	// what runs cannot be written to, and is replaced all the same
	running := running(m, copied)
	old := inode(t, copied)
	m.Plugin("copy-binary", dir).Succeeds()
	if inode(t, copied) == old {
		t.Error("the program that runs was written to")
	}
	running.Signal(syscall.SIGKILL)
	running.End()
	f.is(m.Username())
	if left := lab.FilesBelow(t, dir); len(left) != 2 { // the program for hits is the other
		t.Errorf("in the volume are %q", left)
	}
}

// running starts a copy that does not end: it waits for an invitation.
func running(m *lab.Machine, program string) *lab.Started {
	m.Helper()
	cmd := exec.Command(program, "join")
	cmd.Env = m.Env()
	if _, err := cmd.StdinPipe(); err != nil {
		m.Fatal(err)
	}
	return lab.Adopt(m.T, cmd)
}

func inode(t *testing.T, path string) uint64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Sys().(*syscall.Stat_t).Ino
}

// TestAVolumeThatCannotTakeTheProgramKeepsWhatItHas is one that is read-only, and one that is full.
func TestAVolumeThatCannotTakeTheProgramKeepsWhatItHas(t *testing.T) {
	t.Parallel()
	m := lab.NewMachine(t, keyring.Kernel)
	for name, options := range map[string]string{"read-only file system": "ro",
		"no space left on device": "size=1m"} {
		dir := volume(t, "size=1m")
		m.Write(filepath.Join(dir, "sa-exec-credential"), "an older one")
		// busy while a process that is just being started still has the file open
		lab.Eventually(t, "the volume is mounted anew", func() bool {
			return syscall.Mount("tmpfs", dir, "tmpfs",
				syscall.MS_REMOUNT|readOnly(options), "size=1m") == nil
		})
		m.Plugin("copy-binary", dir).OneError(exitUsage, name)
		if left := lab.FilesBelow(t, dir); len(left) != 1 ||
			m.Read(filepath.Join(dir, "sa-exec-credential")) != "an older one" {
			t.Errorf("%s: in the volume are %q", name, left)
		}
	}
}

func readOnly(options string) uintptr {
	if options == "ro" {
		return syscall.MS_RDONLY
	}
	return 0
}
