package cache

import (
	"errors"
	"os"
	"time"
)

// warningHolds is how long a warning is worth telling: after a day without a call nobody knows
// whether what it is about is still so.
const warningHolds = 24 * time.Hour

// warning is what went wrong in a call that was answered. Clients show standard error to whoever
// uses them, and some take it for a part of the answer, so it is kept for those who ask.
type warning struct {
	At    time.Time `json:"at"`
	Text  string    `json:"text"`
	Kinds uint64    `json:"kinds"` // as a failure's
}

// noteWarnings keeps the warnings of a call that was answered, and forgets those of earlier ones.
func (c *callLog) noteWarnings(problems []error, now time.Time) {
	if c.file == nil {
		return
	}
	if len(problems) > 0 {
		err := errors.Join(problems...)
		w := warning{At: now, Text: shortened(err.Error()), Kinds: kindsOf(err, c.kinds)}
		c.writeBlock(warningOffset, warningSize, w)
		return
	}
	length := make([]byte, 4) // of what is there; all that a hit reads
	n, _ := c.file.ReadAt(length, warningOffset)
	if n == len(length) && [4]byte(length) != [4]byte{} {
		_, _ = c.file.WriteAt(make([]byte, warningSize), warningOffset)
	}
}

// Warning is what went wrong in the last call for a key that was answered all the same, of those
// whose way nothing has gone right since. The zero time: nothing, or nothing that is still worth
// telling.
func Warning(dir, key string, kinds []error, now time.Time) (at time.Time, problem error) {
	for _, path := range Files(dir, key) {
		w, found := readWarning(path)
		if age := now.Sub(w.At); found && age >= 0 && age < warningHolds && w.At.After(at) {
			at, problem = w.At, remember(w.Text, w.Kinds, kinds)
		}
	}
	return at, problem
}

func readWarning(path string) (w warning, found bool) {
	if !regularOrAbsent(path) {
		return w, false
	}
	file, err := os.Open(path)
	if err != nil {
		return w, false
	}
	defer file.Close()
	b := make([]byte, warningSize)
	n, _ := file.ReadAt(b, warningOffset)
	return w, n == len(b) && decodeBlock(b, &w)
}
