//go:build linux

package lab

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// Server is a machine that nobody sits at: another user with another home, reached through
// Debian's sshd on loopback, which starts with the environment that sshd gives it and nothing
// else.
//
// Where root runs the tests it is a user of its own, in a user database that only the tests see.
// Others cannot become another user: then it is the same one, with another home.
type Server struct {
	*testing.T
	Name string // by which ssh knows it
	User string
	Home string
	Bin  string // a directory with ssh, which knows the server by its name and no other
}

// users is what the servers of a package share.
var users struct {
	prepare sync.Once
	err     error
	mounts  []string
	mu      sync.Mutex
	count   int
}

const firstUser = 20_000

// isRoot says that servers can have users of their own.
func isRoot() bool { return os.Geteuid() == 0 }

// NewServer starts the sshd of a machine of that name. The program and kubectl are installed on
// it.
func NewServer(t *testing.T, name string) *Server {
	t.Helper()
	s := &Server{T: t, Name: name, Home: Dir(t, "home"), Bin: Dir(t, "ssh")}
	id := s.createUser()
	s.startSSHD(id)
	return s
}

// createUser adds the server's user to the database.
func (s *Server) createUser() (id int) {
	s.Helper()
	if !isRoot() {
		s.User = os.Getenv("USER")
		s.Logf("only root can run %s as another user: it is %q with another home", s.Name,
			s.User)
		return os.Geteuid()
	}
	users.prepare.Do(func() { users.err = prepareUsers() })
	if users.err != nil {
		s.Fatal(users.err)
	}
	users.mu.Lock()
	defer users.mu.Unlock()
	id = firstUser + users.count
	users.count++
	s.User = fmt.Sprintf("build%d", id)
	for file, line := range map[string]string{
		"/etc/passwd": fmt.Sprintf("%s:*:%d:%d::%s:/bin/bash\n", s.User, id, id, s.Home),
		"/etc/group":  fmt.Sprintf("%s:*:%d:\n", s.User, id)} {
		f, err := os.OpenFile(file, os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			s.Fatal(err)
		}
		if _, err := f.WriteString(line); err != nil {
			s.Fatal(err)
		}
		_ = f.Close()
	}
	if err := os.Chown(s.Home, id, id); err != nil {
		s.Fatal(err)
	}
	return id
}

// prepareUsers puts copies of the user database in its place, and a directory of programs in
// /usr/local/bin, for this mount namespace alone.
func prepareUsers() error {
	// others have to pass through it to their homes
	if err := os.Chmod(shared.root, 0o711); err != nil {
		return err
	}
	for _, file := range []string{"/etc/passwd", "/etc/group"} {
		data, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		own := filepath.Join(shared.root, filepath.Base(file))
		err = errors.Join(os.WriteFile(own, data, 0o644), os.Chmod(own, 0o644),
			mount(own, file))
		if err != nil {
			return err
		}
	}
	bin := filepath.Join(shared.root, "bin")
	err := errors.Join(os.Mkdir(bin, 0o755), os.Chmod(bin, 0o755))
	for _, program := range []string{Plugin, Plane.Kubectl} {
		own := filepath.Join(bin, filepath.Base(program))
		err = errors.Join(err, os.WriteFile(own, nil, 0o755), mount(program, own))
	}
	run := filepath.Join(shared.root, "run") // of which sshd wants a part
	return errors.Join(err, mount(bin, "/usr/local/bin"), os.Mkdir(run, 0o755),
		os.Mkdir(filepath.Join(run, "sshd"), 0o755), mount(run, "/run"))
}

// mount shows a file or directory in another place, with what is mounted below it.
func mount(what, where string) error {
	err := syscall.Mount(what, where, "", syscall.MS_BIND|syscall.MS_REC, "")
	if err != nil {
		return fmt.Errorf("mounting %q: %w", where, err)
	}
	users.mounts = append(users.mounts, where)
	return nil
}

// removeUsers leaves nothing mounted on what is removed.
func removeUsers() (err error) {
	for i := len(users.mounts) - 1; i >= 0; i-- {
		err = errors.Join(err, syscall.Unmount(users.mounts[i], syscall.MNT_DETACH))
	}
	return err
}

