//go:build linux

package lab

import (
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestTheSearchFindsTokensAndPartsOfThem(t *testing.T) {
	const header, payload = "eyJhbGciOiJSUzI1NiIsImtpZCI6IngifQ",
		"eyJzdWIiOiJzeXN0ZW06c2VydmljZWFjY291bnQ6eDp5In0"
	sum := sha512.Sum512([]byte("anything that does not repeat itself"))
	signature := base64.RawURLEncoding.EncodeToString(append(sum[:], sum[7:]...))
	token := header + "." + payload + "." + signature
	f := newFinder([]string{token})
	tests := []struct {
		name, text string
		found      bool
	}{
		{"a token", "Authorization: Bearer " + token, true},
		{"another token", header + "." + payload + ".c2lnbmF0dXJl", true},
		{"the signature alone", signature, true},
		{"the signature's end", `"` + signature[len(signature)-40:], true},
		{"a part from its middle", "x=" + signature[11:11+2*piece] + ";", true},
		{"a token in base64", base64.StdEncoding.EncodeToString([]byte(`{"token":"` +
			token + `"}`)), true},
		{"a token in base64, one byte later", base64.StdEncoding.EncodeToString([]byte(`{"token": "` + token + `"}`)), true},
		{"a token in base64, two bytes later",
			base64.URLEncoding.EncodeToString([]byte(`{"token":  "` + token + `"}`)),
			true},
		{"a token in hexadecimal", hex.EncodeToString([]byte(token)), true},
		{"a token among zeros", string(slices.Concat(make([]byte, 5000), []byte(token))),
			true},
		{"only the header", header, false},
		{"header and payload", header + "." + payload, false},
		{"nothing", "", false},
		{"other text", strings.Repeat("sa-exec-credential: error: no such profile\n", 9),
			false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if found := f.find([]byte(test.text)); (found != "") != test.found {
				t.Errorf("found %q", found)
			}
		})
	}
}

func TestTheSearchPassesOverWhatATestPermits(t *testing.T) {
	const token = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ5In0.cGVybWl0dGVkLXNpZ25hdHVyZQ"
	Note(token)
	Permit(token)
	for text, found := range map[string]bool{"TOKEN=" + token: false, token[:len(token)-1] +
		"x": true, token + " " + token + "x": true} {
		if leak := Leak(text); (leak != "") != found {
			t.Errorf("in %q it finds %q", text, leak)
		}
	}
}

func TestTheSearchLooksAtEverything(t *testing.T) {
	const token = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJlLXNpZ25hdHVyZS1zaWduYXR1cmU"
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, ".hidden"), []byte("x\x00"+token),
		0o400); err != nil {
		t.Fatal(err)
	}
	r := &record{seen: map[string]bool{"kubectl\x00--token=" + token: true, "sh\x00-c": true}}
	r.add(Result{Command: Command{Args: []string{"get"}, PrintsToken: true}, Stdout: token})
	r.add(Result{Command: Command{Args: []string{"status"}}, Stdout: token})
	r.add(Result{Command: Command{Args: []string{"get"}, PrintsToken: true}, Stderr: token})
	r.add(Result{Command: Command{Args: []string{"curl", "-H", token}}})
	r.add(Result{Command: Command{Args: []string{"get"}, Env: []string{"TOKEN=" + token}}})
	f := newFinder([]string{token})
	leaks := strings.Join(append(r.leaks(f), f.inFiles(dir)...), "\n")
	if strings.Count(leaks, "\n") != 5 || strings.Contains(leaks, token) {
		t.Errorf("this should be six leaks, without the token itself:\n%s", leaks)
	}
}
