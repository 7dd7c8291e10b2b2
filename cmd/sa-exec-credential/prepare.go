package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"

	"github.com/sa-exec-credential/sa-exec-credential/internal/api"
	"github.com/sa-exec-credential/sa-exec-credential/internal/bootstrap"
	"github.com/sa-exec-credential/sa-exec-credential/internal/files"
	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/internal/kubeconfig"
	"github.com/sa-exec-credential/sa-exec-credential/internal/mint"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
	"github.com/sa-exec-credential/sa-exec-credential/internal/setup"
)

// rbacLimit bounds the wait for a role that was just made to count everywhere.
const rbacLimit = 15 * time.Second

// preparation is setup for one cluster.
type preparation struct {
	command *setupCommand
	env     *environment
	context string       // the administrator's
	config  *rest.Config // with the administrator's credentials; nil in a pod, where nothing is prepared
	admin   *api.Client
	profile profile.Profile
	paths   []string          // kubeconfig files that get the new context
	batch   *kubeconfig.Batch // what the clusters of one setup share to write them; nil when there is one cluster
	say     func(step string)
}

// newPreparation reads the administrator's context and works out the profile. It writes nothing.
func (c *setupCommand) newPreparation(env *environment, paths []string, name string) (*preparation, error) {
	found, err := kubeconfig.Resolve(paths, name)
	if err != nil {
		return nil, err
	}
	if c.ServiceAccount == "" {
		return nil, fmt.Errorf("%w: name the service account to mint tokens for", errUsage)
	}
	p := &preparation{command: c, env: env, context: found.Name, say: func(step string) { env.log.debug(step) }}
	if p.config, p.admin, err = env.adminOf(found); err != nil {
		return nil, err
	}
	source, err := c.bootstrap(env, absolute(paths))
	if err != nil {
		return nil, err
	}
	p.profile = profile.Profile{
		Name:    c.Profile,
		Cluster: found.Cluster, Namespace: cmp.Or(c.Namespace, found.Namespace, "default"), ServiceAccount: c.ServiceAccount,
		Audiences: c.Audience, Duration: profile.Duration{Duration: c.Duration}, Bootstrap: source,
		Store: keyring.Kind(c.Store), AllowMissingClusterInfo: c.AllowMissingClusterInfo,
		Origin: &profile.Origin{Context: found.Name, Kubeconfig: absolute(paths)},
	}
	p.profile.Recovery = c.recovery(env, p.profile.Origin)
	if p.profile.Name == "" {
		p.profile.Name = profile.DefaultName(p.profile.ServiceAccount, p.profile.Namespace, found.ClusterName)
	}
	p.paths, err = c.outputPaths(env)
	return p, err
}

func absolute(paths []string) []string {
	list := make([]string, 0, len(paths))
	for _, path := range paths {
		if full, err := filepath.Abs(path); err == nil {
			list = append(list, full)
		}
	}
	return list
}

// outputPaths are the kubeconfig files that get the new context: the one of -o, else the user's own.
func (c *setupCommand) outputPaths(env *environment) ([]string, error) {
	switch c.Output {
	case "-":
		return nil, nil
	case "":
		return env.kubeconfigPaths("")
	}
	return []string{c.Output}, nil
}

// kubeconfigPaths are the kubeconfig files that kubectl would read.
func (e *environment) kubeconfigPaths(explicit string) ([]string, error) {
	home, err := e.homeFolder()
	if err != nil {
		return nil, err
	}
	return kubeconfig.Paths(explicit, e.getenv("KUBECONFIG"), home), nil
}

// adminOf returns the means to act with the credentials of a context.
func (e *environment) adminOf(context kubeconfig.Context) (*rest.Config, *api.Client, error) {
	config, err := context.ClientConfig()
	if err != nil {
		return nil, nil, err
	}
	client, err := api.New(config, runtime.NewScheme())
	return config, client, err
}

