// Package client finds the program that runs this one as its credential plugin, and what it was
// started with.
//
// That is the parent process, or a further ancestor where a script stands in between: a kubeconfig
// may name a wrapper, such as the shim of a version manager. Of this module it imports only
// internal/execcred.
package client

// Process is a client.
type Process struct {
	PID int
	// when it was started, in the system's own unit: tells it from another of that PID; 0 when
	// unknown
	Start uint64
	// Environment is what it was started with, NAME=VALUE each, so nothing that a kubeconfig
	// has set for the plugin. Nil when unknown: only Linux shows it, and only to the same
	// user.
	Environment []string
}
