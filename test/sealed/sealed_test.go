//go:build linux

package sealed_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/internal/mint"
	"github.com/sa-exec-credential/sa-exec-credential/test/lab"
)

func TestSealedByATPM(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	proof := m.Prepare()
	lab.Has(t, "the proof", proof.Stdout,
		"files sealed by TPM "+m.TPMPlace+", also after a restart")
	m.Kubectl("get", "pods").Succeeds()
	p := m.Configuration()
	t.Run("the bootstrap credential alone is in a file", func(t *testing.T) {
		m := m.in(t)
		if files := m.files(); !slices.Equal(files, []string{p.BootstrapKey()}) {
			t.Errorf("%q", files)
		}
		if !m.InFront(p.TokenKey()) || m.InFront(p.BootstrapKey()) {
			t.Error("the kernel keyring does not hold the token, and only that")
		}
		m.NoTokenInFiles()
	})
	t.Run("status and doctor say what seals", func(t *testing.T) {
		m := m.in(t)
		lab.Has(t, "status", m.Plugin("status").Succeeds().Stdout,
			"sealed by "+m.TPMPlace, "fresh")
		lab.Has(t, "doctor", m.Plugin("doctor").Succeeds().Stdout,
			"files sealed by TPM "+m.TPMPlace, "an entry written, read and deleted in")
		if files := m.files(); len(files) != 1 {
			t.Errorf("doctor has left %q", files)
		}
	})
	t.Run("after a restart the next call mints one token", func(t *testing.T) {
		m := m.in(t)
		m.Reboot()
		renewed := m.Minted(p.Device.Name)
		m.mintsOne(func() { m.Kubectl("get", "pods").Succeeds() })
		if m.Minted(p.Device.Name) != renewed {
			t.Error("the bootstrap credential was renewed as well")
		}
	})
	t.Run("a second setup changes nothing", func(t *testing.T) {
		m := m.in(t)
		before := m.Snapshot()
		m.Setup(lab.Account, "-n", m.Namespace, "--cluster-role", "view").Succeeds()
		after := m.Snapshot()
		for what := range before {
			if before[what] != after[what] {
				t.Errorf("%s was\n%s\nand is\n%s", what, before[what], after[what])
			}
		}
	})
	t.Run("logout forgets both", func(t *testing.T) {
		m := m.in(t)
		m.Plugin("logout", "--profile", m.Profile, "--bootstrap").Succeeds().Silent()
		if files := m.files(); len(files) > 0 || m.InFront(p.TokenKey()) {
			t.Errorf("still there: %q", files)
		}
		m.get().Run(t).OneError(4, "there is no bootstrap credential")
	})
}

func TestWhatALifecycleLeaves(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.Prepare()
	old := m.Configuration()
	m.Plugin("rotate", "--profile", m.Profile, "--kubeconfig", m.Admin).Succeeds()
	m.NoteEntries()
	p := m.Configuration()
	if files := m.files(); !slices.Equal(files, []string{p.BootstrapKey()}) ||
		m.InFront(old.TokenKey()) || p.BootstrapKey() == old.BootstrapKey() {
		t.Errorf("rotate has left %q", files)
	}
	m.get().Run(t).Succeeds().Silent()
	m.TPM.Stop() // nothing is unsealed to be forgotten
	m.Plugin("logout", "--all").Succeeds().Silent()
	if m.InFront(p.TokenKey()) || len(m.files()) != 1 {
		t.Errorf("logout has left a token, or %q", m.files())
	}
	m.Plugin("forget", "--profile", m.Profile).Succeeds()
	if files := m.files(); len(files) > 0 {
		t.Errorf("forget has left %q", files)
	}
}

func TestRevokeForgetsWhatIsSealed(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.Prepare()
	p := m.Configuration()
	m.Plugin("revoke", "--profile", m.Profile, "--kubeconfig", m.Admin).Succeeds()
	m.keepsNothingOf(p)
}

