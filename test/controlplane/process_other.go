//go:build unix && !linux

package controlplane

import "syscall"

// childAttributes keep Ctrl-C in a terminal from reaching the children before
// us. Nothing here ends them when we are killed.
func childAttributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// prefer does nothing here.
func prefer() (end func()) { return func() {} }
