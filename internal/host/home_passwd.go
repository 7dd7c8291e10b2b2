//go:build !darwin && !windows

package host

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

// userHome reads the user database itself: os/user, built without cgo, takes USER and HOME for
// what a user is called and lives in who is not in it, and a kubeconfig may have set both. Who is
// only in another database has no home here, and then only what the client was started with
// counts.
func userHome() (string, error) {
	passwd, err := os.Open("/etc/passwd")
	if err != nil {
		return "", err
	}
	defer passwd.Close()
	return homeOf(os.Getuid(), passwd)
}

// homeOf finds the home folder of a user (passwd(5): NAME:PASSWORD:UID:GID:GECOS:HOME:SHELL).
func homeOf(uid int, passwd io.Reader) (string, error) {
	for lines := bufio.NewScanner(passwd); lines.Scan(); {
		if fields := strings.Split(lines.Text(), ":"); len(fields) == 7 &&
			fields[2] == strconv.Itoa(uid) {
			return fields[5], nil
		}
	}
	return "", fmt.Errorf("%w: user %d is not in /etc/passwd", ErrNoHome, uid)
}
