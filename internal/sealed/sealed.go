// Package sealed keeps values in files that are worth nothing away from this machine: each is
// encrypted with a key of its own, and that key is sealed by the machine's TPM 2.0 or by systemd's
// credentials. No person is needed to open them after a restart.
//
// It knows nothing of profiles, tokens or stores: of this module it imports only internal/files.
package sealed

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sa-exec-credential/sa-exec-credential/internal/files"
)

// Kind is what seals keys.
type Kind string

// The kinds of sealing, as files name them.
const (
	TPM         Kind = "tpm2"
	SystemdHost Kind = "systemd-host" // root's: the key of the host, which is on its disk
	SystemdUser Kind = "systemd-user" // of other users, by way of systemd's service
)

// What can be wrong. Errors of this package wrap one of them or, where time has run out, ctx's.
var (
	// ErrMissing says that there is no such file.
	ErrMissing = errors.New("there is no such sealed file")
	// ErrUnusable says that a file is there and can never be opened here.
	ErrUnusable = errors.New("the sealed file cannot be used")
	// ErrUnavailable says that what seals keys is not there, or refuses to.
	ErrUnavailable = errors.New("sealing does not work")
	// ErrPermission is an ErrUnavailable: this user is not allowed to use the TPM.
	ErrPermission error = notAllowed{}
)

// notAllowed costs nothing when the program starts, unlike an error of fmt.Errorf.
type notAllowed struct{}

func (notAllowed) Error() string { return ErrUnavailable.Error() + ": not allowed to use the TPM" }
func (notAllowed) Unwrap() error { return ErrUnavailable }

const (
	version = 1
	keySize = 32 // AES-256
	// maxValue bounds a value, and maxFile what is read: values are in base64.
	maxValue = 256 << 10
	maxFile  = 2 * maxValue
)

// Files are the sealed files of a directory.
type Files struct {
	// Dir is created by the first Write, after CreateBase, which can be nil, has seen to what
	// is above the program's own directory.
	Dir        string
	CreateBase func() error
	// Sealer is what seals: only files of its kind are opened.
	Sealer Sealer
}

// Sealer seals the keys of files.
type Sealer interface {
	// Kind is kept in each file.
	Kind() Kind
	// Description names it for people.
	Description() string
	// Seal encrypts a key to this machine.
	Seal(ctx context.Context, key []byte) (sealedKey, error)
	// Unseal gives the key back. It is an ErrUnusable when another machine has sealed it.
	Unseal(ctx context.Context, sealed sealedKey) ([]byte, error)
}

// sealedKey is a key that only this machine can give back. A TPM makes three parts of it, systemd
// one.
type sealedKey struct {
	Private []byte `json:"private"`
	Public  []byte `json:"public,omitempty"`
	// Parent is the name of the TPM's key above it: another one has another.
	Parent []byte `json:"parent,omitempty"`
}

// file is the form on disk. All but the ciphertext is additional data, and so is the entry's name,
// which is only that of the file.
type file struct {
	Version    int       `json:"version"`
	Kind       Kind      `json:"kind"`
	Label      string    `json:"label,omitempty"`
	Key        sealedKey `json:"key"`
	Nonce      []byte    `json:"nonce"`
	Ciphertext []byte    `json:"ciphertext,omitempty"`
}

func (f file) additional(name string) ([]byte, error) {
	f.Ciphertext = nil
	return json.Marshal(struct {
		Name   string `json:"name"`
		Header file   `json:"header"`
	}{name, f})
}

// Read returns the value that Write was given for name.
func (f Files) Read(ctx context.Context, name string) ([]byte, error) {
	sealed, err := f.load(name)
	if err != nil {
		return nil, err
	}
	if sealed.Kind != f.Sealer.Kind() {
		return nil, unusable("it was sealed by %s, not by %s", sealed.Kind, f.Sealer.Kind())
	}
	key, err := f.Sealer.Unseal(ctx, sealed.Key)
	if err != nil {
		return nil, err
	}
	box, err := newBox(key)
	if err != nil {
		return nil, err
	}
	additional, err := sealed.additional(name)
	if err != nil || len(sealed.Nonce) != box.NonceSize() {
		return nil, unusable("it is torn or altered")
	}
	value, err := box.Open(nil, sealed.Nonce, sealed.Ciphertext, additional)
	if err != nil {
		return nil, unusable("it was altered, or is another entry's")
	}
	return value, nil
}

// Label returns what Write was told to keep beside the value, without unsealing anything: whoever
// has altered the file may have chosen it.
func (f Files) Label(name string) (string, error) {
	sealed, err := f.load(name)
	return sealed.Label, err
}

