package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/api"
	"github.com/sa-exec-credential/sa-exec-credential/internal/bootstrap"
	"github.com/sa-exec-credential/sa-exec-credential/internal/kubeconfig"
	"github.com/sa-exec-credential/sa-exec-credential/internal/mint"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
	"github.com/sa-exec-credential/sa-exec-credential/internal/secret"
	"github.com/sa-exec-credential/sa-exec-credential/internal/setup"
)

// The API server remembers a token review for some ten seconds, so a revoked token works that much longer.
const (
	revocationLimit = time.Minute
	revocationPoll  = time.Second
)

type revokeCommand struct {
	Profile        string `placeholder:"NAME" xor:"which" required:"" help:"The profile of this machine to end."`
	Device         string `placeholder:"NAME" xor:"which" required:"" help:"The machine to end, as devices lists it."`
	ServiceAccount string `placeholder:"SERVICEACCOUNT" name:"serviceaccount" help:"With --device: the service account."`
	Namespace      string `short:"n" placeholder:"NS" help:"With --device: its namespace (default: the context's)."`
	administrator  `embed:""`
}

// errStillAccepted is a token that outlives its device Secret by more than the API server's own memory explains.
var errStillAccepted = errors.New("the API server still accepts a token that was bound to the deleted Secret")

// Run deletes a device Secret, waits until its tokens are refused, and forgets everything about it on this machine.
func (r *revokeCommand) Run(ctx context.Context, env *environment) error {
	if r.Device != "" {
		return r.revokeDevice(ctx, env)
	}
	if r.ServiceAccount != "" || r.Namespace != "" {
		return fmt.Errorf("%w: --serviceaccount and --namespace go with --device", errUsage)
	}
	s, admin, err := r.ofDevice(ctx, env, r.Profile)
	if err != nil {
		return err
	}
	if err := env.endNext(ctx, admin, s.profile); err != nil {
		return err
	}
	if err := env.end(ctx, admin, s.profile.Namespace, s.profile.ServiceAccount, *s.profile.Device); err != nil {
		return err
	}
	for _, retired := range s.profile.Retired {
		if err := env.deleteDevice(ctx, admin, s.profile.Namespace, s.profile.ServiceAccount, retired); err != nil {
			return err
		}
	}
	return env.forgetDevice(ctx, s.profile)
}

// endNext ends the device that an interrupted rotate was making.
func (e *environment) endNext(ctx context.Context, admin *admin, p profile.Profile) error {
	if p.Next == "" {
		return nil
	}
	devices, err := setup.Devices(ctx, admin.client, p.Namespace, p.ServiceAccount)
	if err != nil {
		return err
	}
	for _, device := range devices {
		if device.Name != p.Next {
			continue
		}
		p.Device = &profile.Device{Secret: device.Secret, UID: device.UID}
		if err := e.deleteDevice(ctx, admin, p.Namespace, p.ServiceAccount, *p.Device); err != nil {
			return err
		}
		return e.forgetEntries(ctx, p)
	}
	return nil
}

// revokeDevice ends another machine from an administrator's.
func (r *revokeCommand) revokeDevice(ctx context.Context, env *environment) error {
	if r.ServiceAccount == "" {
		return fmt.Errorf("%w: --device needs --serviceaccount", errUsage)
	}
	admin, err := r.find(env, nil)
	if err != nil {
		return err
	}
	namespace := admin.namespace(r.Namespace)
	devices, err := setup.Devices(ctx, admin.client, namespace, r.ServiceAccount)
	if err != nil {
		return err
	}
	for _, device := range devices {
		if device.Name == r.Device || device.Secret == r.Device {
			return env.end(ctx, admin, namespace, r.ServiceAccount, profile.Device{Secret: device.Secret, UID: device.UID})
		}
	}
	return fmt.Errorf("%w: no device %q of %q", errNoDevice, r.Device, namespace+"/"+r.ServiceAccount)
}

var errNoDevice = errors.New("no such device")

// end deletes a device Secret and waits until the API server refuses what was bound to it.
func (e *environment) end(ctx context.Context, admin *admin, namespace, account string, device profile.Device) error {
	canary := e.canary(ctx, admin, namespace, account, device)
	if err := e.deleteDevice(ctx, admin, namespace, account, device); err != nil {
		return err
	}
	if canary.Empty() {
		e.log.line("revoke", "its tokens and its bootstrap credential are refused in some 15 seconds")
		return nil
	}
	return e.awaitRefusal(ctx, admin, canary)
}

