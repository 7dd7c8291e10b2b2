package cache

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"hash/crc32"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/secret"
)

// How long what was learned about a caller holds.
const (
	// quiet is how long after a check, or a mint, a caller's repeats are not checked again.
	// The API server itself remembers a token review for about ten seconds, so asking more
	// often would learn nothing. It doubles with every check up to longestQuiet: a shell that
	// runs the plugin for each of its requests repeats itself for no reason.
	quiet        = 15 * time.Second
	longestQuiet = 5 * time.Minute
	// failureHolds is how long a failed mint answers its caller's repeats: kubectl asks up to
	// six times a command.
	failureHolds = 5 * time.Second
)

// The file of a key's calls has room for one failure, then a table in which each caller has one
// slot by its hash, then a count, then room for one warning. Its size is fixed, so it needs no
// cleaning up. Two callers that share a slot overwrite each other, which costs at most a 401 that
// is noticed one call later.
const (
	failureSize = 1024 // bytes
	slotSize    = 40   // bytes: four numbers of 8, one of 4, a checksum
	slots       = 256

	countOffset = failureSize + slots*slotSize // of the number of tokens stored, 8 bytes

	warningOffset = countOffset + 8
	warningSize   = 1024 // bytes
)

// Caller identifies the process that runs the plugin. The start time tells it from another one with
// the same id later.
type Caller struct {
	PID   int
	Start uint64 // in the system's own unit; 0 when unknown
}

func (c Caller) hash() uint64 {
	var b [16]byte
	binary.LittleEndian.PutUint64(b[:], uint64(c.PID))
	binary.LittleEndian.PutUint64(b[8:], c.Start)
	return shortHash(b[:])
}

func shortHash(b []byte) uint64 {
	sum := sha256.Sum256(b)
	return binary.LittleEndian.Uint64(sum[:])
}

// callLog remembers, without a secret, which process was answered with which token. Everything
// about it may fail: then nothing is remembered.
type callLog struct {
	file  *os.File // nil: nothing is remembered
	kinds []error
	hung  bool // in this call the store has let us wait, for nothing
}

func openCallLog(dir, name string, kinds []error) *callLog {
	if dir == "" {
		return &callLog{}
	}
	path := filepath.Join(dir, name+callsExtension)
	if !regularOrAbsent(path) {
		return &callLog{}
	}
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return &callLog{}
	}
	return &callLog{file: file, kinds: kinds}
}

func (c *callLog) close() {
	if c.file != nil {
		_ = c.file.Close()
	}
}

// record is one slot: what a caller was told last.
type record struct {
	caller  uint64 // hash
	token   uint64 // first bytes of its SHA-256
	expires int64  // reported; Unix nanoseconds
	// when the API server last vouched for a token of this caller; Unix nanoseconds, 0 for
	// never
	checked int64
	quiet   uint32 // seconds after that in which it is not asked again
}

func (r record) encode() []byte {
	b := make([]byte, slotSize)
	binary.LittleEndian.PutUint64(b, r.caller)
	binary.LittleEndian.PutUint64(b[8:], r.token)
	binary.LittleEndian.PutUint64(b[16:], uint64(r.expires))
	binary.LittleEndian.PutUint64(b[24:], uint64(r.checked))
	binary.LittleEndian.PutUint32(b[32:], r.quiet)
	binary.LittleEndian.PutUint32(b[36:], crc32.ChecksumIEEE(b[:36]))
	return b
}

func decodeRecord(b []byte) (record, bool) {
	if len(b) != slotSize || binary.LittleEndian.Uint32(b[36:]) != crc32.ChecksumIEEE(b[:36]) {
		return record{}, false
	}
	return record{
		caller:  binary.LittleEndian.Uint64(b),
		token:   binary.LittleEndian.Uint64(b[8:]),
		expires: int64(binary.LittleEndian.Uint64(b[16:])),
		checked: int64(binary.LittleEndian.Uint64(b[24:])),
		quiet:   binary.LittleEndian.Uint32(b[32:]),
	}, true
}

