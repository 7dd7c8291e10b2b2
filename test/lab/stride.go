package lab

import "os"

// Stride is how many places lie between two at which a command is interrupted: make interrupt
// tries them all, and make test some. It is odd: tests do one thing at even places and another at
// odd ones.
func Stride() int {
	if os.Getenv("INTERRUPT") == "everywhere" {
		return 1
	}
	return 11
}
