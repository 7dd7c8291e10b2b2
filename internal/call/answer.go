package call

import (
	"context"
	"strings"

	"github.com/sa-exec-credential/sa-exec-credential/internal/execcred"
	"github.com/sa-exec-credential/sa-exec-credential/internal/host"
	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
)

// PlainGet recognises the arguments that setup writes into kubeconfigs, and those of one entry for
// all clusters, which name no profile. To build the grammar of the command line for them would take
// a good part of the time of a hit, on every call of every client.
func PlainGet(args []string) (name *string, isPlain bool) {
	if len(args) == 1 && args[0] == "get" {
		return nil, true
	}
	if len(args) != 3 || args[0] != "get" || args[1] != "--profile" ||
		strings.HasPrefix(args[2], "-") {
		return nil, false
	}
	return &args[2], true
}

// ExecInfo is what the client says of itself.
func ExecInfo(h *host.Host) (execcred.Info, error) {
	text, present := h.Variables(execcred.EnvironmentVariable)
	if !present {
		return execcred.Absent(), nil
	}
	return execcred.Parse(text)
}

// Answer is the whole of a get that is a hit, or a miss of the plain kind: the result for standard
// output. Where it is not ok, nothing has been changed, logged or said, and whoever does the whole
// of a get begins anew.
func Answer(ctx context.Context, h *host.Host, args []string) (result []byte, ok bool) {
	h = h.ForGet()
	name, isPlain := PlainGet(args)
	if !isPlain {
		return nil, false
	}
	info, err := ExecInfo(h)
	if err != nil {
		return nil, false
	}
	c, err := open(ctx, h, name, info)
	if err != nil || c.Check(info) != nil {
		return nil, false
	}
	token, found := c.Hit(ctx)
	if !found {
		if err := c.openWhole(ctx); err != nil {
			return nil, false
		}
		if token, found = c.Miss(ctx); !found {
			return nil, false
		}
	}
	result, err = execcred.Encode(info.APIVersion, token.Token, token.Expires)
	return result, err == nil
}

// openWhole opens all of the store, of which Hit needs no more than what is in front. Nobody is
// asked to unlock it: the whole program does that, once.
func (c *Call) openWhole(ctx context.Context) error {
	c.Host = c.Host.ForGet()
	c.Host.OpenStore = func(ctx context.Context, kind keyring.Kind,
		system keyring.System) (keyring.Store, error) {
		system.Interactive = false
		return keyring.Open(ctx, kind, system)
	}
	store, err := c.Host.Store(ctx, c.Profile.Store, c.Profile.TPM)
	c.Store = store
	return err
}

func open(ctx context.Context, h *host.Host, name *string, info execcred.Info) (*Call, error) {
	if name != nil {
		return Load(ctx, h, *name)
	}
	var p profile.Profile
	p, err := Find(h, info)
	if err != nil {
		return nil, err
	}
	return Open(ctx, h, p)
}