// TestForgettingAProfileThatCannotBeRead has to find its entries without it.
func TestForgettingAProfileThatCannotBeRead(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.Prepare()
	p := m.Configuration()
	m.TPM.Stop()
	m.Write(m.Path(".config", "sa-exec-credential", "profiles", m.Profile+".yaml"), "torn")
	r := m.Plugin("forget", "--profile", m.Profile).Succeeds()
	m.Follow(r, "rm ", "/devices/")
	m.keepsNothingOf(p)
}

func TestAStolenDisk(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.Prepare()
	m.loseToken()
	if err := m.TPM.Replace(); err != nil { // the disk is in another machine
		t.Fatal(err)
	}
	hints := lab.Hints(m.get().Run(t).OneError(4, "there is no bootstrap credential",
		"another TPM has sealed it, or this one was cleared since").Stderr)
	if len(hints) != 1 {
		t.Fatalf("%q", hints)
	}
	m.Kubectl("get", "pods").Fails(1, "another TPM has sealed it")
	lab.Has(t, "status", m.Plugin("status").Succeeds().Stdout, "another TPM has sealed it")
	lab.Has(t, "doctor", m.Plugin("doctor").Stdout, "another TPM has sealed it")
	m.NoTokenInFiles()
	t.Run("and the hint makes the machine work again", func(t *testing.T) {
		m := m.in(t)
		m.Exec("bash", "-c", hints[0]).Succeeds()
		m.NoteEntries()
		m.loseToken()
		m.get().Run(t).Succeeds().Silent()
	})
}

func TestATPMThatIsGone(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.Prepare()
	m.TPM.Stop()
	m.get().Run(t).Succeeds().Silent() // the token is in the kernel keyring
	m.loseToken()
	m.get().Run(t).OneError(6, "there is no TPM at "+m.TPMPlace)
	lab.Has(t, "doctor", m.Plugin("doctor").Stdout, "there is no TPM at "+m.TPMPlace)
	m.Setup(lab.Account, "-n", m.Namespace, "--cluster-role", "view").
		OneError(6, "there is no TPM at "+m.TPMPlace)
	if err := m.TPM.Restart(); err != nil {
		t.Fatal(err)
	}
	m.get().Run(t).Succeeds().Silent()
}

// TestTheHintLeadsToAnotherStore types what is printed where the TPM will not come back.
func TestTheHintLeadsToAnotherStore(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.Prepare()
	m.TPM.Stop()
	m.loseToken()
	r := m.get().Run(t).OneError(6, "make the TPM, or systemd, work again")
	hints := lab.Hints(r.Stderr)
	if len(hints) != 1 {
		t.Fatalf("%q", hints)
	}
	m.Exec("bash", "-c", hints[0]).Succeeds()
	if p := m.Configuration(); p.Store != keyring.Kernel || p.TPM != "" || len(m.files()) > 0 {
		t.Errorf("the store is %s by %q, with %q", p.Store, p.TPM, m.files())
	}
	m.IsSealed = false
	m.get().Run(t).Succeeds().Silent()
}

// TestSetupTouchesNothingWithoutATPM is about a first one.
func TestSetupTouchesNothingWithoutATPM(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.TPM.Stop()
	for place, words := range map[string]string{m.TPMPlace: "there is no TPM at " + m.TPMPlace,
		"/dev/null": "/dev/null"} {
		m.Setup(lab.Account, "-n", m.Namespace, "--store", "sealed", "--tpm", place).
			OneError(6, words)
	}
	if _, err := os.Stat(m.Path(".local")); err == nil {
		t.Error("there is a directory for sealed files")
	}
	if r := lab.AsAdmin(t, "", "get", "namespace", m.Namespace); r.Code == 0 {
		t.Error("the namespace was created")
	}
	for place, words := range map[string]string{"tpm": `"tpm" is not an absolute`,
		"unix:../x": "is not an absolute"} {
		m.Setup(lab.Account, "-n", m.Namespace, "--store", "sealed", "--tpm", place).
			OneError(2, "invalid --tpm", words)
	}
	m.Setup(lab.Account, "-n", m.Namespace, "--store", "kernel", "--tpm", "/dev/tpmrm0").
		OneError(2, "--tpm goes with --store sealed")
}