// runAlone prepares the cluster, prints the proof, and the kubeconfig where that was asked for.
func (p *preparation) runAlone(ctx context.Context) error {
	if p.command.DryRun {
		return p.dryRun(ctx)
	}
	p.say = func(step string) { p.env.log.line("setup", step) }
	if p.config != nil && p.profile.Bootstrap.Source == profile.SourceInCluster {
		return p.prepareForPods(ctx)
	}
	proof, err := p.run(ctx)
	if err != nil {
		return err
	}
	if p.command.Output != "-" {
		return p.env.write(proof.text(p.env.colours()))
	}
	rendered, err := p.render()
	if err != nil {
		return err
	}
	_, _ = p.env.stderr.Write(proof.text(false))
	return p.env.write(rendered)
}

// run takes every step. Each one finds out whether it has been taken before, so that a run which was interrupted after
// any of them can be repeated.
func (p *preparation) run(ctx context.Context) (*proof, error) {
	session, err := p.ready(ctx)
	if err != nil {
		return nil, err
	}
	if err := p.mergeKubeconfig(); err != nil {
		return nil, err
	}
	return p.prove(ctx, session)
}

// ready takes every step that comes before the kubeconfig.
func (p *preparation) ready(ctx context.Context) (*session, error) {
	if err := p.checkTaken(); err != nil {
		return nil, err
	}
	if err := p.chooseStore(ctx); err != nil {
		return nil, err
	}
	if err := p.prepareCluster(ctx); err != nil {
		return nil, err
	}
	if err := p.prepareDevice(ctx); err != nil {
		return nil, err
	}
	if err := p.noteCluster(ctx); err != nil {
		return nil, err
	}
	session, err := p.env.open(ctx, p.profile)
	if err != nil {
		return nil, err
	}
	if err := p.prepareBootstrap(ctx, session); err != nil {
		return nil, err
	}
	return session, p.saveProfile(ctx)
}

// checkTaken keeps a profile that other contexts name from becoming one for something else: clusters made by the same tool
// often have the same name in different kubeconfigs. A cluster that was rebuilt behind its address has another certificate
// authority and is still that cluster; a profile that cannot be read is what setup mends.
func (p *preparation) checkTaken() error {
	folder, err := p.env.profiles()
	if err != nil {
		return err
	}
	old, err := folder.Load(p.profile.Name)
	if err != nil {
		return nil
	}
	was, err := old.Identity()
	if err != nil {
		return nil
	}
	now, err := p.profile.Identity()
	if err != nil {
		return err
	}
	if old.Account() != p.profile.Account() || was.Server != now.Server {
		return fmt.Errorf("%w: %q is for %q of %s", errProfileTaken, p.profile.Name, old.Account(), old.Cluster.Server)
	}
	return nil
}

// chooseStore turns auto into the store that works here.
func (p *preparation) chooseStore(ctx context.Context) error {
	needed := p.profile.Bootstrap.Source == profile.SourceKeyring
	if p.profile.Store == keyring.None && needed {
		return fmt.Errorf("%w: --store none needs another --bootstrap than the keyring", errUsage)
	}
	store, err := p.env.store(ctx, p.profile.Store)
	if errors.Is(err, keyring.ErrUnavailable) && p.profile.Store == keyring.Auto && !needed {
		store, err = p.env.store(ctx, keyring.None)
	}
	if err != nil {
		return err
	}
	// One that was asked for by its name has not been tried yet, and the cluster has not been changed yet.
	if _, err := store.Keys(ctx); err != nil {
		return err
	}
	p.profile.Store = store.Kind()
	p.say("store: " + store.Description())
	return nil
}

func (p *preparation) prepareCluster(ctx context.Context) error {
	if p.config == nil {
		return nil
	}
	wanted := p.command.wanted(p.profile)
	objects, err := setup.Plan(ctx, p.admin, wanted)
	if err != nil {
		return err
	}
	warnings, err := setup.Apply(ctx, p.admin, objects, p.say)
	for _, warning := range warnings {
		p.env.log.line("warning", warningText(warning))
	}
	if err != nil {
		return err
	}
	p.warnOfSuperseded(ctx, wanted, objects)
	return nil
}