// canary is a token bound to the device, to see it die. Without the right to make one nothing is seen, and all the same
// revoked.
func (e *environment) canary(ctx context.Context, admin *admin, namespace, account string, device profile.Device) secret.String {
	minter, err := mint.New(admin.config, e.now)
	if err != nil {
		return secret.String{}
	}
	grant, err := minter.Mint(ctx, mint.Request{Namespace: namespace, ServiceAccount: account, Duration: profile.MinDuration,
		Bound: &mint.Secret{Name: device.Secret, UID: device.UID}})
	if err == nil {
		// The API server remembers that it is good, as it does of the tokens that are in use.
		_, err = e.whoIs(ctx, admin.context.Cluster, grant.Token)
	}
	if err != nil {
		e.log.debug("no token to watch", "error", err)
		return secret.String{}
	}
	return grant.Token
}

func (e *environment) deleteDevice(ctx context.Context, admin *admin, namespace, account string, device profile.Device) error {
	err := setup.DeleteDevice(ctx, admin.client, namespace, account, device)
	switch {
	case errors.Is(err, api.ErrNotFound):
		e.log.line("revoke", fmt.Sprintf("Secret %q: gone already", namespace+"/"+device.Secret))
	case errors.Is(err, api.ErrConflict):
		e.log.line("warning", fmt.Sprintf("Secret %q: gone already; the one of that name is another one and stays, to end it: %s",
			namespace+"/"+device.Secret, commandLine(program, "revoke", "--device", device.Secret, "--serviceaccount", account, "-n", namespace)))
	case err != nil:
		return err
	default:
		e.log.line("revoke", fmt.Sprintf("Secret %q: deleted", namespace+"/"+device.Secret))
	}
	return nil
}

func (e *environment) awaitRefusal(ctx context.Context, admin *admin, token secret.String) error {
	e.log.line("revoke", "waiting until the API server refuses what was bound to it (some 15 seconds)")
	limit := time.After(revocationLimit)
	for began := e.now(); ; {
		// Each question has a time limit of its own. The minute cuts none short, so that the last one has an answer, too.
		_, err := e.whoIs(ctx, admin.context.Cluster, token)
		if errors.Is(err, api.ErrUnauthorized) {
			e.log.line("revoke", fmt.Sprintf("refused after %d seconds", int(e.now().Sub(began).Seconds())))
			return nil
		}
		select {
		case <-ctx.Done():
			return notRefused(ctx, err)
		case <-limit:
			return notRefused(ctx, err)
		case <-time.After(revocationPoll):
		}
	}
}

// notRefused is what it means that the wait for a refusal ended without one. answer is that to the last question.
func notRefused(ctx context.Context, answer error) error {
	switch {
	case ctx.Err() != nil:
		return errInterrupted // and the question with it, so its answer says nothing of the server
	case answer == nil, errors.Is(answer, api.ErrForbidden): // who is forbidden something is known
		return fmt.Errorf("%w, %v later", errStillAccepted, revocationLimit)
	}
	return fmt.Errorf("the Secret is deleted, but the API server cannot be asked whether its tokens are refused: %w", answer)
}

// forgetDevice removes all local traces of a device: entries, profiles and records. Kubeconfigs are the user's.
func (e *environment) forgetDevice(ctx context.Context, p profile.Profile) error {
	sharing, err := e.sharing(p)
	if err != nil {
		return err
	}
	folder, err := e.profiles()
	if err != nil {
		return err
	}
	for _, p := range sharing {
		if err := e.forgetEntries(ctx, p); err != nil {
			e.log.warning(err) // what it was good for is over
		}
		if err := folder.Remove(p.Name); err != nil {
			return err
		}
		e.log.line("revoke", fmt.Sprintf("profile %q: removed, with its entries in the store", p.Name))
		e.nameContexts(p.Name)
	}
	return nil
}

func (e *environment) nameContexts(name string) {
	paths, err := e.kubeconfigPaths("")
	if err != nil {
		return
	}
	uses, err := kubeconfig.FindPluginContexts(paths)
	if err != nil {
		return
	}
	for _, use := range uses {
		if use.Profile == name {
			line := []string{"kubectl", "config", "delete-context", use.Context}
			if use.File != "" {
				line = append(line, "--kubeconfig", use.File)
			}
			e.log.line("hint", fmt.Sprintf("context %q in %q still names it: %s", use.Context, use.File, commandLine(line...)))
		}
	}
}

// whoIs asks a cluster whom a token stands for.
func (e *environment) whoIs(ctx context.Context, cluster profile.Cluster, token secret.String) (mint.User, error) {
	config, err := bootstrap.WithToken(cluster, token)
	if err != nil {
		return mint.User{}, err
	}
	minter, err := mint.New(config, e.now)
	if err != nil {
		return mint.User{}, err
	}
	return minter.WhoAmI(ctx)
}
