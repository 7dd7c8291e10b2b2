// Package lab is what the tests of this module share.
package lab

import (
	"context"

	"github.com/sa-exec-credential/sa-exec-credential/internal/device"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
)

// Profile is a profile together with what its machine is to the account.
type Profile struct {
	profile.Profile
	Device *profile.Device // nil: tokens are not bound
	Record device.Record
}

// LoadProfile reads a profile and its device below a user configuration directory.
func LoadProfile(configDir, name string) (Profile, error) {
	p, err := profile.DirIn(configDir).Load(name)
	if err != nil || p.Device == "" {
		return Profile{Profile: p}, err
	}
	record, err := device.DirIn(configDir).Load(p.Device)
	return Profile{Profile: p, Device: record.Current, Record: record}, err
}

// TokenKey is the store's key of the token.
func (p Profile) TokenKey() string { return p.Profile.TokenKey(p.Device) }

// BootstrapKey is the store's key of the bootstrap credential.
func (p Profile) BootstrapKey() string { return p.Profile.BootstrapKey(p.Device) }

// Save writes the profile below a user configuration directory, and a record that makes its
// device one of its account there.
func (p Profile) Save(configDir string) error {
	if p.Device != nil {
		record, err := device.DirIn(configDir).Lock(context.Background(), p.Profile)
		if err != nil {
			return err
		}
		defer record.Release()
		record.Current, p.Profile.Device = p.Device, record.Name
		if err := record.Save(); err != nil {
			return err
		}
	}
	return profile.DirIn(configDir).Save(p.Profile)
}
