package profile

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/files"
	"github.com/sa-exec-credential/sa-exec-credential/internal/parallel"
)

// The index says which profiles there are for a server, so that nobody reads a thousand of them to
// find one. It is beside the directory of profiles, and only a shortcut: it counts while that
// directory has the time of change that it names, and whoever follows it reads the profile and
// compares the clusters. Where it is missing, wrong or cannot be written, profiles are read again.
//
// A line has the key of a server (see indexKey), a profile's name, and time of change and size of
// its file. What could not be read as a profile has noKey. The first line has the directory's time
// of change.

const (
	indexName   = "profiles.index"
	indexHeader = "sa-exec-credential index 1 "
	noKey       = "-"
)

// maxIndex bounds the index, in bytes: some 50,000 profiles.
const maxIndex = 16 << 20

// settled is how old a time of change has to be until another change of the same file is sure to
// show: file systems count in ticks, of 2 s at the most.
const settled = 2 * time.Second

// readers is how many profiles are read at once.
const readers = 4

// index is the content of the file.
type index struct {
	text    []byte
	written time.Time // by the clock of the file system; zero: there is none
}

func (f Dir) indexPath() string { return filepath.Join(filepath.Dir(string(f)), indexName) }

// indexKey tells servers apart. Authorities are not in it: bundles that differ can be of one
// cluster, and whether they are is for Cluster.Difference to say.
func indexKey(i Identity) string {
	sum := sha256.Sum256([]byte(i.Server + "\x00" + i.TLSServerName))
	return hex.EncodeToString(sum[:16])
}

// readIndex is an empty one where there is none that this program could have written.
func (f Dir) readIndex() (i index) {
	info, err := os.Lstat(f.indexPath())
	if err != nil {
		return index{}
	}
	text, err := files.ReadTrusted(f.indexPath(), maxIndex)
	if err != nil || !bytes.HasPrefix(text, []byte(indexHeader)) {
		return index{}
	}
	return index{text, info.ModTime()}
}

// isOf reports whether the index was made of the directory as it is.
func (i index) isOf(dir fs.FileInfo) bool {
	return bytes.HasPrefix(i.text, []byte(header(dir))) &&
		!i.written.Before(dir.ModTime().Add(settled))
}

func header(dir fs.FileInfo) string {
	return fmt.Sprintf("%s%d\n", indexHeader, dir.ModTime().UnixNano())
}

// names are the profiles under a key.
func (i index) names(key string) (names []string) {
	rest, begin := i.text, []byte("\n"+key+" ")
	for {
		at := bytes.Index(rest, begin)
		if at < 0 {
			return names
		}
		rest = rest[at+len(begin):]
		name, _, _ := bytes.Cut(rest, []byte(" "))
		names = append(names, string(name))
	}
}

// indexLine is what the index has of a profile.
type indexLine struct {
	key, name      string
	modified, size int64 // nanoseconds since 1970, bytes
}

func (l indexLine) String() string {
	return fmt.Sprintf("%s %s %d %d\n", l.key, l.name, l.modified, l.size)
}

// reusable are the lines, by name, that still say what a file says which has not changed since.
func (i index) reusable() map[string]indexLine {
	lines := map[string]indexLine{}
	for text := range strings.Lines(string(i.text)) {
		fields := strings.Fields(text)
		if len(fields) != 4 || fields[0] == noKey {
			continue
		}
		line := indexLine{key: fields[0], name: fields[1]}
		var wrong [2]error
		line.modified, wrong[0] = strconv.ParseInt(fields[2], 10, 64)
		line.size, wrong[1] = strconv.ParseInt(fields[3], 10, 64)
		if errors.Join(wrong[:]...) == nil &&
			!i.written.Before(time.Unix(0, line.modified).Add(settled)) {
			lines[line.name] = line
		}
	}
	return lines
}

// reindex makes a new index. It reads the profiles that have changed since the old one.
func (f Dir) reindex(old index) (index, error) {
	dir, err := os.Stat(string(f)) // before the names: a later change makes the index stale
	if errors.Is(err, fs.ErrNotExist) {
		return index{}, nil
	}
	if err != nil {
		return index{}, notListed(err)
	}
	names, err := f.Names()
	if err != nil {
		return index{}, err
	}
	var text bytes.Buffer
	text.WriteString(header(dir))
	known := old.reusable()
	lines := make([]indexLine, len(names))
	parallel.ForEach(len(names), readers, func(i int) {
		lines[i] = f.lineOf(names[i], known[names[i]])
	})
	for _, line := range lines {
		text.WriteString(line.String())
	}
	made := index{text: text.Bytes()}
	hasSettled := time.Since(dir.ModTime()) >= settled
	if hasSettled || !bytes.Equal(made.text, old.text) {
		f.writeIndex(made.text)
	}
	return made, nil
}

// lineOf is the line of a profile, which was known to be another.
func (f Dir) lineOf(name string, known indexLine) indexLine {
	line := indexLine{key: noKey, name: name}
	info, err := os.Lstat(f.path(name))
	if err != nil {
		return line
	}
	line.modified, line.size = info.ModTime().UnixNano(), info.Size()
	if known.modified == line.modified && known.size == line.size {
		line.key = known.key
		return line
	}
	if p, err := f.Load(name); err == nil {
		identity, _ := p.Identity() // Load has checked it
		line.key = indexKey(identity)
	}
	return line
}

// writeIndex leaves it to others where it cannot: the index costs time when it is missing, and
// nothing else.
func (f Dir) writeIndex(text []byte) {
	release, err := files.Guard(files.Once, f.indexPath()) // whoever else writes it writes the same
	if err != nil {
		return
	}
	defer release()
	_ = files.Replace(f.indexPath(), text, files.PrivateFile)
}

// dropIndex removes an index that names a profile which is gone.
func (f Dir) dropIndex(name string) {
	if bytes.Contains(f.readIndex().text, []byte(" "+name+" ")) {
		_ = os.Remove(f.indexPath())
	}
}
