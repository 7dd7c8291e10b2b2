package prepare

import (
	"bytes"
	"cmp"

	"github.com/sa-exec-credential/sa-exec-credential/internal/host"
	"github.com/sa-exec-credential/sa-exec-credential/internal/oidc"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
	"github.com/sa-exec-credential/sa-exec-credential/internal/ui"
)

// Job is what the flags of setup and invite say of a job's ID token.
type Job struct {
	Audience string // whom it is for; empty: the default
	Prefix   string // where it may be asked for; empty: the default
	Issuer   string // of it, for a dry run; empty: the default
}

// Sourced reads a bootstrap source as ParseSource does, together with what a job asks for its ID
// token. Errors are usage errors.
func (o *Options) Sourced(h *host.Host, text string, paths []string, j Job, isDry bool) error {
	b, err := ParseSource(h, text, o.BootstrapEnv, paths)
	if err != nil {
		return err
	}
	named := b.Source != profile.SourceAzure && (b.Source == profile.SourceGitHub ||
		j.Issuer != "")
	switch {
	case j.Issuer != "" && !isDry:
		return ui.Usagef("--issuer goes with --dry-run, which prints for the API server whose " +
			"ID tokens it has to take")
	case j.Issuer != "" && oidc.CheckIssuer(j.Issuer) != nil:
		return ui.Usagef("--issuer: %w", oidc.CheckIssuer(j.Issuer))
	case j.Audience != "" && !named || j.Prefix != "" && !b.IsJob():
		return ui.Usagef("--bootstrap-audience goes with --bootstrap github-actions or with " +
			"--issuer, and --bootstrap-url with github-actions or azure-pipelines")
	case j.Audience != "" && profile.CheckAudience(j.Audience) != nil:
		return ui.Usagef("--bootstrap-audience: %w", profile.CheckAudience(j.Audience))
	}
	b.URL = j.Prefix
	if b.Source == profile.SourceGitHub {
		b.Audience = j.Audience
	}
	if err := b.CheckJob(); b.IsJob() && err != nil {
		return ui.Usagef("--bootstrap %s: %w", b.Source, err)
	}
	o.Bootstrap, o.job = b, j
	return nil
}

// forAPIServer begins the part of a dry run that kube-apiserver reads.
const forAPIServer = `---
# For the API server: kube-apiserver 1.34 and newer read this file, as --authentication-config, and read it again
# when it changes. Where there is one already, add what is below jwt to it. It is no manifest: cut it off before
# kubectl apply.
`

// elsewhere is between the file and what managed clusters have.
const elsewhere = "# Where nobody but the cloud sets the API server's flags:\n"

// Authentication is what the API server has to be told so that it takes the ID tokens of those who
// may mint: a file, with comments before and after. Empty: they have none, or nobody says whose.
func (p *Preparation) Authentication() ([]byte, error) {
	o, b := p.options, p.profile.Bootstrap
	issuer := o.job.Issuer
	if b.Source == profile.SourceGitHub && b.URL == "" {
		issuer = cmp.Or(issuer, oidc.GitHubIssuer)
	}
	switch {
	case issuer == "" && b.IsJob():
		p.step("authentication: what the API server needs is printed for the --issuer of the " +
			"job's ID tokens")
		return nil, nil
	case issuer == "":
		return nil, nil
	case len(o.Minters.Users) == 0:
		p.step("authentication: what the API server needs is printed for every --minter-user")
		return nil, nil
	}
	audience := cmp.Or(b.Audience, o.job.Audience, p.profile.Cluster.Server)
	if b.Source == profile.SourceAzure {
		audience = profile.AzureAudience
	}
	trust := oidc.Trust{Issuer: issuer, Audience: audience, Users: o.Minters.Users}
	file, err := trust.Configuration()
	if err != nil {
		return nil, ui.Usagef("%w", err)
	}
	managed, err := trust.Elsewhere()
	return bytes.Join([][]byte{[]byte(forAPIServer), file, []byte(elsewhere + managed)}, nil),
		err
}