func (f Files) load(name string) (file, error) {
	path, err := f.path(name)
	if err != nil {
		return file{}, err
	}
	switch err := files.CheckDir(f.Dir); {
	case errors.Is(err, fs.ErrNotExist):
		return file{}, ErrMissing
	case err != nil:
		return file{}, unavailable("%v", err)
	}
	data, err := files.ReadTrusted(path, maxFile)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return file{}, ErrMissing
	case errors.Is(err, files.ErrUntrusted):
		return file{}, unusable("%v", err)
	case err != nil:
		return file{}, err
	}
	var sealed file
	decoder := json.NewDecoder(bytes.NewReader(data))
	err = decoder.Decode(&sealed)
	if err == nil && sealed.Version > version {
		return file{}, unusable("it is of version %d, not %d", sealed.Version, version)
	}
	if err != nil || sealed.Version != version || decoder.More() {
		return file{}, unusable("it is torn or altered")
	}
	return sealed, nil
}

// Write replaces the value of name. The label is kept as it is, for who cannot unseal.
func (f Files) Write(ctx context.Context, name, label string, value []byte) error {
	path, err := f.path(name)
	if err != nil {
		return err
	}
	if len(value) > maxValue {
		return fmt.Errorf("sealing: %d bytes are more than %d", len(value), maxValue)
	}
	data, err := f.seal(ctx, name, label, value)
	if err != nil {
		return err
	}
	if err := f.create(); err != nil {
		return err
	}
	release, err := files.Guard(ctx, path)
	if err != nil {
		return err
	}
	defer release()
	return files.Replace(path, data, files.PrivateFile)
}

// seal encrypts the value with a key of its own.
func (f Files) seal(ctx context.Context, name, label string, value []byte) ([]byte, error) {
	key := make([]byte, keySize)
	_, _ = rand.Read(key) // never fails
	sealedKey, err := f.Sealer.Seal(ctx, key)
	if err != nil {
		return nil, err
	}
	box, err := newBox(key)
	if err != nil {
		return nil, err
	}
	sealed := file{Version: version, Kind: f.Sealer.Kind(), Label: label, Key: sealedKey,
		Nonce: make([]byte, box.NonceSize())}
	_, _ = rand.Read(sealed.Nonce)
	additional, err := sealed.additional(name)
	if err != nil {
		return nil, err
	}
	sealed.Ciphertext = box.Seal(nil, sealed.Nonce, value, additional)
	return json.Marshal(sealed)
}

func newBox(key []byte) (cipher.AEAD, error) {
	if len(key) != keySize {
		return nil, unusable("its key is not one of AES-256")
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// Check seals and unseals a key, and leaves nothing behind.
func (f Files) Check(ctx context.Context) error {
	key := make([]byte, keySize)
	_, _ = rand.Read(key)
	sealed, err := f.Sealer.Seal(ctx, key)
	if err != nil {
		return err
	}
	unsealed, err := f.Sealer.Unseal(ctx, sealed)
	if err == nil && !bytes.Equal(unsealed, key) {
		err = unavailable("%s gives another key back than it was given",
			f.Sealer.Description())
	}
	return err
}

// create makes sure of the directory, and of the program's one that it is in.
func (f Files) create() error {
	if f.CreateBase != nil {
		if err := f.CreateBase(); err != nil {
			return unavailable("%v", err)
		}
	}
	for _, dir := range []string{filepath.Dir(f.Dir), f.Dir} {
		if err := files.CreatePrivateDir(dir); err != nil {
			return unavailable("%v", err)
		}
	}
	return nil
}

// Remove deletes the file of a name, and what a killed writer has left of it. What it was sealed
// by need not be there.
func (f Files) Remove(ctx context.Context, name string) error {
	path, err := f.path(name)
	if err != nil {
		return err
	}
	if !f.isTraced(name) {
		return nil
	}
	release, err := files.Guard(ctx, path)
	if err != nil {
		return err
	}
	defer release()
	return files.Remove(path)
}

// isTraced reports whether there is anything of a name: its file, or what a killed writer has left.
func (f Files) isTraced(name string) bool {
	entries, err := os.ReadDir(f.Dir)
	return err == nil && slices.ContainsFunc(entries, func(entry fs.DirEntry) bool {
		return entry.Name() == name || strings.HasPrefix(entry.Name(), "."+name+".")
	}) || err != nil && !errors.Is(err, fs.ErrNotExist)
}

// Names lists what there is, also what cannot be opened.
func (f Files) Names() ([]string, error) {
	entries, err := os.ReadDir(f.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var names []string
	for _, entry := range entries {
		if entry.Type().IsRegular() && !strings.HasPrefix(entry.Name(), ".") {
			names = append(names, entry.Name())
		}
	}
	slices.Sort(names)
	return names, err
}

// path is the file of a name, which has to be a plain one.
func (f Files) path(name string) (string, error) {
	if name == "" || strings.HasPrefix(name, ".") || name != filepath.Base(name) {
		return "", fmt.Errorf("%q is not the name of a sealed file", name)
	}
	return filepath.Join(f.Dir, name), nil
}

func unusable(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrUnusable}, args...)...)
}

func unavailable(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrUnavailable}, args...)...)
}
