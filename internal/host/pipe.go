package host

import (
	"fmt"
	"os"
	"sync"

	"github.com/sa-exec-credential/sa-exec-credential/internal/yamledit"
)

// pipes are what has been read of files that can be read once, by path.
type pipes struct {
	mutex sync.Mutex
	kept  map[string]string // paths that can be read again
}

// keep returns a path under which a file can be read as often as wanted: its own, unless it is a
// pipe.
func (p *pipes) keep(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil || info.Mode()&os.ModeNamedPipe == 0 {
		return path, nil // whoever reads it says what is wrong with it
	}
	p.mutex.Lock()
	defer p.mutex.Unlock()
	if kept, found := p.kept[path]; found {
		return kept, nil
	}
	data, err := yamledit.ReadFile(path)
	if err != nil {
		return "", err
	}
	kept, err := inMemory(data)
	if err != nil {
		return "", fmt.Errorf("%q is a pipe, which can be read once: save it as a file: %w",
			path, err)
	}
	if p.kept == nil {
		p.kept = map[string]string{}
	}
	p.kept[path] = kept
	return kept, nil
}
