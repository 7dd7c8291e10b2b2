// Command sa-exec-credential is a client-go exec credential plugin. It mints short-lived ServiceAccount tokens with a
// bootstrap credential and keeps them in the operating system's keyring until they expire.
package main

import "os"

func main() {
	harden()
	os.Exit(run(os.Args[1:], systemEnvironment()))
}
