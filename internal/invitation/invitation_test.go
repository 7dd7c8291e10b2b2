package invitation

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
	"github.com/sa-exec-credential/sa-exec-credential/internal/secret"
)

const deviceName = "jenkins-device-build-7-0123456789abcdef"

// tokenOf is a token of a subject that nobody has signed.
func tokenOf(subject string) string {
	encode := base64.RawURLEncoding.EncodeToString
	return encode([]byte(`{"alg":"RS256"}`)) + "." +
		encode(fmt.Appendf(nil, `{"sub":%q}`, subject)) + "." + encode([]byte("signature"))
}

func example() Invitation {
	return Invitation{
		Cluster:    profile.Cluster{Server: "https://prod.example.com:6443"},
		ClusterUID: "11111111-2222-3333-4444-555555555555",
		Namespace:  "automation", ServiceAccount: "jenkins", In: []string{"apps"},
		Audiences: []string{"vault"}, Duration: profile.Duration{Duration: time.Hour},
		BootstrapDuration: profile.Duration{Duration: 720 * time.Hour}, Machine: "build-7",
		Device:  profile.Device{Name: deviceName, SecretUID: "a-1", AccountUID: "b-2"},
		Profile: "jenkins.automation@prod", Expires: time.Unix(1_800_000_000, 0).UTC(),
		Token: secret.New(tokenOf("system:serviceaccount:automation:" + deviceName)),
	}
}

func encoded(t testing.TB, i Invitation) string {
	t.Helper()
	block, err := i.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return string(block)
}

func TestAnInvitationIsReadAsItWasWritten(t *testing.T) {
	block := encoded(t, example())
	for _, text := range []string{block, "\n\n  " + block + "\n \n",
		strings.ReplaceAll(block, "\n", "\r\n")} {
		got, err := Read(strings.NewReader(text))
		if err != nil || !reflect.DeepEqual(got, example()) {
			t.Errorf("it is %+v (%v)", got, err)
		}
	}
}

// armoured is a block of a type with any content.
func armoured(kind string, content []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: content}))
}

// sealed is a block whose checksum is of what is in it.
func sealed(inner string) string {
	return armoured(Armour, fmt.Appendf(nil, `{"version":1,"sha256":%q,"invitation":%s}`,
		checksum([]byte(inner)), inner))
}

// inner is what is in an invitation.
func inner(t testing.TB, i Invitation) string {
	t.Helper()
	block, _ := pem.Decode([]byte(encoded(t, i)))
	var e envelope
	if err := json.Unmarshal(block.Bytes, &e); err != nil {
		t.Fatal(err)
	}
	return string(e.Invitation)
}

