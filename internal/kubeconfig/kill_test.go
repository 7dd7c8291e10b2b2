package kubeconfig

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

const mergeInto = "TEST_MERGE_INTO"

// TestMain makes the test binary a process that merges and merges, to be killed.
func TestMain(m *testing.M) {
	path := os.Getenv(mergeInto)
	for i := range 100_000 { // it ends, should nobody be left to kill it
		if path == "" {
			break
		}
		e := testEntry()
		e.Namespace = fmt.Sprint("n", i)
		if _, err := Merge([]string{path}, e, false); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

func TestAKillAtAnyMomentLeavesAWholeFileAndNothingBeside(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config")
	write(t, path, crowd(5))
	for i := range 12 {
		process := exec.Command(os.Args[0])
		process.Env = append(os.Environ(), mergeInto+"="+path)
		process.Stderr = os.Stderr
		if err := process.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(50*time.Millisecond + time.Duration(i)*1700*time.Microsecond)
		if err := process.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = process.Wait()
		if got := len(mustLoadFile(t, path).Contexts); got < 5 {
			t.Fatalf("%d contexts after a kill", got)
		}
	}
	e := testEntry()
	e.Namespace = "last"
	if _, err := Merge([]string{path}, e, false); err != nil {
		t.Fatal(err)
	}
	checkEntry(t, mustLoadFile(t, path), e)
	onlyFiles(t, filepath.Dir(path), "config")
}
