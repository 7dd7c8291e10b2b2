//go:build linux

package lab

import (
	"golang.org/x/sys/unix"
)

// frontPrefix begins the name of a key in front of a store.
const frontPrefix = "sa-exec-credential-front:"

// InFront reports whether the kernel keyring has an entry in front of the store.
func (m *Machine) InFront(key string) bool {
	_, err := unix.KeyctlSearch(unix.KEY_SPEC_USER_KEYRING, "user", frontPrefix+key, 0)
	return err == nil
}

// LoseFront takes an entry from the front, as a restart does.
func (m *Machine) LoseFront(key string) {
	m.Helper()
	id, err := unix.KeyctlSearch(unix.KEY_SPEC_USER_KEYRING, "user", frontPrefix+key, 0)
	if err != nil {
		m.Fatalf("the front does not hold %s: %v", key, err)
	}
	if _, err := unix.KeyctlInt(unix.KEYCTL_UNLINK, id, unix.KEY_SPEC_USER_KEYRING, 0,
		0); err != nil {
		m.Fatal(err)
	}
}

// Reboot is what a restart of the machine does to the profile's credentials: the kernel keyring has
// lost them, and the TPM has been started again.
func (m *Machine) Reboot() {
	m.Helper()
	m.LoseFront(m.Configuration().TokenKey())
	if err := m.TPM.Restart(); err != nil {
		m.Fatal(err)
	}
}
