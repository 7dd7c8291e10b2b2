//go:build unix

package call

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/execcred"
	"github.com/sa-exec-credential/sa-exec-credential/internal/host"
	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
	"github.com/sa-exec-credential/sa-exec-credential/internal/ui"
)

// withProfiles is a home with a profile for each "NAME NAMESPACE/ACCOUNT SERVER".
func withProfiles(t *testing.T, lines ...string) *host.Host {
	t.Helper()
	home := t.TempDir()
	h := host.System().With(host.Snapshot([]string{"HOME=" + home, "XDG_CONFIG_HOME=" + home}))
	h.ClientVariables = func() host.Variables { return nil }
	dir, err := h.Profiles()
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range lines {
		fields := strings.Fields(line)
		namespace, account, _ := strings.Cut(fields[1], "/")
		if err := dir.Save(profile.Profile{Name: fields[0], Namespace: namespace,
			ServiceAccount: account, Cluster: profile.Cluster{Server: fields[2]},
			Duration: profile.Duration{Duration: time.Hour}, Store: keyring.None,
			Bootstrap: profile.Bootstrap{Source: profile.SourceEnv, Variable: "V"},
		}); err != nil {
			t.Fatal(err)
		}
	}
	return h
}

// said is the exec info of a client.
func said(t *testing.T, server, config string) execcred.Info {
	t.Helper()
	cluster := map[string]any{"server": server}
	if config != "" {
		cluster["config"] = json.RawMessage(config)
	}
	text, err := json.Marshal(map[string]any{"kind": "ExecCredential",
		"apiVersion": execcred.V1, "spec": map[string]any{"cluster": cluster}})
	if err != nil {
		t.Fatal(err)
	}
	info, err := execcred.Parse(string(text))
	if err != nil {
		t.Fatal(err)
	}
	return info
}

func TestAClientsClusterLeadsToAProfile(t *testing.T) {
	h := withProfiles(t, "a build/ci https://a", "b build/ci https://b", "b2 build/other https://b",
		"b3 web/ci https://b", "b4 web/ci https://b")
	for _, test := range []struct {
		name, server, config string
		want                 string
		err                  error
		words                []string
	}{
		{name: "the only one", server: "https://a", want: "a"},
		{name: "the only one, and it is that", server: "https://a",
			config: `{"serviceAccount":"build/ci"}`, want: "a"},
		{name: "the only one, and it is another", server: "https://a",
			config: `{"serviceAccount":"web/ci"}`, err: ErrNoneFits,
			words: []string{`"web/ci"`, "build/ci"}},
		{name: "none", server: "https://c", err: ErrNoneFits, words: []string{"https://c"}},
		{name: "no cluster", server: "http://a", err: ErrNoneFits,
			words: []string{"not an https URL"}},
		{name: "a server with a password", server: "https://u:secret@a", err: ErrNoneFits,
			words: []string{"user information"}},
		{name: "several", server: "https://b", err: ui.ErrUsage,
			words: []string{"4 profiles", "b, b2, b3, b4"}},
		{name: "named", server: "https://b", config: `{"profile":"b2"}`, want: "b2"},
		{name: "named by setup", server: "https://b",
			config: `{"apiVersion":"sa-exec-credential/v1","kind":"Cluster","profile":"b2"}`,
			want:   "b2"},
		{name: "another cluster's is named", server: "https://b", config: `{"profile":"a"}`,
			want: "a"}, // which CheckClient refuses
		{name: "one that is missing is named", server: "https://b",
			config: `{"profile":"x"}`, err: profile.ErrMissing},
		{name: "what is no name is named", server: "https://b",
			config: `{"profile":"../a"}`, err: profile.ErrName},
		{name: "account", server: "https://b", config: `{"serviceAccount":"build/other"}`,
			want: "b2"},
		{name: "account and namespace", server: "https://b",
			config: `{"serviceAccount":"ci","namespace":"build"}`, want: "b"},
		{name: "account of two namespaces", server: "https://b",
			config: `{"serviceAccount":"ci"}`, err: ui.ErrUsage,
			words: []string{"3 profiles", "b, b3, b4"}},
		{name: "two of one account", server: "https://b",
			config: `{"serviceAccount":"web/ci"}`, err: ui.ErrUsage,
			words: []string{"b3, b4"}},
		{name: "namespaces that differ", server: "https://b",
			config: `{"serviceAccount":"web/ci","namespace":"build"}`, err: ErrChoice},
		{name: "no text", server: "https://a", config: `{"profile":5}`, err: ErrChoice,
			words: []string{"profile is no text"}},
		{name: "another program's", server: "https://a",
			config: `{"apiVersion":"example.com/v1","profile":"b"}`, want: "a"},
		{name: "another program's fields", server: "https://a",
			config: `{"clusterName":"a","audience":["x"]}`, want: "a"},
		{name: "no object", server: "https://a", config: `["b"]`, want: "a"},
		{name: "null", server: "https://a", config: `null`, want: "a"},
	} {
		t.Run(test.name, func(t *testing.T) {
			p, err := Find(h, said(t, test.server, test.config))
			if p.Name != test.want || !errors.Is(err, test.err) {
				t.Errorf("found %q, %v", p.Name, err)
			}
			for _, word := range test.words {
				if !strings.Contains(err.Error(), word) {
					t.Errorf("%v does not say %q", err, word)
				}
			}
			if err != nil && strings.Contains(err.Error(), "secret") {
				t.Errorf("the error is %v", err)
			}
		})
	}
}

