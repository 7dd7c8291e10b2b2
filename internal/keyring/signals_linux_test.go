package keyring

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
	"testing"
)

// interruptedVariable makes the test binary be the process that is signalled.
const interruptedVariable = "KEYRING_TEST_INTERRUPTED"

func TestASignalWaitsForTheExchangeAndThenEndsTheProcess(t *testing.T) {
	if os.Getenv(interruptedVariable) != "" {
		_ = uninterrupted(func() error {
			_ = syscall.Kill(os.Getpid(), syscall.SIGTERM)
			_, _ = os.Stdout.WriteString("finished")
			return nil
		})
		select {} // the signal ends it
	}
	command := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
	command.Env = append(os.Environ(), interruptedVariable+"=1")
	output, err := command.Output()
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		t.Fatalf("it ended with %v", err)
	}
	status := exit.Sys().(syscall.WaitStatus)
	if !status.Signaled() || status.Signal() != syscall.SIGTERM {
		t.Errorf("it was ended by %v", status)
	}
	if string(output) != "finished" {
		t.Errorf("the exchange was cut off: %q", output)
	}
}
