package profile

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
)

// thisDevice is what tokens are bound to.
var thisDevice = &Device{Name: "ci-device-x", SecretUID: "0d9b", AccountUID: "1e8c"}

// example is a profile in which everything that can be set is set.
func example(t testing.TB) Profile {
	return Profile{
		Name: "ci.build@prod", Version: version,
		Cluster: Cluster{Server: "https://k8s.example:6443", TLSServerName: "kubernetes",
			CertificateAuthorityData: certificate(t),
			ProxyURL:                 "http://proxy.example:3128"},
		Namespace: "build", ServiceAccount: "ci", Audiences: []string{"a",
			"b"}, Duration: Duration{time.Hour},
		Device: "ci.build@0d9b",
		Bootstrap: Bootstrap{Source: SourceKeyring,
			Duration: &Duration{720 * time.Hour}},
		Store:                   keyring.Keyring,
		AllowMissingClusterInfo: true,
		Recovery: &Recovery{Credential: Bootstrap{Source: SourceContext, Context: "admin",
			Kubeconfig:  []string{"/a"},
			Environment: map[string]string{"PATH": "/bin"}}},
	}
}

func withSource(t testing.TB, b Bootstrap) Profile {
	p := example(t)
	p.Bootstrap, p.Store = b, keyring.None
	return p
}

func TestEncodeAndParse(t *testing.T) {
	minimal := example(t)
	minimal.Audiences, minimal.AllowMissingClusterInfo, minimal.Cluster = nil, false,
		Cluster{Server: "https://k"}
	tests := []struct {
		name    string
		profile Profile
	}{
		{"all fields survive", example(t)},
		{"absent fields stay absent", minimal},
		{"a context survives",
			withSource(t, Bootstrap{Source: SourceContext, Context: "admin: #1\n",
				Kubeconfig: []string{"/a", "/b c"}})},
		{"in-cluster survives", withSource(t, Bootstrap{Source: SourceInCluster})},
		{"a token file survives",
			withSource(t, Bootstrap{Source: SourceTokenFile, Path: "/run/token"})},
		{"a variable survives", withSource(t, Bootstrap{Source: SourceEnv,
			Variable: "CI_TOKEN"})},
		{"a job of GitHub Actions survives",
			withSource(t, Bootstrap{Source: SourceGitHub, Audience: "https://k:6443",
				URL: "https://ghe.example.com/_services"})},
		{"a job of Azure Pipelines survives",
			withSource(t, Bootstrap{Source: SourceAzure,
				ServiceConnection: "0b0c6f4e-1111-2222-3333-444455556666"})},
		{"a command survives",
			withSource(t, Bootstrap{Source: SourceCommand,
				Command: []string{"/bin/vault", "read", "- x: {y}", ""},
				Environment: map[string]string{"PATH": "/bin", "A": "null",
					"B": "\ttab"}})},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			encoded, err := tt.profile.Encode()
			if err != nil {
				t.Fatal(err)
			}
			parsed, err := Parse(tt.profile.Name, encoded)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(parsed, tt.profile) {
				t.Errorf("got %+v, want %+v", parsed, tt.profile)
			}
		})
	}
}

const minimalText = `version: 1
cluster: {server: "https://k8s.example"}
namespace: build
serviceAccount: ci
duration: 1h
bootstrap: {source: in-cluster}
store: none
`

