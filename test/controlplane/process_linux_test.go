package controlplane_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/test/controlplane"
)

// parentDir set in the environment makes this test program the parent of a
// control plane in that folder, until it is killed.
const parentDir = "CONTROL_PLANE_TEST_PARENT"

func TestMain(m *testing.M) {
	if dir := os.Getenv(parentDir); dir != "" {
		beParent(dir)
	}
	os.Exit(m.Run())
}

func beParent(dir string) {
	if _, err := controlplane.Start(context.Background(),
		controlplane.Options{Dir: dir}); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("started")
	select {}
}

func TestChildrenDieWithAKilledParent(t *testing.T) {
	parent := exec.Command(os.Args[0])
	parent.Env = append(os.Environ(), parentDir+"="+filepath.Join(t.TempDir(), "state"))
	stdout, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	line, readErr := bufio.NewReader(stdout).ReadString('\n')
	pids := childrenOf(t, parent.Process.Pid)
	if err := parent.Process.Kill(); err != nil {
		t.Error(err)
	}
	_ = parent.Wait() // it was killed, and says so
	if readErr != nil || line != "started\n" || len(pids) != 2 {
		t.Fatalf("parent said %q (%v) and had the children %v", line, readErr, pids)
	}
	waitGone(t, pids)
}

// waitGone fails when a process is there longer than a death signal takes.
func waitGone(t *testing.T, pids []int) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for len(pids) > 0 {
		pids = slices.DeleteFunc(pids, func(pid int) bool { return !alive(pid) })
		if time.Now().After(deadline) {
			t.Fatalf("processes that outlive their parent: %v", pids)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// alive is false for a zombie too: it waits for its parent, not for us.
func alive(pid int) bool {
	state, _, err := processStatus(pid)
	return err == nil && state != "Z"
}

func children(t *testing.T) []int {
	t.Helper()
	return childrenOf(t, os.Getpid())
}

func childrenOf(t *testing.T, parent int) (pids []int) {
	t.Helper()
	folders, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	for _, folder := range folders {
		pid, err := strconv.Atoi(filepath.Base(folder))
		if err != nil {
			continue
		}
		// A process may have ended since it was listed.
		if _, of, err := processStatus(pid); err == nil && of == parent {
			pids = append(pids, pid)
		}
	}
	return pids
}

// processStatus reads a process's state and parent. They come after its name,
// which is in parentheses and may have any character in it.
func processStatus(pid int) (state string, parent int, err error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", 0, err
	}
	fields := strings.Fields(string(data[strings.LastIndexByte(string(data), ')')+1:]))
	parent, err = strconv.Atoi(fields[1])
	return fields[0], parent, err
}
