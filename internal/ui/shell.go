package ui

import "github.com/kballard/go-shellquote"

// CommandLine is a command as it is typed into a POSIX shell. Every command that is printed goes
// through it: names from clusters and kubeconfigs may hold anything.
func CommandLine(words ...string) string { return shellquote.Join(words...) }