func TestWhatIsNoInvitationIsRefused(t *testing.T) {
	block := encoded(t, example())
	lines := strings.SplitAfter(strings.TrimSpace(block), "\n")
	content := inner(t, example())
	with := func(field string) string {
		return sealed(content[:len(content)-1] + "," + field + "}")
	}
	tests := []struct {
		name, text string
		want       error
		says       string
	}{
		{"nothing", "", ErrEmpty, "empty"},
		{"blank lines", " \n\t\n", ErrEmpty, "empty"},
		{"the last line is missing", strings.Join(lines[:len(lines)-1], ""), ErrCut,
			"last"},
		{"half of it", block[:len(block)/2], ErrCut, "last"},
		{"its first line alone", lines[0], ErrCut, "last"},
		{"the first line is missing", strings.Join(lines[1:], ""), ErrCut, "first"},
		{"a line is missing", strings.Join(slices.Delete(slices.Clone(lines), 3, 4), ""),
			ErrAltered, "missing or was changed"},
		{"a letter is another", strings.Replace(block, lines[3][:9], "AAAAAAAAA", 1),
			ErrAltered, ""},
		{"a header", strings.Replace(block, "\n", "\nProc-Type: x\n\n", 1), ErrAltered, ""},
		{"text before it", "hello\n" + block, ErrAltered, "more than the block"},
		{"text behind it", block + "hello\n", ErrAltered, "more than the block"},
		{"two of them", block + block, ErrForeign, "several"},
		{"a certificate", armoured("CERTIFICATE", []byte("x")), ErrForeign,
			`a "CERTIFICATE"`},
		{"a private key", armoured("EC PRIVATE KEY", []byte("x")), ErrForeign,
			`a "EC PRIVATE KEY"`},
		{"a kubeconfig", "apiVersion: v1\nkind: Config\n", ErrForeign, "a kubeconfig"},
		{"a kubeconfig in JSON", `{"kind":"Config"}`, ErrForeign, "a kubeconfig"},
		{"a token", tokenOf("me"), ErrForeign, "a token"},
		{"a page of a proxy", "<html>", ErrForeign, "something else"},
		{"too much", strings.Repeat("x", maxSize+1), ErrForeign, "longer than"},
		{"another version", armoured(Armour, []byte(`{"version":3,"what":"ever"}`)),
			ErrVersion, "3, and this program knows 2"},
		{"no JSON", armoured(Armour, []byte("x")), ErrAltered, ""},
		{"no version", armoured(Armour, []byte("{}")), ErrAltered, ""},
		{"an altered server", armoured(Armour, []byte(strings.Replace(
			string(decoded(block)), "prod.example", "evil.example", 1))), ErrAltered,
			"checksum"},
		{"a field beside the checksum", armoured(Armour, []byte(strings.Replace(
			string(decoded(block)), "{", `{"x":1,`, 1))), ErrAltered, "checksum"},
		{"a command", with(`"command":["id"]`), ErrInvalid, "does not know"},
		{"a field twice", with(`"machine":"other"`), ErrInvalid, "does not know"},
		{"a field in capitals", sealed(strings.Replace(content, `"machine"`, `"Machine"`,
			1)), ErrInvalid, "does not know"},
		{"a kubeconfig's file", sealed(strings.Replace(content, `"server":`,
			`"certificate-authority":"/etc/passwd","server":`, 1)), ErrInvalid, ""},
		{"a null", sealed("null"), ErrInvalid, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := Read(strings.NewReader(test.text))
			if !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.says) {
				t.Errorf("the error is %v, not %v: %s", err, test.want, test.says)
			}
			if err != nil && strings.Contains(err.Error(), "eyJ") {
				t.Errorf("it shows a token: %v", err)
			}
		})
	}
}

func decoded(block string) []byte {
	b, _ := pem.Decode([]byte(block))
	return b.Bytes
}

func TestAnInvitationThatCannotWorkIsNeitherWrittenNorRead(t *testing.T) {
	tests := []struct {
		name   string
		change func(*Invitation)
	}{
		{"a server without TLS", func(i *Invitation) { i.Cluster.Server = "http://x" }},
		{"no certificates", func(i *Invitation) {
			i.Cluster.CertificateAuthorityData = []byte("x")
		}},
		{"a certificate that is none", func(i *Invitation) {
			i.Cluster.CertificateAuthorityData = []byte(armoured("CERTIFICATE",
				[]byte("x")))
		}},
		{"a proxy that is none", func(i *Invitation) { i.Cluster.ProxyURL = "file:///x" }},
		{"a namespace with a path", func(i *Invitation) { i.Namespace = "a/b" }},
		{"a namespace of rights with a path", func(i *Invitation) {
			i.In = []string{".."}
		}},
		{"an account with a path", func(i *Invitation) { i.ServiceAccount = "../x" }},
		{"an audience with a comma", func(i *Invitation) { i.Audiences = []string{"a,b"} }},
		{"tokens of a minute", func(i *Invitation) { i.Duration.Duration = time.Minute }},
		{"no bootstrap duration", func(i *Invitation) { i.BootstrapDuration.Duration = 0 }},
		{"a machine with a path", func(i *Invitation) { i.Machine = "../x" }},
		{"no machine", func(i *Invitation) { i.Machine = "" }},
		{"a device of another account", func(i *Invitation) {
			i.Device.Name = "other-device-build-7-0123456789abcdef"
		}},
		{"a device with a path", func(i *Invitation) {
			i.Device.Name = "jenkins-device-/../x-0123456789abcdef"
		}},
		{"no uid of the Secret", func(i *Invitation) { i.Device.SecretUID = "" }},
		{"a uid of the account with a line", func(i *Invitation) {
			i.Device.AccountUID = "a\nb"
		}},
		{"a uid of the cluster that is long", func(i *Invitation) {
			i.ClusterUID = strings.Repeat("a", 65)
		}},
		{"a profile with a path", func(i *Invitation) { i.Profile = "../x" }},
		{"no profile", func(i *Invitation) { i.Profile = "" }},
		{"no end", func(i *Invitation) { i.Expires = time.Time{} }},
		{"no token", func(i *Invitation) { i.Token = secret.String{} }},
		{"a token with a line", func(i *Invitation) {
			i.Token = secret.New(i.Token.Reveal() + "\nx")
		}},
		{"a token of somebody else", func(i *Invitation) {
			i.Token = secret.New(tokenOf("system:serviceaccount:automation:jenkins"))
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			i := example()
			test.change(&i)
			if block, err := i.Encode(); !errors.Is(err, ErrInvalid) || block != nil {
				t.Errorf("it was written (%v)", err)
			}
			raw, err := json.Marshal(content{i, i.Token.Reveal()})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := Read(strings.NewReader(sealed(string(raw)))); !errors.Is(err,
				ErrInvalid) {
				t.Errorf("it was read (%v)", err)
			}
		})
	}
}

