//go:build linux

package e2e_test

func clientMain([]string) int { return 0 }
