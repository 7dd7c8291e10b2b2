package main

import (
	"context"
	"strings"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/cluster"
	"github.com/sa-exec-credential/sa-exec-credential/internal/host"
	"github.com/sa-exec-credential/sa-exec-credential/internal/lifecycle"
	"github.com/sa-exec-credential/sa-exec-credential/internal/ui"
)

type devicesCommand struct {
	ServiceAccount string `arg:"" name:"serviceaccount" help:"The service account."`
	Namespace      string `short:"n" placeholder:"NS" help:"Its namespace (default: the context's)."`
	Output         string `short:"o" enum:"table,json,yaml" default:"table" help:"table, json or yaml."`
	administrator  `embed:""`
}

// deviceList is what -o json and -o yaml print.
type deviceList struct {
	APIVersion string         `json:"apiVersion"`
	Kind       string         `json:"kind"` // DeviceList
	Items      []deviceStatus `json:"items"`
}

// deviceStatus is one machine that holds a bootstrap credential. Issued and Expires are what
// setup or rotate last noted: what a credential renews by itself, only the audit log has.
type deviceStatus struct {
	Name       string     `json:"name"`
	SecretUID  string     `json:"secretUID,omitempty"`
	AccountUID string     `json:"accountUID,omitempty"`
	Host       string     `json:"host,omitempty"`
	User       string     `json:"user,omitempty"`
	Created    time.Time  `json:"created"`
	Issued     *time.Time `json:"bootstrapIssuedAt,omitempty"`
	Expires    *time.Time `json:"bootstrapExpirationTimestamp,omitempty"`
	Odd        []string   `json:"odd,omitempty"`
}

// Run lists the machines that can mint for a service account.
func (d *devicesCommand) Run(ctx context.Context, h *host.Host) error {
	devices, err := lifecycle.List(ctx, h, d.choice(), d.Namespace, d.ServiceAccount,
		h.Log.Reporter("devices"))
	if err != nil {
		return err
	}
	if d.Output == "table" {
		return h.Write(deviceTable(devices).Text(h.Colours()))
	}
	list := deviceList{APIVersion: ui.Version, Kind: "DeviceList", Items: []deviceStatus{}}
	for _, device := range devices {
		list.Items = append(list.Items, deviceStatus{Name: device.Name,
			SecretUID: device.SecretUID, AccountUID: device.AccountUID,
			Odd: device.Odd, Host: device.Owner.Host, User: device.Owner.User,
			Created: device.Created,
			Issued:  known(device.Issued), Expires: known(device.Expires)})
	}
	result, err := ui.Encode(d.Output, list)
	if err != nil {
		return err
	}
	return h.Write(result)
}

func deviceTable(devices []cluster.DeviceInfo) *ui.Table {
	table := &ui.Table{Header: []string{"DEVICE", "HOST", "USER", "SINCE",
		"LAST SETUP OR ROTATE", "ODD"}}
	for _, d := range devices {
		issued, colour := "-", ""
		if !d.Issued.IsZero() {
			issued = ui.Date(d.Issued)
		}
		if len(d.Odd) > 0 {
			colour = ui.Yellow
		}
		table.Row(colour, d.Short, d.Owner.Host, d.Owner.User, ui.Date(d.Created), issued,
			strings.Join(d.Odd, ", "))
	}
	return table
}

func known(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
