//go:build !linux && !darwin && !windows

package keyring

import "fmt"

func openKeyring(System) (prober, error) {
	return nil, fmt.Errorf("%w: this program knows no keyring of this platform", ErrUnavailable)
}
