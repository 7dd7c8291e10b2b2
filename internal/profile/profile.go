// Package profile reads and writes profiles: what one machine can mint, in a small file without a
// secret. It also says which cluster a profile is for, and derives the keys under which its secrets
// are kept.
//
// It knows nothing of the API server or of what is in a store: of this module it imports
// internal/files, internal/parallel, internal/secret and the names of the stores from
// internal/keyring.
package profile

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
)

const version = 1

// Source names where the bootstrap credential comes from.
type Source string

// The bootstrap sources.
const (
	SourceKeyring   Source = "keyring"         // the bootstrap service account's token, in the store
	SourceContext   Source = "context"         // another context of a kubeconfig
	SourceInCluster Source = "in-cluster"      // the token mounted into a pod
	SourceTokenFile Source = "token-file"      // a file with a token
	SourceEnv       Source = "env"             // an environment variable with a token
	SourceCommand   Source = "command"         // the output of a command
	SourceGitHub    Source = "github-actions"  // the ID token of a job of GitHub Actions
	SourceAzure     Source = "azure-pipelines" // the ID token of a job of Azure Pipelines
)

// MountedToken is where kubelet mounts a pod's token.
const MountedToken = "/var/run/secrets/kubernetes.io/serviceaccount/token"

// WithinVariable names the profiles whose bootstrap credentials are being obtained, for programs
// that doing so runs.
const WithinVariable = "SA_EXEC_CREDENTIAL_WITHIN"

// Profile is what one machine can mint.
type Profile struct {
	Name           string  `yaml:"-" json:"-"`
	Version        int     `yaml:"version" json:"version"`
	Cluster        Cluster `yaml:"cluster" json:"cluster"`
	Namespace      string  `yaml:"namespace" json:"namespace"`
	ServiceAccount string  `yaml:"serviceAccount" json:"serviceAccount"`
	// none: the API server's own
	Audiences []string `yaml:"audiences,omitempty" json:"audiences,omitempty"`
	// asked for; the server may grant less
	Duration Duration `yaml:"duration" json:"duration"`
	// name of the record; empty: tokens are not bound
	Device    string       `yaml:"device,omitempty" json:"device,omitempty"`
	Bootstrap Bootstrap    `yaml:"bootstrap" json:"bootstrap"`
	Store     keyring.Kind `yaml:"store" json:"store"`
	// TPM is what a sealed store seals with: a device's path, or a simulator's socket as
	// unix:PATH. Empty: systemd seals.
	TPM string `yaml:"tpm,omitempty" json:"tpm,omitempty"`
	// AllowMissingClusterInfo answers clients that do not say which cluster they will send the
	// token to. With it, a kubeconfig that names this profile and another server gets a token.
	AllowMissingClusterInfo bool `yaml:"allowMissingClusterInfo,omitempty" json:"allowMissingClusterInfo,omitempty"`
	// In are the namespaces in which setup has granted rights; none: the account's own.
	In []string `yaml:"in,omitempty" json:"in,omitempty"`
	// Origin is the administrator's context that setup was run with; rotate and revoke use it
	// again. Nil: none was.
	Origin *Origin `yaml:"origin,omitempty" json:"origin,omitempty"`
	// Setup is what setup does the same way again.
	Setup Setup `yaml:"setup,omitempty" json:"setup,omitzero"`
	// Recovery lets a get replace a bootstrap credential that the cluster no longer knows. Nil:
	// only setup does.
	Recovery *Recovery `yaml:"recovery,omitempty" json:"recovery,omitempty"`
	// Log is where mints, renewals and refusals are written down: journald, syslog or a file's
	// absolute path. Empty: nowhere.
	Log string `yaml:"log,omitempty" json:"log,omitempty"`
}

// Setup is what was asked of setup and shows nowhere else.
type Setup struct {
	NoRBAC   bool `yaml:"noRBAC,omitempty" json:"noRBAC,omitempty"`
	NoLimits bool `yaml:"noLimits,omitempty" json:"noLimits,omitempty"`
	// a kubeconfig's absolute path
	Output string `yaml:"output,omitempty" json:"output,omitempty"`
	// what the administrator calls this machine whose invitation it joined with; empty: none
	Machine string `yaml:"machine,omitempty" json:"machine,omitempty"`
	// why setup has chosen no other store, where it had the choice
	PassedStores []string `yaml:"passedStores,omitempty" json:"passedStores,omitempty"`
	// what the account was granted, for the command that grants it again
	Rights Rights `yaml:"rights,omitempty" json:"rights,omitzero"`
	// who else was named to mint as the device
	Minters Minters `yaml:"minters,omitempty" json:"minters,omitzero"`
}

