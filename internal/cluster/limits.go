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
	for range limitsTries {
		inForce, changed, err = ensureLimits(ctx, client, limitsKey(namespace, account),
			wanted, apiAudiences)
		if !errors.Is(err, api.ErrConflict) {
			break
		}
	}
	if err != nil {
		err = &ObjectError{Doing: "writing", Object: LimitsRef, Err: err}
	}
	return inForce, changed, err
}

func ensureLimits(ctx context.Context, client *api.Client, key string, wanted Limits,
	apiAudiences []string) (Limits, bool, error) {
	live, err := readLimits(ctx, client)
	if err != nil {
		return Limits{}, false, err
	}
	data := map[string]string{}
	set := func(key, value string) {
		if live.Data[key] != value {
			data[key] = value
		}
	}
	before, has := live.Data[key]
	inForce := wanted.union(Limits{})
	if has {
		inForce = wanted.union(parseLimits(before))
	}
	set(key, inForce.String())
	if live.Data[defaultKey] == "" {
		set(defaultKey, defaultLimits.String())
	}
	if len(apiAudiences) > 0 {
		set(audiencesKey, strings.Join(apiAudiences, " "))
	}
	if len(data) == 0 {
		return inForce, false, nil
	}
	return inForce, true, writeLimits(ctx, client, live, data)
}

// limitsMap is the ConfigMap; its resourceVersion is empty where there is none yet.
type limitsMap struct {
	Metadata struct {
		ResourceVersion string `json:"resourceVersion"`
	} `json:"metadata"`
	Data map[string]string `json:"data"`
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
	data map[string]string) error {
	query := map[string]string{"fieldManager": fieldManager}
	if live.Metadata.ResourceVersion == "" {
		object := newObject(LimitsRef, "", componentPolicy).with("data", data)
		_, err := send(ctx, client, http.MethodPost, LimitsRef.collection(), query,
			"application/json", object.encode())
		return err
	}
	body, err := json.Marshal(map[string]any{"data": data,
		"metadata": map[string]any{"resourceVersion": live.Metadata.ResourceVersion}})
	if err != nil {
		return err
	}
	_, err = send(ctx, client, http.MethodPatch, LimitsRef.path(), query,
		"application/merge-patch+json", body)
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
