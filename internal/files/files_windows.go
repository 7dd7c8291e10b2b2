package files

import "io/fs"

// On Windows the user's AppData folder is private by its access control list; the mode bits that Go shows say nothing.

func checkPrivate(string, fs.FileInfo) error { return nil }

func checkOwner(string, fs.FileInfo) error { return nil }

func syncFolder(string) error { return nil }