func TestFiftyColdProcessesMintOnce(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.Prepare()
	m.Reboot()
	m.mintsOne(func() { m.crowd(50) })
}

// crowd runs many clients at once, each of which has to get a token.
func (m *machine) crowd(count int) {
	m.Helper()
	var group sync.WaitGroup
	for range count {
		started := m.get().Start(m.T)
		group.Go(func() { started.End().Succeeds().Silent() })
	}
	group.Wait()
}

// TestWithoutTheKernelKeyring has tokens sealed as well: nothing else keeps them.
func TestWithoutTheKernelKeyring(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	filtered := func(args ...string) lab.Result {
		cmd := lab.Helper(t, "no keyctl", append([]string{lab.Plugin}, args...)...)
		cmd.Env = append(cmd.Env, m.Env()...)
		started := lab.Adopt(t, cmd)
		started.PrintsToken = args[0] == "token"
		return started.End()
	}
	filtered("setup", lab.Account, "-n", m.Namespace, "--kubeconfig", m.Admin, "--store",
		"sealed", "--tpm", m.TPMPlace, "--cluster-role", "view").Succeeds()
	p := m.Configuration()
	want := []string{p.BootstrapKey(), p.TokenKey()}
	if files := m.files(); !slices.Equal(files, want) || m.InFront(p.TokenKey()) {
		t.Errorf("%q", files)
	}
	before := m.Minted(lab.Account)
	filtered("token", "--profile", m.Profile).Succeeds().Silent()
	if m.Minted(lab.Account) != before {
		t.Error("the token was not kept")
	}
	m.NoTokenInFiles()
	filtered("logout", "--profile", m.Profile).Succeeds().Silent()
	if files := m.files(); !slices.Equal(files, want[:1]) {
		t.Errorf("%q", files)
	}
}

func TestTheFileOfAnotherProfileIsRefused(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.Prepare()
	other := m.Ready(lab.Namespace(), "other", "--store", "sealed", "--tpm", m.TPMPlace)
	own := m.Configuration()
	m.Write(filepath.Join(m.dir(), own.BootstrapKey()),
		m.Read(filepath.Join(m.dir(), other.BootstrapKey())))
	m.loseToken()
	m.get().Run(t).OneError(4, "it was altered, or is another entry's")
	m.Write(filepath.Join(m.dir(), own.BootstrapKey()), "{")
	m.get().Run(t).OneError(4, "it is torn or altered")
}

// TestRenewalKilledAtAnyWrite kills a get that renews the bootstrap credential. The next one has to
// have a good one, and leaves nothing else behind.
func TestRenewalKilledAtAnyWrite(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.Prepare()
	p := m.Configuration()
	fresh := m.Entry(p.BootstrapKey())
	due := fresh
	due.IssuedAt, due.ExpiresAt = time.Now().Add(-400*time.Hour), time.Now().Add(100*time.Hour)
	for number := 1; ; number++ {
		m.SetEntry(p.BootstrapKey(), due)
		m.loseToken()
		renewed := m.Minted(p.Device.Name)
		tr := lab.Tracer{At: number}
		command := m.Command(lab.Plugin, "token", "--profile", m.Profile)
		command.PrintsToken = true
		err := tr.Run(command)
		if tr.What == "" {
			if err != nil {
				t.Fatal(err)
			}
			if m.Minted(p.Device.Name) != renewed+1 {
				t.Error("nothing was renewed, so nothing of it was killed")
			}
			m.Plugin("forget", "--profile", m.Profile).Succeeds()
			if files := m.files(); len(files) > 0 {
				t.Errorf("forget has left %q", files)
			}
			return
		}
		m.Plugin("token", "--profile", m.Profile).Succeeds().Silent()
		m.NoteEntries()
		entry := m.Entry(p.BootstrapKey())
		if id := mint.ParseClaims(entry.Token.Reveal()).ID; id == "" {
			t.Errorf("killed before write %d, %s: no token is in the store", number, tr.What)
		}
		for _, name := range m.files() {
			if strings.HasPrefix(name, ".") && !strings.HasSuffix(name, ".lock") {
				t.Errorf("killed before write %d, %s: %s stays", number, tr.What, name)
			}
		}
	}
}