func TestAClientThatSaysNothingOfItsClusterHasToNameAProfile(t *testing.T) {
	h := withProfiles(t, "a build/ci https://a")
	insecure := said(t, "https://a", "")
	insecure.Cluster.InsecureSkipTLSVerify = true
	for _, test := range []struct {
		info execcred.Info
		want error
	}{
		{execcred.Absent(), ErrNoExecInfo},
		{execcred.Info{APIVersion: execcred.V1}, ErrNoClusterInfo},
		{insecure, ErrInsecureClient},
	} {
		if p, err := Find(h, test.info); !errors.Is(err, test.want) {
			t.Errorf("%+v: found %q, %v", test.info, p.Name, err)
		}
	}
}

// TestAProfileOfTheServerSaysBestWhatIsWrong has CheckClient refuse one with another authority.
func TestAProfileOfTheServerSaysBestWhatIsWrong(t *testing.T) {
	h := withProfiles(t, "a build/ci https://a")
	dir, err := h.Profiles()
	if err != nil {
		t.Fatal(err)
	}
	found := profile.Found{}
	p, err := dir.Load("a")
	if err != nil {
		t.Fatal(err)
	}
	found.Near = []profile.Profile{p}
	if got, err := (choice{}).among(found, "https://a"); err != nil || got.Name != "a" {
		t.Errorf("found %q, %v", got.Name, err)
	}
	found = profile.Found{Broken: []string{"x", "y"}}
	if _, err := (choice{}).among(found, "https://a"); !errors.Is(err, ErrNoneFits) ||
		!strings.Contains(err.Error(), "cannot be read: x, y") {
		t.Errorf("with broken ones: %v", err)
	}
}

// FuzzChoice is about extensions of anybody's making: what they choose fits, or is an error.
func FuzzChoice(f *testing.F) {
	for _, text := range []string{`{"profile":"p"}`, `{"serviceAccount":"a/b"}`, `{"profile":5}`,
		`{"serviceAccount":"a","namespace":"b"}`, `[]`, `null`, ``, `{`,
		`{"apiVersion":"x/v1","profile":"p"}`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := choiceOf(text)
		if err != nil {
			if !errors.Is(err, ErrChoice) || c != (choice{}) {
				t.Errorf("%+v, %v", c, err)
			}
			return
		}
		p := profile.Profile{Name: "p", Namespace: "n", ServiceAccount: "s"}
		got, err := c.among(profile.Found{Fitting: []profile.Profile{p}}, "https://a")
		if fits := c.fits(p); fits != (err == nil) || fits && got.Name != "p" {
			t.Errorf("%+v: %+v, %v", c, got, err)
		}
	})
}
