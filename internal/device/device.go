// Package device keeps what this machine is to a service account: a record in a file of its own,
// the only copy, which all profiles of the account name.
//
// It knows nothing of API servers or of what is in a store; of this module it imports
// internal/host for the directory, internal/files and internal/profile.
package device

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/sa-exec-credential/sa-exec-credential/internal/files"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
)

// What can be wrong with a record. A file that others could have written is a files.ErrUntrusted.
var (
	ErrMissing   = errors.New("no such device record")
	ErrMalformed = errors.New("malformed device record")
)

const (
	version   = 1
	extension = ".yaml"
	maxSize   = 1 << 20 // bytes of a record's file; as a profile, it holds a CA bundle
)

// Record is what this machine is to one account of one cluster. No secret is in it.
type Record struct {
	Name           string           `yaml:"-"`
	Version        int              `yaml:"version"`
	Cluster        profile.Identity `yaml:"cluster"`
	Namespace      string           `yaml:"namespace"`
	ServiceAccount string           `yaml:"serviceAccount"`
	// Current is what tokens are bound to. Nil: a setup was interrupted before there was one.
	Current *profile.Device `yaml:"current,omitempty"`
	// Next is the name of the device that is about to be created, kept before it exists, so
	// that one that was interrupted is taken up, and leaves nothing that nobody knows of.
	Next string `yaml:"next,omitempty"`
	// Retired are devices that were replaced and not yet deleted in the cluster.
	Retired []profile.Device `yaml:"retired,omitempty"`
	// ClusterUID is that of the namespace kube-system. In another cluster behind the same
	// address it is another one, which tells a rebuilt cluster, where all devices are gone,
	// from one where this device was revoked. Empty: unknown.
	ClusterUID string `yaml:"clusterUID,omitempty"`
	// Revoked says that the device was deleted in the cluster that it was created in. Only
	// setup clears it.
	Revoked bool `yaml:"revoked,omitempty"`
}

// Account is NAMESPACE/SERVICEACCOUNT, for messages.
func (r Record) Account() string { return r.Namespace + "/" + r.ServiceAccount }

// NameFor is the name of the record of a profile's account and cluster. It is the same for all
// profiles that share them, whatever they are called.
func NameFor(p profile.Profile) (string, error) {
	identity, err := p.Identity()
	if err != nil {
		return "", err
	}
	encoded, err := json.Marshal(identity)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(encoded)
	return profile.DefaultName(p.ServiceAccount, p.Namespace, hex.EncodeToString(sum[:8])), nil
}

// Dir is the directory of records: the user configuration directory's sa-exec-credential/devices.
type Dir string

// DirIn returns the directory of records below a user configuration directory.
func DirIn(configDir string) Dir {
	return Dir(filepath.Join(configDir, "sa-exec-credential", "devices"))
}

func (d Dir) path(name string) string { return filepath.Join(string(d), name+extension) }

// Load reads a record. Errors wrap ErrMissing, ErrMalformed, files.ErrUntrusted or the system's.
func (d Dir) Load(name string) (Record, error) {
	if err := profile.CheckName(name); err != nil {
		return Record{}, fmt.Errorf("%w: %q", ErrMalformed, name)
	}
	data, err := d.read(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Record{}, fmt.Errorf("%w: %q", ErrMissing, d.path(name))
	case err != nil:
		return Record{}, fmt.Errorf("reading device record %q: %w", name, err)
	}
	r, err := parse(name, data)
	if err != nil {
		return Record{}, &MalformedError{Path: d.path(name), Err: err}
	}
	return r, nil
}

// MalformedError is an ErrMalformed of a file.
type MalformedError struct {
	Path string
	Err  error
}

// Error implements error.
func (e *MalformedError) Error() string { return e.Err.Error() }

// Unwrap makes it what is wrong.
func (e *MalformedError) Unwrap() error { return e.Err }

func (d Dir) read(name string) ([]byte, error) {
	for _, dir := range []string{filepath.Dir(string(d)), string(d)} {
		if err := files.CheckDir(dir); err != nil {
			return nil, err
		}
	}
	return files.ReadTrusted(d.path(name), maxSize)
}

