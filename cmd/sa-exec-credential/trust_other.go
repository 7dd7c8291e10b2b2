//go:build !linux

package main

func showEnvironment() {}
