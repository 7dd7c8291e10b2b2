package sealed

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// credential is what systemd is told that a sealed key is, and has to be again when it is unsealed.
const credential = "sa-exec-credential"

// programs are where systemd-creds can be. A search path could have been chosen by a kubeconfig.
var programs = []string{"/usr/bin/systemd-creds", "/bin/systemd-creds",
	"/run/current-system/sw/bin/systemd-creds"}

// systemd seals with systemd's credentials, see systemd-creds(1): as root with the key of the
// host, and as another user through systemd's own service, which binds it to the user.
type systemd struct {
	kind     Kind
	programs []string
}

// OpenSystemd seals with systemd's credentials, as this user. Nothing is run yet.
func OpenSystemd() Sealer {
	if os.Geteuid() == 0 {
		return systemd{SystemdHost, programs}
	}
	return systemd{SystemdUser, programs}
}

func (s systemd) Kind() Kind { return s.kind }

func (s systemd) Description() string {
	if s.kind == SystemdHost {
		return "systemd's credential key, on this disk"
	}
	return "systemd's credential key, for this user"
}

func (s systemd) Seal(ctx context.Context, key []byte) (sealedKey, error) {
	args := []string{"encrypt", "--name=" + credential, "--with-key=host", "-", "-"}
	if s.kind == SystemdUser { // which key is the service's choice
		args = []string{"encrypt", "--user", "--name=" + credential, "-", "-"}
	}
	blob, err := s.run(ctx, encode(key), args...)
	if err != nil {
		return sealedKey{}, s.explain(ctx, err)
	}
	return sealedKey{Private: bytes.TrimSpace(blob)}, nil
}

func (s systemd) Unseal(ctx context.Context, sealed sealedKey) ([]byte, error) {
	args := []string{"decrypt", "--name=" + credential, "-", "-"}
	if s.kind == SystemdUser {
		args = []string{"decrypt", "--user", "--name=" + credential, "-", "-"}
	}
	text, err := s.run(ctx, sealed.Private, args...)
	if isRefusal(err) && s.works(ctx) {
		return nil, unusable("another machine or user has sealed it, or it is altered (%v)",
			err)
	}
	if err != nil {
		return nil, s.explain(ctx, err)
	}
	key, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(text)))
	if err != nil {
		return nil, unusable("its key is not one of AES-256")
	}
	return key, nil
}

// works tells a blob that systemd does not open from a systemd that opens none: it says both by
// the same exit code.
func (s systemd) works(ctx context.Context) bool {
	_, err := s.Seal(ctx, []byte("try"))
	return err == nil
}

// encode is for a program that takes text.
func encode(key []byte) []byte { return []byte(base64.StdEncoding.EncodeToString(key)) }

// isRefusal reports whether the program has run to its end and said no.
func isRefusal(err error) bool {
	var exit *refusal
	return errors.As(err, &exit)
}

// refusal is what systemd-creds has said.
type refusal struct{ said string }

func (r *refusal) Error() string { return r.said }

// pipeLimit is how long what the program has said is read once it has ended: others that it has
// started can hold its output. A busy machine may need more than a moment to read what is there.
const pipeLimit = 2 * time.Second

// run gives the program its input. It sees no variable of this process.
func (s systemd) run(ctx context.Context, input []byte, args ...string) ([]byte, error) {
	path, err := s.find()
	if err != nil {
		return nil, err
	}
	command := exec.CommandContext(ctx, path, args...)
	command.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C"}
	command.Dir = "/"
	command.Stdin = bytes.NewReader(input)
	command.WaitDelay = pipeLimit
	var out, said bytes.Buffer
	command.Stdout, command.Stderr = &out, &said
	err = command.Run()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case errors.As(err, &exit):
		return nil, &refusal{lastLine(said.String(), exit)}
	case err != nil:
		return nil, err
	}
	return out.Bytes(), nil
}

// lastLine is what a program has said at its end, on one line.
func lastLine(said string, exit *exec.ExitError) string {
	lines := strings.Split(strings.TrimSpace(said), "\n")
	if last := lines[len(lines)-1]; last != "" {
		return last
	}
	return exit.Error()
}

// find returns the program, which has to be root's alone.
func (s systemd) find() (string, error) {
	for _, path := range s.programs {
		info, err := os.Stat(path)
		if err != nil || !info.Mode().IsRegular() {
			continue
		}
		owner, ok := info.Sys().(*syscall.Stat_t)
		if !ok || owner.Uid != 0 || info.Mode().Perm()&0o022 != 0 {
			return "", unavailable("%s can be written by others than root", path)
		}
		return path, nil
	}
	return "", unavailable("there is no systemd-creds (systemd 250 has it for root, 256 for " +
		"every user)")
}

// explain makes a failure an ErrUnavailable that says what it takes.
func (s systemd) explain(ctx context.Context, err error) error {
	switch {
	case errors.Is(err, ErrUnavailable):
		return err
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, fs.ErrPermission):
		return unavailable("systemd-creds cannot be run: %v", err)
	}
	version, problem := s.run(ctx, nil, "--version")
	line, _, _ := strings.Cut(string(version), "\n")
	if problem == nil && s.kind == SystemdUser {
		return unavailable("systemd-creds --user needs systemd 256, and this is %s: %v",
			shorten(line), err)
	}
	return unavailable("systemd-creds: %v", err)
}

// shorten is "systemd 252" of what --version says.
func shorten(version string) string {
	fields := strings.Fields(version)
	return strings.Join(fields[:min(2, len(fields))], " ")
}
