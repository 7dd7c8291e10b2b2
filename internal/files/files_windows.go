package files

import (
	"io/fs"
	"os"
)

// On Windows the user's AppData directory is private by its access control list; the mode bits that
// Go shows say nothing.

func checkPrivate(string, fs.FileInfo) error { return nil }

func checkShared(string, fs.FileInfo) error { return nil }

func checkOwner(string, fs.FileInfo) error { return nil }

func hasMode(fs.FileInfo, fs.FileMode) bool { return true }

func syncDir(string) error { return nil }

// CheckCreate is nil: only trying tells whether a file can be created.
func CheckCreate(string) error { return nil }

// keepOwner has nothing to do: a new file inherits what its directory says.
func keepOwner(string, *os.File) error { return nil }
