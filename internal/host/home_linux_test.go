package host

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// stranger is a user whom no database knows.
const stranger = 4242

func TestHomeIsFromTheUserDatabaseAlone(t *testing.T) {
	const passwd = "root:x:0:0:root:/root:/bin/sh\n# a " +
		"comment\nshort:x:7\njane:x:1000:1000:Jane:/home/jane:/bin/sh\n"
	for uid, want := range map[int]string{0: "/root", 1000: "/home/jane", 7: "", stranger: ""} {
		home, err := homeOf(uid, strings.NewReader(passwd))
		if home != want || (err == nil) != (want != "") {
			t.Errorf("user %d: %q, %v", uid, home, err)
		}
	}
}

// TestAUserWhomNoDatabaseKnowsHasNoVariablesForAHome runs the program as one, in a user
// namespace, with the variables that a hostile kubeconfig sets. The folder that they lead to
// holds a profile that runs a command.
func TestAUserWhomNoDatabaseKnowsHasNoVariablesForAHome(t *testing.T) {
	command := exec.Command(os.Args[0], "-test.run=^TestHomeOfThisUser$", "-test.v")
	command.Env = []string{"HOME=/forged", "USER=forged", homeVariable + "=1"}
	command.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: stranger, HostID: os.Getuid(),
			Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: stranger, HostID: os.Getgid(),
			Size: 1}},
	}
	output, err := command.CombinedOutput()
	if err != nil || !strings.Contains(string(output), "uid 4242, home \"\"") {
		t.Errorf("%v\n%s", err, output)
	}
}

const homeVariable = "HOME_TEST"

// TestHomeOfThisUser is a part of the test above, which runs it as another user; by itself it
// says whose home is where.
func TestHomeOfThisUser(t *testing.T) {
	home, err := userHome()
	t.Logf("uid %d, home %q, %v", os.Getuid(), home, err)
	if os.Getenv(homeVariable) != "" && err == nil {
		t.Error("there should be none")
	}
}
