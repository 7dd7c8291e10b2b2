//go:build linux

package lab

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// compact is a JSON Web Token in compact form whose header and payload are JSON objects (RFC 7519),
// inBase64 one that is in base64 once more, as in a Secret. Apart, each is looked for by its first
// letters, which is a thousand times as fast.
var (
	compact  = regexp.MustCompile(`eyJ[A-Za-z0-9_-]+\.eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+`)
	inBase64 = regexp.MustCompile(`ZXlK[A-Za-z0-9+/]{60,}`)
)

func tokensIn(data []byte) [][]byte {
	return append(compact.FindAll(data, -1), inBase64.FindAll(data, -1)...)
}

// TokenIn returns the first token in text, and nothing when there is none.
func TokenIn(text string) string { return compact.FindString(text) }

// TokensIn counts the tokens in text.
func TokensIn(text string) int { return len(tokensIn([]byte(text))) }

// Note makes known the tokens in a text, so that they are searched for.
func Note(text string) { shared.tokens.note(text) }

// Leak says what is in data that must not be there; empty when there is nothing.
func Leak(data string) string { return newFinder(shared.tokens.all()).find([]byte(data)) }

// NoTokenInFiles looks through the home as it is now.
func (m *Machine) NoTokenInFiles() {
	m.Helper()
	for _, leak := range newFinder(shared.tokens.all()).inFiles(m.Home) {
		m.Error(leak)
	}
}

// tokens are those that the tests have seen: in the answers of the program, in its stores, on
// their way through a proxy.
type tokens struct {
	mu    sync.Mutex
	known map[string]bool // false: permitted
}

// Permit says that a token is where it has to be for the test's sake, as in a variable, and is
// not searched for.
func Permit(token string) {
	shared.tokens.mu.Lock()
	defer shared.tokens.mu.Unlock()
	if shared.tokens.known == nil {
		shared.tokens.known = map[string]bool{}
	}
	shared.tokens.known[token] = false
}

func (s *tokens) permitted() map[string]bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	permitted := map[string]bool{}
	for token, searched := range s.known {
		permitted[token] = !searched
	}
	return permitted
}

// note takes every token out of text.
func (s *tokens) note(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known == nil {
		s.known = map[string]bool{}
	}
	for _, found := range tokensIn([]byte(text)) {
		token := string(found)
		if decoded, err := base64.StdEncoding.DecodeString(token); err == nil {
			token = string(decoded)
		}
		if _, seen := s.known[token]; !seen {
			s.known[token] = true
		}
	}
}

func (s *tokens) all() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []string
	for token, searched := range s.known {
		if searched {
			all = append(all, token)
		}
	}
	return all
}

// piece is the length of the shortest part of a signature that is recognised wherever it begins
// in a text, less one. 16 characters of base64 do not meet by chance.
const piece = 16

// finder recognises tokens, and parts of the signatures of known ones in some encodings.
type finder struct {
	pieces    map[string]bool // every piece of them at a multiple of its length
	permitted map[string]bool // whole tokens that are no find
}

func newFinder(tokens []string) finder {
	f := finder{pieces: map[string]bool{}, permitted: shared.tokens.permitted()}
	for _, token := range tokens {
		for _, form := range forms(token[strings.LastIndexByte(token, '.')+1:]) {
			for ; len(form) >= piece; form = form[piece:] {
				f.pieces[form[:piece]] = true
			}
		}
	}
	return f
}

// forms are the ways in which text may be written: as it is, hexadecimal, and in base64 within a
// longer text, where it may begin at each of three places.
func forms(text string) []string {
	list := []string{text, hex.EncodeToString([]byte(text))}
	for shift := range 3 {
		shifted := append(make([]byte, shift), text...)
		for _, encoding := range []*base64.Encoding{base64.RawStdEncoding,
			base64.RawURLEncoding} {
			encoded := encoding.EncodeToString(shifted)
			// the ends depend on what is before and after
			list = append(list, encoded[4:len(encoded)-4])
		}
	}
	return list
}

// find says what is in data that must not be there; empty when there is nothing.
func (f finder) find(data []byte) string {
	for _, token := range tokensIn(data) {
		if !f.permitted[string(token)] {
			return "a token"
		}
	}
	for start := 0; start+piece <= len(data); {
		end := start + piece
		for end > start && encodes(data[end-1]) {
			end--
		}
		if end > start { // too short, and passed over: most of a file is
			start = end
			continue
		}
		for end = start + piece; end < len(data) && encodes(data[end]); {
			end++
		}
		for i := start; i+piece <= end; i++ {
			if f.pieces[string(data[i:i+piece])] {
				return "a part of a signature"
			}
		}
		start = end + 1
	}
	return ""
}

func encodes(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' ||
		c == '_' || c == '+' || c == '/'
}

// leaks names every place where a token is that should not be there.
func leaks() []string {
	f := newFinder(shared.tokens.all())
	return slices.Concat(shared.seen.leaks(f), f.inFiles(shared.root))
}

func (r *record) leaks(f finder) (leaks []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, result := range r.results {
		places := map[string]string{"the arguments": result.String(),
			"the environment":    strings.Join(result.Env, "\n"),
			"the standard error": result.Stderr}
		if !result.PrintsToken {
			places["the standard output"] = result.Stdout
		}
		for place, text := range places {
			if found := f.find([]byte(text)); found != "" {
				leaks = append(leaks, fmt.Sprintf("%s of %q: %s", place,
					f.hide(result.Args), found))
			}
		}
	}
	for text := range r.seen {
		if found := f.find([]byte(text)); found != "" {
			name, _, _ := strings.Cut(text, "\x00")
			leaks = append(leaks, fmt.Sprintf("the arguments or the environment of a "+
				"process that begin with %q: %s", name, found))
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

// inFiles looks through every file below dir, gnome-keyring's own among them: those are encrypted.
func (f finder) inFiles(dir string) (leaks []string) {
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
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

func summary() string {
	shared.seen.mu.Lock()
	defer shared.seen.mu.Unlock()
	return fmt.Sprintf("searched for %d tokens in what %d commands were given and said, in "+
		"%d command lines and environments, and in every file",
		len(shared.tokens.all()), len(shared.seen.results), len(shared.seen.seen))
}