// TestAnInvitationHasTheseFieldsAndNoOthers makes a new one a decision: none may name a command, a
// variable, a file or a context.
func TestAnInvitationHasTheseFieldsAndNoOthers(t *testing.T) {
	var fields []string
	var walk func(reflect.Type, string)
	walk = func(of reflect.Type, path string) {
		for i := range of.NumField() {
			field := of.Field(i)
			kind := field.Type
			if kind.Kind() == reflect.Pointer {
				kind = kind.Elem()
			}
			name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			switch {
			case field.Anonymous:
				walk(kind, path)
			case name == "-":
			case kind.Kind() == reflect.Struct && kind.NumField() > 1 &&
				kind != reflect.TypeFor[time.Time]():
				walk(kind, path+name+".")
			default:
				fields = append(fields, path+name)
			}
		}
	}
	walk(reflect.TypeFor[content](), "")
	want := []string{"cluster.server", "cluster.tlsServerName",
		"cluster.certificateAuthorityData", "cluster.proxyURL", "clusterUID", "namespace",
		"serviceAccount", "in", "audiences", "duration", "bootstrapDuration", "machine",
		"device.name", "device.secretUID", "device.accountUID", "profile", "expires",
		"external.source", "external.asDevice", "external.audience", "external.serviceConnection",
		"external.url", "external.minters.users", "external.minters.groups",
		"external.minters.accounts", "token"}
	if !slices.Equal(fields, want) {
		t.Errorf("its fields are\n%q, not\n%q", fields, want)
	}
}

func TestOnlyTheBlockShowsTheToken(t *testing.T) {
	i := example()
	raw, err := json.Marshal(i)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{string(raw), fmt.Sprintf("%v %+v %#v", i, i, i)} {
		if strings.Contains(text, i.Token.Reveal()) {
			t.Errorf("it shows the token: %s", text)
		}
	}
	if !bytes.Contains(decoded(encoded(t, i)), []byte(i.Token.Reveal())) {
		t.Error("the block has no token")
	}
}

// FuzzRead wants what is read to be written the same way again, and every refusal to be of a known
// kind.
func FuzzRead(f *testing.F) {
	block := encoded(f, example())
	for _, text := range []string{"", block, block[:len(block)/2], block + block,
		armoured("CERTIFICATE", nil), "kind: Config", sealed("{}"), sealed("null"),
		sealed(inner(f, example()))} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		// as it came, and as what the armour and the checksum keep
		for _, text := range []string{string(data), armoured(Armour, data),
			sealed(string(data))} {
			i, err := Read(strings.NewReader(text))
			if err == nil {
				again, err := Read(strings.NewReader(encoded(t, i)))
				if err != nil || !reflect.DeepEqual(again, i) {
					t.Fatalf("written and read again it is %+v (%v)", again,
						err)
				}
				continue
			}
			kinds := []error{ErrEmpty, ErrForeign, ErrCut, ErrAltered, ErrVersion,
				ErrInvalid}
			known := slices.ContainsFunc(kinds,
				func(kind error) bool { return errors.Is(err, kind) })
			if !known || i.Account() != "/" && errors.Is(err, ErrAltered) {
				t.Fatalf("the error is %v", err)
			}
		}
	})
}