// Rights are what setup was told to grant, as its flags are called. Nothing but a person's own
// setup grants them.
type Rights struct {
	Roles         []string `yaml:"roles,omitempty" json:"roles,omitempty"`
	ClusterRoles  []string `yaml:"clusterRoles,omitempty" json:"clusterRoles,omitempty"`
	Verbs         []string `yaml:"verbs,omitempty" json:"verbs,omitempty"`
	Resources     []string `yaml:"resources,omitempty" json:"resources,omitempty"`
	ResourceNames []string `yaml:"resourceNames,omitempty" json:"resourceNames,omitempty"`
	ClusterWide   bool     `yaml:"clusterWide,omitempty" json:"clusterWide,omitempty"`
	AllowAdmin    bool     `yaml:"allowAdmin,omitempty" json:"allowAdmin,omitempty"`
}

// Flags are those of setup that grant the rights.
func (r Rights) Flags() (flags []string) {
	for _, list := range []struct {
		name   string
		values []string
	}{
		{"--role", r.Roles}, {"--cluster-role", r.ClusterRoles}, {"--verb", r.Verbs},
		{"--resource", r.Resources}, {"--resource-name", r.ResourceNames},
	} {
		if len(list.values) > 0 {
			flags = append(flags, list.name, strings.Join(list.values, ","))
		}
	}
	if r.ClusterWide {
		flags = append(flags, "--cluster-wide")
	}
	if r.AllowAdmin {
		flags = append(flags, "--allow-admin")
	}
	return flags
}

// Origin names a context and the kubeconfig files that it was found in.
type Origin struct {
	Context    string   `yaml:"context" json:"context"`
	Kubeconfig []string `yaml:"kubeconfig" json:"kubeconfig"` // absolute paths
}

// Flags name the context on a command line, as far as flags can. A nil Origin needs none.
func (o *Origin) Flags() []string {
	if o == nil {
		return nil
	}
	flags := []string{"--context", o.Context}
	if len(o.Kubeconfig) == 1 {
		flags = append(flags, "--kubeconfig", o.Kubeconfig[0])
	}
	return flags
}

// Recovery is what creates a new bootstrap credential, or a new device Secret in a cluster that was
// rebuilt.
type Recovery struct {
	Credential Bootstrap `yaml:"credential" json:"credential"` // of the source context
}

// Cluster is how to reach the API server.
type Cluster struct {
	Server        string `yaml:"server" json:"server"`
	TLSServerName string `yaml:"tlsServerName,omitempty" json:"tlsServerName,omitempty"`
	// PEM; none: the system's roots
	CertificateAuthorityData Base64 `yaml:"certificateAuthorityData,omitempty" json:"certificateAuthorityData,omitempty"`
	ProxyURL                 string `yaml:"proxyURL,omitempty" json:"proxyURL,omitempty"`
}

// Duration is a time.Duration that files hold as 1h30m0s.
type Duration struct{ time.Duration }

// MarshalText implements encoding.TextMarshaler.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Duration) UnmarshalText(text []byte) (err error) {
	d.Duration, err = time.ParseDuration(string(text))
	return err
}

// Base64 are bytes that files hold in base64, as kubeconfigs do.
type Base64 []byte

