package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/host"
	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/internal/output"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
	"github.com/sa-exec-credential/sa-exec-credential/internal/session"
	"github.com/sa-exec-credential/sa-exec-credential/internal/ui"
)

type statusCommand struct {
	Output string `short:"o" enum:"table,json,yaml" default:"table" help:"table, json or yaml."`
}

// statusList is what -o json and -o yaml print.
type statusList struct {
	APIVersion string           `json:"apiVersion"`
	Kind       string           `json:"kind"` // StatusList
	Items      []session.Status `json:"items"`
}

// Run lists all profiles. A profile that cannot be read is listed with its error.
func (c *statusCommand) Run(ctx context.Context, h *host.Host) error {
	items, err := session.StatusOfAll(ctx, h)
	if err != nil {
		return err
	}
	if c.Output != "table" {
		result, err := output.Encode(c.Output, statusList{APIVersion: output.Version,
			Kind: "StatusList", Items: items})
		if err != nil {
			return err
		}
		return h.Write(result)
	}
	if len(items) == 0 {
		h.Log.Line(ui.Hint, "there are no profiles yet in "+h.ProfilesPlace()+"; setup creates one")
		return nil
	}
	return h.Write(statusTable(items, h.Now()).Text(h.Look()))
}

// statusTable has one line a profile; an error, or what the last get could
// not do, is at the end of its line.
func statusTable(items []session.Status, now time.Time) *ui.Table {
	table := &ui.Table{Header: []string{"PROFILE", "CLUSTER", "ACCOUNT", "STORE", "TOKEN",
		"BOOTSTRAP", "TOKEN ID"},
		Spare: []string{"TOKEN ID", "CLUSTER", "ACCOUNT", "STORE"}}
	for _, item := range items {
		cells := []string{item.Profile, item.Cluster, item.Namespace + "/" +
			item.ServiceAccount, storeText(item),
			brief(item.Token, now), brief(item.Bootstrap, now) + item.Lifetimes.Note(), idOf(item.Token)}
		if item.Cluster == "" {
			cells = []string{item.Profile, "", "", "", "", "", ""}
		}
		if item.Source != string(profile.SourceKeyring) && item.Source != "" {
			cells[5] = item.Source
		}
		colour := ""
		switch {
		case item.Error != "":
			cells[6], colour = "", ui.Red
		case item.Warning != nil, item.Bootstrap != nil &&
			item.Bootstrap.State != session.Fresh:
			colour = ui.Yellow
		}
		table.Row(colour, cells...)
		if item.Error != "" {
			table.Note("error: " + item.Error)
		}
		if item.Warning != nil {
			table.Note(fmt.Sprintf("warning, %s ago: %s", ui.Age(now.Sub(item.Warning.At)), item.Warning.Text))
		}
	}
	return table
}

// storeText is a store with what seals it, and for how long it keeps things where that is not until
// they are deleted.
func storeText(item session.Status) string {
	text := item.Store
	switch {
	case item.TPM != "":
		text += " by " + item.TPM
	case item.Store == string(keyring.Sealed):
		text += " by systemd"
	}
	return strings.TrimSuffix(text+", "+item.StoreLifetime, ", ")
}

func brief(t *session.TokenStatus, now time.Time) string {
	switch {
	case t == nil:
		return "none"
	case t.State == session.Expired:
		return t.State
	}
	return t.State + " " + ui.Age(t.Expires.Sub(now))
}

func idOf(t *session.TokenStatus) string {
	if t == nil || t.ID == "" {
		return "-"
	}
	return t.ID
}