func TestParseRefuses(t *testing.T) {
	edit := func(old, replacement string) string {
		if !strings.Contains(minimalText, old) {
			t.Fatalf("%q is not in the text", old)
		}
		return strings.Replace(minimalText, old, replacement, 1)
	}
	source := func(text string) string { return edit("{source: in-cluster}", text) }
	tests := []struct{ name, text string }{
		{"a job without an audience", source("{source: github-actions}")},
		{"a job's audience with a space", source("{source: github-actions, audience: a b}")},
		{"a job's place without TLS",
			source("{source: github-actions, audience: a, url: 'http://a'}")},
		{"an audience that a job cannot choose",
			source("{source: azure-pipelines, audience: a}")},
		{"a service connection that is none",
			source("{source: azure-pipelines, serviceConnection: '1&a=b'}")},
		{"nothing", ""},
		{"text that is no YAML", "\t{"},
		{"a list", "- version: 1\n"},
		{"a missing version", edit("version: 1\n", "")},
		{"a newer version", edit("version: 1", "version: 2")},
		{"a newer version with fields of its own", edit("version: 1",
			"version: 2\nnew: 1")},
		{"an unknown field", minimalText + "onlyFor: x\n"},
		{"an unknown field further down", edit("{server:", "{onlyFor: x, server:")},
		{"a field twice", minimalText + "store: none\n"},
		{"a second document", minimalText + "---\nversion: 1\n"},
		{"a document that does not end", minimalText + "---\n{"},
		{"an http server", edit("https://", "http://")},
		{"a bundle that is not base64", edit("}", ", certificateAuthorityData: '!'}")},
		{"a bundle that is not PEM", edit("}", ", certificateAuthorityData: QUJD}")},
		{"a proxy that is no URL", edit("}", ", proxyURL: 'p:3128'}")},
		{"a proxy of an unknown kind", edit("}", ", proxyURL: 'file://p/x'}")},
		{"a namespace that is a path", edit("build", "../kube-system")},
		{"a namespace in capitals", edit("build", "Build")},
		{"an empty namespace", edit("build", "''")},
		{"a service account with a query", edit("ci\n", "ci?x\n")},
		{"a service account with an escape", edit("ci\n", "\"a\\e[2J\"\n")},
		{"an empty audience", minimalText + "audiences: ['']\n"},
		{"an audience with a comma", minimalText + "audiences: ['a,b']\n"},
		{"an audience with a space", minimalText + "audiences: ['a b']\n"},
		{"a duration without a unit", edit("1h", "3600")},
		{"a duration below ten minutes", edit("1h", "9m59s")},
		{"a duration with a fraction of a second", edit("1h", "1h0.5s")},
		{"a duration beyond 2^32 seconds", edit("1h", "1193047h")},
		{"a negative duration", edit("1h", "-1h")},
		{"a device that is no name", minimalText + "device: {secret: s}\n"},
		{"a device that is a path", minimalText + "device: a/b\n"},
		{"no store", edit("store: none", "")},
		{"a store to be chosen", edit("store: none", "store: auto")},
		{"an unknown source", source("{source: ldap}")},
		{"no source", source("{}")},
		{"a keyring source without a store",
			source("{source: keyring, duration: 720h}") + "device: d\n"},
		{"a keyring source without a device",
			strings.Replace(source("{source: keyring, duration: 720h}"), "store: none",
				"store: keyring", 1)},
		{"a keyring source without a duration",
			strings.Replace(source("{source: keyring}"), "store: none",
				"store: keyring", 1) +
				"device: d\n"},
		{"a context without a name", source("{source: context, kubeconfig: [/k]}")},
		{"a context in a relative file", source("{source: context, context: c, " +
			"kubeconfig: [k]}")},
		{"a context in no file", source("{source: context, context: c}")},
		{"a relative token file", source("{source: token-file, path: ../token}")},
		{"a variable without a name", source("{source: env}")},
		{"a variable with a value", source("{source: env, variable: A=b}")},
		{"a command looked up in the path", source("{source: command, command: [vault]}")},
		{"a command of no words", source("{source: command, command: []}")},
		{"a recovery by a command",
			minimalText + "recovery: {credential: {source: command, command: [/a]}}\n"},
		{"a recovery without a credential", minimalText + "recovery: {}\n"},
		{"a recovery from a relative file",
			minimalText + "recovery: {credential: {source: context, context: c, " +
				"kubeconfig: [k]}}\n"},
		{"a log in a relative file", minimalText + "log: audit.log\n"},
		{"a log that is none", minimalText + "log: none\n"},
		{"aliases that grow without end",
			"a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c " +
				"[*b,*b,*b,*b,*b,*b,*b,*b,*b]\n" +
				"d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e " +
				"[*d,*d,*d,*d,*d,*d,*d,*d,*d]\naudiences: [*e]\n"},
		{"an alias to itself", "audiences: &a [*a]\n"},
	}
	if _, err := Parse("p", []byte(minimalText)); err != nil {
		t.Fatal(err)
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse("p", []byte(tt.text))
			if !errors.Is(err, ErrMalformed) {
				t.Fatalf("error %v", err)
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("more than one line: %q", err)
			}
		})
	}
}

func TestEncodeRefusesAMalformedCertificate(t *testing.T) {
	p := example(t)
	p.Cluster.CertificateAuthorityData = block("CERTIFICATE", nil)
	if _, err := p.Encode(); !errors.Is(err, ErrCluster) {
		t.Errorf("error %v", err)
	}
}

