package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/api"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
)

// Limits are what the devices of an account can ask for.
type Limits struct {
	Token     time.Duration // longest life of a token
	Bootstrap time.Duration // longest life of a device's own token
	Audiences []string      // beside the API server's own
}

// defaultLimits are for accounts without limits of their own.
var defaultLimits = Limits{Token: time.Hour, Bootstrap: 720 * time.Hour}

// The keys of the ConfigMap of limits that are no account's: theirs have a dot in them.
const (
	defaultKey = "default"
	// audiencesKey holds those of the API server itself, which it puts into a request that
	// names none before it asks admission.
	audiencesKey = "apiAudiences"
)

// limitsTries is how often limits are read again when somebody else has changed them meanwhile.
const limitsTries = 20

// limitsKey is unambiguous, because a namespace's name has no dot.
func limitsKey(namespace, account string) string { return namespace + "." + account }

// String is how the policy reads limits.
func (l Limits) String() string {
	return fmt.Sprintf("tokenSeconds=%d bootstrapSeconds=%d audiences=%s",
		l.Token/time.Second, l.Bootstrap/time.Second, strings.Join(l.Audiences, ","))
}

// parseLimits reads what String wrote. What cannot be read allows nothing.
func parseLimits(text string) Limits {
	var l Limits
	for field := range strings.FieldsSeq(text) {
		name, value, _ := strings.Cut(field, "=")
		n, err := strconv.ParseUint(value, 10, 33)
		if err != nil {
			n = 0 // also for one that is too large, where it is the largest
		}
		switch name {
		case "tokenSeconds":
			l.Token = time.Duration(n) * time.Second
		case "bootstrapSeconds":
			l.Bootstrap = time.Duration(n) * time.Second
		case "audiences":
			l.Audiences = slices.DeleteFunc(strings.Split(value, ","),
				func(a string) bool { return a == "" })
		}
	}
	return l
}

// union allows what either of two limits does: another machine, or another person's setup, needs
// it.
func (l Limits) union(other Limits) Limits {
	audiences := slices.Concat(l.Audiences, other.Audiences)
	slices.Sort(audiences)
	return Limits{Token: max(l.Token, other.Token), Bootstrap: max(l.Bootstrap,
		other.Bootstrap),
		Audiences: slices.Compact(audiences)}
}

// Covers reports whether l allows all that other does.
func (l Limits) Covers(other Limits) bool {
	return l.union(other).String() == l.union(Limits{}).String()
}

// LimitsRef names the ConfigMap of limits.
var LimitsRef = Ref{Kind: "ConfigMap", Namespace: limitsNamespace, Name: limitsName}

// EnsureLimits allows an account's devices what they need, and counts the account among those whose
// devices are protected. What an earlier setup allowed beside it stays, and is returned.
// apiAudiences are those of a token that was requested for none. changed is false when all of it
// was there.
//
// A caller who cannot write limits is an api.ErrForbidden. Errors are *ObjectError.
func EnsureLimits(ctx context.Context, client *api.Client, namespace, account string, wanted Limits,
	apiAudiences []string) (inForce Limits, changed bool, err error) {
	key := limitsKey(namespace, account)
	changed, err = updateLimits(ctx, client, func(live limitsMap) map[string]any {
		inForce = wanted.union(Limits{})
		if before, has := live.Data[key]; has {
			inForce = wanted.union(parseLimits(before))
		}
		data := map[string]any{}
		set := func(key, value string) {
			if live.Data[key] != value {
				data[key] = value
			}
		}
		set(key, inForce.String())
		if live.Data[defaultKey] == "" {
			set(defaultKey, defaultLimits.String())
		}
		if len(apiAudiences) > 0 {
			set(audiencesKey, strings.Join(apiAudiences, " "))
		}
		return data
	})
	if err != nil {
		err = &ObjectError{Doing: "writing", Object: LimitsRef, Err: err}
	}
	return inForce, changed, err
}

// limitsMap is the ConfigMap; its resourceVersion is empty where there is none yet.
type limitsMap struct {
	Metadata struct {
		ResourceVersion string `json:"resourceVersion"`
	} `json:"metadata"`
	Data map[string]string `json:"data"`
}

// accounts are those that have limits of their own.
func (l limitsMap) accounts() (names []string) {
	for key := range l.Data {
		if strings.Contains(key, ".") && !strings.HasSuffix(key, mintersSuffix) {
			names = append(names, key)
		}
	}
	return names
}

// RemoveLimits takes an account's own limits away, and leaves those of all others.
func RemoveLimits(ctx context.Context, client *api.Client, namespace, account string) (Deletion,
	error) {
	key := limitsKey(namespace, account)
	changed, err := updateLimits(ctx, client, func(live limitsMap) map[string]any {
		return live.without(key, key+mintersSuffix)
	})
	switch {
	case err != nil:
		return "", &ObjectError{Doing: "writing", Object: LimitsRef, Err: err}
	case !changed:
		return Gone, nil
	}
	return Deleted, nil
}

// without are the changes that leave no such keys; none where there are none.
func (l limitsMap) without(keys ...string) map[string]any {
	gone := map[string]any{}
	for _, key := range keys {
		if _, has := l.Data[key]; has {
			gone[key] = nil
		}
	}
	return gone
}

