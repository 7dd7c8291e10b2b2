//go:build !linux

package main

// clientEnvironment is empty: only Linux shows the environment of another process.
func clientEnvironment() func(string) (string, bool) { return snapshot(nil) }

func showEnvironment() {}
