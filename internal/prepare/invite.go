package prepare

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/api"
	"github.com/sa-exec-credential/sa-exec-credential/internal/bootstrap"
	"github.com/sa-exec-credential/sa-exec-credential/internal/cluster"
	"github.com/sa-exec-credential/sa-exec-credential/internal/files"
	"github.com/sa-exec-credential/sa-exec-credential/internal/invitation"
	"github.com/sa-exec-credential/sa-exec-credential/internal/mint"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
	"github.com/sa-exec-credential/sa-exec-credential/internal/secret"
	"github.com/sa-exec-credential/sa-exec-credential/internal/session"
	"github.com/sa-exec-credential/sa-exec-credential/internal/ui"
)

// CheckMachines is an error for names that no invitation can be for.
func CheckMachines(names []string) error {
	for i, name := range names {
		if err := profile.CheckMachine(name); err != nil {
			return err
		}
		same := func(other string) bool { return strings.EqualFold(other, name) }
		if slices.ContainsFunc(names[:i], same) {
			return fmt.Errorf("machine %q is named twice", name)
		}
	}
	return nil
}

// Invite does what setup does in the cluster, and returns an invitation for each machine. Nothing
// is kept on this one.
func (p *Preparation) Invite(ctx context.Context) ([]invitation.Invitation, error) {
	planned, err := p.checkInvite(ctx)
	if err != nil {
		return nil, err
	}
	if err := p.prepareCluster(ctx, planned); err != nil {
		return nil, err
	}
	uid, err := cluster.ClusterUID(ctx, p.admin.Client)
	p.host.Log.Debug("asked for the uid of the cluster", "error", err)
	known, err := p.invited(ctx)
	if err != nil {
		return nil, err
	}
	invite := p.inviteOne
	if p.isExternal() {
		invite = p.inviteExternal
	}
	var list []invitation.Invitation
	for i, machine := range p.options.Machines {
		one, err := invite(ctx, machine, known, i == 0)
		if err != nil {
			return nil, err
		}
		one.ClusterUID = uid
		list = append(list, one)
	}
	return list, nil
}

// checkInvite finds out everything that can be known before a change. A dry run does the same.
func (p *Preparation) checkInvite(ctx context.Context) (cluster.Planned, error) {
	if err := p.checkExternal(ctx); err != nil {
		return cluster.Planned{}, err
	}
	planned, err := p.checkCluster(ctx)
	if err != nil {
		return cluster.Planned{}, err
	}
	return planned, p.checkTokens(ctx)
}

// invited are the devices that earlier invitations were for, by their machines' names in lower
// case.
func (p *Preparation) invited(ctx context.Context) (map[string]cluster.DeviceInfo, error) {
	devices, err := p.devices(ctx, "a machine that was invited before gets another device "+
		"beside the one it has")
	known := map[string]cluster.DeviceInfo{}
	for _, d := range devices {
		name := strings.ToLower(d.Owner.Host)
		if _, found := known[name]; !found && !d.Owner.Invited.IsZero() {
			known[name] = d
		}
	}
	return known, err
}

// devices are those of the account, less odd ones, the oldest first: two commands at once can have
// created two of one name. Where they cannot be listed there are none, which a warning says more
// about.
func (p *Preparation) devices(ctx context.Context, unseen string) ([]cluster.DeviceInfo, error) {
	devices, err := cluster.Devices(ctx, p.admin.Client, p.profile.Namespace,
		p.profile.ServiceAccount)
	if errors.Is(err, api.ErrForbidden) {
		p.warn("you cannot list Secrets in %q: %s", p.profile.Namespace, unseen)
		return nil, nil
	}
	devices = slices.DeleteFunc(devices, func(d cluster.DeviceInfo) bool {
		return len(d.Odd) > 0
	})
	slices.SortStableFunc(devices, func(a, b cluster.DeviceInfo) int {
		return a.Created.Compare(b.Created)
	})
	return devices, err
}

// inviteOne creates the device of a machine, or finds the one that an earlier invitation was for,
// and requests a token of it that lives as long as the invitation.
func (p *Preparation) inviteOne(ctx context.Context, machine string,
	known map[string]cluster.DeviceInfo, isFirst bool) (i invitation.Invitation, err error) {
	d, err := p.deviceFor(ctx, machine, known)
	if err != nil {
		return i, err
	}
	s, err := session.With(ctx, p.host, p.profile, &d)
	if err != nil {
		return i, err
	}
	s.Store = held{}
	grant, err := p.requestInvitation(ctx, s)
	if err != nil {
		return i, err
	}
	if err := s.Put(ctx, s.BootstrapKey(), grant); err != nil {
		return i, err
	}
	if isFirst { // they are the account's, and the same for all
		if err := p.prepareLimits(ctx, s); err != nil {
			return i, err
		}
	}
	if err := p.tryInvitation(ctx, s, isFirst); err != nil {
		return i, err
	}
	i = p.invitation(machine, d)
	i.Expires = grant.ExpiresAt.Add(-grant.Skew).UTC().Truncate(time.Second)
	i.BootstrapDuration, i.Token = *p.profile.Bootstrap.Duration, grant.Token
	return i, p.reportInvited(machine, " until "+ui.Date(i.Expires))
}

