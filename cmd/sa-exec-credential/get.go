package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/sa-exec-credential/sa-exec-credential/internal/execcred"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
)

// What can be wrong with the client that calls.
var (
	errNoExecInfo     = errors.New("no client has called: KUBERNETES_EXEC_INFO is not set")
	errNoClusterInfo  = errors.New("the client sent no cluster information")
	errInsecureClient = errors.New("the client does not verify the server's certificate")
)

type getCommand struct {
	Profile string `required:"" placeholder:"NAME" help:"The profile to get a token for."`
}

// Run prints an ExecCredential for the client whose exec info is in the environment.
func (g *getCommand) Run(ctx context.Context, env *environment) error {
	info, err := env.execInfo()
	if err != nil {
		return err
	}
	s, err := env.load(ctx, g.Profile)
	if err != nil {
		return err
	}
	if err := checkClient(info, s.profile); err != nil {
		return err
	}
	if err := env.checkAgreed(s.profile); err != nil {
		return err
	}
	if len(s.profile.Cluster.CertificateAuthorityData) == 0 {
		if err := env.dropForgedRoots(); err != nil {
			return err
		}
	}
	answer, err := s.cache().Get(ctx)
	if err != nil {
		return err
	}
	result, err := execcred.Encode(info.APIVersion, answer.Token, answer.Expires)
	if err != nil {
		return err
	}
	return env.write(result)
}

func (e *environment) execInfo() (execcred.Info, error) {
	text, present := e.lookupEnv(execcred.EnvironmentVariable)
	if !present {
		return execcred.Absent(), nil
	}
	return execcred.Parse(text)
}

// checkClient makes sure that the client will send the token to the profile's cluster and to nobody else.
func checkClient(info execcred.Info, p profile.Profile) error {
	if info.Cluster == nil {
		switch {
		case p.AllowMissingClusterInfo:
			return nil
		case info.Absent:
			return errNoExecInfo
		}
		return errNoClusterInfo
	}
	if info.Cluster.InsecureSkipTLSVerify {
		return errInsecureClient
	}
	client, err := profile.IdentityOf(info.Cluster.Server, info.Cluster.TLSServerName, info.Cluster.CertificateAuthorityData)
	if err != nil {
		return fmt.Errorf("%w: %w", profile.ErrOtherCluster, err)
	}
	own, err := p.Identity()
	if err != nil {
		return err
	}
	return own.Difference(client)
}
