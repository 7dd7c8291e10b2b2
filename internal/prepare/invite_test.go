package prepare

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/host"
	"github.com/sa-exec-credential/sa-exec-credential/internal/invitation"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
	"github.com/sa-exec-credential/sa-exec-credential/internal/secret"
	"github.com/sa-exec-credential/sa-exec-credential/internal/ui"
)

func TestMachinesThatCannotBeInvited(t *testing.T) {
	for _, test := range []struct {
		names []string
		fine  bool
	}{
		{[]string{"build-7"}, true},
		{[]string{"build-7.example.com", "BUILD-8", "10.0.0.1"}, true},
		{[]string{""}, false},
		{[]string{"a/b"}, false},
		{[]string{".."}, false},
		{[]string{"-a"}, false},
		{[]string{"a "}, false},
		{[]string{"a\n"}, false},
		{[]string{"bücher"}, false},
		{[]string{strings.Repeat("a", 201)}, false},
		{[]string{"a", "b", "a"}, false},
		{[]string{"a", "A"}, false},
	} {
		if err := CheckMachines(test.names); (err == nil) != test.fine {
			t.Errorf("%q: %v", test.names, err)
		}
	}
}

func TestAProxyOfThisMachineIsNotForOthers(t *testing.T) {
	for _, test := range []struct {
		server, proxy, left string
		warnings            int
	}{
		{"https://prod:6443", "http://proxy.example:3128", "http://proxy.example:3128", 0},
		{"https://prod:6443", "socks5://localhost:1080", "", 1},
		{"https://prod:6443", "http://127.0.0.2:3128", "", 1},
		{"https://prod:6443", "http://[::1]:3128", "", 1},
		{"https://127.0.0.1:6443", "", "", 1},
		{"https://LOCALHOST:6443", "http://localhost", "", 2},
	} {
		warnings := 0
		p := &Preparation{report: func(kind ui.Kind, _ string) {
			if kind == ui.Warning {
				warnings++
			}
		}}
		p.profile.Cluster = profile.Cluster{Server: test.server, ProxyURL: test.proxy}
		p.leaveOutOwnProxy()
		got := p.profile.Cluster.ProxyURL
		if got != test.left || warnings != test.warnings {
			t.Errorf("%s by %q: %q is left, %d warnings", test.server, test.proxy, got,
				warnings)
		}
	}
}

func invited(machine string) invitation.Invitation {
	const name = "jenkins-device-build-7-0123456789abcdef"
	encode := base64.RawURLEncoding.EncodeToString
	token := "e30." + encode(fmt.Appendf(nil, `{"sub":"system:serviceaccount:automation:%s"}`,
		name)) + "." + encode([]byte("nobody"))
	return invitation.Invitation{Cluster: profile.Cluster{Server: "https://prod:6443"},
		Namespace: "automation", ServiceAccount: "jenkins", Machine: machine,
		Duration:          profile.Duration{Duration: time.Hour},
		BootstrapDuration: profile.Duration{Duration: 720 * time.Hour},
		Device:            profile.Device{Name: name, SecretUID: "a", AccountUID: "b"},
		Profile:           "jenkins.automation@prod", Expires: time.Now(),
		Token: secret.New(token)}
}

func TestFilesOfInvitations(t *testing.T) {
	dir := t.TempDir()
	both := []string{"build-1", "build-2"}
	if err := CheckInvitationFiles(dir, both); err != nil {
		t.Fatal(err)
	}
	paths, err := WriteInvitations(dir, []invitation.Invitation{invited("build-1"),
		invited("build-2")})
	if err != nil || len(paths) != 2 {
		t.Fatalf("%q, %v", paths, err)
	}
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", path, info, err)
		}
	}
	if err := CheckInvitationFiles(dir, both[1:]); !errors.Is(err, ErrInvitationThere) {
		t.Errorf("one that is there: %v", err)
	}
	for _, dir := range []string{filepath.Join(dir, "none"), paths[0]} {
		if err := CheckInvitationFiles(dir, both); !errors.Is(err, ui.ErrUsage) {
			t.Errorf("%s: %v", dir, err)
		}
	}
}

func TestOfInvitationsThatCannotAllBeWrittenNoneStays(t *testing.T) {
	dir := t.TempDir()
	broken := invited("build-2")
	broken.Token = secret.String{}
	if _, err := WriteInvitations(dir, []invitation.Invitation{invited("build-1"),
		broken}); err == nil {
		t.Error("it was written")
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("%v is left (%v)", left, err)
	}
}

func TestReadInvitation(t *testing.T) {
	block, err := invited("build-7").Encode()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "x")
	if err := os.WriteFile(path, block, 0o600); err != nil {
		t.Fatal(err)
	}
	in := func() *host.Host {
		return &host.Host{Stdin: strings.NewReader(string(block)),
			Log: &ui.Log{Out: io.Discard}}
	}
	for _, file := range []string{"", "-", path} {
		if i, err := ReadInvitation(in(), file); err != nil || i.Machine != "build-7" {
			t.Errorf("%q: %+v, %v", file, i, err)
		}
	}
	for _, file := range []string{string(block), strings.Repeat("x", 2000)} {
		if _, err := ReadInvitation(in(), file); !errors.Is(err, ErrNoArgument) ||
			!errors.Is(err, ui.ErrUsage) || strings.Contains(err.Error(), file[:100]) {
			t.Errorf("as an argument: %v", err)
		}
	}
	for _, file := range []string{path + "y", filepath.Dir(path)} {
		if _, err := ReadInvitation(in(), file); !errors.Is(err, ui.ErrUsage) {
			t.Errorf("%q: %v", file, err)
		}
	}
}

func TestInviteLine(t *testing.T) {
	p := invited("build-7").ProfileFor("record", "kernel")
	const plain = "sa-exec-credential invite jenkins -n automation --for build-7 | " +
		"ssh build-7 sa-exec-credential join --profile jenkins.automation@prod"
	if got := SetupLine(p); got != plain {
		t.Errorf("got  %s\nwant %s", got, plain)
	}
	p.Duration.Duration, p.Bootstrap.Duration.Duration = 30*time.Minute, 24*time.Hour
	p.Audiences, p.In, p.ServiceAccount = []string{"vault"}, []string{"apps"}, "default"
	p.AllowMissingClusterInfo, p.Setup.Output, p.Log = true, "/home/me/a b", "journald"
	const full = "sa-exec-credential invite default -n automation --for build-7 " +
		"--duration 30m --audience vault --bootstrap-duration 24h --in apps " +
		"--allow-default-account | ssh build-7 'sa-exec-credential join " +
		`--profile jenkins.automation@prod -o '\''/home/me/a b'\'' ` +
		"--allow-missing-cluster-info --log journald'"
	if got := SetupLine(p); got != full {
		t.Errorf("got  %s\nwant %s", got, full)
	}
}

func TestInviteLineOfAMachineWithAnIdentityOfItsOwn(t *testing.T) {
	i := invited("ci")
	i.External = &invitation.External{Source: profile.SourceEnv, Minters: profile.Minters{
		Users: []string{"gitlab:main branch"}, Groups: []string{"ci"},
		Accounts: []string{"jobs/runner"}}}
	p := i.ProfileFor("record", "kernel")
	p.Bootstrap.Variable = "ID_TOKEN"
	const want = "sa-exec-credential invite jenkins -n automation --for ci " +
		"--minter-user 'gitlab:main branch' --minter-group ci --minter jobs/runner " +
		"--bootstrap env=ID_TOKEN"
	if got := SetupLine(p); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
