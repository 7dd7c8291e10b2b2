package cache

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"hash/crc32"
	"os"
	"path/filepath"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/secret"
)

// How long what was learned about a caller holds.
const (
	// quiet is how long after a check, or a mint, a caller's repeats are not checked again. The API server itself
	// remembers a token review for about ten seconds, so asking more often would learn nothing.
	quiet = 15 * time.Second
	// failureHolds is how long a failed mint answers its caller's repeats: kubectl asks up to six times a command.
	failureHolds = 5 * time.Second
)

// The file of a key's calls has room for one failure, then a table in which each caller has one slot by its hash. Its
// size is fixed, so it needs no cleaning up. Two callers that share a slot overwrite each other, which costs at most a
// 401 that is noticed one call later.
const (
	failureSize = 1024 // bytes
	slotSize    = 40   // bytes: four numbers of 8, a checksum, 4 unused
	slots       = 256
)

// Caller identifies the process that runs the plugin. The start time tells it from another one with the same id later.
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

// calls remembers, without a secret, which process was answered with which token. Everything about it may fail: then
// nothing is remembered.
type calls struct {
	file  *os.File // nil: nothing is remembered
	kinds []error
}

func openCalls(folder, key string, kinds []error) *calls {
	if folder == "" {
		return &calls{}
	}
	file, err := os.OpenFile(filepath.Join(folder, fileName(key)+".calls"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return &calls{}
	}
	return &calls{file: file, kinds: kinds}
}

func (c *calls) close() {
	if c.file != nil {
		_ = c.file.Close()
	}
}

// record is one slot: what a caller was told last.
type record struct {
	caller  uint64 // hash
	token   uint64 // first bytes of its SHA-256
	expires int64  // reported; Unix nanoseconds
	checked int64  // when the API server last vouched for the token; Unix nanoseconds, 0 for never
}

func (r record) encode() []byte {
	b := make([]byte, slotSize)
	binary.LittleEndian.PutUint64(b, r.caller)
	binary.LittleEndian.PutUint64(b[8:], r.token)
	binary.LittleEndian.PutUint64(b[16:], uint64(r.expires))
	binary.LittleEndian.PutUint64(b[24:], uint64(r.checked))
	binary.LittleEndian.PutUint32(b[32:], crc32.ChecksumIEEE(b[:32]))
	return b
}

func offset(caller uint64) int64 { return failureSize + int64(caller%slots)*slotSize }

// find returns the caller's record if it is about this token.
func (c *calls) find(caller Caller, token secret.String) (record, bool) {
	if c.file == nil {
		return record{}, false
	}
	b := make([]byte, slotSize)
	if _, err := c.file.ReadAt(b, offset(caller.hash())); err != nil {
		return record{}, false
	}
	if binary.LittleEndian.Uint32(b[32:]) != crc32.ChecksumIEEE(b[:32]) {
		return record{}, false
	}
	r := record{
		caller:  binary.LittleEndian.Uint64(b),
		token:   binary.LittleEndian.Uint64(b[8:]),
		expires: int64(binary.LittleEndian.Uint64(b[16:])),
		checked: int64(binary.LittleEndian.Uint64(b[24:])),
	}
	return r, r.caller == caller.hash() && r.token == shortHash([]byte(token.Reveal()))
}

func (c *calls) write(r record) {
	if c.file != nil {
		_, _ = c.file.WriteAt(r.encode(), offset(r.caller))
	}
}

// suspicious reports whether the caller asks again although it has this token and was told that it is still good.
func (c *calls) suspicious(caller Caller, token secret.String, now time.Time) bool {
	r, found := c.find(caller, token)
	if !found || !now.Before(time.Unix(0, r.expires)) {
		return false
	}
	since := now.Sub(time.Unix(0, r.checked))
	return since >= quiet || since < 0 // below zero: the clock was set back
}

// answered notes what the caller is told.
func (c *calls) answered(caller Caller, token secret.String, expires time.Time) {
	old, found := c.find(caller, token)
	if found && old.expires == expires.UnixNano() {
		return
	}
	checked := int64(0)
	if found {
		checked = old.checked
	}
	c.write(record{caller.hash(), shortHash([]byte(token.Reveal())), expires.UnixNano(), checked})
}

// checked notes that the API server has just vouched for the token.
func (c *calls) checked(caller Caller, token secret.String, now time.Time) {
	old, _ := c.find(caller, token)
	c.write(record{caller.hash(), shortHash([]byte(token.Reveal())), old.expires, now.UnixNano()})
}

// failure is a mint that did not work out.
type failure struct {
	Caller uint64    `json:"caller"`
	At     time.Time `json:"at"`
	Text   string    `json:"text"`
	Kinds  uint64    `json:"kinds"` // bit i: it wraps the cache's i-th kind
}

// remembered is the error of another process.
type remembered struct {
	text  string
	kinds []error
}

func (r *remembered) Error() string   { return r.text }
func (r *remembered) Unwrap() []error { return r.kinds }

func (c *calls) rememberFailure(caller Caller, now time.Time, err error) {
	if c.file == nil || errors.As(err, new(*remembered)) {
		return
	}
	f := failure{Caller: caller.hash(), At: now, Text: err.Error()}
	for i, kind := range c.kinds {
		if errors.Is(err, kind) {
			f.Kinds |= 1 << i
		}
	}
	encoded, err := json.Marshal(f)
	if err != nil || len(encoded) > failureSize-8 {
		return
	}
	b := make([]byte, failureSize)
	binary.LittleEndian.PutUint32(b, uint32(len(encoded)))
	binary.LittleEndian.PutUint32(b[4:], crc32.ChecksumIEEE(encoded))
	copy(b[8:], encoded)
	_, _ = c.file.WriteAt(b, 0)
}

// failure returns the last failed mint if it was for the same caller and a moment ago, or for anybody after the time
// since; a zero since means the same caller only.
func (c *calls) failure(caller Caller, now, since time.Time) (error, bool) {
	f, found := c.readFailure()
	if !found {
		return nil, false
	}
	age := now.Sub(f.At)
	own := f.Caller == caller.hash() && age >= 0 && age < failureHolds
	shared := !since.IsZero() && !f.At.Before(since)
	if !own && !shared {
		return nil, false
	}
	r := &remembered{text: f.Text}
	for i, kind := range c.kinds {
		if f.Kinds&(1<<i) != 0 {
			r.kinds = append(r.kinds, kind)
		}
	}
	return r, true
}

func (c *calls) readFailure() (failure, bool) {
	if c.file == nil {
		return failure{}, false
	}
	b := make([]byte, failureSize)
	if _, err := c.file.ReadAt(b, 0); err != nil {
		return failure{}, false
	}
	length := binary.LittleEndian.Uint32(b)
	if length == 0 || length > failureSize-8 {
		return failure{}, false
	}
	encoded := b[8 : 8+length]
	var f failure
	if binary.LittleEndian.Uint32(b[4:]) != crc32.ChecksumIEEE(encoded) || json.Unmarshal(encoded, &f) != nil {
		return failure{}, false
	}
	return f, true
}

// forgetFailure lets the next caller try again.
func (c *calls) forgetFailure() {
	if _, found := c.readFailure(); found {
		_, _ = c.file.WriteAt(make([]byte, failureSize), 0)
	}
}

// Files names the files in folder that are kept for key, whether they exist or not.
func Files(folder, key string) []string {
	if folder == "" {
		return nil
	}
	base := filepath.Join(folder, fileName(key))
	return []string{base + ".lock", base + ".calls"}
}
