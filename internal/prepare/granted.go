package prepare

import (
	"fmt"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
	"github.com/sa-exec-credential/sa-exec-credential/internal/ui"
)

// shorter is by how much a lifetime has to be less than what was asked for to count: servers take
// some seconds off.
const shorter = time.Minute

// Granted is how long bootstrap credentials live where that is shorter than a profile asks for;
// nil where it is not. Managed clusters grant a day (--service-account-max-token-expiration).
func Granted(asked *profile.Duration, lifetime time.Duration) *profile.Duration {
	if asked == nil || asked.Duration-lifetime < shorter {
		return nil
	}
	return &profile.Duration{Duration: lifetime.Round(shorter)}
}

// ShortLife says what it means for a machine that its bootstrap credential lives shorter than was
// asked for; it is empty where that is not so. A credential is renewed by a mint in the second
// half of its life.
func ShortLife(p profile.Profile) string {
	if p.Bootstrap.Source != profile.SourceKeyring || p.Bootstrap.Granted == nil {
		return ""
	}
	granted := p.Bootstrap.Granted.Duration
	text := fmt.Sprintf("the API server grants bootstrap credentials of %s, not the %s asked "+
		"for, and a credential is renewed only by a mint in the second half of its life: ",
		profile.ShortDuration(granted),
		profile.ShortDuration(p.Bootstrap.Duration.Duration))
	if p.Recovery != nil {
		return text + fmt.Sprintf("a machine that is off for %s gets a new one with "+
			"context %q", profile.ShortDuration(granted),
			p.Recovery.Credential.Context)
	}
	if p.Setup.Machine != "" {
		return text + fmt.Sprintf("this machine must run within %s of the last one, or "+
			"needs a new invitation, such as after a weekend",
			profile.ShortDuration(granted))
	}
	return text + fmt.Sprintf("this machine must run within %s of the last one, or setup is "+
		"needed again, such as after a weekend; machines that are off for longer need "+
		"--recover or another --bootstrap, such as context=NAME",
		profile.ShortDuration(granted))
}

// MayBeOff says for how long a machine can be off and work when it is on again; empty where its
// bootstrap credential is not this program's to renew. A credential is renewed by the first mint in
// the second half of its life, so that half is what every machine has left that was in use. kept is
// for how long its store keeps it, see keyring.Lifetime.
func MayBeOff(p profile.Profile, kept string) string {
	if p.Bootstrap.Source != profile.SourceKeyring {
		return ""
	}
	instead := ""
	if p.Recovery != nil {
		instead = fmt.Sprintf("; after that context %q gives it a new one",
			p.Recovery.Credential.Context)
	}
	if kept != "" {
		return "not at all: its store keeps what it has " + kept + instead
	}
	life := p.Bootstrap.Duration.Duration
	if p.Bootstrap.Granted != nil {
		life = p.Bootstrap.Granted.Duration
	}
	return fmt.Sprintf("for about %s: its bootstrap credential lives %s, and renews itself "+
		"from the half of that on%s", ui.Age(life/2), profile.ShortDuration(life), instead)
}

// reportShort says it of a new credential.
func reportShort(p profile.Profile, report ui.Report) {
	kind := ui.Warning
	if p.Recovery != nil {
		kind = ui.Step
	}
	if text := ShortLife(p); text != "" {
		report(kind, text)
	}
}

// reportShorterToken says that tokens live shorter than was asked for.
func reportShorterToken(asked, granted time.Duration, report ui.Report) {
	if asked-granted >= shorter {
		report(ui.Warning, fmt.Sprintf("tokens of %s were asked for, and the API server "+
			"grants %s; they are replaced in time all the same",
			profile.ShortDuration(asked),
			profile.ShortDuration(granted.Round(shorter))))
	}
}
