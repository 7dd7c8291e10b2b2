package profile

import (
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/sa-exec-credential/sa-exec-credential/internal/files"
	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
)

// Salvage is what can still be told of a malformed or missing profile, by what is left of its file
// or by its name, for a command that a person is shown and for nothing else: no token is minted by
// it. ServiceAccount is empty where nothing can be.
func (f Dir) Salvage(name string) Profile {
	if CheckName(name) != nil {
		return Profile{}
	}
	p := f.remains(name)
	if p.ServiceAccount == "" {
		p.ServiceAccount, p.Namespace = AccountOf(name)
	}
	if p.ServiceAccount == "" {
		return Profile{}
	}
	return p.plausible(name)
}

// remains are the fields that can be read, of a file that nobody else can write.
func (f Dir) remains(name string) (p Profile) {
	data, err := files.ReadTrusted(f.path(name), maxSize)
	if err != nil || f.check() != nil {
		return Profile{}
	}
	for _, field := range fields(string(data)) {
		before := p
		if yaml.Unmarshal([]byte(field), &p) != nil {
			p = before
		}
	}
	if CheckServiceAccount(p.ServiceAccount) != nil || CheckNamespace(p.Namespace) != nil {
		return Profile{}
	}
	return p
}

// fields cuts a document where a line begins without a space: one that is broken does not keep the
// others from being read.
func fields(text string) (list []string) {
	for line := range strings.Lines(text) {
		if len(list) == 0 || !strings.ContainsAny(line[:1], " -") {
			list = append(list, "")
		}
		list[len(list)-1] += line
	}
	return list
}

// plausible has the defaults of setup in place of what cannot be.
func (p Profile) plausible(name string) Profile {
	p.Name, p.Recovery = name, nil
	if CheckLifetime("duration", p.Duration.Duration) != nil {
		p.Duration = Duration{Duration: time.Hour}
	}
	if d := p.Bootstrap.Duration; d != nil && CheckLifetime("duration", d.Duration) != nil {
		p.Bootstrap.Duration = nil
	}
	if p.Bootstrap.Source != SourceKeyring && p.Bootstrap.problem(p) != "" {
		p.Bootstrap = Bootstrap{Source: SourceKeyring}
	}
	if !slices.Contains([]keyring.Kind{keyring.Sealed, keyring.Kernel, keyring.None}, p.Store) {
		p.Store = keyring.Keyring
	}
	if p.Store != keyring.Sealed || keyring.CheckTPM(p.TPM) != nil {
		p.TPM = ""
	}
	if p.Origin != nil && (p.Origin.Context == "" || len(p.Origin.Kubeconfig) == 0) {
		p.Origin = nil
	}
	p.Audiences = slices.DeleteFunc(p.Audiences, func(audience string) bool {
		return CheckAudience(audience) != nil
	})
	return p
}

// AccountOf reads the account out of a name that DefaultName may have made. Both are empty when it
// has not.
func AccountOf(name string) (serviceAccount, namespace string) {
	account, _, found := strings.Cut(name, "@")
	i := strings.LastIndexByte(account, '.') // a namespace has none in it
	if !found || i < 0 {
		return "", ""
	}
	serviceAccount, namespace = account[:i], account[i+1:]
	if CheckServiceAccount(serviceAccount) != nil || CheckNamespace(namespace) != nil {
		return "", ""
	}
	return serviceAccount, namespace
}