// warnOfSuperseded names the rights that an earlier setup granted and this one does not ask for: they still count.
func (p *preparation) warnOfSuperseded(ctx context.Context, wanted setup.Wanted, objects []setup.Object) {
	refs, err := setup.Superseded(ctx, p.admin, wanted, objects)
	if err != nil {
		p.env.log.debug("looking for rights of earlier setups", "error", err)
	}
	for _, ref := range refs {
		p.env.log.line("warning", fmt.Sprintf("%v of an earlier setup still grants rights that this one does not ask for; delete it if they shall end", ref))
	}
}

func warningText(w setup.Warning) string {
	switch w.Kind {
	case setup.CapForbidden:
		return fmt.Sprintf("no limit on what the bootstrap credential can ask for: this context may not make %v", w.Object)
	case setup.CapUnsupported:
		return "no limit on what the bootstrap credential can ask for: the API server is older than Kubernetes 1.30"
	case setup.CapKept:
		return fmt.Sprintf("an earlier setup allows tokens of %v, bootstrap tokens of %v, and that stays; to lower it delete %v first", w.Token, w.Bootstrap, w.Object)
	case setup.MinterDiffers:
		return fmt.Sprintf("left as it is: %v is not what setup would make; if minting fails, compare it with --dry-run", w.Object)
	case setup.MinterUnknown:
		return fmt.Sprintf("not checked: this context may not look at %v", w.Object)
	}
	return fmt.Sprintf("%s: %v", w.Kind, w.Object)
}

// prepareDevice makes the Secret that this machine's tokens are bound to, or finds it.
func (p *preparation) prepareDevice(ctx context.Context) error {
	if p.config == nil {
		return nil
	}
	name, err := p.deviceName()
	if err != nil {
		return err
	}
	device, err := setup.EnsureDevice(ctx, p.admin, p.profile.Namespace, p.profile.ServiceAccount, name, p.env.owner())
	if errors.Is(err, api.ErrForbidden) && p.profile.Bootstrap.Source != profile.SourceKeyring {
		p.env.log.line("warning", "tokens are not bound to this machine: this context may not make Secrets")
		return nil
	}
	if err != nil {
		return err
	}
	p.profile.Device = &device
	p.say(fmt.Sprintf("Secret %q: tokens of this machine are bound to it", p.profile.Namespace+"/"+device.Secret))
	return nil
}

// noteCluster keeps what a recovery tells a rebuilt cluster by.
func (p *preparation) noteCluster(ctx context.Context) (err error) {
	if p.profile.Recovery == nil {
		return nil
	}
	p.profile.Recovery.ClusterUID, err = setup.ClusterUID(ctx, p.admin)
	return err
}

// owner says whose machine this is, to those who list devices.
func (e *environment) owner() setup.Owner {
	host, _ := e.hostname()
	return setup.Owner{Host: host, User: cmp.Or(e.getenv("USER"), e.getenv("USERNAME"), e.getenv("LOGNAME"))}
}

// deviceName is the name under which an earlier setup knows this machine, for this account or at all.
func (p *preparation) deviceName() (string, error) {
	folder, err := p.env.profiles()
	if err != nil {
		return "", err
	}
	if old, err := folder.Load(p.profile.Name); err == nil && old.Device != nil &&
		old.Namespace == p.profile.Namespace && old.ServiceAccount == p.profile.ServiceAccount {
		if name := setup.DeviceName(old.ServiceAccount, old.Device.Secret); name != "" {
			return name, nil
		}
	}
	return p.env.deviceName()
}

