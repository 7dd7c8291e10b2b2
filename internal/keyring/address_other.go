//go:build !linux

package keyring

// BusAddress is empty: only Linux has a session bus that this program uses.
func BusAddress(func(string) string) (string, error) { return "", nil }
