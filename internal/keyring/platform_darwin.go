package keyring

import (
	"errors"
	"os/exec"
)

const (
	platformName = "Keychain"
	// platformLimit is the longest item in bytes. go-keyring gives security(1) a command of at most
	// 4,096 bytes, in which the value is in base64 and the rest, with the longest name, takes less
	// than 400.
	platformLimit = 2700
)

// newItems adds a list of names: security(1) lists items only together with everybody else's.
func newItems(p platformItems) items { return indexed{unlisted: p, limit: platformLimit} }

// refusedUnlock reports whether security(1) ended as it does where the Keychain is locked and
// nobody is there to ask (errSecInteractionNotAllowed, -25308) or the person said no
// (errSecAuthFailed, -25293; errSecUserCanceled, -128): its exit status is the last byte of those.
func refusedUnlock(err error) bool {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return false
	}
	switch exit.ExitCode() {
	case 36, 51, 128:
		return true
	}
	return false
}
