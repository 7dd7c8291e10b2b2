//go:build !linux

package keyring

import "fmt"

func openKernel(System) (prober, error) {
	return nil, fmt.Errorf("%w: the kernel keyring is only in Linux", ErrUnavailable)
}
