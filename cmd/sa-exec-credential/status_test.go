package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/internal/secret"
)

// hostile is what a terminal would obey: a control sequence, and what turns the order of what
// follows.
const hostile = "id\u009b2J\u202d\u2066\u2028x"

// tokenWithID has the id as its claim, which whoever made the token chose.
func tokenWithID(t *testing.T, id string) secret.String {
	t.Helper()
	claims, err := json.Marshal(map[string]string{"jti": id})
	if err != nil {
		t.Fatal(err)
	}
	return secret.New("e30." + base64.RawURLEncoding.EncodeToString(claims) + ".c2ln")
}

func TestStatusPrintsNothingThatATerminalObeys(t *testing.T) {
	for _, output := range []string{"table", "json", "yaml"} {
		t.Run("an id as "+output, func(t *testing.T) {
			entry := keyring.Entry{Token: tokenWithID(t, hostile), IssuedAt: time.Now(),
				ExpiresAt: time.Now().Add(time.Hour)}
			wantTame(t, &oddStore{entry: entry}, output)
		})
		t.Run("an error as "+output, func(t *testing.T) {
			wantTame(t, &oddStore{getErr: fmt.Errorf("%w: %s", keyring.ErrUnavailable,
				hostile)}, output)
		})
	}
}

// wantTame expects hostile to be printed with nothing in it that is.
func wantTame(t *testing.T, store keyring.Store, output string) {
	t.Helper()
	env := withStore(t, store)
	profileIn(t, env, "p")
	code, stdout, stderr := runIn(env, "status", "-o", output)
	if code != exitDone || stderr != "" {
		t.Errorf("exit code %d, %q", code, stderr)
	}
	if !strings.Contains(stdout, "id?2J???x") {
		t.Errorf("what is harmless is gone: %q", stdout)
	}
	for _, r := range stdout {
		if r != '\n' && unicode.In(r, unicode.Cc, unicode.Bidi_Control, unicode.Zl,
			unicode.Zp) {
			t.Errorf("%U is printed in %q", r, stdout)
		}
	}
}