// TestSealedBySystemd has no TPM, and the key of the host, which only root can read.
func TestSealedBySystemd(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Log("only root can read the host's key")
		return
	}
	m := newMachine(t)
	m.TPMPlace = ""
	lab.Has(t, "the proof", m.Prepare().Stdout,
		"files sealed by systemd's credential key, on this disk, also after a restart")
	lab.Has(t, "status", m.Plugin("status").Succeeds().Stdout, "sealed by systemd")
	m.loseToken()
	m.mintsOne(func() { m.Kubectl("get", "pods").Succeeds() })
	m.NoTokenInFiles()
}

// TestAutoSealsWhereNoKeyringIs says why, and warns where nothing outlives a restart.
func TestAutoSealsWhereNoKeyringIs(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	setup := []string{lab.Account, "-n", m.Namespace, "--cluster-role", "view", "--tpm",
		m.TPMPlace}
	proof := m.Setup(append(setup, "--store", "auto")...).Succeeds()
	lab.Has(t, "the proof", proof.Stdout, "files sealed by TPM "+m.TPMPlace+
		", also after a restart", "because ", "there is no session bus")
	lab.Has(t, "setup", proof.Stderr, "passed over another: no keyring is available: there is")
	if strings.Contains(proof.Stderr, "warning") {
		t.Errorf("it warns:\n%s", proof.Stderr)
	}
	again := m.Setup(setup...).Succeeds() // which keeps the store, and why
	lab.Has(t, "the second proof", again.Stdout, "because ", "there is no session bus")
	for _, command := range []string{"status", "doctor"} {
		lab.Has(t, command, m.Plugin(command, "-o", "json").Succeeds().Stdout,
			"there is no session bus", m.TPMPlace)
	}
	m.TPM.Stop()
	other := m.Setup(append(setup, "--store", "auto", "--profile", "other")...).Succeeds()
	lab.Has(t, "setup", other.Stderr, "there is no TPM at "+m.TPMPlace,
		"warning: the bootstrap credential is in memory, and a restart of this machine ends it")
	lab.Has(t, "the proof", other.Stdout, "kernel keyring, until this machine restarts")
	recovers := m.Setup(append(setup, "--store", "auto", "--profile", "other", "--recover")...)
	if strings.Contains(recovers.Succeeds().Stderr, "in memory") {
		t.Errorf("it warns of what --recover helps against:\n%s", recovers.Stderr)
	}
	m.Plugin("forget", "--profile", "other").Succeeds()
}

// TestAKubeconfigDoesNotChooseTheFiles sets the variable for the plugin alone, as exec.env does.
func TestAKubeconfigDoesNotChooseTheFiles(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.Prepare()
	m.loseToken()
	const script = `XDG_STATE_HOME=/nowhere KUBERNETES_EXEC_INFO="$0" "$@"; exit $?`
	get := m.get()
	get.Args[2] = script
	get.Run(t).Succeeds().Silent()
	own := m.Machine
	own.Variables = []string{"XDG_STATE_HOME=" + m.Path("elsewhere")}
	m.loseToken()
	m.get().Run(t).OneError(4, "there is no bootstrap credential") // the person's own choice
	lab.Has(t, "setup", m.Setup(lab.Account, "-n", m.Namespace, "--cluster-role", "view").
		Succeeds().Stderr, `sealed files are in "`+m.Path("elsewhere")+`" because of XDG_STATE_HOME`)
	if _, err := os.Stat(m.Path("elsewhere", "sa-exec-credential", "sealed")); err != nil {
		t.Error(err)
	}
}