func parse(name string, data []byte) (Record, error) {
	var r Record
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	decoder.KnownFields(true)
	if err := decoder.Decode(&r); err != nil {
		line, _, _ := strings.Cut(err.Error(), "\n")
		return Record{}, fmt.Errorf("%w %q: %s", ErrMalformed, name,
			strings.TrimPrefix(line, "yaml: "))
	}
	r.Name = name
	switch {
	case r.Version != version:
		return Record{}, fmt.Errorf("%w %q: version %d, this program knows %d",
			ErrMalformed, name, r.Version, version)
	case r.Namespace == "" || r.ServiceAccount == "" || r.Cluster.Server == "":
		return Record{}, fmt.Errorf("%w %q: it names no account of a cluster", ErrMalformed,
			name)
	case r.Current != nil && (r.Current.Name == "" || r.Current.SecretUID == "" ||
		r.Current.AccountUID == ""):
		return Record{}, fmt.Errorf("%w %q: current needs a name and two uids",
			ErrMalformed, name)
	}
	return r, nil
}

// Remove deletes a record that no profile names any more; a missing one is not an error.
func (d Dir) Remove(name string) error {
	if err := os.Remove(d.path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing device record %q: %w", name, err)
	}
	return nil
}

// Sweep removes the records of revoked devices that no profile names, and the locks of commands
// that were killed. It returns the names of the records.
func (d Dir) Sweep(isNamed func(record string) bool) (swept []string) {
	files.Sweep(string(d))
	for _, name := range d.Names() {
		record, err := d.Load(name)
		if err == nil && record.Revoked && !isNamed(name) && d.Remove(name) == nil {
			swept = append(swept, name)
		}
	}
	return swept
}

// Names lists the records, sorted.
func (d Dir) Names() (names []string) {
	entries, _ := os.ReadDir(string(d)) // none where there is no directory
	for _, entry := range entries {
		if name, found := strings.CutSuffix(entry.Name(), extension); found &&
			profile.CheckName(name) == nil {
			names = append(names, name)
		}
	}
	return names
}

// Path is where a record is, for messages.
func (d Dir) Path(name string) string { return d.path(name) }

// LockAll waits for every record there is, until ctx ends: no other command is at work with one
// then.
func (d Dir) LockAll(ctx context.Context) (release func(), err error) {
	var held []func()
	release = func() {
		for _, one := range held {
			one()
		}
	}
	for _, name := range d.Names() {
		one, err := files.Guard(ctx, d.path(name))
		if err != nil {
			release()
			return nil, fmt.Errorf("waiting for other commands: %w", err)
		}
		held = append(held, one)
	}
	return release, nil
}

// Locked is a record that nobody else changes until Release is called.
type Locked struct {
	Record
	dir     Dir
	Release func() // lets others change the record
}

// Lock waits for the record of a profile's account, until ctx ends, and reads it. One that does not
// exist yet is a record without a device; it is written by the first Save.
func (d Dir) Lock(ctx context.Context, p profile.Profile) (*Locked, error) {
	name, err := NameFor(p)
	if err != nil {
		return nil, err
	}
	for _, dir := range []string{filepath.Dir(string(d)), string(d)} {
		if err := files.CreatePrivateDir(dir); err != nil {
			return nil, fmt.Errorf("creating the directory of device records: %w", err)
		}
	}
	release, err := files.Guard(ctx, d.path(name))
	if err != nil {
		return nil, fmt.Errorf("changing this machine's device: %w", err)
	}
	l := &Locked{dir: d, Release: release}
	if err := l.load(name, p); err != nil {
		l.Release()
		return nil, err
	}
	return l, nil
}

func (l *Locked) load(name string, p profile.Profile) error {
	var err error
	l.Record, err = l.dir.Load(name)
	if errors.Is(err, ErrMissing) {
		identity, err := p.Identity()
		l.Record = Record{Name: name, Cluster: identity, Namespace: p.Namespace,
			ServiceAccount: p.ServiceAccount}
		return err
	}
	return err
}

// Save replaces the record's file at once.
func (l *Locked) Save() error {
	l.Version = version
	data, err := yaml.Marshal(l.Record)
	if err != nil {
		return err
	}
	if len(data) > maxSize { // it could not be read again
		return fmt.Errorf("saving device record %q: %w: longer than %d bytes", l.Name,
			ErrMalformed, maxSize)
	}
	if err := files.Replace(l.dir.path(l.Name), data, files.PrivateFile); err != nil {
		return fmt.Errorf("saving device record %q: %w", l.Name, err)
	}
	return nil
}

// Remove deletes the record.
func (l *Locked) Remove() error { return l.dir.Remove(l.Name) }
