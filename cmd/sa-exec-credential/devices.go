package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/sa-exec-credential/sa-exec-credential/internal/setup"
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

// deviceStatus is one machine that holds a bootstrap credential. Issued and Expires are what setup or rotate last noted:
// what a credential renews by itself, only the audit log has.
type deviceStatus struct {
	Name    string     `json:"name"`
	Secret  string     `json:"secret"`
	UID     string     `json:"uid"`
	Host    string     `json:"host,omitempty"`
	User    string     `json:"user,omitempty"`
	Created time.Time  `json:"created"`
	Issued  *time.Time `json:"bootstrapIssuedAt,omitempty"`
	Expires *time.Time `json:"bootstrapExpirationTimestamp,omitempty"`
}

// Run lists the machines that can mint for a service account.
func (d *devicesCommand) Run(ctx context.Context, env *environment) error {
	admin, err := d.find(env, nil)
	if err != nil {
		return err
	}
	devices, err := setup.Devices(ctx, admin.client, admin.namespace(d.Namespace), d.ServiceAccount)
	if err != nil {
		return err
	}
	list := deviceList{APIVersion: statusVersion, Kind: "DeviceList", Items: []deviceStatus{}}
	for _, device := range devices {
		list.Items = append(list.Items, deviceStatus{Name: device.Name, Secret: device.Secret, UID: device.UID, Host: device.Owner.Host,
			User: device.Owner.User, Created: device.Created, Issued: known(device.Issued), Expires: known(device.Expires)})
	}
	result, err := d.render(list, env)
	if err != nil {
		return err
	}
	return env.write(result)
}

// namespace is the one asked for, else the context's.
func (a *admin) namespace(asked string) string {
	return cmp.Or(asked, a.context.Namespace, "default")
}

func known(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func (d *devicesCommand) render(list deviceList, env *environment) ([]byte, error) {
	switch d.Output {
	case "json":
		encoded, err := json.MarshalIndent(list, "", "  ")
		return append(encoded, '\n'), err
	case "yaml":
		return yaml.Marshal(list)
	}
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "DEVICE\tHOST\tUSER\tSINCE\tLAST SETUP OR ROTATE\tSECRET")
	for _, item := range list.Items {
		cells := []string{item.Name, item.Host, item.User, date(item.Created), optionalDate(item.Issued), item.Secret}
		_, _ = fmt.Fprintln(w, strings.Join(mapped(cells, printable), "\t"))
	}
	_ = w.Flush()
	return []byte(b.String()), nil
}

func optionalDate(t *time.Time) string {
	if t == nil {
		return "-"
	}
	return date(*t)
}