// deviceName reads this machine's name, or chooses one. It is kept before the first Secret is made, so that a setup which
// was interrupted does not leave a Secret that nobody knows.
func (e *environment) deviceName() (string, error) {
	folder, err := e.profiles()
	if err != nil {
		return "", err
	}
	path := filepath.Join(filepath.Dir(string(folder)), "device")
	name, err := readDeviceName(path)
	if name != "" || err != nil {
		return name, err
	}
	if err := files.MakePrivateFolder(filepath.Dir(path)); err != nil {
		return "", err
	}
	host, _ := e.hostname()
	if err := placeFirst(path, setup.NewDeviceName(host)+"\n"); err != nil {
		return "", fmt.Errorf("keeping this machine's name: %w", err)
	}
	return readDeviceName(path)
}

// readDeviceName returns an empty name when none was chosen yet.
func readDeviceName(path string) (string, error) {
	data, err := files.ReadTrusted(path, 100)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("reading this machine's name: %w", err)
	}
	return strings.TrimSpace(string(data)), nil
}

// placeFirst makes a file whole or not at all. Of several who do so at once the first one wins, and the others find its.
func placeFirst(path, text string) error {
	temp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*.tmp")
	if err != nil {
		return err
	}
	defer os.Remove(temp.Name())
	_, err = temp.WriteString(text)
	if err := errors.Join(err, temp.Sync(), temp.Close()); err != nil {
		return err
	}
	_ = os.Link(temp.Name(), path)
	if info, err := os.Stat(path); err == nil && info.Size() > 0 {
		return nil
	}
	// The file system has no links, or a power cut has left an empty file.
	return os.Rename(temp.Name(), path)
}

// prepareBootstrap makes sure that there is a bootstrap credential which can mint.
func (p *preparation) prepareBootstrap(ctx context.Context, s *session) error {
	if p.profile.Bootstrap.Source == profile.SourceKeyring && !p.bootstrapWorks(ctx, s) {
		if err := p.requestBootstrap(ctx, s); err != nil {
			return err
		}
	}
	var grant mint.Grant
	err := setup.WaitUntilAllowed(ctx, rbacLimit, func(ctx context.Context) (err error) {
		defer keepEnvironment()()
		grant, err = s.mint(ctx)
		return err
	})
	if err != nil {
		return err
	}
	// A token that is there from before may look good and be refused: its account, or the keys, may have been made anew.
	if err := s.keep(ctx, s.profile.TokenKey(), grant); err != nil {
		p.env.log.warning(fmt.Errorf("token not cached: %w", err))
	}
	return nil
}

// keepEnvironment returns what restores this process's environment, which a bootstrap context takes for its own plugin.
// The proof that follows runs this program as a client would, with the environment that a client has.
func keepEnvironment() (restore func()) {
	variables := os.Environ()
	return func() {
		os.Clearenv()
		for _, variable := range variables {
			if name, value, _ := strings.Cut(variable, "="); name != "" {
				_ = os.Setenv(name, value)
			}
		}
	}
}

// bootstrapWorks reports whether the stored credential is good for long and accepted; then it stays.
func (p *preparation) bootstrapWorks(ctx context.Context, s *session) bool {
	entry, err := s.store.Get(ctx, p.profile.BootstrapKey())
	if err != nil || bootstrap.RenewalDue(entry, p.env.now()) {
		return false
	}
	if entry.ExpiresAt.Sub(entry.IssuedAt) > p.profile.Bootstrap.Duration.Duration {
		return false
	}
	accepted, err := s.accepted(ctx, entry.Token)
	return err == nil && accepted
}