func TestCheckName(t *testing.T) {
	for _, name := range []string{"a", "ci.build@prod", "A_b-c+d", "0",
		strings.Repeat("x", maxName)} {
		if err := CheckName(name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	bad := []string{"", ".", "..", ".hidden", "-v", "--all", "@x", "../x", "a/b", `a\b`,
		"/etc/passwd", "a:b", "a b", "a\x00", "a\x1b[2J",
		"a\nb", "ä", "a\u202e", "C:x", "~", "$HOME", strings.Repeat("x", maxName+1)}
	for _, name := range bad {
		if err := CheckName(name); !errors.Is(err, ErrName) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestDefaultName(t *testing.T) {
	tests := []struct{ name, cluster, want string }{
		{"plain names stay", "prod", "ci.build@prod"},
		{"what a file name may not hold is replaced", "arn:aws:eks/x",
			"ci.build@arn-aws-eks-x-HASH"},
		{"each character is replaced by one", "生产/集群", "ci.build@------HASH"},
		{"escapes are replaced", "\x1b[2J\u202e", "ci.build@--2J--HASH"},
		{"climbing is not possible", "../../x", "ci.build@..-..-x-HASH"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := DefaultName("ci", "build", tt.cluster)
			want := strings.ReplaceAll(tt.want, "HASH", got[max(0, len(got)-8):])
			if got != want || CheckName(got) != nil {
				t.Errorf("got %q, %v, want %s", got, CheckName(got), tt.want)
			}
		})
	}
	for _, alike := range [][2]string{{"prod/eu", "prod-eu"}, {"prod/eu", "prod:eu"},
		{"生产", "测试"},
		{"a\xff", "a\xfe"}} {
		if one, other := DefaultName("ci", "build", alike[0]), DefaultName("ci", "build",
			alike[1]); one == other {
			t.Errorf("%q are both %q", alike, one)
		}
	}
	one, other := DefaultName("ci", "build", strings.Repeat("x", 300)), DefaultName("ci",
		"build",
		strings.Repeat("x", 301))
	if CheckName(one) != nil || CheckName(other) != nil || one == other {
		t.Errorf("long names: %q, %q", one, other)
	}
}

func TestKeysChangeWithAllThatDecides(t *testing.T) {
	tests := []struct {
		name      string
		edit      func(*Profile)
		token     bool // another key for the token
		bootstrap bool // another key for the bootstrap credential
	}{
		{"nothing changed", func(*Profile) {}, false, false},
		{"the order of audiences does not decide",
			func(p *Profile) { p.Audiences = []string{"b", "a"} }, false, false},
		{"the spelling of the server does not decide",
			func(p *Profile) { p.Cluster.Server = "https://K8S.example.:6443/" }, false,
			false},
		{"the name does not decide", func(p *Profile) { p.Name = "other" }, false, false},
		{"the proxy does not decide", func(p *Profile) { p.Cluster.ProxyURL = "" }, false,
			false},
		{"the bootstrap credential's lifetime does not decide",
			func(p *Profile) { p.Bootstrap.Duration = &Duration{time.Hour} }, false,
			false},
		{"the way to recover does not decide", func(p *Profile) { p.Recovery = nil }, false,
			false},
		{"the server decides", func(p *Profile) { p.Cluster.Server = "https://k8s.example:6444" },
			true, true},
		{"the TLS server name decides", func(p *Profile) { p.Cluster.TLSServerName = "" },
			true,
			true},
		{"the certificate authority decides",
			func(p *Profile) { p.Cluster.CertificateAuthorityData = certificate(t) },
			true, true},
		{"the namespace decides", func(p *Profile) { p.Namespace = "other" }, true, true},
		{"the service account decides", func(p *Profile) { p.ServiceAccount = "other" },
			true,
			true},
		{"the name of the device's record does not decide",
			func(p *Profile) { p.Device = "other" },
			false, false},
		{"the audiences decide over the token",
			func(p *Profile) { p.Audiences = []string{"a"} },
			true, false},
		{"audiences are not joined", func(p *Profile) { p.Audiences = []string{"a,b"} },
			true,
			false},
		{"the duration decides over the token",
			func(p *Profile) { p.Duration = Duration{2 * time.Hour} }, true, false},
		{"the source decides over the token",
			func(p *Profile) { p.Bootstrap = Bootstrap{Source: SourceInCluster} }, true,
			false},
	}
	before := example(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			after := before
			tt.edit(&after)
			if (after.TokenKey(thisDevice) != before.TokenKey(thisDevice)) != tt.token {
				t.Error("token key")
			}
			if (after.BootstrapKey(thisDevice) != before.BootstrapKey(thisDevice)) != tt.bootstrap {
				t.Error("bootstrap key")
			}
		})
	}
}

func TestKeysChangeWithTheDevice(t *testing.T) {
	p := example(t)
	devices := []*Device{nil, thisDevice, {Name: thisDevice.Name, SecretUID: "other",
		AccountUID: thisDevice.AccountUID},
		{Name: "other", SecretUID: thisDevice.SecretUID, AccountUID: thisDevice.AccountUID},
		{Name: thisDevice.Name, SecretUID: thisDevice.SecretUID, AccountUID: "other"}}
	tokens, bootstraps := map[string]bool{}, map[string]bool{}
	for _, device := range devices {
		tokens[p.TokenKey(device)], bootstraps[p.BootstrapKey(device)] = true, true
	}
	if len(tokens) != len(devices) || len(bootstraps) != len(devices) {
		t.Errorf("%d and %d keys for %d devices", len(tokens), len(bootstraps),
			len(devices))
	}
}

func TestKeysChangeWithTheBootstrapSource(t *testing.T) {
	sources := []Bootstrap{
		{Source: SourceInCluster},
		{Source: SourceEnv, Variable: "A"}, {Source: SourceEnv, Variable: "B"},
		{Source: SourceTokenFile, Path: "/a"}, {Source: SourceTokenFile, Path: "/b"},
		{Source: SourceContext, Context: "a", Kubeconfig: []string{"/k"}},
		{Source: SourceContext, Context: "b", Kubeconfig: []string{"/k"}},
		{Source: SourceContext, Context: "a", Kubeconfig: []string{"/l"}},
		{Source: SourceGitHub, Audience: "a"}, {Source: SourceGitHub, Audience: "b"},
		{Source: SourceGitHub, Audience: "a", URL: "https://a"}, {Source: SourceAzure},
		{Source: SourceCommand, Command: []string{"/a"}}, {Source: SourceCommand,
			Command: []string{"/a", "b"}},
		{Source: SourceCommand, Command: []string{"/a"},
			Environment: map[string]string{"A": "b"}},
	}
	p := example(t)
	var keys []string
	for _, source := range sources {
		p.Bootstrap = source
		keys = append(keys, p.TokenKey(thisDevice))
	}
	slices.Sort(keys)
	if len(slices.Compact(keys)) != len(sources) {
		t.Error("two sources share a key")
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(minimalText))
	for _, p := range []Profile{example(f),
		withSource(f, Bootstrap{Source: SourceCommand, Command: []string{"/a", "b"},
			Environment: map[string]string{"A": "b"}})} {
		encoded, err := p.Encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(encoded)
	}
	f.Add([]byte("a: &a [*a]\n"))
	f.Add([]byte("<<: *x\nversion: 1"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 64<<10 {
			return // what takes long is bounded by the size of a file
		}
		p, err := Parse("p", data)
		if err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Fatalf("error of no kind: %v", err)
			}
			return
		}
		_, _ = p.TokenKey(thisDevice), p.BootstrapKey(thisDevice)
		encoded, err := p.Encode()
		if errors.Is(err, ErrCluster) {
			return // a certificate that only Encode looks into
		}
		if err != nil {
			t.Fatalf("it parses and cannot be encoded: %v", err)
		}
		again, err := Parse("p", encoded)
		if err != nil {
			t.Fatalf("%v\n%s", err, encoded)
		}
		if again.TokenKey(thisDevice) != p.TokenKey(thisDevice) ||
			again.BootstrapKey(thisDevice) != p.BootstrapKey(thisDevice) {
			t.Errorf("the keys changed:\n%s", encoded)
		}
	})
}

func TestWhatCanBeALog(t *testing.T) {
	for name, want := range map[string]bool{"journald": true, "syslog": true,
		"/var/log/x": true, "": false, "log": false, "./log": false, "journal": false, "none": false,
		"/a\x00b": false} {
		if got := IsLog(name); got != want {
			t.Errorf("%q: got %v", name, got)
		}
	}
}
