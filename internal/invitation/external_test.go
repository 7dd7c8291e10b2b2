package invitation

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
	"github.com/sa-exec-credential/sa-exec-credential/internal/secret"
)

// external is an invitation of a machine with an identity of its own.
func external(source profile.Source) Invitation {
	i := example()
	i.Token, i.Expires = secret.String{}, time.Time{}
	i.BootstrapDuration = profile.Duration{}
	i.External = &External{Source: source, AsDevice: true,
		Minters: profile.MinterCalled("github:repo:org/app:ref:refs/heads/main")}
	switch source {
	case profile.SourceGitHub:
		i.External.Audience, i.External.URL = "k8s", "https://ghe.example.com/_services"
	case profile.SourceAzure:
		i.External.ServiceConnection = "0b0c6f4e-1111-2222-3333-444455556666"
	}
	return i
}

func TestAnInvitationWithoutASecret(t *testing.T) {
	for _, source := range Sources {
		block := encoded(t, external(source))
		if !strings.HasPrefix(block, "-----BEGIN "+OpenArmour+"-----\n") {
			t.Errorf("it begins with %.60s", block)
		}
		got, err := Read(strings.NewReader(block))
		if err != nil || !reflect.DeepEqual(got, external(source)) {
			t.Errorf("it is %+v (%v)", got, err)
		}
		p := got.ProfileFor("record", keyring.None)
		want := external(source).External.bootstrap()
		if !reflect.DeepEqual(p.Bootstrap, want) || p.Setup.Machine != "build-7" {
			t.Errorf("the profile has %+v", p.Bootstrap)
		}
	}
}

func TestAnInvitationWithoutASecretThatCannotBe(t *testing.T) {
	for name, change := range map[string]func(*Invitation){
		"a command":                 func(i *Invitation) { i.External.Source = profile.SourceCommand },
		"a context":                 func(i *Invitation) { i.External.Source = profile.SourceContext },
		"a keyring":                 func(i *Invitation) { i.External.Source = profile.SourceKeyring },
		"no source":                 func(i *Invitation) { i.External.Source = "" },
		"an expiry":                 func(i *Invitation) { i.Expires = example().Expires },
		"a token":                   func(i *Invitation) { i.Token = example().Token },
		"an audience of a variable": func(i *Invitation) { i.External.Audience = "k8s" },
		"a place that is none": func(i *Invitation) {
			*i.External = External{Source: profile.SourceGitHub, Audience: "k8s",
				URL: "http://ghe.example.com"}
		},
		"no audience": func(i *Invitation) { i.External.Source = profile.SourceGitHub },
		"no machine":  func(i *Invitation) { i.Machine = "" },
		"minters that are everybody": func(i *Invitation) {
			i.External.Minters.Groups = []string{"system:authenticated"}
		},
		"somebody's device": func(i *Invitation) {
			i.Device.Name = "other-device-x-0123456789abcdef"
		},
	} {
		i := external(profile.SourceEnv)
		change(&i)
		if block, err := i.Encode(); !errors.Is(err, ErrInvalid) || block != nil {
			t.Errorf("%s: it was written (%v)", name, err)
		}
		raw, err := json.Marshal(content{i, i.Token.Reveal()})
		if err != nil {
			t.Fatal(err)
		}
		outer, err := json.Marshal(envelope{openVersion, checksum(raw), raw})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Read(strings.NewReader(armoured(OpenArmour, outer))); !errors.Is(err,
			ErrInvalid) {
			t.Errorf("%s: it was read (%v)", name, err)
		}
	}
}

// TestTheArmourSaysWhetherThereIsASecret has each kind in the other's armour and version.
func TestTheArmourSaysWhetherThereIsASecret(t *testing.T) {
	open, closed := encoded(t, external(profile.SourceEnv)), encoded(t, example())
	for name, text := range map[string]string{
		"one without a secret as one with": strings.ReplaceAll(open, OpenArmour, Armour),
		"one with a secret as one without": strings.ReplaceAll(closed, Armour, OpenArmour),
		"two last lines":                   strings.Replace(open, "END "+OpenArmour, "END "+Armour, 1),
	} {
		if _, err := Read(strings.NewReader(text)); err == nil {
			t.Errorf("%s was read", name)
		}
	}
	inner := inner(t, external(profile.SourceEnv))
	if _, err := Read(strings.NewReader(sealed(inner))); !errors.Is(err, ErrInvalid) {
		t.Errorf("an older version's with newer fields: %v", err)
	}
}
