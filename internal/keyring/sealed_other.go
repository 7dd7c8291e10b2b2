//go:build !linux

package keyring

import "fmt"

func openSealed(System) (prober, error) {
	return nil, fmt.Errorf("%w: sealed files are only in Linux", ErrUnavailable)
}
