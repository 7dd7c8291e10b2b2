//go:build upstream

// Command etcd is the upstream etcd server, built from the module that
// Kubernetes itself pins.
package main

import (
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
)

func main() { etcdmain.Main(os.Args) }
