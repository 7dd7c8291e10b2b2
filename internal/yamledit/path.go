package yamledit

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sa-exec-credential/sa-exec-credential/internal/files"
)

// Absolute names the same file in every working directory. Links stay, but not before a "..":
// the system goes to the parent of what the link leads to, filepath.Clean to the link's own.
func Absolute(path string) string {
	if slices.Contains(strings.Split(filepath.ToSlash(path), "/"), "..") {
		return entryPath(path)
	}
	return filepath.Clean(fromRoot(path))
}

// fromRoot is path with the working directory in front of it, and nothing else changed.
func fromRoot(path string) string {
	if filepath.IsAbs(path) || filepath.VolumeName(path) != "" {
		return path
	}
	dir, err := os.Getwd()
	if err != nil {
		return path
	}
	return dir + string(filepath.Separator) + path
}

// entryPath is the one name of a directory entry: no link leads to its directory. The entry itself
// can be a link.
func entryPath(path string) string {
	dir, base := filepath.Split(fromRoot(path))
	return filepath.Join(realDir(dir), base)
}

// realDir resolves the links in a directory's path as far as the directories exist.
func realDir(dir string) string {
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		return real
	}
	parent, base := filepath.Split(strings.TrimRight(filepath.FromSlash(dir),
		string(filepath.Separator)))
	if base == "" {
		return filepath.Clean(dir)
	}
	return filepath.Join(realDir(parent), base)
}

// resolve follows the links at the end of path as well, also when the last one leads to nothing
// yet, so that the file is replaced and not the link. Another user's link is a files.ErrUntrusted.
func resolve(path string) (string, error) {
	path = entryPath(path)
	for range 40 {
		info, err := os.Lstat(path)
		if errors.Is(err, fs.ErrNotExist) || err == nil && info.Mode()&fs.ModeSymlink == 0 {
			return path, nil
		}
		if err != nil {
			return "", err
		}
		if err := files.CheckOwner(path, info); err != nil {
			// in a directory that others can write to, it would choose the file for us
			return "", err
		}
		link, err := os.Readlink(path)
		if err != nil {
			return "", err
		}
		if !filepath.IsAbs(link) {
			link = filepath.Dir(path) + string(filepath.Separator) + link
		}
		path = entryPath(link)
	}
	return "", fmt.Errorf("%w: %q leads through too many links", fs.ErrInvalid, path)
}

// resolveAll resolves paths; two names of one file become one.
func resolveAll(paths []string) ([]string, error) {
	var resolved []string
	for _, path := range paths {
		path, err := resolve(path)
		if err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(resolved, func(known string) bool {
			return isSame(known,
				path)
		}) {
			resolved = append(resolved, path)
		}
	}
	return resolved, nil
}

// isSame reports whether resolved paths name one file. A file system that ignores case shows it by
// having one file under both names. Hard links are two files: replacing one leaves the other.
func isSame(a, b string) bool {
	if a == b {
		return true
	}
	if !strings.EqualFold(a, b) {
		return false
	}
	infoA, errA := os.Lstat(a)
	infoB, errB := os.Lstat(b)
	return errA == nil && errB == nil && os.SameFile(infoA, infoB)
}