// sinceChecked is how long ago the API server was asked; a clock that was set back makes it very
// long.
func (r record) sinceChecked(now time.Time) time.Duration {
	since := now.Sub(time.Unix(0, r.checked))
	if since < 0 {
		return math.MaxInt64
	}
	return since
}

func offset(caller uint64) int64 { return failureSize + int64(caller%slots)*slotSize }

// stored counts how often a new token has been put into the store. It is false when that is not
// known.
func (c *callLog) stored() (count uint64, known bool) {
	if c.file == nil {
		return 0, false
	}
	b := make([]byte, 8)
	n, err := c.file.ReadAt(b, countOffset)
	if err != nil && !(errors.Is(err, io.EOF) && n == 0) {
		return 0, false
	}
	return binary.LittleEndian.Uint64(b), true
}

// noteStored counts a token that has been put into the store. Its caller holds the lock.
func (c *callLog) noteStored() {
	if count, known := c.stored(); known {
		_, _ = c.file.WriteAt(binary.LittleEndian.AppendUint64(nil, count+1), countOffset)
	}
}

// of returns the caller's record; one that holds nothing but the caller when there is none.
func (c *callLog) of(caller Caller) record {
	hash := caller.hash()
	b := make([]byte, slotSize)
	if c.file != nil {
		if _, err := c.file.ReadAt(b, offset(hash)); err == nil {
			if r, ok := decodeRecord(b); ok && r.caller == hash {
				return r
			}
		}
	}
	return record{caller: hash}
}

func (c *callLog) write(r record) {
	if c.file != nil {
		_, _ = c.file.WriteAt(r.encode(), offset(r.caller))
	}
}

func tokenHash(token secret.String) uint64 { return shortHash([]byte(token.Reveal())) }

// isRepeat reports whether the caller asks again although it has this token and was told that it is
// still good.
func (c *callLog) isRepeat(caller Caller, token secret.String, now time.Time) bool {
	r := c.of(caller)
	return r.token == tokenHash(token) && now.Before(time.Unix(0, r.expires)) &&
		r.sinceChecked(now) >= max(time.Duration(r.quiet)*time.Second, quiet)
}

// answered notes what the caller is told.
func (c *callLog) answered(caller Caller, token secret.String, expires time.Time) {
	r := c.of(caller)
	hash := tokenHash(token)
	if r.token == hash && r.expires == expires.UnixNano() {
		return
	}
	r.token, r.expires = hash, expires.UnixNano()
	c.write(r)
}

// markValid notes that the API server has just vouched for the token, or could not be asked. When
// that was because the caller had repeated itself, the caller is left alone for longer than the
// last time.
func (c *callLog) markValid(caller Caller, token secret.String, now time.Time, repeated bool) {
	r := c.of(caller)
	next := quiet
	if repeated && r.sinceChecked(now) < 4*longestQuiet {
		next = min(2*max(time.Duration(r.quiet)*time.Second, quiet), longestQuiet)
	}
	r.token, r.checked, r.quiet = tokenHash(token), now.UnixNano(), uint32(next/time.Second)
	c.write(r)
}

// failure is a mint that did not work out.
type failure struct {
	Caller uint64    `json:"caller"`
	At     time.Time `json:"at"`
	Text   string    `json:"text"`
	Kinds  uint64    `json:"kinds"`  // bit i: it wraps the cache's i-th kind
	Common bool      `json:"common"` // every process would have failed
	Hung   bool      `json:"hung"`   // the store was waited for, for nothing
}

// remembered is the error of another process.
type remembered struct {
	text  string
	kinds []error
	hung  bool // the store was waited for, for nothing, before the mint failed
}

func (r *remembered) Error() string   { return r.text }
func (r *remembered) Unwrap() []error { return r.kinds }

// storeHung reports whether a remembered failure came after the store was waited for in vain.
func storeHung(err error) bool {
	var r *remembered
	return errors.As(err, &r) && r.hung
}

// kindsOf has bit i set where err wraps the i-th kind.
func kindsOf(err error, kinds []error) (bits uint64) {
	for i, kind := range kinds {
		if errors.Is(err, kind) {
			bits |= 1 << i
		}
	}
	return bits
}