// invitation is what all that are for a machine have in common.
func (p *Preparation) invitation(machine string, d profile.Device) invitation.Invitation {
	return invitation.Invitation{Cluster: p.profile.Cluster, Namespace: p.profile.Namespace,
		ServiceAccount: p.profile.ServiceAccount, In: p.profile.In,
		Audiences: p.profile.Audiences, Duration: p.profile.Duration, Machine: machine,
		Device: d, Profile: p.profile.Name}
}

func (p *Preparation) reportInvited(machine, until string) error {
	where, err := reached(p.profile.Cluster)
	if err == nil {
		p.step("%q is invited%s: tokens of %q of %s", machine, until, p.profile.Account(),
			where)
	}
	return err
}

func (p *Preparation) deviceFor(ctx context.Context, machine string,
	known map[string]cluster.DeviceInfo) (profile.Device, error) {
	name := cluster.NewDeviceName(p.profile.ServiceAccount, machine)
	before, found := known[strings.ToLower(machine)]
	if found {
		name = before.Name
	}
	if err := p.prepareMinters(ctx, name); err != nil {
		return profile.Device{}, err
	}
	d, err := cluster.EnsureDevice(ctx, p.admin.Client, p.deviceSpec(name,
		cluster.Owner{Host: machine, Invited: p.host.Now()}))
	if err != nil {
		return d, err
	}
	full := p.profile.Namespace + "/" + d.Name
	if found {
		p.step("device %q: %q was invited as it before, on %s; whoever has joined as it "+
			"stays joined", full, machine, ui.Date(before.Owner.Invited))
	} else {
		p.step("device %q: tokens of %q are bound to it", full, machine)
	}
	return d, nil
}

// requestInvitation requests the token of an invitation as an administrator.
func (p *Preparation) requestInvitation(ctx context.Context, s *session.Session) (mint.Grant,
	error) {
	minter, err := bootstrap.Minter(p.admin.Config, p.host.Now)
	if err != nil {
		return mint.Grant{}, err
	}
	request := s.BootstrapRequest()
	request.Duration = p.options.Valid
	grant, err := minter.Mint(ctx, request)
	if err != nil {
		return mint.Grant{}, fmt.Errorf("requesting the invitation's token: %w", err)
	}
	err = cluster.NoteInvitation(ctx, p.admin.Client, p.profile.Namespace, *s.Device,
		grant.IssuedAt.Add(-grant.Skew), grant.ExpiresAt.Add(-grant.Skew))
	p.host.Log.Debug("noted the invitation at its device", "error", err)
	return grant, nil
}

// tryInvitation mints with the invitation's token what the machine will, and drops it: a role that
// was just created counts then, and an invitation that is handed on works.
func (p *Preparation) tryInvitation(ctx context.Context, s *session.Session, isFirst bool) error {
	var grant mint.Grant
	err := cluster.WaitUntilAllowed(ctx, rbacLimit, func(ctx context.Context) (err error) {
		grant, err = s.Mint(ctx)
		return err
	})
	if err == nil && isFirst {
		reportShorterToken(p.profile.Duration.Duration,
			grant.ExpiresAt.Sub(grant.IssuedAt), p.report)
	}
	return err
}

// ErrInvitationThere is a file that an invitation would take the place of.
var ErrInvitationThere = errors.New("there is a file of that name")

// CheckInvitationFiles is an error when the invitations of machines cannot be written to a
// directory. It writes nothing.
func CheckInvitationFiles(dir string, machines []string) error {
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return ui.Usagef("%q is not a directory", dir)
	}
	for _, machine := range machines {
		path := invitationFile(dir, machine)
		_, err := os.Lstat(path)
		if err == nil {
			return fmt.Errorf("%w: %q", ErrInvitationThere, path)
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return files.CheckWritable(dir)
}

func invitationFile(dir, machine string) string {
	return filepath.Join(dir, machine+".invitation")
}

// WriteInvitations writes one file each, which only its owner can read, or none.
func WriteInvitations(dir string, list []invitation.Invitation) (paths []string, err error) {
	defer func() {
		if err != nil {
			for _, path := range paths {
				_ = os.Remove(path)
			}
			paths = nil
		}
	}()
	for _, i := range list {
		block, err := i.Encode()
		if err != nil {
			return paths, err
		}
		path := invitationFile(dir, i.Machine)
		if err := files.Replace(path, block, files.PrivateFile); err != nil {
			return paths, fmt.Errorf("writing the invitation: %w", err)
		}
		paths = append(paths, path)
	}
	return paths, nil
}

// leaveOutOwnProxy is about addresses that mean another machine elsewhere.
func (p *Preparation) leaveOutOwnProxy() {
	c := &p.profile.Cluster
	if c.ProxyURL != "" && isOwnAddress(c.ProxyURL) {
		p.warn("the proxy-url %q is this machine's own, and not in the invitation: the "+
			"machine goes by its own HTTPS_PROXY", secret.URL(c.ProxyURL))
		c.ProxyURL = ""
	}
	if isOwnAddress(c.Server) {
		p.warn("the server %q is an address of this machine itself: where the invited one "+
			"is another, it has to reach the cluster by the same", c.Server)
	}
}

func isOwnAddress(text string) bool {
	parsed, err := url.Parse(text)
	if err != nil {
		return false
	}
	ip := net.ParseIP(parsed.Hostname())
	return strings.EqualFold(parsed.Hostname(), "localhost") || ip != nil && ip.IsLoopback()
}
