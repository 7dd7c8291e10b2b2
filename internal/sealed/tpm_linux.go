package sealed

import (
	"bytes"
	"context"
	"errors"
	"os"
	"strings"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
)

// tpm seals with a TPM 2.0, below its storage root key: the elliptic curve one of the TCG's
// template, which every caller derives anew from the TPM's own seed. No state of the machine
// (PCR) is asked for, so that updates change nothing, and nothing is guessed at, so that a lockout
// for wrong passwords does not reach it.
type tpm struct{ place string }

// OpenTPM seals with the TPM at a place that CheckTPM accepts. Nothing is opened yet.
func OpenTPM(place string) Sealer { return tpm{place} }

func (t tpm) Kind() Kind          { return TPM }
func (t tpm) Description() string { return "TPM " + t.place }

// template is of a sealed key: nothing but an empty password is asked for, and it can neither leave
// the TPM nor its parent.
func template() tpm2.TPM2BPublic {
	return tpm2.New2B(tpm2.TPMTPublic{
		Type: tpm2.TPMAlgKeyedHash, NameAlg: tpm2.TPMAlgSHA256,
		ObjectAttributes: tpm2.TPMAObject{FixedTPM: true, FixedParent: true,
			UserWithAuth: true, NoDA: true},
	})
}

func (t tpm) Seal(ctx context.Context, key []byte) (sealed sealedKey, err error) {
	err = t.do(ctx, func(device transport.TPM, root *tpm2.CreatePrimaryResponse) error {
		auth, err := encrypted(root, tpm2.AESEncryption(128, tpm2.EncryptIn))
		if err != nil {
			return err
		}
		created, err := tpm2.Create{
			ParentHandle: tpm2.AuthHandle{Handle: root.ObjectHandle, Name: root.Name,
				Auth: auth},
			InSensitive: tpm2.TPM2BSensitiveCreate{
				Sensitive: &tpm2.TPMSSensitiveCreate{
					Data: tpm2.NewTPMUSensitiveCreate(
						&tpm2.TPM2BSensitiveData{Buffer: key})},
			},
			InPublic: template(),
		}.Execute(device)
		if err != nil {
			return err
		}
		sealed = sealedKey{Private: tpm2.Marshal(created.OutPrivate),
			Public: tpm2.Marshal(created.OutPublic), Parent: root.Name.Buffer}
		return nil
	})
	return sealed, err
}

func (t tpm) Unseal(ctx context.Context, sealed sealedKey) (key []byte, err error) {
	private, err := tpm2.Unmarshal[tpm2.TPM2BPrivate](sealed.Private)
	if err != nil {
		return nil, unusable("it is torn or altered")
	}
	public, err := tpm2.Unmarshal[tpm2.TPM2BPublic](sealed.Public)
	if err != nil {
		return nil, unusable("it is torn or altered")
	}
	err = t.do(ctx, func(device transport.TPM, root *tpm2.CreatePrimaryResponse) error {
		if !bytes.Equal(root.Name.Buffer, sealed.Parent) {
			return unusable("another TPM has sealed it, or this one was cleared since")
		}
		loaded, err := tpm2.Load{
			ParentHandle: tpm2.AuthHandle{Handle: root.ObjectHandle, Name: root.Name,
				Auth: tpm2.PasswordAuth(nil)},
			InPrivate: *private, InPublic: *public,
		}.Execute(device)
		if err != nil {
			return refused(err)
		}
		defer flush(device, loaded.ObjectHandle)
		auth, err := encrypted(root, tpm2.AESEncryption(128, tpm2.EncryptOut))
		if err != nil {
			return err
		}
		unsealed, err := tpm2.Unseal{ItemHandle: tpm2.AuthHandle{
			Handle: loaded.ObjectHandle, Name: loaded.Name, Auth: auth}}.Execute(device)
		if err != nil {
			return err
		}
		key = unsealed.OutData.Buffer
		return nil
	})
	return key, err
}

