package profile

import (
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

// Folder is where profiles are kept: the user configuration directory's sa-exec-credential/profiles.
type Folder string

// FolderIn returns the folder of profiles below a user configuration directory.
func FolderIn(configDirectory string) Folder {
	return Folder(filepath.Join(configDirectory, "sa-exec-credential", "profiles"))
}

// Load reads the profile called name. Errors wrap ErrName, ErrMissing, ErrMalformed or files.ErrUntrusted.
func (f Folder) Load(name string) (Profile, error) {
	if err := CheckName(name); err != nil {
		return Profile{}, err
	}
	if err := f.check(); err != nil {
		return Profile{}, missing(name, err)
	}
	data, err := files.ReadTrusted(f.path(name), maxSize)
	if err != nil {
		return Profile{}, missing(name, err)
	}
	return Parse(name, data)
}

func missing(name string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %q", ErrMissing, name)
	}
	return fmt.Errorf("reading profile %q: %w", name, err)
}

// check refuses a folder, or one above it that is this program's, in which others could place a profile.
func (f Folder) check() error {
	for _, folder := range []string{filepath.Dir(string(f)), string(f)} {
		if err := files.CheckFolder(folder); err != nil {
			return err
		}
	}
	return nil
}

func (f Folder) path(name string) string { return filepath.Join(string(f), name+extension) }

// Save writes the profile under its name, replacing an older one at once.
func (f Folder) Save(p Profile) error {
	if err := CheckName(p.Name); err != nil {
		return err
	}
	data, err := p.Encode()
	if err != nil {
		return err
	}
	for _, folder := range []string{filepath.Dir(string(f)), string(f)} {
		if err := files.MakePrivateFolder(folder); err != nil {
			return fmt.Errorf("saving profile %q: %w", p.Name, err)
		}
	}
	if err := files.Replace(f.path(p.Name), data, files.PrivateFile); err != nil {
		return fmt.Errorf("saving profile %q: %w", p.Name, err)
	}
	return nil
}

// Remove deletes the profile called name; a missing one is not an error.
func (f Folder) Remove(name string) error {
	if err := CheckName(name); err != nil {
		return err
	}
	if err := os.Remove(f.path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing profile %q: %w", name, err)
	}
	return nil
}

// Names lists the profiles, sorted. A folder that does not exist holds none.
func (f Folder) Names() ([]string, error) {
	entries, err := os.ReadDir(string(f))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("listing profiles: %w", err)
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
