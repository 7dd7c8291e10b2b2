//go:build linux

package lab

import (
	"fmt"
	"io"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// TestTheWatcherNeverSeesHalfAVariable looks at processes that end while they are looked at.
func TestTheWatcherNeverSeesHalfAVariable(t *testing.T) {
	t.Parallel()
	variable := "LONG=" + strings.Repeat("x", 5000) + "."
	whole, buffer := 0, make([]byte, 256<<10)
	for range 50 {
		command := exec.Command("/bin/sh", "-c", "exec /bin/true")
		command.Env = []string{"FIRST=1", variable}
		if err := command.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			if err := command.Wait(); err != nil {
				t.Error(err)
			}
		}()
		for looking := true; looking; {
			select {
			case <-ended:
				looking = false
			default:
			}
			text, err := inOneRead(fmt.Sprintf("/proc/%d/environ", command.Process.Pid),
				buffer)
			if err != nil || !strings.HasPrefix(text, "FIRST=1") {
				continue // it has ended, or is not yet what was started
			}
			if !strings.Contains(text, variable) {
				t.Fatalf("of an environment it sees %d characters", len(text))
			}
			whole++
		}
	}
	if whole == 0 {
		t.Error("no process was seen")
	}
}

// TestTheWatcherSeesWhatIsStartedAndWhatItBecomes, and nothing of others.
func TestTheWatcherSeesWhatIsStartedAndWhatItBecomes(t *testing.T) {
	t.Parallel()
	const script = "/bin/sh -c 'read _; SECOND=2 exec /bin/cat'; exit"
	command := exec.Command("/bin/sh", "-c", script)
	command.Env = []string{"FIRST=1"}
	input, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	r, all := &record{seen: map[string]bool{}}, processes{}
	saw := func(part string) func() bool {
		return func() bool {
			r.lookAtProcesses(all)
			return slices.ContainsFunc(slices.Collect(maps.Keys(r.seen)),
				func(text string) bool { return strings.Contains(text, part) })
		}
	}
	Eventually(t, "it sees the arguments", saw("\x00read _;"))
	Eventually(t, "it sees the environment", saw("FIRST=1\x00"))
	_, _ = io.WriteString(input, "\n")
	Eventually(t, "it sees another program", saw("/bin/cat\x00"))
	Eventually(t, "it sees another environment", saw("SECOND=2\x00"))
	_ = input.Close()
	if err := command.Wait(); err != nil {
		t.Error(err)
	}
	for _, other := range []int{1, 2} {
		if all.descends(other, command.Process.Pid) {
			t.Errorf("process %d counts as one of the tests", other)
		}
	}
}
