package keyring

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// plainHeader begins a file that gnome-keyring writes for a collection without a password. All
// others are encrypted and begin otherwise (gnome-keyring,
// pkcs11/secret-store/gkm-secret-textual.c).
const plainHeader = "[keyring]"

// PlainFile reports whether the Secret Service keeps what this package stores as plain text, as
// it does where the login collection has an empty password: on desktops that log in by
// themselves. dataDir is the user's data directory, and path the collection's file. Other
// services than gnome-keyring keep no such file.
func PlainFile(dataDir string) (path string, isPlain bool) {
	dir := filepath.Join(dataDir, "keyrings")
	path = filepath.Join(dir, "login.keyring")
	if _, err := os.Stat(path); err != nil {
		name, err := os.ReadFile(filepath.Join(dir, "default"))
		if err != nil {
			return "", false
		}
		path = filepath.Join(dir, filepath.Base(strings.TrimSpace(string(name)))+".keyring")
	}
	file, err := os.Open(path)
	if err != nil {
		return "", false
	}
	defer file.Close()
	header := make([]byte, len(plainHeader))
	_, err = io.ReadFull(file, header)
	return path, err == nil && bytes.Equal(header, []byte(plainHeader))
}
