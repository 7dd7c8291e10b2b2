package keyring

import (
	"context"
	"fmt"
	"strings"

	"github.com/danieljoos/wincred"
)

const (
	platformName = "Credential Manager"
	// platformLimit is the longest password in bytes, CRED_MAX_CREDENTIAL_BLOB_SIZE in
	// wincred.h.
	platformLimit = 2560
)

func newItems(p platformItems) items { return p }

// names reads them from the credentials' target names, which go-keyring makes of service and user.
func (p platformItems) names(ctx context.Context) ([]string, error) {
	return bounded(ctx, p.sys.longest(), func(context.Context) ([]string, error) {
		credentials, err := wincred.List()
		if err != nil {
			return nil, fmt.Errorf("%w: listing the credentials: %w", ErrUnavailable,
				err)
		}
		var names []string
		for _, credential := range credentials {
			if name, ok := strings.CutPrefix(credential.TargetName, service+":"); ok {
				names = append(names, name)
			}
		}
		return names, nil
	})
}

// refusedUnlock is always false: Credential Manager is open as long as its user is logged in.
func refusedUnlock(error) bool { return false }
