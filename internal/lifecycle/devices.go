package lifecycle

import (
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/cluster"
	"github.com/sa-exec-credential/sa-exec-credential/internal/output"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
)

// DeviceList is what devices prints for programs.
type DeviceList struct {
	APIVersion string         `json:"apiVersion"`
	Kind       string         `json:"kind"` // DeviceList
	Items      []DeviceStatus `json:"items"`
}

// DeviceStatus is one machine that holds a bootstrap credential, or can get one with its
// invitation. Issued and Expires are what setup or rotate last noted: what a credential renews by
// itself, only the audit log has.
type DeviceStatus struct {
	Name       string     `json:"name"`
	SecretUID  string     `json:"secretUID,omitempty"`
	AccountUID string     `json:"accountUID,omitempty"`
	Host       string     `json:"host,omitempty"`
	User       string     `json:"user,omitempty"`
	Created    time.Time  `json:"created"`
	State      string     `json:"state"`
	Invited    *time.Time `json:"invitedAt,omitempty"`
	Until      *time.Time `json:"invitedUntil,omitempty"`
	Issued     *time.Time `json:"bootstrapIssuedAt,omitempty"`
	Expires    *time.Time `json:"bootstrapExpirationTimestamp,omitempty"`
	// who else may mint as the device, as the API server names them
	Minters *profile.Minters `json:"minters,omitempty"`
	Odd     []string         `json:"odd,omitempty"`
}

// ListOf is the list of some devices as they are now.
func ListOf(devices []cluster.DeviceInfo, now time.Time) DeviceList {
	list := DeviceList{APIVersion: output.Version, Kind: "DeviceList", Items: []DeviceStatus{}}
	for _, d := range devices {
		var minters *profile.Minters
		if !d.Minters.IsEmpty() {
			minters = &d.Minters
		}
		list.Items = append(list.Items, DeviceStatus{Minters: minters, Name: d.Name,
			SecretUID: d.SecretUID, AccountUID: d.AccountUID,
			Odd: d.Odd, Host: d.Owner.Host, User: d.Owner.User, Created: d.Created,
			State: d.State(now), Invited: known(d.Owner.Invited),
			Until: known(d.InvitedUntil), Issued: known(d.Issued),
			Expires: known(d.Expires)})
	}
	return list
}

func known(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
