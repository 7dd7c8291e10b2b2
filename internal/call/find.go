package call

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/sa-exec-credential/sa-exec-credential/internal/execcred"
	"github.com/sa-exec-credential/sa-exec-credential/internal/host"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
	"github.com/sa-exec-credential/sa-exec-credential/internal/ui"
)

// What can be wrong with a client that names no profile.
var (
	ErrNoneFits = errors.New("no profile is for the client's cluster")
	ErrChoice   = errors.New("the cluster's extension client.authentication.k8s.io/exec " +
		"names no account")
)

// FittingError are several profiles of which one has to be named. It is a ui.ErrUsage.
type FittingError struct {
	Server string
	Names  []string
}

// Error implements error.
func (e *FittingError) Error() string {
	return fmt.Sprintf("%d profiles are for the client's cluster, server %q: %s", len(e.Names),
		e.Server, strings.Join(e.Names, ", "))
}

// Unwrap says that the kubeconfig is to blame.
func (*FittingError) Unwrap() error { return ui.ErrUsage }

// FoundError is what went wrong with a profile that nobody has named.
type FoundError struct {
	Profile string
	Err     error
}

// Error implements error.
func (e *FoundError) Error() string { return fmt.Sprintf("profile %q: %v", e.Profile, e.Err) }

// Unwrap gives what went wrong.
func (e *FoundError) Unwrap() error { return e.Err }

// Find returns the profile that a client's cluster leads to: the one that the cluster's
// extension names, or the only one of that cluster and of the account that the extension names.
// Whether the client may have its tokens is for CheckClient to say.
func Find(h *host.Host, info execcred.Info) (p profile.Profile, err error) {
	if err := checkSaid(info); err != nil {
		return p, err
	}
	return FindFor(h, clusterOf(info.Cluster), info.Cluster.Config)
}

// FindFor is Find for a cluster and its extension, in JSON.
func FindFor(h *host.Host, client profile.Cluster, extension []byte) (p profile.Profile,
	err error) {
	wanted, err := choiceOf(extension)
	if err != nil {
		return p, err
	}
	dir, err := h.Profiles()
	if err != nil {
		return p, err
	}
	if wanted.Profile != "" {
		return dir.Load(wanted.Profile)
	}
	found, err := dir.ForCluster(client)
	if errors.Is(err, profile.ErrCluster) {
		return p, fmt.Errorf("%w: %w", ErrNoneFits, err)
	}
	if err != nil {
		return p, err
	}
	return wanted.among(found, client.Server)
}

// choice is what the extension of a cluster can say.
type choice struct {
	APIVersion     string `json:"apiVersion"`
	Profile        string `json:"profile"`
	ServiceAccount string `json:"serviceAccount"` // or NAMESPACE/SERVICEACCOUNT
	Namespace      string `json:"namespace"`
}

// ownVersion is the apiVersion of the extension that setup writes.
const ownVersion = ui.Program + "/v1"

// choiceOf reads an extension. One that is another program's, or no object, chooses nothing.
func choiceOf(config []byte) (c choice, err error) {
	err = json.Unmarshal(config, &c)
	var other *json.UnmarshalTypeError
	switch {
	case len(config) == 0, errors.As(err, &other) && other.Field == "":
		return choice{}, nil
	case c.APIVersion != "" && c.APIVersion != ownVersion:
		return choice{}, nil
	case errors.As(err, &other):
		return choice{}, fmt.Errorf("%w: %s is no text", ErrChoice, other.Field)
	case err != nil:
		return choice{}, fmt.Errorf("%w: it is not JSON", ErrChoice)
	}
	namespace, account, isBoth := strings.Cut(c.ServiceAccount, "/")
	if isBoth {
		if c.Namespace != "" && c.Namespace != namespace {
			return choice{}, fmt.Errorf("%w: its serviceAccount is of another "+
				"namespace", ErrChoice)
		}
		c.Namespace, c.ServiceAccount = namespace, account
	}
	return c, nil
}

// fits reports whether a profile is of the account that is wanted, or of any.
func (c choice) fits(p profile.Profile) bool {
	return (c.Namespace == "" || c.Namespace == p.Namespace) &&
		(c.ServiceAccount == "" || c.ServiceAccount == p.ServiceAccount)
}

// among takes the only profile that fits. Where none is of the cluster, one of its server says
// best what is wrong.
func (c choice) among(found profile.Found, server string) (p profile.Profile,
	err error) {
	isOther := func(p profile.Profile) bool { return !c.fits(p) }
	fitting := slices.DeleteFunc(slices.Clone(found.Fitting), isOther)
	near := slices.DeleteFunc(found.Near, isOther)
	switch {
	case len(fitting) == 1:
		return fitting[0], nil
	case len(fitting) > 1:
		return p, &FittingError{Server: server, Names: namesOf(fitting)}
	case len(found.Fitting) > 0:
		return p, fmt.Errorf("%w and of service account %q: server %q; those of the "+
			"cluster are %s", ErrNoneFits, c.account(), server, accountsOf(found.Fitting))
	case len(near) > 0:
		return near[0], nil
	case len(found.Broken) > 0:
		return p, fmt.Errorf("%w: server %q; these cannot be read: %s", ErrNoneFits, server,
			strings.Join(found.Broken, ", "))
	}
	return p, fmt.Errorf("%w: server %q", ErrNoneFits, server)
}

func (c choice) account() string {
	return cmp.Or(c.Namespace, "*") + "/" + cmp.Or(c.ServiceAccount, "*")
}

func namesOf(profiles []profile.Profile) (names []string) {
	for _, p := range profiles {
		names = append(names, p.Name)
	}
	return names
}

func accountsOf(profiles []profile.Profile) string {
	var accounts []string
	for _, p := range profiles {
		accounts = append(accounts, p.Account())
	}
	slices.Sort(accounts)
	return strings.Join(slices.Compact(accounts), ", ")
}
