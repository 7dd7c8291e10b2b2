//go:build darwin || windows

package host

import "os/user"

// userHome asks the user database, which these systems keep for every user.
func userHome() (string, error) {
	current, err := user.Current()
	if err != nil {
		return "", err
	}
	return current.HomeDir, nil
}
