//go:build linux

package e2e_test

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

// tokenForm is a JSON Web Token in compact form whose header and payload are JSON objects (RFC 7519).
var tokenForm = regexp.MustCompile(`eyJ[A-Za-z0-9_-]+\.eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+`)

// secrets are the tokens that the tests have seen: in the answers of the program, in its stores, on their way through a
// proxy.
type secrets struct {
	mu     sync.Mutex
	tokens map[string]bool
}

// note takes every token out of text.
func (s *secrets) note(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tokens == nil {
		s.tokens = map[string]bool{}
	}
	for _, token := range tokenForm.FindAllString(text, -1) {
		s.tokens[token] = true
	}
}

func (s *secrets) all() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Keys(s.tokens))
}

// piece is the length of the shortest part of a signature that is recognised wherever it begins in a text, less one. 16
// characters of base64 do not meet by chance.
const piece = 16

// finder recognises tokens, and parts of the signatures of known ones in some encodings: a finder holds every piece of
// them at a multiple of its length.
type finder map[string]bool

func newFinder(tokens []string) finder {
	f := finder{}
	for _, token := range tokens {
		for _, form := range forms(token[strings.LastIndexByte(token, '.')+1:]) {
			for ; len(form) >= piece; form = form[piece:] {
				f[form[:piece]] = true
			}
		}
	}
	return f
}

// forms are the ways in which text may be written: as it is, hexadecimal, and in base64 within a longer text, where it
// may begin at each of three places.
func forms(text string) []string {
	list := []string{text, hex.EncodeToString([]byte(text))}
	for shift := range 3 {
		shifted := append(make([]byte, shift), text...)
		for _, encoding := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			encoded := encoding.EncodeToString(shifted)
			list = append(list, encoded[4:len(encoded)-4]) // the ends depend on what is before and after
		}
	}
	return list
}

// find says what is in data that must not be there; empty when there is nothing.
func (f finder) find(data []byte) string {
	if tokenForm.Match(data) {
		return "a token"
	}
	for start := 0; start < len(data); {
		end := start
		for end < len(data) && encodes(data[end]) {
			end++
		}
		for i := start; i+piece <= end; i++ {
			if f[string(data[i:i+piece])] {
				return "a part of a signature"
			}
		}
		start = end + 1
	}
	return ""
}

func encodes(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_' || c == '+' || c == '/'
}

// leaks names every place where a token is that should not be there.
func (w *world) leaks() []string {
	f := newFinder(w.secrets.all())
	return slices.Concat(w.seen.leaks(f), f.inFiles(w.root))
}

func (r *record) leaks(f finder) (leaks []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, result := range r.results {
		places := map[string]string{"the arguments": result.String(), "the environment": strings.Join(result.env, "\n"),
			"the standard error": result.stderr}
		if !result.printsToken {
			places["the standard output"] = result.stdout
		}
		for place, text := range places {
			if found := f.find([]byte(text)); found != "" {
				leaks = append(leaks, fmt.Sprintf("%s of %q: %s", place, f.hide(result.args), found))
			}
		}
	}
	for text := range r.seen {
		if found := f.find([]byte(text)); found != "" {
			name, _, _ := strings.Cut(text, "\x00")
			leaks = append(leaks, fmt.Sprintf("the arguments or the environment of a process that begin with %q: %s", name, found))
		}
	}
	return leaks
}

// hide takes out of a command line what it should not show.
func (f finder) hide(args []string) []string {
	args = slices.Clone(args)
	for i, arg := range args {
		if f.find([]byte(arg)) != "" {
			args[i] = "REDACTED"
		}
	}
	return args
}

// inFiles looks through every file below folder, gnome-keyring's own among them: those are encrypted.
func (f finder) inFiles(folder string) (leaks []string) {
	err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return nil // gone meanwhile, or a socket
		}
		data, err := os.ReadFile(path)
		if found := f.find(data); err == nil && found != "" {
			leaks = append(leaks, fmt.Sprintf("the file %q: %s", path, found))
		}
		return nil
	})
	if err != nil {
		leaks = append(leaks, fmt.Sprintf("(nobody knows: %v)", err))
	}
	return leaks
}

func (w *world) summary() string {
	w.seen.mu.Lock()
	defer w.seen.mu.Unlock()
	return fmt.Sprintf("searched for %d tokens in what %d commands were given and said, in %d command lines and environments, and in every file",
		len(w.secrets.all()), len(w.seen.results), len(w.seen.seen))
}

func TestTheSearchFindsTokensAndPartsOfThem(t *testing.T) {
	const header, payload = "eyJhbGciOiJSUzI1NiIsImtpZCI6IngifQ", "eyJzdWIiOiJzeXN0ZW06c2VydmljZWFjY291bnQ6eDp5In0"
	signature := strings.Repeat("Ab3-_9", 8) + strings.Repeat("kLmN0p", 8) + strings.Repeat("Zz42-q", 9)
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
		{"a token in base64", base64.StdEncoding.EncodeToString([]byte(`{"token":"` + token + `"}`)), true},
		{"a token in base64, one byte later", base64.StdEncoding.EncodeToString([]byte(`{"token": "` + token + `"}`)), true},
		{"a token in base64, two bytes later", base64.URLEncoding.EncodeToString([]byte(`{"token":  "` + token + `"}`)), true},
		{"a token in hexadecimal", hex.EncodeToString([]byte(token)), true},
		{"a token among zeros", string(slices.Concat(make([]byte, 5000), []byte(token))), true},
		{"only the header", header, false},
		{"header and payload", header + "." + payload, false},
		{"nothing", "", false},
		{"other text", strings.Repeat("sa-exec-credential: error: no such profile\n", 9), false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if found := f.find([]byte(test.text)); (found != "") != test.found {
				t.Errorf("found %q", found)
			}
		})
	}
}

func TestTheSearchLooksAtEverything(t *testing.T) {
	const token = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJlLXNpZ25hdHVyZS1zaWduYXR1cmU"
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, ".hidden"), []byte("x\x00"+token), 0o400); err != nil {
		t.Fatal(err)
	}
	r := &record{seen: map[string]bool{"kubectl\x00--token=" + token: true, "sh\x00-c": true}}
	r.add(result{command: command{args: []string{"get"}, printsToken: true}, stdout: token})
	r.add(result{command: command{args: []string{"status"}}, stdout: token})
	r.add(result{command: command{args: []string{"get"}, printsToken: true}, stderr: token})
	r.add(result{command: command{args: []string{"curl", "-H", token}}})
	r.add(result{command: command{args: []string{"get"}, env: []string{"TOKEN=" + token}}})
	f := newFinder([]string{token})
	leaks := strings.Join(append(r.leaks(f), f.inFiles(folder)...), "\n")
	if strings.Count(leaks, "\n") != 5 || strings.Contains(leaks, token) {
		t.Errorf("this should be six leaks, without the token itself:\n%s", leaks)
	}
}
