package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/sa-exec-credential/sa-exec-credential/internal/cache"
	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/internal/mint"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
)

// statusWorkers is how many profiles are looked up side by side: each lookup waits for the store.
const statusWorkers = 8

// statusVersion names the shape of status -o json and yaml. It changes when a field changes its meaning or goes.
const statusVersion = "sa-exec-credential/v1"

type statusCommand struct {
	Output string `short:"o" enum:"table,json,yaml" default:"table" help:"table, json or yaml."`
}

// statusList is what -o json and -o yaml print.
type statusList struct {
	APIVersion string          `json:"apiVersion"`
	Kind       string          `json:"kind"` // StatusList
	Items      []profileStatus `json:"items"`
}

// profileStatus is one profile and what is kept for it. Times are absent where there is nothing.
type profileStatus struct {
	Profile        string       `json:"profile"`
	Cluster        string       `json:"cluster,omitempty"` // server URL
	Namespace      string       `json:"namespace,omitempty"`
	ServiceAccount string       `json:"serviceAccount,omitempty"`
	Store          string       `json:"store,omitempty"`
	Source         string       `json:"bootstrapSource,omitempty"`
	Device         string       `json:"device,omitempty"` // name of the device Secret
	Token          *tokenStatus `json:"token,omitempty"`
	Bootstrap      *tokenStatus `json:"bootstrap,omitempty"`
	Error          string       `json:"error,omitempty"`
}

// tokenStatus describes a kept token without showing it.
type tokenStatus struct {
	State    string    `json:"state"` // fresh, stale or expired
	IssuedAt time.Time `json:"issuedAt"`
	Expires  time.Time `json:"expirationTimestamp"`
	ID       string    `json:"id,omitempty"` // JTI, credential-id in the audit log
}

// Run lists all profiles. A profile that cannot be read is listed with its error.
func (c *statusCommand) Run(ctx context.Context, env *environment) error {
	folder, err := env.profiles()
	if err != nil {
		return err
	}
	names, err := folder.Names()
	if err != nil {
		return err
	}
	list := statusList{APIVersion: statusVersion, Kind: "StatusList", Items: env.statuses(ctx, folder, names)}
	result, err := c.render(list, env)
	if err != nil {
		return err
	}
	return env.write(result)
}

func (c *statusCommand) render(list statusList, env *environment) ([]byte, error) {
	switch c.Output {
	case "json":
		encoded, err := json.MarshalIndent(list, "", "  ")
		return append(encoded, '\n'), err
	case "yaml":
		return yaml.Marshal(list)
	}
	if len(list.Items) == 0 {
		env.log.line("hint", "there are no profiles yet; setup makes one")
		return nil, nil
	}
	return statusTable(list.Items, env.now(), env.colours()), nil
}

func (e *environment) statuses(ctx context.Context, folder profile.Folder, names []string) []profileStatus {
	items := make([]profileStatus, len(names))
	sideBySide(len(names), statusWorkers, func(i int) { items[i] = e.status(ctx, folder, names[i]) })
	return items
}

func (e *environment) status(ctx context.Context, folder profile.Folder, name string) profileStatus {
	p, err := folder.Load(name)
	if err != nil {
		return profileStatus{Profile: name, Error: printable(err.Error())}
	}
	status := profileStatus{Profile: name, Cluster: p.Cluster.Server, Namespace: p.Namespace, ServiceAccount: p.ServiceAccount,
		Store: string(p.Store), Source: string(p.Bootstrap.Source)}
	if p.Device != nil {
		status.Device = p.Device.Secret
	}
	s, err := e.open(ctx, p)
	if err == nil {
		status.Token, err = s.kept(ctx, p.TokenKey())
	}
	if err == nil && p.Bootstrap.Source == profile.SourceKeyring {
		status.Bootstrap, err = s.kept(ctx, p.BootstrapKey())
	}
	if err != nil {
		status.Error = printable(err.Error())
	}
	return status
}

// kept describes the entry under key, nil when there is none. The id is a claim, so whoever made the token chose it, and
// the encoders of JSON and YAML leave in what a terminal obeys.
func (s *session) kept(ctx context.Context, key string) (*tokenStatus, error) {
	entry, err := s.store.Get(ctx, key)
	if errors.Is(err, keyring.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &tokenStatus{State: s.stateOf(entry), IssuedAt: entry.IssuedAt.UTC().Truncate(time.Second),
		Expires: entry.ExpiresAt.UTC().Truncate(time.Second), ID: printable(mint.ParseClaims(entry.Token.Reveal()).ID)}, nil
}

func (s *session) stateOf(entry keyring.Entry) string {
	now := s.env.now()
	switch {
	case !now.Before(entry.ExpiresAt):
		return "expired"
	case !now.Before(cache.RefreshAt(entry, s.machine())):
		return "stale"
	}
	return "fresh"
}

// statusTable has one line a profile; a profile with an error has it at the end of its line.
func statusTable(items []profileStatus, now time.Time, c colours) []byte {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "PROFILE\tCLUSTER\tACCOUNT\tSTORE\tTOKEN\tBOOTSTRAP\tTOKEN ID")
	for _, item := range items {
		cells := []string{item.Profile, item.Cluster, item.Namespace + "/" + item.ServiceAccount, item.Store,
			item.Token.short(now), item.Bootstrap.short(now), item.Token.id()}
		if item.Cluster == "" {
			cells = []string{item.Profile, "", "", "", "", "", ""}
		}
		if item.Source != string(profile.SourceKeyring) && item.Source != "" {
			cells[5] = item.Source
		}
		if item.Error != "" {
			cells[6] = "error: " + item.Error
		}
		_, _ = fmt.Fprintln(w, strings.Join(mapped(cells, printable), "\t"))
	}
	_ = w.Flush()
	return []byte(c.paintLines(b.String(), items))
}

func mapped(list []string, f func(string) string) []string {
	list = slices.Clone(list)
	for i := range list {
		list[i] = f(list[i])
	}
	return list
}

func (t *tokenStatus) short(now time.Time) string {
	switch {
	case t == nil:
		return "none"
	case t.State == "expired":
		return "expired"
	}
	return t.State + " " + shortDuration(t.Expires.Sub(now))
}

func (t *tokenStatus) id() string {
	if t == nil || t.ID == "" {
		return "-"
	}
	return t.ID
}

// shortDuration says how long in the largest unit that leaves at least two, as kubectl does.
func shortDuration(d time.Duration) string {
	switch {
	case d < 2*time.Minute:
		return fmt.Sprintf("%ds", max(int(d.Seconds()), 0))
	case d < 2*time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}
