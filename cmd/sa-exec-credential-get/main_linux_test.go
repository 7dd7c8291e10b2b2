package main

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
)

func TestHitsAreAnswered(t *testing.T) {
	for _, store := range []keyring.Kind{keyring.Kernel, keyring.Keyring, keyring.Sealed} {
		for _, args := range [][]string{{"get", "--profile", "p"}, {"get"}} {
			t.Run(string(store)+" "+strings.Join(args, " "), func(t *testing.T) {
				m := newMachine(t, store, time.Minute)
				output, err := m.client(nil, args...).Output()
				if err != nil {
					t.Fatal(err)
				}
				var answer struct {
					Status struct{ Token, ExpirationTimestamp string }
				}
				if err := json.Unmarshal(output, &answer); err != nil ||
					answer.Status.Token != token {
					t.Errorf("%v: %s", err, output)
				}
			})
		}
	}
}

func TestEverythingElseIsForTheWholeProgram(t *testing.T) {
	for _, test := range []struct {
		name string
		age  time.Duration
		args string
	}{
		{"a token that is stale", 58 * time.Minute, "get --profile p"},
		{"another profile", 0, "get --profile q"},
		{"no command", 0, ""},
		{"another command", 0, "status -o json"},
		{"a get that is to say what it does", 0, "get --profile p -v"},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := newMachine(t, keyring.Kernel, test.age)
			output, err := m.client(nil, strings.Fields(test.args)...).Output()
			if err != nil || !strings.HasPrefix(string(output), "whole: ") ||
				!strings.HasSuffix(string(output),
					"/sa-exec-credential "+test.args+"\n") {
				t.Errorf("%v: %q", err, output)
			}
		})
	}
}

// TestAClientThatRepeatsItselfIsForTheWholeProgram, which asks the API server about the token.
func TestAClientThatRepeatsItselfIsForTheWholeProgram(t *testing.T) {
	m := newMachine(t, keyring.Kernel, time.Minute)
	output, err := m.client([]string{"sh", "-c", `"$@"; "$@"`, "twice"}, "get", "--profile",
		"p").Output()
	first, second, _ := strings.Cut(string(output), "\n")
	if err != nil || !strings.Contains(first, token) || !strings.HasPrefix(second, "whole: ") {
		t.Errorf("%v: %q", err, output)
	}
}

// TestTheProcessStaysTheSame: clients are recognised by their children's ancestry, and end them by
// their id.
func TestTheProcessStaysTheSame(t *testing.T) {
	m := newMachine(t, keyring.Kernel, time.Minute)
	output, err := m.client([]string{"sh", "-c", `echo "$$"; exec "$@"`, "sh"}, "help").Output()
	pid, said, _ := strings.Cut(string(output), "\n")
	if err != nil || !strings.HasPrefix(said, "whole: "+pid+" ") {
		t.Errorf("%v: %q", err, output)
	}
}

// TestAHostileKubeconfigGetsNothingHere has the whole program say what is wrong.
func TestAHostileKubeconfigGetsNothingHere(t *testing.T) {
	const info = `KUBERNETES_EXEC_INFO={"apiVersion":"client.authentication.k8s.io/v1",` +
		`"kind":"ExecCredential","spec":{"cluster":{"server":"https://127.0.0.1:6443"`
	for name, setting := range map[string]string{
		"another server":       strings.Replace(info, "6443", "6444", 1) + `}}}`,
		"unverified TLS":       info + `,"insecure-skip-tls-verify":true}}}`,
		"another name for TLS": info + `,"tls-server-name":"evil"}}}`,
		"no cluster":           strings.Replace(info, `"cluster":{`, `"x":{`, 1) + `}}}`,
		"no exec info at all":  "OTHER=1",
		"what is no JSON":      "KUBERNETES_EXEC_INFO={",
		"forged authorities":   "SSL_CERT_FILE=/forged",
		"a forged directory":   "XDG_CONFIG_HOME=/forged",
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t, keyring.Kernel, time.Minute)
			output, err := m.client([]string{"env", setting}, "get", "--profile",
				"p").Output()
			isHit := strings.Contains(string(output), token)
			// that directory is not the client's own, and does not count
			wanted := name == "a forged directory"
			if name == "no exec info at all" {
				output, err = m.client([]string{"env", "-u", "KUBERNETES_EXEC_INFO"},
					"get", "--profile", "p").Output()
				isHit = strings.Contains(string(output), token)
			}
			if err != nil || isHit != wanted {
				t.Errorf("%v: %q", err, output)
			}
		})
	}
}

func TestAProgramThatIsAloneSaysSo(t *testing.T) {
	m := newMachine(t, keyring.Kernel, time.Minute)
	alone := filepath.Join(m.home, "sa-exec-credential-get")
	m.must(os.Link(binary, alone))
	for _, prepare := range []func() error{
		func() error { return nil },
		func() error { return os.Link(alone, filepath.Join(m.home, "sa-exec-credential")) },
	} {
		m.must(prepare())
		command := exec.Command(alone, "status")
		command.Env = append(m.environ(), "PATH="+filepath.Dir(binary)) // which does not count
		var complaint strings.Builder
		command.Stderr = &complaint
		output, err := command.Output()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != 1 || len(output) > 0 ||
			strings.Count(complaint.String(), "\n") != 2 ||
			!strings.Contains(complaint.String(), "install both") {
			t.Errorf("%v: %q, %q", err, output, complaint.String())
		}
	}
}
