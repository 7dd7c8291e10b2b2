package main

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/cluster"
	"github.com/sa-exec-credential/sa-exec-credential/internal/host"
	"github.com/sa-exec-credential/sa-exec-credential/internal/lifecycle"
	"github.com/sa-exec-credential/sa-exec-credential/internal/output"
	"github.com/sa-exec-credential/sa-exec-credential/internal/ui"
)

type devicesCommand struct {
	ServiceAccount string `arg:"" name:"serviceaccount" help:"The service account."`
	Namespace      string `short:"n" placeholder:"NS" help:"Its namespace (default: the context's)."`
	Output         string `short:"o" enum:"table,json,yaml" default:"table" help:"table, json or yaml."`
	administrator  `embed:""`
}

// Run lists the machines that can mint for a service account.
func (d *devicesCommand) Run(ctx context.Context, h *host.Host) error {
	devices, err := lifecycle.List(ctx, h, d.choice(), d.Namespace, d.ServiceAccount,
		h.Log.Reporter("devices"))
	if err != nil {
		return err
	}
	if d.Output == "table" {
		return h.Write(deviceTable(devices, h.Now()).Text(h.Look()))
	}
	result, err := output.Encode(d.Output, lifecycle.ListOf(devices, h.Now()))
	if err != nil {
		return err
	}
	return h.Write(result)
}

func deviceTable(devices []cluster.DeviceInfo, now time.Time) *ui.Table {
	table := &ui.Table{Header: []string{"DEVICE", "HOST", "USER", "SINCE", "STATE",
		"LAST SETUP OR ROTATE", "ODD"},
		Spare: []string{"LAST SETUP OR ROTATE", "USER", "SINCE", "HOST"}}
	hasMinters := slices.ContainsFunc(devices, func(d cluster.DeviceInfo) bool { return !d.Minters.IsEmpty() })
	if hasMinters {
		table.Header = append(table.Header, "MINTERS")
	}
	for _, d := range devices {
		issued, colour, state := "-", "", d.State(now)
		switch {
		case d.InvitedUntil.IsZero():
		case state == cluster.Invited:
			state += ", until " + ui.Date(d.InvitedUntil)
		case state == cluster.Lapsed:
			state += ", by " + ui.Date(d.InvitedUntil)
		}
		if !d.Issued.IsZero() {
			issued = ui.Date(d.Issued)
		}
		if len(d.Odd) > 0 {
			colour = ui.Yellow
		}
		cells := []string{d.Short, d.Owner.Host, d.Owner.User, ui.Date(d.Created), state, issued,
			strings.Join(d.Odd, ", ")}
		if hasMinters {
			cells = append(cells, strings.Join(d.Minters.Names(), ", "))
		}
		table.Row(colour, cells...)
	}
	return table
}
