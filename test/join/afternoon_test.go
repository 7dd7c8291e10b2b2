//go:build linux

package join_test

import (
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/internal/sealed/swtpmtest"
	"github.com/sa-exec-credential/sa-exec-credential/test/docs"
	"github.com/sa-exec-credential/sa-exec-credential/test/lab"
)

// sealing is a server with a TPM, which a simulator stands for.
type sealing struct {
	*lab.Server
	tpm *swtpmtest.TPM
}

func newSealing(t *testing.T, name string) *sealing {
	t.Helper()
	dir := lab.ShortDir(t)
	if err := os.Chmod(dir, 0o711); err != nil { // the server is another user
		t.Fatal(err)
	}
	tpm, err := swtpmtest.Start(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tpm.Stop)
	return &sealing{lab.NewServer(t, name), tpm}
}

// reboot is what a restart does: nothing is left in the kernel's keyring, and the TPM starts.
func (s *sealing) reboot() {
	s.Helper()
	s.Does("keyctl clear @u").Succeeds()
	if err := s.tpm.Restart(); err != nil {
		s.Fatal(err)
	}
}

// ages moves the times of the server's bootstrap credential back, as its user would find it later.
func (s *sealing) ages(by time.Duration) {
	s.Helper()
	state := s.Path(".local", "state")
	s.belongs(s.TempDir(), state) // only to its owner a store is opened
	defer s.belongs(s.Home, state)
	store, err := keyring.Open(s.Context(), keyring.Sealed, keyring.System{TPM: s.tpm.Place(),
		StateDir: state})
	if err != nil {
		s.Fatal(err)
	}
	keys, err := keyring.Behind(store).Keys(s.Context())
	if err != nil || len(keys) != 1 {
		s.Fatalf("it keeps %q, %v", keys, err)
	}
	entry, err := store.Get(s.Context(), keys[0])
	if err == nil {
		entry.IssuedAt, entry.ExpiresAt = entry.IssuedAt.Add(-by), entry.ExpiresAt.Add(-by)
		err = store.Set(s.Context(), keys[0], entry)
	}
	if err != nil {
		s.Fatal(err)
	}
}

// belongs gives what is in a directory to the owner of another one.
func (s *sealing) belongs(like, dir string) {
	s.Helper()
	lab.Command{Args: []string{"/bin/chown", "-R", "--reference=" + like, dir}}.Run(
		s.T).Succeeds()
}

// afternoon is who and what there is in docs/servers.md's section of that name.
type afternoon struct {
	laptop  *lab.Machine
	servers map[string]*sealing
	thief   *sealing
}

// TestANewUsersAfternoon types the section, and compares what it shows. A restart and a theft are
// done to the simulators and the homes; the month passes in the stored times.
func TestANewUsersAfternoon(t *testing.T) {
	a := afternoon{servers: map[string]*sealing{}, thief: newSealing(t, "thief")}
	var list []*lab.Server
	for _, name := range []string{"build-7", "build-8"} {
		a.servers[name] = newSealing(t, name)
		list = append(list, a.servers[name].Server)
	}
	a.laptop = administrator(t, list...)
	a.laptop.Write(a.laptop.Kubeconfig(), strings.NewReplacer("@test", "@prod",
		"cluster: test", "cluster: prod", "name: test", "name: prod").Replace(
		a.laptop.Read(a.laptop.Admin)))
	typed := 0
	for _, block := range blocks(t, "docs/servers.md") {
		if len(block.Words) == 0 || !strings.HasPrefix(block.Words[0], "afternoon=") {
			continue
		}
		if len(block.Words) > 1 {
			a.monthLater()
		}
		for _, command := range block.Commands() {
			typed++
			a.types(t, strings.TrimPrefix(block.Words[0], "afternoon="), command)
		}
	}
	if typed < 10 {
		t.Errorf("%d commands were typed", typed)
	}
	a.servers["build-7"].NoteToken(account)
}

// reboots and joins are the commands that need a simulator's part.
var (
	reboots = regexp.MustCompile(`^ssh (\S+) sudo reboot$`)
	joins   = regexp.MustCompile(`ssh (\S+) sa-exec-credential join --use-context$`)
)

func (a afternoon) types(t *testing.T, who string, command docs.Command) {
	t.Helper()
	if match := reboots.FindStringSubmatch(command.Text); match != nil {
		a.servers[match[1]].reboot()
		return
	}
	text := command.Text
	if match := joins.FindStringSubmatch(text); match != nil {
		text += " --store sealed --tpm " + a.servers[match[1]].tpm.Place()
	}
	var r lab.Result
	want := 0
	if who == "thief" {
		a.steals("build-8")
		r, want = a.thief.Does("exec 2>&1; "+text), 1
	} else {
		r = a.laptop.Exec("/bin/bash", "-o", "pipefail", "-c", `exec 2>&1; eval "$1"`,
			"bash", text)
	}
	if r.Code != want {
		t.Fatalf("line %d: exit code %d\n$ %s\n%s", command.Line, r.Code, text, r.Stdout)
	}
	printed := r.Stdout
	for _, s := range a.servers {
		printed = strings.ReplaceAll(printed, s.tpm.Place(), keyring.DefaultTPM)
	}
	if !docs.Matches(narrow(command.Shown), narrow(printed)) {
		t.Errorf("line %d: shown is\n%s\nprinted is\n%s", command.Line,
			docs.Hidden(command.Shown), docs.Hidden(printed))
	}
}

// narrow is a table without its columns' widths, which the length of a path decides.
func narrow(text string) string { return regexp.MustCompile(` {2,}`).ReplaceAllString(text, "  ") }

// steals copies what a server's disk has to somebody else's machine, whose TPM is another one.
func (a afternoon) steals(name string) {
	a.thief.Helper()
	for _, dir := range []string{".config", ".local", ".kube"} {
		lab.Command{Args: []string{"/bin/cp", "-a", a.servers[name].Path(dir),
			a.thief.Home}}.Run(a.thief.T).Succeeds()
		a.thief.belongs(a.thief.Home, a.thief.Path(dir))
	}
	path := a.thief.Path(".config", "sa-exec-credential", "profiles", account+".yaml")
	data, err := os.ReadFile(path)
	if err != nil {
		a.thief.Fatal(err)
	}
	changed := strings.ReplaceAll(string(data), a.servers[name].tpm.Place(),
		a.thief.tpm.Place())
	if err := os.WriteFile(path, []byte(changed), 0o600); err != nil {
		a.thief.Fatal(err)
	}
}

// monthLater is twice the half of a bootstrap credential's life, and a bit, of build-7 at work.
func (a afternoon) monthLater() {
	s := a.servers["build-7"]
	s.Helper()
	for range 2 {
		s.ages(16 * 24 * time.Hour)
		s.Does("keyctl clear @u && kubectl get pods").Succeeds()
	}
}
