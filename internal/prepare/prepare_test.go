//go:build linux

package prepare

import (
	"bytes"
	"encoding/pem"
	"errors"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/authority"
	"github.com/sa-exec-credential/sa-exec-credential/internal/host"
	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
)

func TestSetupKeepsAProfileOfAnotherAccountOrServer(t *testing.T) {
	home := t.TempDir()
	h := host.System().With(func(name string) (string, bool) {
		return home,
			name == "XDG_CONFIG_HOME"
	})
	folder, err := h.Profiles()
	if err != nil {
		t.Fatal(err)
	}
	kept := profile.Profile{Name: "p", Cluster: profile.Cluster{Server: "https://a:6443"},
		Namespace: "build", ServiceAccount: "ci",
		Duration: profile.Duration{Duration: time.Hour}, Store: keyring.None,
		Bootstrap: profile.Bootstrap{Source: profile.SourceEnv, Variable: "V"}}
	if err := folder.Save(kept); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name   string
		change func(*profile.Profile)
		taken  bool
	}{
		{name: "the same can be set up again", change: func(*profile.Profile) {}},
		{name: "the same with another lifetime may",
			change: func(p *profile.Profile) { p.Duration.Duration = 2 * time.Hour }},
		{name: "a free name may be taken", change: func(p *profile.Profile) {
			p.Name,
				p.ServiceAccount = "q", "cd"
		}},
		{name: "another account may not take the name",
			change: func(p *profile.Profile) { p.ServiceAccount = "cd" }, taken: true},
		{name: "another server may not take the name",
			change: func(p *profile.Profile) { p.Cluster.Server = "https://b:6443" },
			taken:  true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			wanted := kept
			tt.change(&wanted)
			p := &Preparation{host: h, profile: wanted}
			if err := p.checkTaken(t.Context()); errors.Is(err,
				ErrProfileTaken) != tt.taken ||
				!tt.taken && err != nil {
				t.Errorf("error %v", err)
			}
		})
	}
}

// A profile of an earlier version may have a bundle that no client can hand on.
func TestNoKubeconfigComesOfABundleThatNoClientCanHandOn(t *testing.T) {
	h := host.System().With(func(string) (string, bool) { return "", false })
	certificate := func(size int) []byte {
		return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: make([]byte, size)})
	}
	p := profile.Profile{Name: "p", Cluster: profile.Cluster{Server: "https://a",
		CertificateAuthorityData: certificate(10)}, Namespace: "build", ServiceAccount: "ci"}
	if _, err := ForProfile(h, p).Render(); !errors.Is(err, profile.ErrBundle) {
		t.Errorf("of one that cannot be parsed: %v", err)
	}
	server := httptest.NewTLSServer(nil)
	server.Close()
	one := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	p.Cluster.CertificateAuthorityData = one
	if _, err := ForProfile(h, p).Render(); err != nil {
		t.Errorf("of a small one: %v", err)
	}
	p.Cluster.CertificateAuthorityData = bytes.Repeat(one, 200<<10/len(one))
	for _, write := range []func(*Preparation) error{
		func(p *Preparation) error { _, err := p.Render(); return err },
		func(p *Preparation) error {
			_, err := p.Merge([]string{filepath.Join(t.TempDir(), "config")}, false)
			return err
		},
	} {
		if err := write(ForProfile(h, p)); !errors.Is(err, authority.ErrTooLarge) {
			t.Errorf("of a large one: %v", err)
		}
	}
}
