package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
)

// many is how many clusters somebody has who has a lot.
const many = 1000

// The programs. The directory of profiles is called like the whole one, too.
const (
	program = "sa-exec-credential"
	quick   = program + "-get"
)

// found are hits in the kernel keyring with one profile and with many, which the client names or
// which is found by the client's cluster.
func (b *bench) found() (subjects []*subject, err error) {
	for _, count := range []int{1, many} {
		dir, err := b.copies(count)
		if err != nil {
			return nil, err
		}
		for _, way := range []struct {
			name string
			args []string
		}{{namedOf(count), []string{"get", "--profile", "kernel"}},
			{foundOf(count), []string{"get"}}} {
			subjects = append(subjects, &subject{
				name:    way.name,
				command: func() *exec.Cmd { return b.call(way.args...) },
				before:  func() error { return b.swap(dir) },
				after:   func() error { return b.swap(dir) },
			})
		}
	}
	return subjects, nil
}

func namedOf(count int) string {
	return fmt.Sprintf("get --profile, hit, kernel, profiles: %d", count)
}

func foundOf(count int) string {
	return fmt.Sprintf("get alone, hit, kernel, profiles: %d", count)
}

// swap exchanges what the plugin finds in its configuration directory for what is in another one.
func (b *bench) swap(dir string) error {
	own, other := filepath.Join(b.dir, program), filepath.Join(dir, program)
	aside := own + ".aside"
	return errors.Join(os.Rename(own, aside), os.Rename(other, own), os.Rename(aside, other))
}

// copies is a configuration directory with the profile of the kernel keyring and others beside it,
// for clusters of other addresses.
func (b *bench) copies(count int) (dir string, err error) {
	dir = filepath.Join(b.dir, fmt.Sprintf("of-%d", count))
	from, to := profile.DirIn(b.dir), profile.DirIn(dir)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return "", err
	}
	p, err := from.Load("kernel")
	if err != nil {
		return "", err
	}
	for i := range count {
		if i > 0 {
			p.Name = fmt.Sprintf("other-%d", i)
			p.Cluster.Server = fmt.Sprintf("https://other-%d.example:6443", i)
		}
		if err := to.Save(p); err != nil {
			return "", err
		}
	}
	// what has just changed is looked at once more, for some seconds
	old := time.Now().Add(-time.Minute)
	if err := os.Chtimes(string(to), old, old); err != nil {
		return "", err
	}
	devices := filepath.Join(program, "devices")
	return dir, os.CopyFS(filepath.Join(dir, devices), os.DirFS(filepath.Join(b.dir, devices)))
}