// remember is the error that bits of kindsOf stand for.
func remember(text string, bits uint64, kinds []error) *remembered {
	r := &remembered{text: text}
	for i, kind := range kinds {
		if bits&(1<<i) != 0 {
			r.kinds = append(r.kinds, kind)
		}
	}
	return r
}

func (c *callLog) rememberFailure(caller Caller, now time.Time, err error, common bool) {
	if c.file == nil {
		return
	}
	f := failure{Caller: caller.hash(), At: now, Text: shortened(err.Error()), Common: common,
		Hung: c.hung, Kinds: kindsOf(err, c.kinds)}
	c.writeBlock(0, failureSize, f)
}

// writeBlock puts a value into a part of the file, with its length and checksum; one that is too
// long is left out.
func (c *callLog) writeBlock(offset int64, size int, value any) {
	encoded, err := json.Marshal(value)
	if err != nil || len(encoded) > size-8 {
		return
	}
	b := make([]byte, size)
	binary.LittleEndian.PutUint32(b, uint32(len(encoded)))
	binary.LittleEndian.PutUint32(b[4:], crc32.ChecksumIEEE(encoded))
	copy(b[8:], encoded)
	_, _ = c.file.WriteAt(b, offset)
}

// maxText is how much of an error is remembered, in bytes. There is room for it also where JSON
// escapes some of it.
const maxText = 500

func shortened(text string) string {
	if len(text) <= maxText {
		return text
	}
	return strings.ToValidUTF8(text[:maxText], "") + "…"
}

// failedSince reports whether the last mint failed, for whomever, between since and now.
func (c *callLog) failedSince(since, now time.Time) bool {
	f, found := c.readFailure()
	return found && f.At.After(since) && !f.At.After(now)
}

// failure returns the last failed mint if it was for the same caller and a moment ago, or, where it
// was everybody's, for anybody after the time since; a zero since means the
// same caller only.
func (c *callLog) failure(caller Caller, now, since time.Time) (error, bool) {
	f, found := c.readFailure()
	if !found {
		return nil, false
	}
	age := now.Sub(f.At)
	own := f.Caller == caller.hash() && age >= 0 && age < failureHolds
	// One of the future is from before the clock was set back, and old.
	shared := f.Common && !since.IsZero() && !f.At.Before(since) && age >= 0
	if !own && !shared {
		return nil, false
	}
	r := remember(f.Text, f.Kinds, c.kinds)
	r.hung = f.Hung
	return r, true
}

func (c *callLog) readFailure() (failure, bool) {
	if c.file == nil {
		return failure{}, false
	}
	b := make([]byte, failureSize)
	if _, err := c.file.ReadAt(b, 0); err != nil && !errors.Is(err, io.EOF) {
		return failure{}, false
	}
	return decodeFailure(b)
}

func decodeFailure(b []byte) (f failure, ok bool) {
	return f, len(b) == failureSize && decodeBlock(b, &f)
}

// decodeBlock reads what writeBlock has written.
func decodeBlock(b []byte, value any) bool {
	length := binary.LittleEndian.Uint32(b)
	if length == 0 || int(length) > len(b)-8 {
		return false
	}
	encoded := b[8 : 8+length]
	return binary.LittleEndian.Uint32(b[4:]) == crc32.ChecksumIEEE(encoded) &&
		json.Unmarshal(encoded, value) == nil
}

// forgetFailure lets the next caller try again.
func (c *callLog) forgetFailure() {
	if _, found := c.readFailure(); found {
		_, _ = c.file.WriteAt(make([]byte, failureSize), 0)
	}
}

// Files names the files in directory that are kept for key, whichever way its token was minted.
func Files(dir, key string) []string {
	entries, _ := os.ReadDir(dir) // none: nothing is kept
	var files []string
	for _, entry := range entries {
		name := entry.Name()
		extension := filepath.Ext(name)
		base, isOther := strings.CutPrefix(strings.TrimSuffix(name, extension),
			fileName(key))
		isOurs := extension == lockExtension || extension == callsExtension
		if isOurs && isOther && (base == "" || strings.HasPrefix(base, "-")) {
			files = append(files, filepath.Join(dir, name))
		}
	}
	return files
}
