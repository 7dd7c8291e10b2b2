// Command hello prints an empty JSON object: what any Go program costs before it does anything.
package main

import "os"

func main() { _, _ = os.Stdout.WriteString("{}\n") }