// MarshalText implements encoding.TextMarshaler.
func (b Base64) MarshalText() ([]byte, error) {
	return base64.StdEncoding.AppendEncode(nil, b),
		nil
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (b *Base64) UnmarshalText(text []byte) (err error) {
	*b, err = base64.StdEncoding.AppendDecode(nil, text)
	return err
}

// Device is what one machine is to an account in the cluster: a ServiceAccount and an empty
// Secret of one name. All tokens of the machine are bound to the Secret, and it mints as the
// ServiceAccount. It is kept in a record of its own, which all profiles of the account name.
type Device struct {
	Name       string `yaml:"name" json:"name"`
	SecretUID  string `yaml:"secretUID" json:"secretUID"`
	AccountUID string `yaml:"accountUID" json:"accountUID"`
}

// Bootstrap says where the credential for the TokenRequest call comes from. Only the fields of its
// source are set.
type Bootstrap struct {
	Source Source `yaml:"source" json:"source"`
	// keyring: lifetime asked for
	Duration *Duration `yaml:"duration,omitempty" json:"duration,omitempty"`
	// keyring: lifetime that the server grants, where it is shorter
	Granted *Duration `yaml:"granted,omitempty" json:"granted,omitempty"`
	// context: the kubeconfig files and the context in them, as they were chosen at setup
	Context string `yaml:"context,omitempty" json:"context,omitempty"`
	// absolute paths
	Kubeconfig []string `yaml:"kubeconfig,omitempty" json:"kubeconfig,omitempty"`
	// token-file: absolute
	Path     string `yaml:"path,omitempty" json:"path,omitempty"`
	Variable string `yaml:"variable,omitempty" json:"variable,omitempty"` // env
	// github-actions: whom the job's ID token is for
	Audience string `yaml:"audience,omitempty" json:"audience,omitempty"`
	// azure-pipelines: the id of the service connection whose identity the job takes; empty:
	// the pipeline's own
	ServiceConnection string `yaml:"serviceConnection,omitempty" json:"serviceConnection,omitempty"`
	// github-actions, azure-pipelines: where the job's ID token may be asked for, see Prefix;
	// empty: where GitHub's and Microsoft's own services are
	URL string `yaml:"url,omitempty" json:"url,omitempty"`
	// command: an absolute path and its arguments; no shell
	Command []string `yaml:"command,omitempty" json:"command,omitempty"`
	// AsDevice has what the source gives act as the device, which alone may mint
	// (constrained impersonation, KEP-5284). Otherwise it mints by itself.
	AsDevice bool `yaml:"asDevice,omitempty" json:"asDevice,omitempty"`
	// Environment is all that a command, or a kubeconfig context's own exec plugin, gets to
	// see. It is taken at setup, because the environment of a get is partly chosen by the
	// kubeconfig that called it.
	Environment map[string]string `yaml:"environment,omitempty" json:"environment,omitempty"`
}

// What can be wrong with a profile. The errors of this package wrap one of them, ErrCluster or
// files.ErrUntrusted.
var (
	ErrMissing   = errors.New("no such profile")
	ErrMalformed = errors.New("malformed profile")
	ErrName      = errors.New("not a profile name")
)

// maxName leaves room for ".yaml" and a temporary file's ending within the 255 bytes of a file
// name.
const maxName = 200

// CheckName is an ErrName when name could be anything but one plain file name.
func CheckName(name string) error {
	if name == "" || len(name) > maxName {
		return fmt.Errorf("%w: %q (1 to %d characters)", ErrName, name, maxName)
	}
	for i, r := range name {
		letter := 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
		if !letter && (i == 0 || !strings.ContainsRune("._@+-", r)) {
			return fmt.Errorf("%w: %q (letters, digits, and after the first one of "+
				"them also . _ @ + -)", ErrName, name)
		}
	}
	return nil
}

// DefaultName is SERVICEACCOUNT.NAMESPACE@CLUSTER. What a file name may not hold is replaced by
// "-", and what is too long is cut; then a short hash of the whole tells it from others that look
// alike.
func DefaultName(serviceAccount, namespace, cluster string) string {
	wanted := serviceAccount + "." + namespace + "@" + cluster
	name := strings.Map(func(r rune) rune {
		if CheckName("x"+string(r)) != nil {
			return '-'
		}
		return r
	}, wanted)
	if name == wanted && len(name) <= maxName {
		return name
	}
	return NameWith(name, wanted)
}

// NameWith is a profile's name with a short hash of what tells it from another profile of that
// name.
func NameWith(name, difference string) string {
	sum := sha256.Sum256([]byte(difference))
	ending := "-" + hex.EncodeToString(sum[:4])
	return name[:min(len(name), maxName-len(ending))] + ending
}

// Parse reads a profile. Unknown fields are errors: a field that is not understood may be one that
// protects.
func Parse(name string, data []byte) (Profile, error) {
	var p Profile
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	decoder.KnownFields(true)
	err := decoder.Decode(&p)
	if p.Version != 0 && p.Version != version {
		return Profile{}, fmt.Errorf("%w %q: version %d, this program knows %d",
			ErrMalformed, name,
			p.Version, version)
	}
	if err != nil {
		return Profile{}, fmt.Errorf("%w %q: %s", ErrMalformed, name, yamlProblem(err))
	}
	if p.Version == 0 {
		return Profile{}, fmt.Errorf("%w %q: version is missing", ErrMalformed, name)
	}
	if !errors.Is(decoder.Decode(new(yaml.Node)), io.EOF) {
		return Profile{}, fmt.Errorf("%w %q: there is more after the profile", ErrMalformed,
			name)
	}
	p.Name = name
	return p, p.Validate()
}

// yamlProblem is the first thing that the YAML package complains about, on one line.
func yamlProblem(err error) string {
	var list *yaml.TypeError
	if errors.As(err, &list) && len(list.Errors) > 0 {
		return list.Errors[0]
	}
	if errors.Is(err, io.EOF) {
		return "it is empty"
	}
	line, _, _ := strings.Cut(strings.TrimPrefix(err.Error(), "yaml: "), "\n")
	return line
}

// Encode returns the profile as YAML.
func (p Profile) Encode() ([]byte, error) {
	p.Version = version
	if err := p.Validate(); err != nil {
		return nil, err
	}
	if err := CheckBundle(p.Cluster.CertificateAuthorityData); err != nil {
		return nil, err
	}
	return yaml.Marshal(p)
}

// Validate is an ErrMalformed when the profile cannot work.
func (p Profile) Validate() error {
	problem := p.problem()
	if problem == "" {
		return nil
	}
	return fmt.Errorf("%w %q: %s", ErrMalformed, p.Name, problem)
}

func (p Profile) problem() string {
	if _, err := p.Identity(); err != nil {
		return err.Error()
	}
	if p.Cluster.ProxyURL != "" && !IsProxyURL(p.Cluster.ProxyURL) {
		return "cluster.proxyURL is not an http, https or socks5 URL"
	}
	lifetime := CheckLifetime("duration", p.Duration.Duration)
	if err := cmp.Or(CheckNamespace(p.Namespace), CheckServiceAccount(p.ServiceAccount),
		lifetime); err != nil {
		return err.Error()
	}
	for _, audience := range p.Audiences {
		if err := CheckAudience(audience); err != nil {
			return err.Error()
		}
	}
	switch {
	case p.Bootstrap.AsDevice && (p.Device == "" || p.Bootstrap.Source == SourceKeyring):
		return "bootstrap.asDevice goes with a device, and another source than keyring"
	case p.Device != "" && CheckName(p.Device) != nil:
		return "device is not the name of a device record"
	case !slices.Contains([]keyring.Kind{keyring.Keyring, keyring.Sealed, keyring.Kernel,
		keyring.None}, p.Store):
		return fmt.Sprintf("store %q is none of keyring, sealed, kernel, none", p.Store)
	case p.TPM != "" && p.Store != keyring.Sealed:
		return "tpm goes with the store sealed"
	case p.TPM != "" && keyring.CheckTPM(p.TPM) != nil:
		return "tpm: " + keyring.CheckTPM(p.TPM).Error()
	case p.Setup.Machine != "" && CheckMachine(p.Setup.Machine) != nil:
		return "setup.machine is not the name of a machine"
	case p.Log != "" && !IsLog(p.Log):
		return "log is neither journald nor syslog nor an absolute path"
	case p.Recovery != nil && p.Recovery.Credential.Source != SourceContext:
		return "recovery.credential is not of the source context"
	}
	if p.Recovery != nil {
		if problem := p.Recovery.Credential.problem(p); problem != "" {
			return "recovery: " + problem
		}
	}
	return p.Bootstrap.problem(p)
}

// IsLog reports whether this system can have a log of that name.
func IsLog(name string) bool {
	switch name {
	case "journald":
		return runtime.GOOS == "linux"
	case "syslog":
		return runtime.GOOS != "windows"
	}
	return filepath.IsAbs(name) && !strings.ContainsRune(name, 0)
}

// IsProxyURL reports whether a proxy is of a kind that client-go knows.
func IsProxyURL(text string) bool {
	parsed, err := url.Parse(text)
	return err == nil && parsed.Host != "" &&
		slices.Contains([]string{"http", "https", "socks5"}, parsed.Scheme)
}

func (b Bootstrap) problem(p Profile) string {
	switch b.Source {
	case SourceKeyring:
		switch {
		case p.Store == keyring.None:
			return "a bootstrap credential in the keyring needs a store"
		case p.Device == "":
			return "a bootstrap credential in the keyring needs a device"
		case b.Duration == nil:
			return "bootstrap.duration is missing"
		}
		if err := CheckLifetime("bootstrap.duration", b.Duration.Duration); err != nil {
			return err.Error()
		}
	case SourceContext:
		if b.Context == "" || len(b.Kubeconfig) == 0 ||
			slices.ContainsFunc(b.Kubeconfig, isRelative) {
			return "bootstrap source context needs a context and absolute kubeconfig " +
				"paths"
		}
	case SourceInCluster:
	case SourceTokenFile:
		if isRelative(b.Path) {
			return "bootstrap source token-file needs an absolute path"
		}
	case SourceEnv:
		if b.Variable == "" || strings.ContainsAny(b.Variable, "=\x00") {
			return "bootstrap source env needs the name of a variable"
		}
	case SourceCommand:
		if len(b.Command) == 0 || isRelative(b.Command[0]) {
			return "bootstrap source command needs an absolute path"
		}
	case SourceGitHub, SourceAzure:
		if err := b.CheckJob(); err != nil {
			return "bootstrap source " + string(b.Source) + ": " + err.Error()
		}
		if b.Source == SourceGitHub && b.Audience == "" {
			return "bootstrap source github-actions needs an audience"
		}
	default:
		return fmt.Sprintf("unknown bootstrap source %q", b.Source)
	}
	return ""
}

func isRelative(path string) bool { return !filepath.IsAbs(path) }

// Identity is the cluster's identity.
func (p Profile) Identity() (Identity, error) { return p.Cluster.Identity() }

// ContextNamespace is the namespace that a kubeconfig context of the profile has: where the
// account has rights.
func (p Profile) ContextNamespace() string {
	if len(p.In) > 0 {
		return p.In[0]
	}
	return p.Namespace
}

// Account is NAMESPACE/SERVICEACCOUNT, for messages.
func (p Profile) Account() string { return p.Namespace + "/" + p.ServiceAccount }

// TokenKey is the store's key of the profile's token for a device, nil where tokens are not
// bound. It is a hash over all that decides what a token is good for, so an entry for anything
// else is never found.
func (p Profile) TokenKey(device *Device) string {
	return "token:" +
		p.digest("token", p.ServiceAccount, int64(p.Duration.Seconds()), p.Audiences,
			device,
			p.Bootstrap)
}

// BootstrapKey is the store's key of the bootstrap credential of a device. Profiles of one machine
// for one service account share it.
func (p Profile) BootstrapKey(device *Device) string {
	return "bootstrap:" + p.digest("bootstrap", p.ServiceAccount, 0, nil, device,
		Bootstrap{Source: SourceKeyring})
}

func (p Profile) digest(use, account string, seconds int64, audiences []string, device *Device,
	bootstrap Bootstrap) string {
	identity, err := p.Identity()
	if err != nil {
		panic("digest of a profile that is not valid: " + err.Error())
	}
	// how long the credential lives says nothing about the token
	bootstrap.Duration, bootstrap.Granted = nil, nil
	audiences = slices.Sorted(slices.Values(audiences))
	// encoding/json is canonical here: fixed field order, sorted map keys, no floats.
	encoded, err := json.Marshal(struct {
		Use       string
		Cluster   Identity
		Namespace string
		Account   string
		Audiences []string
		Seconds   int64
		Device    *Device
		Bootstrap Bootstrap
	}{use, identity, p.Namespace, account, audiences, seconds, device, bootstrap})
	if err != nil {
		panic(err) // strings, numbers and maps of them always encode
	}
	sum := sha256.Sum256(encoded)
	return hex.EncodeToString(sum[:])
}
