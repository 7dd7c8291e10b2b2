package keyring

import (
	"context"
	"errors"
	"path/filepath"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/files"
	"github.com/sa-exec-credential/sa-exec-credential/internal/sealed"
)

// sealedItems are files that only this machine can open. They stay when it restarts.
type sealedItems struct {
	sys   System
	files sealed.Files
}

// openSealed opens the store that seals as the System's TPM says.
func openSealed(sys System) (prober, error) {
	if sys.StateDir == "" {
		return nil, &sealing{[]error{ErrUnavailable, ErrSealing},
			"the directory for sealed files is not known: set HOME"}
	}
	sealer := sealed.OpenSystemd()
	if sys.TPM != "" {
		sealer = sealed.OpenTPM(sys.TPM)
	}
	sys.Interactive = false // no person can help
	sys.Limits.Call = max(sys.Limits.Call, SealedLimit)
	items := sealedItems{sys, sealed.Files{Dir: filepath.Join(sys.StateDir, service, "sealed"),
		CreateBase: sys.CreateStateDir, Sealer: sealer}}
	return &store{kind: Sealed, description: "files sealed by " + sealer.Description(),
		sys: sys, items: parted{items: items}, check: items.check, tpm: sys.TPM,
		late: tooLate(sealer)}, nil
}

// check seals and unseals a key, and leaves nothing behind.
func (s sealedItems) check(ctx context.Context) error {
	return s.failure(s.files.Check(ctx))
}

func (s sealedItems) read(ctx context.Context, name string) ([]byte, error) {
	value, err := s.files.Read(ctx, name)
	return value, s.failure(err)
}

func (s sealedItems) write(ctx context.Context, name string, value []byte, _ time.Time) error {
	return s.failure(s.files.Write(ctx, name, s.sys.Origin, value))
}

func (s sealedItems) remove(ctx context.Context, name string) error {
	return s.failure(s.files.Remove(ctx, name))
}

func (s sealedItems) names(context.Context) ([]string, error) {
	names, err := s.files.Names()
	return names, s.failure(err)
}

// origin is that of an entry, which can be read where nothing can be unsealed any more.
func (s sealedItems) origin(name string) (string, error) {
	label, err := s.files.Label(name)
	return label, s.failure(err)
}

// sealing is an error of several kinds with a text of its own.
type sealing struct {
	kinds []error
	text  string
}

func (s *sealing) Error() string   { return s.text }
func (s *sealing) Unwrap() []error { return s.kinds }

// failure gives err the types that this package declares for it.
func (s sealedItems) failure(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, sealed.ErrMissing):
		return ErrNotFound
	case errors.Is(err, sealed.ErrUnusable):
		return &sealing{[]error{ErrNotFound, ErrUnusable, err}, err.Error()}
	case errors.Is(err, context.DeadlineExceeded):
		return tooLate(s.files.Sealer)
	case errors.Is(err, files.ErrBusy):
		return &sealing{[]error{ErrTimeout, ErrSealing, err}, err.Error()}
	case errors.Is(err, sealed.ErrPermission) && s.sys.TPM != "":
		return &sealing{[]error{ErrUnavailable, ErrSealing, ErrNotAllowed, err},
			err.Error()}
	}
	return &sealing{[]error{ErrUnavailable, ErrSealing, err}, err.Error()}
}

// tooLate is an ErrTimeout that says who has not answered.
func tooLate(sealer sealed.Sealer) error {
	return &sealing{[]error{ErrTimeout, ErrSealing},
		sealer.Description() + " did not answer in time"}
}