// startSSHD starts it on loopback, and makes an ssh that finds it.
func (s *Server) startSSHD(id int) {
	s.Helper()
	for _, key := range []string{"host", "login"} {
		Command{Args: []string{"/usr/bin/ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f",
			filepath.Join(s.Bin, key)}}.Run(s.T).Succeeds()
	}
	authorized := filepath.Join(s.Home, ".ssh", "authorized_keys")
	public, err := os.ReadFile(filepath.Join(s.Bin, "login.pub"))
	if err != nil {
		s.Fatal(err)
	}
	WriteFile(s.T, authorized, string(public), 0o600)
	for _, path := range []string{filepath.Dir(authorized), authorized} {
		if err := os.Chown(path, id, id); err != nil {
			s.Fatal(err)
		}
	}
	port := freePort(s.T)
	settings := []string{"Port " + port, "ListenAddress 127.0.0.1", "PidFile none",
		"HostKey " + filepath.Join(s.Bin, "host"), "UsePAM no", "LogLevel ERROR",
		"AuthorizedKeysFile " + authorized, "PasswordAuthentication no"}
	if !isRoot() {
		settings = append(settings, "StrictModes no", "SetEnv HOME="+s.Home+" PATH="+
			filepath.Dir(Plugin)+":"+filepath.Dir(Plane.Kubectl)+":/usr/bin:/bin")
	}
	config := WriteFile(s.T, filepath.Join(s.Bin, "sshd_config"),
		strings.Join(settings, "\n")+"\n", 0o600)
	// by its whole name: it starts itself again for each connection
	daemon := exec.Command("/usr/sbin/sshd", "-D", "-e", "-f", config)
	daemon.Env = []string{"PATH=/usr/bin:/bin"}
	started := Adopt(s.T, daemon)
	s.Cleanup(func() {
		started.Signal(syscall.SIGTERM)
		started.End()
	})
	s.writeClient(port)
	Eventually(s.T, "sshd listens", func() bool {
		conn, err := net.Dial("tcp", "127.0.0.1:"+port)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
}

func (s *Server) writeClient(port string) {
	s.Helper()
	known := filepath.Join(s.Bin, "known_hosts")
	public, err := os.ReadFile(filepath.Join(s.Bin, "host.pub"))
	if err != nil {
		s.Fatal(err)
	}
	WriteFile(s.T, known, "[127.0.0.1]:"+port+" "+string(public), 0o600)
	config := WriteFile(s.T, filepath.Join(s.Bin, "ssh_config"), strings.Join([]string{
		"Host " + s.Name, "HostName 127.0.0.1", "Port " + port, "User " + s.User,
		"IdentityFile " + filepath.Join(s.Bin, "login"), "IdentitiesOnly yes",
		"UserKnownHostsFile " + known, "BatchMode yes", ""}, "\n"), 0o600)
	writeSSH(s.T, s.Bin, config)
}

func writeSSH(t *testing.T, dir, config string) {
	t.Helper()
	WriteFile(t, filepath.Join(dir, "ssh"),
		"#!/bin/sh\nexec /usr/bin/ssh -F "+config+" \"$@\"\n", 0o700)
}

// SSH makes an ssh that knows several servers by their names, in the directory that it returns.
func SSH(t *testing.T, servers ...*Server) (dir string) {
	t.Helper()
	dir = Dir(t, "ssh")
	var includes strings.Builder
	for _, s := range servers {
		fmt.Fprintf(&includes, "Include %s\n", filepath.Join(s.Bin, "ssh_config"))
	}
	writeSSH(t, dir, WriteFile(t, filepath.Join(dir, "ssh_config"), includes.String(), 0o600))
	return dir
}

func freePort(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// In is the server for a subtest.
func (s *Server) In(t *testing.T) *Server {
	c := *s
	c.T = t
	return &c
}

// Bare is how a shell of the server runs something without any variable, but for a home that the
// user database does not have.
func (s *Server) Bare() string {
	if isRoot() {
		return "env -i "
	}
	return "env -i HOME=" + s.Home + " "
}

// Boots runs the script of a first boot as root does, who becomes the server's user by some words.
// Who is not root goes there by ssh instead.
func (s *Server) Boots(script, becomes string) {
	s.Helper()
	now := "runuser -l " + s.User + " -c "
	if !isRoot() {
		now = filepath.Join(s.Bin, "ssh") + " " + s.Name + " "
	}
	if !strings.Contains(script, becomes) {
		s.Fatalf("nobody becomes the user in\n%s", script)
	}
	Command{Args: []string{"/bin/sh"}, Stdin: strings.ReplaceAll(script, becomes, now),
		Env: []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}}.Run(s.T).Succeeds()
}

// NoteToken makes the token that a profile has there known, so that it is searched for.
func (s *Server) NoteToken(profile string) {
	s.Helper()
	c := s.command("sa-exec-credential token --profile " + profile)
	c.PrintsToken = true
	c.Run(s.T).Succeeds()
}

// Path names a file below the home.
func (s *Server) Path(parts ...string) string {
	return filepath.Join(append([]string{s.Home}, parts...)...)
}

// Does runs a line of shell on the server, through sshd.
func (s *Server) Does(line string) Result {
	s.Helper()
	return s.command(line).Run(s.T)
}

func (s *Server) command(line string) Command {
	return Command{Args: []string{filepath.Join(s.Bin, "ssh"), s.Name, line},
		Env: []string{"PATH=/usr/bin:/bin"}}
}
