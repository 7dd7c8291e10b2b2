package kubeconfig

import (
	"errors"
	"reflect"
	"sync"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/yamledit"
)

const (
	// fewest entries are not waited for others.
	fewest = 8
	// mergePatience is how long an entry waits for others to be written with, at least.
	mergePatience = 2 * time.Second
	// mergeShare is how many times as long as the last write took it waits: no more than a
	// tenth of the time goes into writing what somebody has waited for long.
	mergeShare = 10
)

// Batch puts entries into the same kubeconfig files for several callers. To read, prove and write a
// file of a thousand contexts takes half a second, so entries wait until there are as many as have
// been written before, until nobody is left who could come, or until one has waited for long: what
// is written for all of them together grows with their number, and not with its square.
type Batch struct {
	paths   []string
	checked map[string]Entry // by profile

	mutex   sync.Mutex
	callers int // that have neither merged nor left
	waiting []*pending
	merged  int
	writing bool
	took    time.Duration // the last write
	timer   *time.Timer   // nil: none is waiting, or they are being written
}

// pending is one caller's entry.
type pending struct {
	entry  *Entry
	done   chan struct{}
	merged Merged
	err    error
}

// Merged is what has come of an entry.
type Merged struct {
	// Changed can also be true because of an entry that was merged together with this one.
	Changed bool
	// Files are read when somebody asks for them first, once for all of one write.
	Files func() (*Files, error)
}

// NewBatch returns a batch for the files. Each of the callers calls Merge or Leave once.
func NewBatch(paths []string, callers int) *Batch {
	return &Batch{paths: paths, callers: callers}
}

// Check has CanMerge answer for entries, where all of them can be merged, from what the files hold
// now. It comes before everything else.
func (b *Batch) Check(entries []Entry) {
	checked := map[string]Entry{}
	pointers := make([]*Entry, len(entries))
	for i, entry := range entries {
		checked[entry.Profile] = entry
		pointers[i] = &entry
	}
	if canMerge(b.paths, pointers, false) == nil {
		b.checked = checked
	}
}

// CanMerge is the package's.
func (b *Batch) CanMerge(entry Entry) error {
	if known, found := b.checked[entry.Profile]; found && reflect.DeepEqual(known, entry) {
		return nil
	}
	return CanMerge(b.paths, entry, false)
}

// Merge is the package's MergeAs. An entry that cannot be merged does not keep the others from it.
func (b *Batch) Merge(entry *Entry) (Merged, error) {
	mine := &pending{entry: entry, done: make(chan struct{})}
	b.mutex.Lock()
	b.callers--
	b.waiting = append(b.waiting, mine)
	b.proceed(false)
	b.mutex.Unlock()
	<-mine.done
	return mine.merged, mine.err
}

// Leave is for a caller that has nothing to merge.
func (b *Batch) Leave() {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	b.callers--
	b.proceed(false)
}

// proceed writes what is waiting, if it is time. The mutex is held.
func (b *Batch) proceed(isOverdue bool) {
	count := len(b.waiting)
	if b.writing || count == 0 {
		return
	}
	if !isOverdue && b.callers > 0 && count < max(fewest, b.merged) {
		if b.timer == nil {
			b.timer = time.AfterFunc(b.patience(), func() {
				b.mutex.Lock()
				defer b.mutex.Unlock()
				b.proceed(true)
			})
		}
		return
	}
	if b.timer != nil {
		b.timer.Stop()
		b.timer = nil
	}
	all := b.waiting
	b.waiting, b.writing = nil, true
	go b.write(all)
}

func (b *Batch) patience() time.Duration { return max(mergePatience, mergeShare*b.took) }

func (b *Batch) write(all []*pending) {
	began := time.Now()
	files := sync.OnceValues(func() (*Files, error) { return Read(b.paths) })
	defer func() {
		b.mutex.Lock()
		defer b.mutex.Unlock()
		b.merged += len(all)
		b.writing, b.took = false, time.Since(began)
		for _, p := range all {
			p.merged.Files = files
			close(p.done)
		}
		b.proceed(false)
	}()
	b.mergeTogether(all)
}

// mergeTogether merges the halves each by itself where one entry stands in the way of all.
func (b *Batch) mergeTogether(all []*pending) {
	entries := make([]*Entry, len(all))
	for i, p := range all {
		entries[i] = p.entry
	}
	changed, err := mergeAll(b.paths, entries, false)
	if len(all) > 1 && isOfEntry(err) {
		b.mergeTogether(all[:len(all)/2])
		b.mergeTogether(all[len(all)/2:])
		return
	}
	for _, p := range all {
		p.merged.Changed, p.err = changed, err
	}
}

// isOfEntry tells what is wrong with an entry from what is wrong with the files.
func isOfEntry(err error) bool {
	for _, kind := range []error{ErrEntry, ErrForeign, yamledit.ErrUnsupported} {
		if errors.Is(err, kind) {
			return true
		}
	}
	return false
}
