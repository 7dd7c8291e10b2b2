package sealed

import (
	"fmt"
	"path/filepath"
	"strings"
)

// DefaultTPM is the TPM as the kernel shares it among processes.
const DefaultTPM = "/dev/tpmrm0"

// socketPrefix begins the place of a simulator.
const socketPrefix = "unix:"

// CheckTPM says what keeps a text from being the place of a TPM: a device's path, or a simulator's
// socket as unix:PATH.
func CheckTPM(place string) error {
	path := strings.TrimPrefix(place, socketPrefix)
	if !filepath.IsAbs(path) || filepath.Clean(path) != path || strings.ContainsRune(path, 0) {
		return fmt.Errorf("%q is not an absolute, clean path such as %s or %s/run/tpm.sock",
			place, DefaultTPM, socketPrefix)
	}
	return nil
}
