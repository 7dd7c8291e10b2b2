package session

import (
	"context"
	"errors"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/api"
	"github.com/sa-exec-credential/sa-exec-credential/internal/bootstrap"
	"github.com/sa-exec-credential/sa-exec-credential/internal/call"
	"github.com/sa-exec-credential/sa-exec-credential/internal/eventlog"
	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/internal/kuberc"
	"github.com/sa-exec-credential/sa-exec-credential/internal/mint"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
	"github.com/sa-exec-credential/sa-exec-credential/internal/secret"
)

// The events of a profile's log.
const (
	eventMinted       = "minted"         // a token
	eventMintFailed   = "mint-failed"    // there is no token for whoever has asked
	eventRenewed      = "renewed"        // the bootstrap credential, with itself
	eventRenewFailed  = "renew-failed"   // the one that is there stays
	eventIssued       = "issued"         // a bootstrap credential, by another than itself
	eventRecovered    = "recovered"      // what the cluster no longer knew was created anew
	eventNotRecovered = "recover-failed" // though setup was told to
	eventTokenRefused = "token-refused"  // the one in the store, before its time was over
	eventClient       = "client-refused" // it would have sent the token elsewhere
	eventChecked      = "checked"        // the log itself, by doctor
)

// errorNames are what a log calls errors, the first that applies.
var errorNames = []struct {
	kind error
	name string
}{
	{ErrBootstrapRefused, "bootstrap-refused"}, {ErrAccountGone, "account-gone"},
	{ErrDeviceGone, "device-gone"}, {ErrNotMinter, "not-a-minter"},
	{bootstrap.ErrMissing, "bootstrap-missing"}, {bootstrap.ErrExpired, "bootstrap-expired"},
	{kuberc.ErrDenied, "plugin-denied"},
	{bootstrap.ErrSource, "bootstrap-source"}, {api.ErrCredential, "bootstrap-source"},
	{keyring.ErrLocked, "store-locked"}, {keyring.ErrTimeout, "store-timeout"},
	{keyring.ErrUnavailable, "store-unavailable"}, {keyring.ErrTooBig, "store-too-big"},
	{keyring.ErrQuota, "store-quota"},
	{api.ErrAdmission, "denied"}, {api.ErrForbidden, "forbidden"},
	{api.ErrUnauthorized, "unauthorized"}, {api.ErrThrottled, "throttled"},
	{api.ErrTLS, "tls"}, {api.ErrTimeout, "timeout"}, {api.ErrUnreachable, "unreachable"},
	{api.ErrServer, "server"}, {api.ErrAnswer, "answer"}, {api.ErrNotFound, "not-found"},
	{api.ErrConflict, "conflict"}, {api.ErrInvalid, "invalid"},
	{call.ErrNoExecInfo, "no-exec-info"}, {call.ErrNoClusterInfo, "no-cluster-info"},
	{call.ErrNoAuthority, "no-authority"}, {call.ErrInsecureClient, "insecure-client"},
	{profile.ErrOtherCluster, "other-cluster"}, {call.ErrForgedDir, "forged-directory"},
	{context.DeadlineExceeded, "timeout"},
}

func errorName(err error) string {
	for _, e := range errorNames {
		if errors.Is(err, e.kind) {
			return e.name
		}
	}
	return "unexpected"
}

// noteToken logs an event that a token has come of, or ended with.
func (s *Session) noteToken(event string, token secret.String, expires time.Time) {
	s.note(tokenEvent(event, token, expires))
}

func tokenEvent(event string, token secret.String, expires time.Time) eventlog.Event {
	return eventlog.Event{Name: event, ID: mint.ParseClaims(token.Reveal()).ID,
		Expires: expires}
}

// noteFailure logs an event that was for nothing.
func (s *Session) noteFailure(event string, err error) {
	if errors.Is(err, context.Canceled) {
		return // by whoever has asked, who knows
	}
	s.note(eventlog.Event{Name: event, Kind: errorName(err), Error: err.Error()})
}

// note writes to the profile's log, if it has one. A log that fails costs a warning.
func (s *Session) note(e eventlog.Event) {
	if err := s.writeLog(e); err != nil {
		if s.warn == nil {
			s.Host.Log.Warn(err)
			return
		}
		s.warn(err)
	}
}

func (s *Session) writeLog(e eventlog.Event) error {
	e.At, e.Profile = s.Host.Now(), s.Profile.Name
	return eventlog.To(s.Profile.Log).Write(e)
}

// NoteMint logs a token that was requested past Mint.
func (s *Session) NoteMint(grant mint.Grant) error {
	return s.writeLog(tokenEvent(eventMinted, grant.Token, grant.ExpiresAt))
}

// CheckLog adds a line to the profile's log, which says that this was tried.
func (s *Session) CheckLog() error { return s.writeLog(eventlog.Event{Name: eventChecked}) }

// noting is what the cache calls for a mint, which is logged when it fails.
func (s *Session) noting(try func(context.Context) (mint.Grant, error),
) func(context.Context) (keyring.Entry, error) {
	return func(ctx context.Context) (keyring.Entry, error) {
		grant, err := try(ctx)
		if err == nil {
			s.Host.Log.Debug("compared the clocks", "skew", grant.Skew)
		} else if ctx.Err() == nil {
			s.noteFailure(eventMintFailed, err)
		}
		return call.Entry(grant), err
	}
}

// stillGood is Accepts, and logs a token that is refused before its time.
func (s *Session) stillGood(ctx context.Context, token secret.String) (bool, error) {
	accepted, err := s.Accepts(ctx, token)
	if err == nil && !accepted {
		s.noteToken(eventTokenRefused, token, time.Time{})
	}
	return accepted, err
}
