//go:build linux

// Package clients_test runs the clients that people have, each with the plugin and on a real
// control plane. docs/clients.md names the tests, and what is not tested.
package clients_test

import (
	"testing"

	"github.com/sa-exec-credential/sa-exec-credential/test/lab"
)

func TestMain(m *testing.M) {
	lab.Main(m, lab.Options{Helpers: map[string]func([]string) int{
		"controller": controllerMain, "informer": informerMain}})
}

const account = lab.Account

// The exit codes that tests here expect.
const (
	exitUsage   = 2
	exitProfile = 3
)