// updateLimits changes what change says about the ConfigMap, which may be nothing, and asks it
// again when somebody else has written meanwhile.
func updateLimits(ctx context.Context, client *api.Client,
	change func(limitsMap) map[string]any) (changed bool, err error) {
	defer lockShared(client, LimitsRef.path())()
	for range limitsTries {
		live, err := readLimits(ctx, client)
		if err != nil {
			return false, err
		}
		data := change(live)
		if len(data) == 0 {
			return false, nil
		}
		if err = writeLimits(ctx, client, live, data); !errors.Is(err, api.ErrConflict) {
			return err == nil, err
		}
	}
	return false, api.ErrConflict
}

// mintersSuffix ends the key of who may create an account's tokens with a right of their own, where
// the API server cannot have them act as a device. No account's key ends so: it is in no name.
const mintersSuffix = "_minters"

// minterLines are how the policy reads who may mint as a device: DEVICE KIND:NAME, one a line. A
// device's name has no space, and no minter's name a line's end.
func minterLines(device string, m profile.Minters) (lines []string) {
	for _, name := range m.Users {
		lines = append(lines, device+" user:"+name)
	}
	for _, account := range m.Accounts {
		namespace, name, _ := strings.Cut(account, "/")
		user := Subject{Namespace: namespace, Name: name}.Username()
		lines = append(lines, device+" user:"+user)
	}
	for _, name := range m.Groups {
		lines = append(lines, device+" group:"+name)
	}
	return lines
}

// EnsureMinterLines has the policy hold minters of a device to the limits of its account: those who
// create tokens with a right of their own. changed is false when it did already. Errors are
// *ObjectError.
func EnsureMinterLines(ctx context.Context, client *api.Client, d DeviceSpec) (changed bool,
	err error) {
	key := limitsKey(d.Namespace, d.Account) + mintersSuffix
	changed, err = updateLimits(ctx, client, func(live limitsMap) map[string]any {
		before := strings.FieldsFunc(live.Data[key], isLineEnd)
		lines := append(slices.Clone(before), minterLines(d.Name, d.Minting.Minters)...)
		slices.Sort(lines)
		if lines = slices.Compact(lines); slices.Equal(lines, before) {
			return nil
		}
		return map[string]any{key: strings.Join(lines, "\n")}
	})
	if err != nil {
		err = &ObjectError{Doing: "writing", Object: LimitsRef, Err: err}
	}
	return changed, err
}

func isLineEnd(r rune) bool { return r == '\n' }

// removeMinterLines forgets the minters of a device that is gone, or that they act as now.
func removeMinterLines(ctx context.Context, client *api.Client, namespace, account,
	device string) error {
	key := limitsKey(namespace, account) + mintersSuffix
	_, err := updateLimits(ctx, client, func(live limitsMap) map[string]any {
		before := strings.FieldsFunc(live.Data[key], isLineEnd)
		left := slices.DeleteFunc(slices.Clone(before), func(line string) bool {
			return strings.HasPrefix(line, device+" ")
		})
		switch {
		case len(left) == len(before):
			return nil
		case len(left) == 0:
			return map[string]any{key: nil}
		}
		return map[string]any{key: strings.Join(left, "\n")}
	})
	return err
}

func readLimits(ctx context.Context, client *api.Client) (limitsMap, error) {
	answer, err := get(ctx, client, LimitsRef.path(), "", nil)
	if errors.Is(err, api.ErrNotFound) {
		return limitsMap{}, nil
	}
	if err != nil {
		return limitsMap{}, err
	}
	var live limitsMap
	return live, decode(answer, &live)
}

// writeLimits is an api.ErrConflict when somebody else has written since live was read.
func writeLimits(ctx context.Context, client *api.Client, live limitsMap,
	data map[string]any) error {
	query := map[string]string{"fieldManager": fieldManager}
	if live.Metadata.ResourceVersion == "" {
		client.Memo().Forget(LimitsRef.path())
		object := newObject(LimitsRef, "", componentPolicy).with("data", data)
		_, err := send(ctx, client, http.MethodPost, LimitsRef.collection(), query,
			"application/json", object.encode())
		return err
	}
	return patchLimits(ctx, client, live, data)
}

// patchLimits changes keys of a ConfigMap that is there.
func patchLimits(ctx context.Context, client *api.Client, live limitsMap, data any) error {
	body, err := json.Marshal(map[string]any{"data": data,
		"metadata": map[string]any{"resourceVersion": live.Metadata.ResourceVersion}})
	if err != nil {
		return err
	}
	answer, err := send(ctx, client, http.MethodPatch, LimitsRef.path(),
		map[string]string{"fieldManager": fieldManager},
		"application/merge-patch+json", body)
	if err == nil { // the next of many accounts need not read it
		client.Memo().Put(LimitsRef.path(), answer)
	}
	return err
}

// LimitsOf reads what an account's devices can ask for: its own limits, or those of accounts
// without. found is false where the cluster has no limits at all.
func LimitsOf(ctx context.Context, client *api.Client, namespace, account string) (l Limits,
	found bool, err error) {
	live, err := readLimits(ctx, client)
	if err != nil {
		return Limits{}, false, &ObjectError{Doing: "reading", Object: LimitsRef, Err: err}
	}
	text, found := live.Data[limitsKey(namespace, account)]
	if !found {
		text, found = live.Data[defaultKey]
	}
	return parseLimits(text), found, nil
}