func (p *preparation) requestBootstrap(ctx context.Context, s *session) error {
	minter, err := mint.New(p.config, p.env.now)
	if err != nil {
		return err
	}
	grant, err := minter.Mint(ctx, bootstrapRequest(p.profile))
	if err != nil {
		return fmt.Errorf("requesting the bootstrap credential: %w", err)
	}
	// Noted first: a setup that was interrupted in between finds no credential, and comes by here again.
	if err := setup.NoteBootstrap(ctx, p.admin, p.profile.Namespace, *p.profile.Device, grant.IssuedAt.Add(-grant.Skew), grant.ExpiresAt.Add(-grant.Skew)); err != nil {
		p.env.log.debug("noting the bootstrap credential at its device", "error", err)
	}
	if err := s.keep(ctx, s.profile.BootstrapKey(), grant); err != nil {
		return fmt.Errorf("keeping the bootstrap credential: %w", err)
	}
	p.say(fmt.Sprintf("bootstrap credential: requested for %v and kept in the store", p.profile.Bootstrap.Duration.Duration))
	return nil
}

func (p *preparation) saveProfile(ctx context.Context) error {
	folder, err := p.env.profiles()
	if err != nil {
		return err
	}
	if old, err := folder.Load(p.profile.Name); err == nil {
		p.profile.Retired, p.profile.Next = old.Retired, old.Next
		if err := p.moveSiblings(ctx, old); err != nil {
			return err
		}
		p.env.forgetReplaced(ctx, old, p.profile)
	}
	if err := folder.Save(p.profile); err != nil {
		return err
	}
	p.say(fmt.Sprintf("profile: %q", p.profile.Name))
	return nil
}

// moveSiblings takes the other profiles of a device along to the one that was made in its place: its bootstrap credential is
// theirs, too, and what they know of the cluster has to be true of the device that they have.
func (p *preparation) moveSiblings(ctx context.Context, old profile.Profile) error {
	device := p.profile.Device
	if old.Device == nil || device == nil || old.Device.Secret != device.Secret || old.Device.UID == device.UID {
		return nil
	}
	cluster := ""
	if p.profile.Recovery != nil {
		cluster = p.profile.Recovery.ClusterUID
	}
	if err := p.env.change(old, func(sibling *profile.Profile) { sibling.Recovery.InCluster(cluster) }); err != nil {
		return err
	}
	return p.env.moveDevice(ctx, old, *device)
}

// forgetReplaced removes the entries that a profile leads to no longer once it has been changed.
func (e *environment) forgetReplaced(ctx context.Context, old, current profile.Profile) {
	s, err := e.open(ctx, old)
	if err != nil {
		return
	}
	sharing, _ := e.sharing(old)
	if old.TokenKey() != current.TokenKey() || old.Store != current.Store {
		err = s.forget(ctx, len(sharing) < 2 && (old.BootstrapKey() != current.BootstrapKey() || old.Store != current.Store))
	}
	e.log.debug("looked for entries of the replaced profile", "error", err)
}

func (p *preparation) entry() (kubeconfig.Entry, error) {
	command, err := pluginPath()
	if err != nil {
		return kubeconfig.Entry{}, err
	}
	return kubeconfig.EntryFor(p.profile, command)
}

func (p *preparation) mergeKubeconfig() error {
	if p.command.Allowlist {
		if err := p.env.allowPlugin(p.say); err != nil {
			return err
		}
	}
	if p.paths == nil {
		return nil
	}
	entry, err := p.entry()
	if err != nil {
		return err
	}
	changed, err := p.merge(entry)
	if err != nil {
		return err
	}
	p.say(fmt.Sprintf("context %q in %q: %s", entry.ContextName, kubeconfig.Target(p.paths), map[bool]string{true: "written", false: "unchanged"}[changed]))
	return nil
}

func (p *preparation) merge(entry kubeconfig.Entry) (changed bool, err error) {
	if p.batch != nil {
		return p.batch.Merge(entry)
	}
	return kubeconfig.Merge(p.paths, entry, p.command.UseContext)
}

// render returns a kubeconfig with nothing but the profile's context.
func (p *preparation) render() ([]byte, error) {
	entry, err := p.entry()
	if err != nil {
		return nil, err
	}
	return kubeconfig.Render(entry)
}
