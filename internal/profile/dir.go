package profile

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/sa-exec-credential/sa-exec-credential/internal/files"
)

// maxSize of a profile's file in bytes. CA bundles are the only part that grows.
const maxSize = 1 << 20

const extension = ".yaml"

// Dir is where profiles are kept: the user configuration directory's
// sa-exec-credential/profiles.
type Dir string

// DirIn returns the directory of profiles below a user configuration directory.
func DirIn(configDirectory string) Dir {
	return Dir(filepath.Join(configDirectory, "sa-exec-credential", "profiles"))
}

// ErrUnreadable is wrapped by errors about a profile, or a directory of profiles, that the system
// does not let us read.
var ErrUnreadable = errors.New("cannot be read")

// Load reads the profile called name. Errors wrap ErrName, ErrMissing, ErrMalformed, ErrUnreadable
// or files.ErrUntrusted.
func (f Dir) Load(name string) (Profile, error) {
	if err := CheckName(name); err != nil {
		return Profile{}, err
	}
	if err := f.check(); err != nil {
		return Profile{}, notRead(name, err)
	}
	data, err := files.ReadTrusted(f.path(name), maxSize)
	if err != nil {
		return Profile{}, notRead(name, err)
	}
	return Parse(name, data)
}

// notRead gives the reason why a profile was not read its kind.
func notRead(name string, err error) error {
	var refused *fs.PathError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w: %q", ErrMissing, name)
	case errors.Is(err, files.ErrUntrusted):
		return fmt.Errorf("reading profile %q: %w", name, err)
	case errors.As(err, &refused):
		return fmt.Errorf("profile %q %w: %w", name, ErrUnreadable, quoted(refused))
	}
	// it is too long: package files finds nothing else wrong
	return fmt.Errorf("%w %q: %w", ErrMalformed, name, err)
}

// quoted puts the path of an operating system's error in quotes: it comes from variables, and may
// hold anything.
func quoted(err *fs.PathError) error { return fmt.Errorf("%s %q: %w", err.Op, err.Path, err.Err) }

// check refuses a directory, or one above it that is this program's, in which others could place a
// profile.
func (f Dir) check() error {
	for _, dir := range []string{filepath.Dir(string(f)), string(f)} {
		if err := files.CheckDir(dir); err != nil {
			return err
		}
	}
	return nil
}

// DeviceOf is the device record that a profile names, also when it is malformed. Empty: none, or
// it cannot be read.
func (f Dir) DeviceOf(name string) string {
	data, err := files.ReadTrusted(f.path(name), maxSize)
	if err != nil || f.check() != nil {
		return ""
	}
	for line := range strings.Lines(string(data)) {
		record, found := strings.CutPrefix(line, "device:")
		record = strings.Trim(strings.TrimSpace(record), `"'`)
		if found && CheckName(record) == nil {
			return record
		}
	}
	return ""
}

// Path is where a profile is, for messages.
func (f Dir) Path(name string) string { return f.path(name) }

func (f Dir) path(name string) string { return filepath.Join(string(f), name+extension) }

// Save writes the profile under its name, replacing an older one at once.
func (f Dir) Save(p Profile) error {
	if err := CheckName(p.Name); err != nil {
		return err
	}
	data, err := p.Encode()
	if err != nil {
		return err
	}
	if len(data) > maxSize { // it could not be read again
		return fmt.Errorf("saving profile %q: %w: longer than %d bytes", p.Name,
			ErrMalformed, maxSize)
	}
	if err := f.create(); err != nil {
		return fmt.Errorf("saving profile %q: %w", p.Name, err)
	}
	if err := files.Replace(f.path(p.Name), data, files.PrivateFile); err != nil {
		return fmt.Errorf("saving profile %q: %w", p.Name, err)
	}
	return nil
}

// Lock keeps other commands from changing the profile called name until release, waiting for them
// until ctx ends.
func (f Dir) Lock(ctx context.Context, name string) (release func(), err error) {
	if err := CheckName(name); err != nil {
		return nil, err
	}
	if err := f.create(); err != nil {
		return nil, fmt.Errorf("changing profile %q: %w", name, err)
	}
	release, err = files.Guard(ctx, f.path(name))
	if err != nil {
		return nil, fmt.Errorf("changing profile %q: %w", name, err)
	}
	return release, nil
}

// create makes sure of the directory, and of the one above it that is this program's.
func (f Dir) create() error {
	for _, dir := range []string{filepath.Dir(string(f)), string(f)} {
		if err := files.CreatePrivateDir(dir); err != nil {
			return err
		}
	}
	return nil
}

// Remove deletes the profile called name; a missing one is not an error.
func (f Dir) Remove(name string) error {
	if err := CheckName(name); err != nil {
		return err
	}
	if err := os.Remove(f.path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing profile %q: %w", name, err)
	}
	f.dropIndex(name)
	return nil
}

// Names lists the profiles, sorted. A directory that does not exist holds none; one that cannot be
// listed is an ErrUnreadable.
func (f Dir) Names() ([]string, error) {
	entries, err := os.ReadDir(string(f))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, notListed(err)
	}
	var names []string
	for _, entry := range entries {
		name, found := strings.CutSuffix(entry.Name(), extension)
		if found && CheckName(name) == nil {
			names = append(names, name)
		}
	}
	return names, nil
}

// notListed gives the reason why a directory was not read its kind.
func notListed(err error) error {
	var refused *fs.PathError
	if errors.As(err, &refused) {
		return fmt.Errorf("the directory of profiles %w: %w", ErrUnreadable,
			quoted(refused))
	}
	return fmt.Errorf("listing profiles: %w", err)
}
