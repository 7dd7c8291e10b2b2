package kubeconfig

import "sync"

// Batch puts entries into the same kubeconfig files for several callers at a time. Reading, proving
// and writing a file of some hundred contexts takes a tenth of a second: what is asked for
// meanwhile is merged next, all of it together.
type Batch struct {
	paths   []string
	turn    sync.Mutex // held by whoever writes
	queue   sync.Mutex // guards waiting
	waiting []*pending
}

// pending is one caller's entry. Whoever writes it fills in the rest.
type pending struct {
	entry   *Entry
	done    bool
	changed bool
	err     error
}

// NewBatch returns a batch for the files.
func NewBatch(paths []string) *Batch { return &Batch{paths: paths} }

// Merge is the package's MergeAs. An entry that cannot be merged does not keep the others from it.
// changed can also be true because of an entry that was merged together with this one.
func (b *Batch) Merge(entry *Entry) (changed bool, err error) {
	mine := &pending{entry: entry}
	b.queue.Lock()
	b.waiting = append(b.waiting, mine)
	b.queue.Unlock()
	b.turn.Lock()
	defer b.turn.Unlock()
	if !mine.done {
		b.write(b.take())
	}
	return mine.changed, mine.err
}

func (b *Batch) take() []*pending {
	b.queue.Lock()
	defer b.queue.Unlock()
	taken := b.waiting
	b.waiting = nil
	return taken
}

func (b *Batch) write(all []*pending) {
	entries := make([]*Entry, len(all))
	for i, p := range all {
		entries[i] = p.entry
	}
	changed, err := mergeAll(b.paths, entries, false)
	for _, p := range all {
		p.done, p.changed, p.err = true, changed, err
		if err != nil && len(all) > 1 {
			p.changed, p.err = MergeAs(b.paths, p.entry, false)
		}
	}
}