// encrypted is a session whose secret is salted with the root key, so that nobody on the wire to
// the TPM reads the key that goes in or out.
func encrypted(root *tpm2.CreatePrimaryResponse, to tpm2.AuthOption) (tpm2.Session, error) {
	public, err := root.OutPublic.Contents()
	if err != nil {
		return nil, err
	}
	return tpm2.HMAC(tpm2.TPMAlgSHA256, 16, to, tpm2.Salted(root.ObjectHandle, *public)), nil
}

// do runs an exchange over a connection of its own, with the storage root key loaded.
func (t tpm) do(ctx context.Context,
	exchange func(transport.TPM, *tpm2.CreatePrimaryResponse) error) (err error) {
	device, err := connect(ctx, t.place)
	if err != nil {
		return err
	}
	defer device.Close()
	defer func() {
		if recover() != nil { // go-tpm, at an answer that makes no sense
			err = unavailable("%s gives answers that make no sense", t.place)
		}
		err = t.explain(ctx, err)
	}()
	once := func() error {
		root, err := createRoot(device)
		if err != nil {
			return err
		}
		defer flush(device, root.ObjectHandle)
		return exchange(device, root)
	}
	if err = once(); isFull(err) {
		// Nobody clears up behind a process that was killed while it talked to a
		// simulator, and nobody else is connected to it now.
		flushAll(device)
		err = once()
	}
	return err
}

// isFull reports whether a TPM has no memory for a further object or session.
func isFull(err error) bool {
	return errors.Is(err, tpm2.TPMRCObjectMemory) || errors.Is(err, tpm2.TPMRCSessionMemory) ||
		errors.Is(err, tpm2.TPMRCSessionHandles)
}

func createRoot(device transport.TPM) (*tpm2.CreatePrimaryResponse, error) {
	return tpm2.CreatePrimary{
		PrimaryHandle: tpm2.AuthHandle{Handle: tpm2.TPMRHOwner,
			Auth: tpm2.PasswordAuth(nil)},
		InPublic: tpm2.New2B(tpm2.ECCSRKTemplate),
	}.Execute(device)
}

// flush gives the TPM its memory back; nothing depends on it.
func flush(device transport.TPM, handle tpm2.TPMHandle) {
	_, _ = tpm2.FlushContext{FlushHandle: handle}.Execute(device)
}

// flushAll forgets the loaded objects and sessions of a simulator.
func flushAll(device transport.TPM) {
	for _, first := range []uint32{transientFirst, loadedSessionFirst} {
		list, err := tpm2.GetCapability{Capability: tpm2.TPMCapHandles, Property: first,
			PropertyCount: handlesAtOnce}.Execute(device)
		if err != nil {
			continue
		}
		handles, err := list.CapabilityData.Data.Handles()
		if err != nil {
			continue
		}
		for _, handle := range handles.Handle {
			flush(device, handle)
		}
	}
}

// Where the handles of a kind begin, see "TPM_HT" in the TPM 2.0 Library, part 2.
const (
	transientFirst     = 0x80000000
	loadedSessionFirst = 0x02000000
	handlesAtOnce      = 64
)

// refused is about an answer to Load: where a parameter is at fault, it is what the file holds.
func refused(err error) error {
	var code tpm2.TPMFmt1Error
	if errors.As(err, &code) {
		if isParameter, _ := code.Parameter(); isParameter {
			return unusable("it is torn or altered (%s)", firstLine(err))
		}
	}
	return err
}

// explain makes what a TPM answers an ErrUnavailable, unless it is more than that already.
func (t tpm) explain(ctx context.Context, err error) error {
	switch {
	case err == nil, errors.Is(err, ErrUnusable), errors.Is(err, ErrUnavailable):
		return err
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return context.DeadlineExceeded // a moment before ctx knows it
	case errors.Is(err, tpm2.TPMRCLockout):
		return unavailable("the TPM is locked out after wrong passwords; it opens by "+
			"itself after some time (%s)", firstLine(err))
	case errors.Is(err, tpm2.TPMRCBadAuth), errors.Is(err, tpm2.TPMRCAuthFail):
		return unavailable("the TPM's owner hierarchy has a password")
	}
	return unavailable("the TPM %s: %s", t.place, firstLine(err))
}

func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}
