package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/sa-exec-credential/sa-exec-credential/internal/cache"
	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
)

type logoutCommand struct {
	Profile   string `placeholder:"NAME" xor:"which" required:"" help:"The profile to forget the token of."`
	All       bool   `xor:"which" required:"" help:"All profiles, and what is kept of profiles that are gone."`
	Bootstrap bool   `help:"Forget the bootstrap credential too; setup makes a new one."`
}

// Run forgets tokens on this machine. They stay good until they expire; revoke ends them.
func (l *logoutCommand) Run(ctx context.Context, env *environment) error {
	folder, err := env.profiles()
	if err != nil {
		return err
	}
	if !l.All {
		s, err := env.load(ctx, l.Profile)
		if err != nil {
			return err
		}
		return s.forget(ctx, l.Bootstrap)
	}
	names, err := folder.Names()
	if err != nil {
		return err
	}
	var failed []error
	for _, name := range names {
		if err := env.forgetProfile(ctx, folder, name, l.Bootstrap); err != nil {
			failed = append(failed, fmt.Errorf("profile %q: %w", name, err))
		}
	}
	env.forgetStrays(ctx, folder, names, l.Bootstrap)
	return errors.Join(failed...)
}

func (e *environment) forgetProfile(ctx context.Context, folder profile.Folder, name string, bootstrap bool) error {
	p, err := folder.Load(name)
	if err != nil {
		return err
	}
	s, err := e.open(ctx, p)
	if err != nil {
		return err
	}
	return s.forget(ctx, bootstrap)
}

// forget removes what the store holds for the profile, and what was remembered about its callers.
func (s *session) forget(ctx context.Context, bootstrap bool) error {
	if err := s.store.Delete(ctx, s.profile.TokenKey()); err != nil {
		return fmt.Errorf("forgetting the token: %w", err)
	}
	if bootstrap {
		if err := s.store.Delete(ctx, s.profile.BootstrapKey()); err != nil {
			return fmt.Errorf("forgetting the bootstrap credential: %w", err)
		}
	}
	s.env.forgetFilesOf(s.profile)
	return nil
}

// forgetFilesOf removes the lock and the records of calls of a profile's token.
func (e *environment) forgetFilesOf(p profile.Profile) {
	for _, file := range cache.Files(e.runtimeFolder(), p.TokenKey()) {
		_ = os.Remove(file)
	}
}

// forgetStrays removes entries that no profile leads to any more, for example of one whose duration was changed.
func (e *environment) forgetStrays(ctx context.Context, folder profile.Folder, names []string, bootstrap bool) {
	known := map[string]bool{}
	for _, name := range names {
		if p, err := folder.Load(name); err == nil {
			known[p.TokenKey()], known[p.BootstrapKey()] = true, true
		}
	}
	for _, kind := range []keyring.Kind{keyring.Keyring, keyring.Kernel} {
		err := e.forgetStraysIn(ctx, kind, func(key string) bool {
			return !known[key] && (bootstrap || strings.HasPrefix(key, "token:"))
		})
		if err != nil {
			e.log.warning(fmt.Errorf("store %q may still hold entries of profiles that are gone: %w", kind, err))
		}
	}
	e.forgetFiles()
}

// forgetStraysIn looks through one store. One that is not there holds nothing, and is not worth a word.
func (e *environment) forgetStraysIn(ctx context.Context, kind keyring.Kind, isStray func(key string) bool) error {
	store, err := e.store(ctx, kind)
	var keys []string
	if err == nil {
		keys, err = store.Keys(ctx)
	}
	if errors.Is(err, keyring.ErrUnavailable) {
		e.log.debug("listing the store", "store", kind, "error", err)
		return nil
	}
	failed := err
	for _, key := range keys {
		if isStray(key) {
			err := store.Delete(ctx, key)
			e.log.debug("forgetting a stray entry", "key", key, "error", err)
			failed = cmp.Or(failed, err) // one is enough to say: the others fail alike
		}
	}
	return failed
}

func (e *environment) forgetFiles() {
	folder := e.runtimeFolder()
	if folder == "" {
		return
	}
	for _, pattern := range []string{"*.calls", "*.lock"} {
		matches, _ := filepath.Glob(filepath.Join(folder, pattern))
		for _, match := range matches {
			_ = os.Remove(match)
		}
	}
}
