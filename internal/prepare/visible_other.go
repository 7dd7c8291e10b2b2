//go:build !linux

package prepare

func showEnvironment() {}
